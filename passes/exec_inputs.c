/* exec_inputs.c - random numbers, adversarial rows, states with a history, and the metadata of a
 * step with two sequences. */
#include "exec_inputs.h"

#include <math.h>

enum { MAX_ROPES = 8, POWER_BLOCK = 32 };

const char *const pass_probe_names[PASS_PROBE_COUNT] = {
#define PROBE(name, what) #name,
   PASS_PROBES(PROBE)
#undef PROBE
};

/* ---- numbers ---- */

static uint64_t seed_of(const char *name)
{
   uint64_t h = 14695981039346656037u;

   for (; *name; name++)
      h = (h ^ (uint8_t)*name) * 1099511628211u;
   return h;
}

/* Roughly normal: the sum of four uniform numbers. */
static double normal(uint64_t seed, uint64_t i)
{
   double sum = 0;

   for (uint64_t k = 0; k < 4; k++) {
      uint64_t z = seed + (4 * i + k + 1) * 0x9e3779b97f4a7c15u;

      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
      z = (z ^ z >> 27) * 0x94d049bb133111ebu;
      sum += (double)((z ^ z >> 31) >> 11) * 0x1p-53 - 0.5;
   }
   return sum * 1.7320508075688772;
}

/* The number z of row t, as the probe wants it. i counts within the row. */
static double probe_number(const pass_inputs *in, dtype type, int64_t t, int64_t i, double z)
{
   /* One ulp, of the type the number is stored in. */
   double ulp = type == DT_f32 || type == DT_f64 ? 0x1p-23 : 2 * dtype_infos[type].rel;

   switch (in->probe) {
   case PASS_PROBE_tiny: return t % 3 == 0 ? 0 : t % 3 == 1 ? 1e-12 * z : z;
   case PASS_PROBE_powers:
      if (i % POWER_BLOCK)
         return fmax(fmin(z, 0.9), -0.9);
      return (i / POWER_BLOCK % 2 ? -1 : 1) * (t % 3 == 0 ? 1 : t % 3 == 1 ? 1 + ulp : 1 - ulp / 2);
   case PASS_PROBE_nan: return t == in->rows - 1 ? (double)NAN : z;
   default: return z;
   }
}

/* ---- leaves ---- */

static void shape(const pass_inputs *in, const ir_type *t, ir_tensor *out)
{
   int64_t n = 1;

   out->rank = t->rank;
   for (uint32_t i = 0; i < t->rank; i++)
      n *= out->dim[i] = ir_dim_eval(t->dim[i], in->step.sym);
   out->data = arena_array(in->a, double, (size_t)MAX(n, 0) + 1);
}

static int64_t count(const ir_tensor *t)
{
   int64_t n = 1;

   for (uint32_t i = 0; i < t->rank; i++)
      n *= t->dim[i];
   return n;
}

/* The last row of the step that takes row `id` of an embedding table, -1 when none does. */
static int64_t row_of_token(const pass_inputs *in, const char *table, int64_t id)
{
   for (uint32_t i = 0; i < in->num_tables; i++)
      for (int64_t t = in->rows - 1; t >= 0 && !strcmp(in->tables[i], table); t--)
         if (in->step.token_ids[t] == id)
            return t;
   return -1;
}

/* Near one: norms, biases. */
static void fill_vector(uint64_t seed, int64_t n, double *out)
{
   for (int64_t i = 0; i < n; i++)
      out[i] = (float)(1 + 0.25 * normal(seed, (uint64_t)i));
}

/* Row `row` of a matrix of n columns: it keeps the size of what it multiplies. */
static void fill_row(const pass_inputs *in, const char *name, uint64_t seed, dtype type,
                     int64_t row, int64_t n, double *out)
{
   bool rounds = dtype_infos[type].kind == DTYPE_FLOAT;
   int64_t taken_by = row_of_token(in, name, row);
   double scale = sqrt((double)n);

   for (int64_t i = 0; i < n; i++) {
      double z = normal(seed, (uint64_t)(row * n + i));

      z = taken_by < 0 ? z / scale : probe_number(in, type, taken_by, i, z);
      out[i] = rounds ? dtype_round(type, z) : (double)(float)z;
   }
}

static sinter_status get_rows(void *user, const char *name, const ir_type *type, int64_t first,
                              int64_t rows, double *out)
{
   const pass_inputs *in = user;
   uint64_t seed = seed_of(name) + in->seed;
   int64_t n = ir_type_row(type);

   for (int64_t i = 0; i < rows; i++)
      fill_row(in, name, seed, type->dtype, first + i, n, out + i * n);
   return SINTER_ok;
}

