/* vision.c - the tower of Qwen2-VL and Qwen3.5 that turns patches of images into rows beside
 * embeddings.
 *
 *    h = W_patch patch (+ bias)          a convolution whose windows do not overlap; rows in merge order
 *    h += sum of 4 learned positions around the patch, by weight                        (Qwen3.5)
 *    h += W_o attention(rope(W_q x), rope(W_k x), W_v x)      x = norm(h); all patches of a frame see each other
 *    h += W_2 act(W_1 x)                                      x = norm(h)
 *    y = W_2 gelu(W_1 x)                                      x = norm(h), merge^2 rows side by side
 *
 * Norms have mean and bias. A frame of an image is a sequence; blocks write keys and values over
 * those of the block before, so that one layer's memory serves all. */
#include "family.h"

#include <math.h>

static const double norm_eps = 1e-6;

static const model_vision *shape(const model_build *m)
{
   return m->config->vision;
}

static ir_value *bias(model_build *m, const char *name, ir_value *x)
{
   const char *full = arena_printf(m->m->a, "%s.bias", name);

   return ir_add(&m->b, x, model_global_vector(m, full, (uint64_t)ir_type_row(&x->type)));
}

static ir_value *linear(model_build *m, const char *name, ir_value *x, uint32_t rows)
{
   const char *full = arena_printf(m->m->a, "%s.weight", name);
   ir_value *w = model_global_matrix(m, full, rows, (uint64_t)ir_type_row(&x->type));

   return bias(m, name, ir_matmul(&m->b, x, w));
}

static ir_value *norm(model_build *m, const char *name, ir_value *x)
{
   const char *full = arena_printf(m->m->a, "%s.weight", name);
   ir_value *w = model_global_vector(m, full, (uint64_t)ir_type_row(&x->type));
   ir_value *centered = ir_center(&m->b, x);

   return bias(m, name, ir_rmsnorm(&m->b, centered, w, norm_eps, 0));
}

static const char *tensor(model_build *m, uint32_t l, const char *name)
{
   return arena_printf(m->m->a, "v.blk.%u.%s", l, name);
}

/* One of the three parts that the checkpoint keeps in one matrix, in heads. */
static ir_value *part(model_build *m, uint32_t l, const char *name, uint64_t number, ir_value *x)
{
   const model_vision *v = shape(m);
   uint64_t *first = arena_array(m->m->a, uint64_t, 1);
   ir_dim dims[] = {x->type.dim[0], ir_dim_of(v->heads), ir_dim_of(v->width / v->heads)};

   *first = number * v->width;
   for (int i = 0; i < 2; i++) {
      const char *kind = i ? "bias" : "weight";
      model_gather(m, arena_printf(m->m->a, "v.blk.%u.attn_qkv.%s", l, kind),
                   3 * (uint64_t)v->width, arena_printf(m->m->a, "v.blk.%u.%s.%s", l, name, kind),
                   v->width, first, 1);
   }
   return ir_reshape(&m->b, linear(m, tensor(m, l, name), x, v->width), 3, dims);
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_vision *v = shape(m);
   ir_value *q = part(m, l, "attn_q", 0, x), *k = part(m, l, "attn_k", 1, x);
   ir_value *values = part(m, l, "attn_v", 2, x);

   q = ir_rope(&m->b, q, m->tables[0], "half");
   k = ir_rope(&m->b, k, m->tables[0], "half");
   m->kv[0] = ir_kv_write(&m->b, m->kv[0], k, values);
   ir_value *a = ir_attention_whole(&m->b, q, m->kv[0], 1 / sqrt(v->width / v->heads));
   return linear(m, tensor(m, l, "attn_out"), model_merge(m, a), v->width);
}

/* x / (1 + exp(-1.702 x)) */
static ir_value *quick_gelu(model_build *m, ir_value *x)
{
   ir_value *gate = ir_sigmoid(&m->b, ir_scale(&m->b, x, 1.702));

   return ir_mul(&m->b, x, gate);
}

static ir_value *mlp(model_build *m, uint32_t l, ir_value *x)
{
   const model_vision *v = shape(m);
   ir_value *y = linear(m, tensor(m, l, "ffn_up"), x, v->ffn);

   y = v->quick ? quick_gelu(m, y) : ir_gelu_tanh(&m->b, y);
   return linear(m, tensor(m, l, "ffn_down"), y, v->width);
}

