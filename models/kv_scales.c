/* kv_scales.c - what a checkpoint says of the size of its keys and values: scales for caches of
 * 8-bit floats.
 *
 *    blk.N.attn_k.kv_scale  [] or [1]  ─▶ state {k_scale=…}
 *                           [G]        ─▶ state {k_scales="blk.N.attn_k.kv_scale"}, and two vectors beside it:
 *                                           .down f32[G*d]  1 / scale of the head of each element of a key
 *                                           .up   f32[H*d]  scale of the kv head of each element of a query
 *
 * attn_v likewise, its .up for attention's result; attn_kv, an old spelling, is both. Nothing is
 * computed with them unless the cache is shortened (passes/kv_f8.c). -1 stands for a scale that was
 * never measured. */
#include "family.h"

#include <math.h>

enum { MOST_HEADS = 1024 };

static model_tensor *find(model_build *b, uint32_t l, const char *part)
{
   model *m = b->m;
   model_tensor *t = map_get(&m->by_name, arena_printf(m->a, "blk.%u.%s.kv_scale", l, part));

   return t ? t : map_get(&m->by_name, arena_printf(m->a, "blk.%u.attn_kv.kv_scale", l));
}

static sinter_status bad(const model_build *b, const model_tensor *t, const char *what)
{
   return base_fail(SINTER_bad_input, b->m->path, "fetch the checkpoint again",
                    "the cache scale '%.120s' %s", t->source_name, what);
}

/* Its numbers; *n is 0 when it is absent, or stands for nothing. */
static sinter_status read_scales(const model_build *b, model_tensor *t, uint64_t heads, double *out,
                                 uint64_t *n)
{
   uint64_t count = 1;

   *n = 0;
   if (!t)
      return SINTER_ok;
   t->read = true;
   for (uint32_t i = 0; i < t->rank; i++)
      count = t->dim[i] > MOST_HEADS ? 0 : count * t->dim[i];
   if ((count != 1 && count != heads) || count > MOST_HEADS ||
       dtype_infos[t->dtype].kind != DTYPE_FLOAT)
      return bad(b, t, "is neither a number nor one for each head of keys");
   dtype_load(t->dtype, t->data, count, out);
   if (count == 1 && out[0] == -1)
      return SINTER_ok;
   for (uint64_t i = 0; i < count; i++)
      if (!(out[i] > 0 && isfinite((float)(1 / out[i])) && isfinite(out[i])))
         return bad(b, t, "is not a positive number");
   *n = count;
   return SINTER_ok;
}

/* A vector with the scale, or what undoes it, of the head that each element belongs to. */
static void add_vector(model *m, const model_tensor *t, const char *name, const double *scales,
                       uint64_t each, uint64_t n, bool down)
{
   model_tensor *v = arena_copy(m->a, t, sizeof *t);
   float *data = arena_alloc_array(m->a, n, sizeof *data);

   for (uint64_t i = 0; i < n; i++)
      data[i] = (float)(down ? 1 / scales[i / each] : scales[i / each]);
   *v = (model_tensor){.name = name,
                       .source_name = t->source_name,
                       .dtype = DT_f32,
                       .rank = 1,
                       .dim = {n},
                       .data = (const uint8_t *)data,
                       .bytes = n * sizeof *data,
                       .read = true};
   (void)map_set(&m->by_name, name, v);
}

static sinter_status add(model_build *b, uint32_t l, const char *part, ir_op *state,
                         ir_attr_key one, ir_attr_key many)
{
   const ir_type *type = &state->results[0]->type;
   const uint64_t heads = (uint64_t)ir_dim_const(type->dim[0]);
   const uint64_t width = (uint64_t)ir_dim_const(type->dim[1]);
   model_tensor *t = find(b, l, part);
   double scales[MOST_HEADS];
   uint64_t n;

   SINTER_TRY(read_scales(b, t, heads, scales, &n));
   bool alike = true;
   for (uint64_t i = 1; i < n; i++)
      alike &= scales[i] == scales[0];
   if (n && alike)
      ir_attr_set(b->b.f, state, (ir_attr){.key = one, .f = scales[0]});
   if (!n || alike)
      return SINTER_ok;
   const char *name = arena_printf(b->m->a, "blk.%u.%s.kv_scale", l, part);
   const uint64_t queries = b->config->heads;
   if (queries % heads)
      return bad(b, t, "is of heads that queries cannot share");
   add_vector(b->m, t, arena_printf(b->m->a, "%s.down", name), scales, width, heads * width, true);
   add_vector(b->m, t, arena_printf(b->m->a, "%s.up", name), scales, queries / heads * width,
              queries * width, false);
   ir_attr_set(b->b.f, state, (ir_attr){.key = many, .s = name});
   return SINTER_ok;
}

void model_kv_scales(model_build *b, uint32_t l)
{
   ir_op *state = b->kv[l]->def;

   if (b->status == SINTER_ok)
      b->status = add(b, l, "attn_k", state, IR_ATTR_k_scale, IR_ATTR_k_scales);
   if (b->status == SINTER_ok)
      b->status = add(b, l, "attn_v", state, IR_ATTR_v_scale, IR_ATTR_v_scales);
}