static sinter_status get_weight(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   const pass_inputs *in = user;

   shape(user, type, out);
   if (type->rank >= 2)
      return get_rows(user, name, type, 0, count(out) / MAX(ir_type_row(type), 1), out->data);
   fill_vector(seed_of(name) + in->seed, count(out), out->data);
   return SINTER_ok;
}

static sinter_status get_param(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   const pass_inputs *in = user;
   uint64_t seed = seed_of(name) + in->seed;
   bool is_float = dtype_infos[type->dtype].kind == DTYPE_FLOAT;

   shape(in, type, out);
   int64_t n = count(out), row = out->rank && out->dim[0] ? n / out->dim[0] : 1;

   for (int64_t i = 0; i < n; i++) {
      double z = normal(seed, (uint64_t)i);

      z = is_float ? probe_number(in, type->dtype, i / row, i % row, z) : 9 * z;
      out->data[i] = dtype_round(type->dtype, z);
   }
   return SINTER_ok;
}

static double *random_kv(const pass_inputs *in, int64_t layer, uint32_t which, const ir_kv *kv)
{
   int64_t row = kv->heads * kv->width;
   double *data = arena_array(in->a, double, (size_t)(kv->capacity * row) + 1);
   uint64_t seed = seed_of("kv") + in->seed + (uint64_t)layer * 8 + which;

   /* Rounded to half precision, so that a state has the same contents however it is stored. */
   for (int64_t i = 0; i < PASS_EXEC_HISTORY * row; i++)
      data[i] = dtype_round(DT_f16, normal(seed, (uint64_t)i));
   return data;
}

static ir_kv *get_state(void *user, int64_t layer, const ir_type *type)
{
   pass_inputs *in = user;

   for (uint32_t i = 0; i < in->num_states; i++)
      if (in->states[i].layer == layer && in->states[i].kind == type->state)
         return in->states[i].kv;
   if (in->num_states == PASS_EXEC_STATES)
      return NULL;
   ir_kv *kv = arena_new(in->a, ir_kv);

   kv->heads = ir_dim_const(type->dim[0]);
   kv->width = ir_state_width(type);
   kv->capacity = PASS_EXEC_HISTORY + in->rows;
   kv->num_seqs = (uint32_t)in->seqs;
   kv->k = arena_array(in->a, double *, PASS_EXEC_SEQS);
   if (ir_state_infos[type->state].rows == 2)
      kv->v = arena_array(in->a, double *, PASS_EXEC_SEQS);
   for (uint32_t s = 0; s < kv->num_seqs; s++) {
      kv->k[s] = random_kv(in, layer, 2 * s, kv);
      if (kv->v)
         kv->v[s] = random_kv(in, layer, 2 * s + 1, kv);
   }
   in->states[in->num_states].layer = layer;
   in->states[in->num_states].kind = type->state;
   return in->states[in->num_states++].kv = kv;
}

/* ---- the step ---- */

static int64_t clamp(int64_t v, const ir_range *r)
{
   return r->used ? MAX(MIN(v, r->max), r->min) : v;
}

/* Embedding tables by name; the smallest one bounds the token ids. */
static int64_t find_tables(pass_inputs *in, const ir_func *f)
{
   int64_t rows = 1 << 20;

   ir_op_foreach (f, op) {
      if (op->code != IR_OP_embed)
         continue;
      const ir_op *table = op->operands[1]->def;

      rows = MIN(rows, ir_dim_const(op->operands[1]->type.dim[0]));
      if (in->num_tables < countof(in->tables))
         in->tables[in->num_tables++] = ir_attr_s(table, IR_ATTR_name, "");
   }
   return rows;
}

static void add_rope(pass_inputs *in, ir_tensor *tables, const ir_op *op)
{
   int64_t index = ir_attr_i(op, IR_ATTR_index, 0);

   if (ir_attr_i(op, IR_ATTR_field, -1) != IR_META_rope || index < 0 || index >= MAX_ROPES)
      return;
   ir_tensor *t = &tables[index];

   shape(in, &op->results[0]->type, t);
   for (int64_t i = 0, n = t->dim[1]; i < count(t); i++) {
      int64_t k = i % n, half = n / 2;
      double angle = 3 * normal(77 + (uint64_t)index, (uint64_t)(i / n * half + k % half));

      t->data[i] = dtype_round(DT_f32, k < half ? cos(angle) : sin(angle));
   }
   in->step.num_rope = MAX(in->step.num_rope, (uint32_t)index + 1);
}

