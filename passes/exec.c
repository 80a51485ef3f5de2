/* exec.c - random inputs for a function, two runs, one verdict.
 *
 * Every number is made from the name of the tensor and the element's index, so that both runs see
 * the same inputs however their leaves are ordered. Sequences start with HISTORY stored positions
 * each. */
#include "exec.h"

#include "ir/eval.h"

#include <math.h>
#include <stdio.h>

enum { HISTORY = 3, ROWS = 6, NUM_SEQS = 2, MAX_STATES = 64 };

typedef struct named_kv {
   int64_t layer;
   ir_state_kind kind;
   ir_kv *kv;
} named_kv;

typedef struct inputs {
   arena *a;
   ir_step step;
   int64_t rows, seqs;
   uint32_t num_states;
   named_kv states[MAX_STATES];
} inputs;

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

/* Vectors are near one (norms, biases); matrices keep the size of what they multiply. */
static double weight_at(const char *name, const ir_type *t, int64_t i)
{
   double z = normal(seed_of(name), (uint64_t)i);

   if (t->rank < 2)
      return (float)(1 + 0.25 * z);
   return dtype_infos[t->dtype].kind == DTYPE_FLOAT
             ? dtype_round(t->dtype, z / sqrt((double)ir_type_row(t)))
             : (double)(float)(z / sqrt((double)ir_type_row(t)));
}

/* ---- leaves ---- */

static void shape(const inputs *in, const ir_type *t, ir_tensor *out)
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

static sinter_status get_weight(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   shape(user, type, out);
   for (int64_t i = 0; i < count(out); i++)
      out->data[i] = weight_at(name, type, i);
   return SINTER_ok;
}

static sinter_status get_rows(void *user, const char *name, const ir_type *type, int64_t first,
                              int64_t rows, double *out)
{
   int64_t row = ir_type_row(type);

   (void)user;
   for (int64_t i = 0; i < rows * row; i++)
      out[i] = weight_at(name, type, first * row + i);
   return SINTER_ok;
}

static sinter_status get_param(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   uint64_t seed = seed_of(name);

   shape(user, type, out);
   for (int64_t i = 0; i < count(out); i++) {
      double z = normal(seed, (uint64_t)i);

      out->data[i] =
         dtype_round(type->dtype, dtype_infos[type->dtype].kind == DTYPE_FLOAT ? z : 9 * z);
   }
   return SINTER_ok;
}

static double *random_kv(const inputs *in, int64_t layer, uint32_t which, const ir_kv *kv,
                         dtype stored)
{
   int64_t row = kv->heads * kv->width;
   double *data = arena_array(in->a, double, (size_t)(kv->capacity * row) + 1);

   /* Rounded to half precision, so that a state has the same contents however it is stored. */
   for (int64_t i = 0; i < HISTORY * row; i++)
      data[i] =
         dtype_round(DT_f16, normal(seed_of("kv") + (uint64_t)layer * 8 + which, (uint64_t)i));
   (void)stored;
   return data;
}

static ir_kv *get_state(void *user, int64_t layer, const ir_type *type)
{
   inputs *in = user;

   for (uint32_t i = 0; i < in->num_states; i++)
      if (in->states[i].layer == layer && in->states[i].kind == type->state)
         return in->states[i].kv;
   if (in->num_states == MAX_STATES)
      return NULL;
   ir_kv *kv = arena_new(in->a, ir_kv);

   kv->heads = ir_dim_const(type->dim[0]);
   kv->width = ir_dim_const(type->dim[1]);
   kv->capacity = HISTORY + in->rows;
   kv->num_seqs = (uint32_t)in->seqs;
   kv->k = arena_array(in->a, double *, NUM_SEQS);
   kv->v = arena_array(in->a, double *, NUM_SEQS);
   for (uint32_t s = 0; s < kv->num_seqs; s++) {
      kv->k[s] = random_kv(in, layer, 2 * s, kv, type->dtype);
      kv->v[s] = random_kv(in, layer, 2 * s + 1, kv, type->dtype);
   }
   in->states[in->num_states++] = (named_kv){layer, type->state, kv};
   return kv;
}

