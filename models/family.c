/* family.c - the vocabulary of family.h: ops with the checkpoint's weights, checked against its
 * tensors. */
#include "family.h"

#include <stdio.h>
#include <stdlib.h>

static ir_dim number(uint64_t n)
{
   return ir_dim_of((int64_t)n);
}

/* The first failure stays. */
static void keep(model_build *m, sinter_status status)
{
   if (m->status == SINTER_ok)
      m->status = status;
}

/* ---- weights ---- */

static void print_shape(char *out, size_t cap, uint32_t rank, const uint64_t *dim)
{
   size_t at = 0;

   for (uint32_t i = 0; i < rank && i < 4 && at < cap; i++)
      at +=
         (size_t)snprintf(out + at, cap - at, "%s%llu", i ? ", " : "", (unsigned long long)dim[i]);
}

static void missing(model_build *m, const char *name)
{
   if (m->status != SINTER_ok)
      return;
   if (m->config->from_folder)
      name = source_spelling(m->m->a, m->config->row->family, name);
   keep(m, base_fail(SINTER_bad_input, m->m->path,
                     "fetch the checkpoint again, or convert it with a current converter",
                     "the tensor '%.120s' is missing", name));
}

static void misshapen(model_build *m, const model_tensor *t, uint32_t rank, const uint64_t *dim)
{
   char is[96] = "", wanted[96] = "";

   if (m->status != SINTER_ok)
      return;
   print_shape(is, sizeof is, t->rank, t->dim);
   print_shape(wanted, sizeof wanted, rank, dim);
   keep(m, base_fail(SINTER_bad_input, m->m->path,
                     "fetch the checkpoint again: its tensors contradict its configuration",
                     "the tensor '%.120s' is [%s], not [%s]", t->source_name, is, wanted));
}

static void unsupported(model_build *m, const model_tensor *t)
{
   if (m->status == SINTER_ok)
      keep(m, base_fail(
                 SINTER_unsupported, m->m->path,
                 "take the model in F32, F16, BF16, FP8 with scales, MXFP4 or a GGUF block format",
                 "the tensor '%.120s' has a type that cannot be computed with", t->source_name));
}

/* Norm weights, biases and small tables are f32 in the graph: they are widened here, once, whatever
 * the file holds. */
static void widen(model_build *m, model_tensor *t)
{
   uint64_t n = model_tensor_rows(t) * t->dim[t->rank - 1];

   if (t->dtype == DT_f32)
      return;
   float *f = arena_alloc_array(m->m->a, n, sizeof *f);
   double *d = arena_alloc_array(m->m->a, n, sizeof *d);
   dtype_load(t->dtype, t->data, n, d);
   for (uint64_t i = 0; i < n; i++)
      f[i] = (float)d[i];
   t->data = (const uint8_t *)f;
   t->dtype = DT_f32;
   t->bytes = n * sizeof *f;
}

static bool same_shape(const model_tensor *t, uint32_t rank, const uint64_t *dim)
{
   return t->rank == rank && memcmp(t->dim, dim, rank * sizeof *dim) == 0;
}

/* Vectors are floats of any kind; matrices what kernels read. */
static bool can_compute(const model_tensor *t, uint32_t rank)
{
   dtype_kind kind = dtype_infos[t->dtype].kind;

   if (rank == 1)
      return kind == DTYPE_FLOAT;
   return t->dtype == DT_f32 || t->dtype == DT_f16 || t->dtype == DT_bf16 || kind == DTYPE_BLOCK ||
          kind == DTYPE_SCALED;
}

/* The tensor of that name as a value of that shape; rank 1 is f32, rank 2 keeps its stored type. */
static ir_value *weight(model_build *m, const char *name, uint32_t rank, const uint64_t *dim)
{
   ir_value *v = map_get(&m->weights, name);
   model_tensor *t = map_get(&m->m->by_name, name);
   ir_dim dims[3];
   dtype type = DT_f32;

   if (v)
      return v;
   for (uint32_t i = 0; i < rank; i++)
      dims[i] = number(dim[i]);
   if (!t) {
      missing(m, name);
   } else if (!same_shape(t, rank, dim)) {
      misshapen(m, t, rank, dim);
   } else if (!can_compute(t, rank)) {
      unsupported(m, t);
   } else {
      if (rank == 1)
         widen(m, t);
      type = t->dtype;
      t->read = true;
   }
   name = arena_strdup(m->m->a, name);
   v = ir_weight(&m->b, name, ir_type_make(type, rank, dims));
   map_set(&m->weights, name, v);
   return v;
}