/* Pixels, features and weights of corners, as wide as the function reads them. */
static void add_floats(pass_inputs *in, const ir_op *op)
{
   const ir_type *type = &op->results[0]->type;
   ir_meta_field field = (ir_meta_field)ir_attr_i(op, IR_ATTR_field, -1);
   const float **to = field == IR_META_patches          ? &in->step.patches
                      : field == IR_META_corner_weights ? &in->step.corner_weights
                      : field == IR_META_features       ? &in->step.features
                                                        : NULL;
   ir_tensor t;

   if (!to)
      return;
   shape(in, type, &t);
   int64_t n = count(&t), row = MAX(ir_type_row(type), 1);
   float *data = arena_array(in->a, float, (size_t)n + 1);
   for (int64_t i = 0; i < n; i++)
      data[i] = (float)probe_number(in, DT_f32, i / row, i % row,
                                    normal(91 + (uint64_t)field + in->seed, (uint64_t)i));
   *to = data;
}

enum { CORNERS = 4 };

/* Rows that the function takes from a wanted one on, side by side. */
static int64_t rows_taken(const ir_func *f)
{
   int64_t most = 1;

   ir_op_foreach (f, op)
      if (op->code == IR_OP_take_rows)
         most = MAX(most, ir_attr_i(op, IR_ATTR_size, 1));
   return most;
}

/* last: the last row that may be wanted. */
static void fill_rows(pass_inputs *in, int64_t wanted, int64_t last, int64_t vocab)
{
   int32_t *ids = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *positions = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *seq_of = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *rows = arena_array(in->a, int32_t, (size_t)wanted + 1);
   int32_t *next = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *ends = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *corners = arena_array(in->a, int32_t, (size_t)in->rows * CORNERS + 1);
   bool *writes = arena_array(in->a, bool, (size_t)in->rows + 1);
   int64_t split = (in->rows + in->seqs - 1) / in->seqs;

   for (int64_t t = 0; t < in->rows; t++) {
      ids[t] = (int32_t)((7 * t + 3) % vocab);
      seq_of[t] = t >= split;
      positions[t] = (int32_t)(PASS_EXEC_HISTORY + (t >= split ? t - split : t));
      ends[t] = (int32_t)(PASS_EXEC_HISTORY + (t >= split ? in->rows - split : split) - 1);
      next[t] = t + 1 < in->rows && t + 1 != split ? (int32_t)((7 * (t + 1) + 3) % vocab) : 0;
      for (int64_t c = 0; c < CORNERS; c++)
         corners[t * CORNERS + c] = (int32_t)((5 * t + 3 * c) % vocab);
      writes[t] = in->probe != PASS_PROBE_hidden || t % 2;
   }
   for (int64_t r = 0; r < wanted; r++)
      rows[r] = (int32_t)(last + 1 - wanted + r);
   in->step.token_ids = ids;
   in->step.next_ids = next;
   in->step.ends = ends;
   in->step.corners = corners;
   in->step.positions = positions;
   in->step.seq_of = seq_of;
   in->step.rows = rows;
   in->step.writes = writes;
}

void pass_inputs_make(pass_inputs *in, arena *a, const ir_func *f, int64_t rows, pass_probe probe,
                      uint64_t seed)
{
   ir_tensor *ropes = arena_array(a, ir_tensor, MAX_ROPES);

   *in = (pass_inputs){.a = a, .probe = probe, .seed = seed};
   in->env = (ir_env){in, get_weight, get_rows, get_param, get_state};
   in->rows = clamp(rows, &f->range[SYM_T]);
   in->seqs = MAX(MIN(clamp(PASS_EXEC_SEQS, &f->range[SYM_S]), PASS_EXEC_SEQS), 1);
   int64_t last = in->rows - rows_taken(f);
   int64_t wanted = MIN(clamp(MIN(2, in->rows), &f->range[SYM_R]), MAX(last + 1, 0));

   for (int s = 0; s < SYM_COUNT; s++)
      in->step.sym[s] = clamp(1, &f->range[s]);
   in->step.sym[SYM_T] = in->rows;
   in->step.sym[SYM_R] = wanted;
   in->step.sym[SYM_S] = in->seqs;
   fill_rows(in, wanted, last, find_tables(in, f));
   in->step.rope = ropes;
   ir_op_foreach (f, op) {
      if (op->code == IR_OP_meta) {
         add_rope(in, ropes, op);
         add_floats(in, op);
      }
      if (op->code == IR_OP_state)
         (void)get_state(in, ir_attr_i(op, IR_ATTR_layer, 0), &op->results[0]->type);
   }
}