/* ---- the step ---- */

static int64_t clamp(int64_t v, const ir_range *r)
{
   return r->used ? MAX(MIN(v, r->max), r->min) : v;
}

static int64_t smallest_table(const ir_func *f)
{
   int64_t rows = 1 << 20;

   ir_op_foreach (f, op)
      if (op->code == IR_OP_embed)
         rows = MIN(rows, ir_dim_const(op->operands[1]->type.dim[0]));
   return rows;
}

static void add_rope(inputs *in, ir_tensor *tables, const ir_op *op)
{
   int64_t index = ir_attr_i(op, IR_ATTR_index, 0);

   if (ir_attr_i(op, IR_ATTR_field, -1) != IR_META_rope || index < 0 || index >= 8)
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

static void fill_rows(inputs *in, int64_t wanted, int64_t vocab)
{
   int32_t *ids = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *positions = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *seq_of = arena_array(in->a, int32_t, (size_t)in->rows + 1);
   int32_t *rows = arena_array(in->a, int32_t, (size_t)wanted + 1);
   int64_t split = (in->rows + in->seqs - 1) / in->seqs;

   for (int64_t t = 0; t < in->rows; t++) {
      ids[t] = (int32_t)((7 * t + 3) % vocab);
      seq_of[t] = t >= split;
      positions[t] = (int32_t)(HISTORY + (t >= split ? t - split : t));
   }
   for (int64_t r = 0; r < wanted; r++)
      rows[r] = (int32_t)(in->rows - wanted + r);
   in->step.token_ids = ids;
   in->step.positions = positions;
   in->step.seq_of = seq_of;
   in->step.rows = rows;
}

static void make_inputs(inputs *in, arena *a, const ir_func *f, int64_t rows)
{
   ir_tensor *ropes = arena_array(a, ir_tensor, 8);

   *in = (inputs){.a = a};
   in->rows = clamp(rows, &f->range[SYM_T]);
   in->seqs = MAX(MIN(clamp(NUM_SEQS, &f->range[SYM_S]), NUM_SEQS), 1);
   int64_t wanted = MIN(clamp(MIN(2, in->rows), &f->range[SYM_R]), in->rows);

   for (int s = 0; s < SYM_COUNT; s++)
      in->step.sym[s] = clamp(1, &f->range[s]);
   in->step.sym[SYM_T] = in->rows;
   in->step.sym[SYM_R] = wanted;
   in->step.sym[SYM_S] = in->seqs;
   fill_rows(in, wanted, smallest_table(f));
   in->step.rope = ropes;
   ir_op_foreach (f, op)
      if (op->code == IR_OP_meta)
         add_rope(in, ropes, op);
}

/* ---- two runs ---- */

/* Everything a run leaves behind: the returned tensors, then k and v of every state. */
typedef struct outcome {
   uint32_t num;
   ir_tensor *t;
} outcome;

static sinter_status run(arena *a, const ir_func *f, ir_eval_mode mode, int64_t rows, outcome *out)
{
   inputs *in = arena_new(a, inputs);
   ir_env env = {in, get_weight, get_rows, get_param, get_state};
   size_t n = f->returns.count;

   make_inputs(in, a, f, rows);
   /* All states, read or not, in the order of the function. */
   ir_op_foreach (f, op)
      if (op->code == IR_OP_state)
         (void)get_state(in, ir_attr_i(op, IR_ATTR_layer, 0), &op->results[0]->type);
   out->t = arena_array(a, ir_tensor, n + 2 * NUM_SEQS * in->num_states + 1);
   SINTER_TRY(ir_eval_run(a, f, mode, &in->step, &env, out->t, NULL, NULL));
   out->num = (uint32_t)n;
   for (uint32_t i = 0; i < in->num_states; i++) {
      const ir_kv *kv = in->states[i].kv;
      ir_tensor t = {.rank = 3, .dim = {kv->capacity, kv->heads, kv->width}};

      for (uint32_t s = 0; s < 2 * kv->num_seqs; s++) {
         t.data = s & 1 ? kv->v[s / 2] : kv->k[s / 2];
         out->t[out->num++] = t;
      }
   }
   return SINTER_ok;
}

/* Root mean square of x - y (y NULL: of x) and how many elements differ by more than `step`. */
static double distance(const ir_tensor *x, const ir_tensor *y, double step, int64_t *out_far)
{
   double sum = 0;
   int64_t n = count(x);

   *out_far = 0;
   for (int64_t i = 0; i < n; i++) {
      double d = x->data[i] - (y ? y->data[i] : 0);

      sum += d * d;
      *out_far += !(fabs(d) <= step);
   }
   return n ? sqrt(sum / (double)n) : 0;
}

typedef struct verdict {
   text_buf *why;
   pass_rounding rounding;
   bool same;
} verdict;

static void differ(verdict *v, uint32_t i, const char *what, double a, double b)
{
   text_printf(v->why, "execution: result %u: %s: %.9g against %.9g\n", i, what, a, b);
   v->same = false;
}

static bool same_shape(const ir_tensor *x, const ir_tensor *y)
{
   bool same = x->rank == y->rank && !x->data == !y->data;

   for (uint32_t i = 0; same && i < x->rank; i++)
      same = x->dim[i] == y->dim[i];
   return same;
}

/* t: before in f64, before declared, after in f64, after declared. */
static void judge(verdict *v, uint32_t i, const ir_tensor *const t[4], bool integer)
{
   int64_t far;
   double size = distance(t[0], NULL, 0, &far);
   double was = distance(t[1], t[0], 0, &far), is = distance(t[3], t[0], 0, &far);

   if (v->rounding <= PASS_ROUND_FEWER && (distance(t[2], t[0], 0, &far), far))
      differ(v, i, "the f64 meaning changed, elements", (double)far, 0);
   if (v->rounding == PASS_EXACT && (distance(t[3], t[1], 0, &far), far))
      differ(v, i, "EXACT, but declared bits changed, elements", (double)far, 0);
   if (v->rounding == PASS_ROUND_FEWER && !integer && is > 1.05 * was + 1e-12 * size)
      differ(v, i, "ROUND_FEWER, but the error against f64 grew", is, was);
   if (v->rounding >= PASS_ROUND_MORE && !integer && !(is <= 0.03 * size))
      differ(v, i, "error against f64 above 3 % of the size", is, size);
   if (integer && (distance(t[3], t[1], 1, &far), far))
      differ(v, i, "codes are more than one step off, elements", (double)far, 0);
}

static sinter_status compare_rows(arena *a, const ir_func *const f[2], int64_t rows, verdict *v)
{
   outcome o[4];

   for (int i = 0; i < 4; i++)
      SINTER_TRY(run(a, f[i / 2], i & 1 ? IR_EVAL_declared : IR_EVAL_f64, rows, &o[i]));
   if (o[0].num != o[2].num) {
      differ(v, 0, "number of results and states", o[2].num, o[0].num);
      return SINTER_ok;
   }
   for (uint32_t i = 0; i < o[0].num; i++) {
      const ir_tensor *const t[4] = {&o[0].t[i], &o[1].t[i], &o[2].t[i], &o[3].t[i]};
      bool is_return = i < f[0]->returns.count;
      dtype type = is_return ? f[0]->returns.data[i]->type.dtype : DT_f32;

      if (!same_shape(t[0], t[2]))
         differ(v, i, "the shape changed", t[2]->rank, t[0]->rank);
      else if (t[0]->data)
         judge(v, i, t, dtype_infos[type].kind == DTYPE_INT);
   }
   return SINTER_ok;
}

sinter_status pass_exec_compare(arena *a, const ir_func *before, const ir_func *after,
                                pass_rounding rounding, text_buf *why, bool *out_same)
{
   const ir_func *const f[2] = {before, after};
   verdict v = {why, rounding, true};

   SINTER_TRY_IN("execution", compare_rows(a, f, 1, &v));
   SINTER_TRY_IN("execution", compare_rows(a, f, ROWS, &v));
   *out_same = v.same;
   return SINTER_ok;
}