ir_value *model_table(model_build *m, const char *name, uint64_t rows, uint64_t cols)
{
   const uint64_t dim[] = {rows, cols};
   model_tensor *t = map_get(&m->m->by_name, name);

   if (t && same_shape(t, 2, dim) && dtype_infos[t->dtype].kind == DTYPE_FLOAT)
      widen(m, t);
   return weight(m, name, 2, dim);
}

static int ascending(const void *a, const void *b)
{
   const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

   return (x > y) - (x < y);
}

/* Integers of any width as i32, each row ascending; false when one is no id. */
static bool sort_ids(model_build *m, model_tensor *t, uint64_t below)
{
   const uint64_t rows = t->dim[0], cols = t->dim[1], bytes = dtype_infos[t->dtype].bytes;
   int32_t *ids = arena_alloc_array(m->m->a, rows * cols, sizeof *ids);
   double *row = arena_alloc_array(m->m->a, cols, sizeof *row);

   for (uint64_t r = 0; r < rows; r++) {
      dtype_load(t->dtype, t->data + r * cols * bytes, cols, row);
      for (uint64_t i = 0; i < cols; i++) {
         if (!(row[i] >= 0 && row[i] < (double)below))
            return false;
         ids[r * cols + i] = (int32_t)row[i];
      }
      qsort(ids + r * cols, cols, sizeof *ids, ascending);
   }
   t->data = (const uint8_t *)ids;
   t->dtype = DT_i32;
   t->bytes = rows * cols * sizeof *ids;
   return true;
}

ir_value *model_ids(model_build *m, uint32_t l, const char *name, uint64_t rows, uint64_t cols,
                    uint64_t below)
{
   const uint64_t dim[] = {rows, cols};

   name = arena_printf(m->m->a, "blk.%u.%s", l, name);
   model_tensor *t = map_get(&m->m->by_name, name);
   if (!t)
      missing(m, name);
   else if (!same_shape(t, 2, dim))
      misshapen(m, t, 2, dim);
   else if (dtype_infos[t->dtype].kind != DTYPE_INT)
      unsupported(m, t);
   else if (!sort_ids(m, t, below))
      keep(m, base_fail(SINTER_bad_input, m->m->path, "fetch the checkpoint again",
                        "the tensor '%.120s' holds something that is no expert", t->source_name));
   else
      t->read = true;
   return ir_weight(&m->b, name, ir_type_make(DT_i32, 2, (ir_dim[]){number(rows), number(cols)}));
}

static ir_value *vector(model_build *m, const char *name, uint64_t n)
{
   return weight(m, name, 1, (uint64_t[]){n});
}

static ir_value *matrix(model_build *m, const char *name, uint64_t rows, uint64_t cols)
{
   return weight(m, name, 2, (uint64_t[]){rows, cols});
}

ir_value *model_global_vector(model_build *m, const char *name, uint64_t n)
{
   return vector(m, name, n);
}

ir_value *model_global_matrix(model_build *m, const char *name, uint64_t rows, uint64_t cols)
{
   return matrix(m, name, rows, cols);
}

double model_number(model_build *m, uint32_t l, const char *name)
{
   return model_global_number(m, arena_printf(m->m->a, "blk.%u.%s", l, name));
}

double model_global_number(model_build *m, const char *name)
{
   const uint64_t one = 1;
   double v = 0;

   model_tensor *t = map_get(&m->m->by_name, name);
   if (!t) {
      missing(m, name);
   } else if (!same_shape(t, 1, &one)) {
      misshapen(m, t, 1, &one);
   } else if (!can_compute(t, 1)) {
      unsupported(m, t);
   } else {
      dtype_load(t->dtype, t->data, 1, &v);
      t->read = true;
   }
   return v;
}

ir_value *model_vector(model_build *m, uint32_t l, const char *name, uint64_t n)
{
   return vector(m, arena_printf(m->m->a, "blk.%u.%s", l, name), n);
}

ir_value *model_matrix(model_build *m, uint32_t l, const char *name, uint64_t rows, uint64_t cols)
{
   return matrix(m, arena_printf(m->m->a, "blk.%u.%s", l, name), rows, cols);
}