/* The kernel of a convolution [D, C, frames, p, p] as a matrix: rows of patches have that order. */
static void flatten(model_build *m, const char *name)
{
   model_tensor *t = map_get(&m->m->by_name, name);

   for (; t && t->rank > 2 && t->rank <= countof(t->dim); t->rank--)
      if (!base_mul(t->dim[t->rank - 2], t->dim[t->rank - 1], &t->dim[t->rank - 2]))
         return; /* no matrix: its shape is not what is wanted */
}

static ir_value *patches(model_build *m)
{
   const plan_vision *how = &shape(m)->how;
   const uint32_t width = plan_patch_width(how);
   ir_dim dims[] = {ir_dim_sym(SYM_T), ir_dim_of(width)};
   ir_value *x = ir_meta(&m->b, IR_META_patches, IR_NO_I, ir_type_make(DT_f32, 2, dims));

   flatten(m, "v.patch_embd.weight");
   ir_value *w = model_global_matrix(m, "v.patch_embd.weight", shape(m)->width, width);
   x = ir_matmul(&m->b, x, w);
   return how->table ? bias(m, "v.patch_embd", x) : x;
}

/* Between the four rows of the table around each patch. */
static ir_value *positions(model_build *m)
{
   const uint64_t side = shape(m)->how.table;
   ir_dim dims[] = {ir_dim_sym(SYM_T), ir_dim_of(4)}, all = ir_dim_mul(dims[0], 4);
   ir_value *ids = ir_meta(&m->b, IR_META_corners, IR_NO_I, ir_type_make(DT_i32, 2, dims));
   ir_value *by = ir_meta(&m->b, IR_META_corner_weights, IR_NO_I, ir_type_make(DT_f32, 2, dims));
   ir_value *table = model_global_matrix(m, "v.position_embd.weight", side * side, shape(m)->width);

   ids = ir_reshape(&m->b, ids, 1, &all);
   ir_value *rows = ir_embed(&m->b, ids, table);
   return ir_combine(&m->b, rows, by);
}

static ir_value *merged(model_build *m, ir_value *h)
{
   const model_vision *v = shape(m);
   const uint32_t rows = v->how.merge * v->how.merge;
   ir_value *x = norm(m, "v.post_ln", h);

   x = ir_take_side_by_side(&m->b, x, m->rows, rows);
   ir_value *y = ir_gelu(&m->b, linear(m, "mm.0", x, rows * v->width));
   return linear(m, "mm.2", y, v->out);
}

static void leaves(model_build *m)
{
   const model_vision *v = shape(m);
   ir_dim t = ir_dim_sym(SYM_T), r = ir_dim_sym(SYM_R);
   ir_dim table[] = {t, ir_dim_of(v->rope.width)};
   ir_dim kv[] = {ir_dim_of(v->heads), ir_dim_of(v->width / v->heads)};
   ir_type state = ir_type_make(DT_f32, 2, kv);

   state.state = IR_STATE_kv_full;
   m->tables[0] = ir_meta(&m->b, IR_META_rope, 0, ir_type_make(DT_f32, 2, table));
   m->rows = ir_meta(&m->b, IR_META_rows, IR_NO_I, ir_type_make(DT_i32, 1, &r));
   m->kv = arena_array(m->m->a, ir_value *, 1);
   m->kv[0] = ir_state(&m->b, 0, 0, state);
}

void model_build_tower(model_build *m)
{
   const model_vision *v = shape(m);

   leaves(m);
   ir_value *h = patches(m);
   if (v->how.table)
      h = ir_add(&m->b, h, positions(m));
   for (uint32_t l = 0; l < v->layers; l++) {
      h = ir_add(&m->b, h, attention(m, l, norm(m, tensor(m, l, "ln1"), h)));
      h = ir_add(&m->b, h, mlp(m, l, norm(m, tensor(m, l, "ln2"), h)));
      model_name_block(m, l, h);
   }
   ir_value *y = merged(m, h);
   ir_set_name(m->b.f, y, "features");
   ir_func_return(m->b.f, y);
   ir_func_return(m->b.f, m->kv[0]);
}