ir_value *model_stack(model_build *m, uint32_t l, const char *name, uint64_t n, uint64_t rows,
                      uint64_t cols)
{
   return weight(m, arena_printf(m->m->a, "blk.%u.%s", l, name), 3, (uint64_t[]){n, rows, cols});
}

static const char *layer_tensor(model_build *m, uint32_t l, const char *name, const char *suffix)
{
   return arena_printf(m->m->a, "blk.%u.%s.%s", l, name, suffix);
}

/* ---- ops ---- */

static uint64_t row_length(const ir_value *x)
{
   return (uint64_t)ir_type_row(&x->type);
}

ir_value *model_embed_ids(model_build *m, ir_value *ids)
{
   ir_value *table = matrix(m, "token_embd.weight", m->config->vocab, m->config->width);

   return m->features ? ir_embed_features(&m->b, ids, table, m->features)
                      : ir_embed(&m->b, ids, table);
}

ir_value *model_embed(model_build *m, double scale)
{
   ir_value *h = model_embed_ids(m, m->ids);

   if (scale != 1)
      h = ir_scale(&m->b, h, scale);
   ir_set_name(m->b.f, h, "embed");
   return h;
}

ir_value *model_linear(model_build *m, uint32_t l, const char *name, ir_value *x, uint32_t rows,
                       bool bias)
{
   ir_value *y =
      ir_matmul(&m->b, x, matrix(m, layer_tensor(m, l, name, "weight"), rows, row_length(x)));

   return bias ? ir_add(&m->b, y, vector(m, layer_tensor(m, l, name, "bias"), rows)) : y;
}

ir_value *model_norm(model_build *m, uint32_t l, const char *name, ir_value *x)
{
   ir_value *w = vector(m, layer_tensor(m, l, name, "weight"), row_length(x));

   return ir_rmsnorm(&m->b, x, w, m->config->norm_eps, m->config->norm_offset);
}

ir_value *model_heads(model_build *m, ir_value *x, uint32_t n)
{
   return ir_reshape(&m->b, x, 3,
                     (ir_dim[]){x->type.dim[0], number(n), number(m->config->head_width)});
}

static ir_value *project(model_build *m, uint32_t l, const char *name, ir_value *x, uint32_t heads)
{
   uint32_t rows = heads * m->config->head_width;

   return model_heads(m, model_linear(m, l, name, x, rows, m->config->qkv_bias), heads);
}

ir_value *model_query(model_build *m, uint32_t l, ir_value *x)
{
   return project(m, l, "attn_q", x, m->config->heads);
}

ir_value *model_key(model_build *m, uint32_t l, ir_value *x)
{
   return project(m, l, "attn_k", x, m->config->kv_heads);
}

ir_value *model_value(model_build *m, uint32_t l, ir_value *x)
{
   return project(m, l, "attn_v", x, m->config->kv_heads);
}

ir_value *model_merge(model_build *m, ir_value *x)
{
   int64_t n = ir_dim_const(x->type.dim[1]) * ir_dim_const(x->type.dim[2]);

   return ir_reshape(&m->b, x, 2, (ir_dim[]){x->type.dim[0], ir_dim_of(n)});
}

ir_value *model_rope(model_build *m, uint32_t l, ir_value *x)
{
   bool local = m->config->sliding[l] && m->tables[1];

   return ir_rope(&m->b, x, m->tables[local], m->config->rope_style);
}

ir_value *model_attend(model_build *m, uint32_t l, ir_value *q, ir_value *k, ir_value *v)
{
   m->kv[l] = ir_kv_write(&m->b, m->kv[l], k, v);
   return ir_attention(&m->b, q, m->kv[l], m->config->attention_scale, 0);
}

ir_value *model_conv(model_build *m, uint32_t l, const char *name, ir_value *x, uint32_t width)
{
   model_tensor *t = map_get(&m->m->by_name, arena_printf(m->m->a, "blk.%u.%s", l, name));

   if (t && t->rank == 3 && t->dim[1] == 1) {
      t->dim[1] = t->dim[2];
      t->rank = 2;
   }
   ir_op *op = ir_conv_step(&m->b, m->conv[l], x, model_matrix(m, l, name, row_length(x), width));
   m->conv[l] = op->results[0];
   return op->results[1];
}

ir_value *model_name_block(model_build *m, uint32_t l, ir_value *h)
{
   ir_set_name(m->b.f, h, arena_printf(m->m->a, "h%u", l));
   return h;
}

ir_value *model_gated(model_build *m, uint32_t l, const char *kind, ir_value *x, uint32_t ffn,
                      ir_value *(*act)(ir_builder *b, ir_value *x))
{
   const model_config *c = m->config;
   const char *gate = arena_printf(m->m->a, "ffn_gate%s", kind);
   const char *up = arena_printf(m->m->a, "ffn_up%s", kind);
   const char *down = arena_printf(m->m->a, "ffn_down%s", kind);
   ir_value *g = act(&m->b, model_linear(m, l, gate, x, ffn, c->mlp_bias));
   ir_value *u = model_linear(m, l, up, x, ffn, c->mlp_bias);

   return model_linear(m, l, down, ir_mul(&m->b, g, u), c->width, c->mlp_bias);
}

ir_value *model_block(model_build *m, uint32_t l, ir_value *h, const model_halves *of)
{
   ir_value *x = of->attention(m, l, of->norm_in ? model_norm(m, l, "attn_norm", h) : h);

   h = ir_add(&m->b, h, of->norm_out ? model_norm(m, l, "post_attention_norm", x) : x);
   x = of->feed_forward(m, l, of->norm_in ? model_norm(m, l, "ffn_norm", h) : h);
   h = ir_add(&m->b, h, of->norm_out ? model_norm(m, l, "post_ffw_norm", x) : x);
   return model_name_block(m, l, h);
}

ir_value *model_blocks(model_build *m, ir_value *h, const model_halves *of)
{
   for (uint32_t l = 0; l < m->config->layers; l++)
      h = model_block(m, l, h, of);
   return h;
}

static void return_states(model_build *m, uint32_t l)
{
   ir_value *const states[] = {m->kv[l],      m->conv[l],    m->memory[l],
                               m->rows_of[l], m->entries[l], m->keys[l]};

   for (size_t i = 0; i < countof(states); i++)
      if (states[i])
         ir_func_return(m->b.f, states[i]);
}

static ir_value *logits_of(model_build *m, ir_value *h)
{
   const model_config *c = m->config;
   const char *head = c->tied ? "token_embd.weight" : "output.weight";
   ir_value *logits = ir_matmul(&m->b, h, matrix(m, head, c->vocab, c->width));
   if (c->final_softcap > 0)
      logits = ir_softcap(&m->b, logits, c->final_softcap);
   ir_set_name(m->b.f, logits, "logits");
   return logits;
}

/* h: of the wanted rows. */
static void finish_rows(model_build *m, ir_value *h, const char *norm)
{
   const model_config *c = m->config;
   model_tensor *spare = map_get(&m->m->by_name, "output.weight");

   h = ir_rmsnorm(&m->b, h, vector(m, norm, c->width), c->norm_eps, c->norm_offset);
   ir_set_name(m->b.f, h, "final_norm");
   ir_value *out = m->hidden ? h : logits_of(m, h);
   if ((c->tied || m->hidden) && spare)
      spare->read = true;
   ir_func_return(m->b.f, out);
   for (uint32_t l = 0; l < m->num_layers; l++)
      return_states(m, l);
   for (uint32_t l = 0; l < m->num_layers; l++)
      if (m->routes[l])
         ir_func_return(m->b.f, m->routes[l]);
}

void model_finish_with(model_build *m, ir_value *h, const char *norm)
{
   finish_rows(m, ir_take_rows(&m->b, h, m->rows), norm);
}

void model_finish_rows(model_build *m, ir_value *h)
{
   finish_rows(m, h, "output_norm.weight");
}

void model_finish(model_build *m, ir_value *h)
{
   model_finish_with(m, h, "output_norm.weight");
}

ir_value *model_output_norm(model_build *m)
{
   return vector(m, "output_norm.weight", m->config->width);
}

void model_expect_copy(model_build *m, uint32_t l, const char *name, const char *of)
{
   const char *own = arena_printf(m->m->a, "blk.%u.%s", l, name);
   model_tensor *t = map_get(&m->m->by_name, own);
   const model_tensor *original = map_get(&m->m->by_name, of);

   if (!t)
      return;
   if (!original || t->dtype != original->dtype || t->bytes != original->bytes ||
       memcmp(t->data, original->data, t->bytes) != 0)
      keep(m, base_fail(SINTER_unsupported, m->m->path, "report the model",
                        "the tensor '%.120s' should be a copy of '%s', but differs", t->source_name,
                        of));
   t->read = true;
}
