/* run.h - runs an opened model on the reference evaluator: the interpreter's leaves and a step over
 * one sequence. */
#ifndef TESTS_MODELS_RUN_H
#define TESTS_MODELS_RUN_H

#include "golden.h"

#include "base/quant.h"
#include "ir/eval.h"
#include "models/model.h"

enum { RUN_CAPACITY = 160 };

/* A value to keep, by its name. */
typedef struct run_trace {
   const char *name;
   ir_tensor value;
} run_trace;

typedef struct run {
   arena *a;
   model *m;
   ir_kv *kv; /* per layer and kind of state */
   int64_t stored, prompt;
   ir_eval_mode mode; /* f64 unless set */
   run_trace *traces;
   size_t num_traces;
} run;

static inline sinter_status run_rows(void *user, const char *name, const ir_type *type,
                                     int64_t first, int64_t count, double *out)
{
   run *r = user;
   const model_tensor *t = map_get(&r->m->by_name, name);
   uint64_t row = t->dim[t->rank - 1];

   cr_assert_eq(t->dtype, type->dtype, "%s", name);
   float *f = arena_alloc(r->a, row * sizeof *f);
   void *scratch = arena_alloc(r->a, model_tensor_row_bytes(t));
   for (int64_t i = 0; i < count; i++) {
      quant_to_f32(t->dtype, model_tensor_row(t, (uint64_t)(first + i), scratch), row, f);
      for (uint64_t k = 0; k < row; k++)
         out[(uint64_t)i * row + k] = f[k];
   }
   return SINTER_ok;
}

static inline sinter_status run_weight(void *user, const char *name, const ir_type *type,
                                       ir_tensor *out)
{
   run *r = user;
   int64_t n = 1;

   *out = (ir_tensor){.rank = type->rank};
   for (uint32_t d = 0; d < type->rank; d++)
      n *= out->dim[d] = ir_dim_const(type->dim[d]);
   out->data = arena_alloc(r->a, (size_t)n * sizeof(double));
   return run_rows(user, name, type, 0, n / out->dim[type->rank - 1], out->data);
}

static inline sinter_status run_param(void *user, const char *name, const ir_type *type,
                                      ir_tensor *out)
{
   (void)user;
   (void)type;
   (void)out;
   return base_fail(SINTER_failed, name, "", "a model has no parameters");
}

static inline ir_kv *run_state(void *user, int64_t layer, const ir_type *type)
{
   return &((run *)user)->kv[layer * IR_STATE_COUNT + type->state];
}

static inline void run_init(run *r, arena *a, model *m)
{
   *r = (run){.a = a, .m = m};
   r->kv = arena_array(a, ir_kv, (size_t)m->info.layers * IR_STATE_COUNT);
   for (ir_op *op = m->f->first; op; op = op->next) {
      if (op->code != IR_OP_state)
         continue;
      const ir_type *t = &op->results[0]->type;
      ir_kv *kv = run_state(r, ir_attr_i(op, IR_ATTR_layer, -1), t);
      kv->heads = ir_dim_const(t->dim[0]);
      kv->width = ir_state_width(t);
      kv->capacity = RUN_CAPACITY;
      kv->num_seqs = 1;
      kv->k = arena_array(a, double *, 1);
      kv->v = arena_array(a, double *, 1);
      kv->k[0] = arena_array(a, double, (size_t)(kv->heads * kv->width * RUN_CAPACITY));
      kv->v[0] = arena_array(a, double, (size_t)(kv->heads * kv->width * RUN_CAPACITY));
   }
}

static inline ir_tensor run_rope(const run *r, const rope_spec *spec, const int32_t *positions,
                                 int64_t t)
{
   ir_tensor out = {.rank = 2, .dim = {t, spec->width}};
   double inv[ROPE_MAX_WIDTH / 2], scale;
   uint32_t n = spec->width / 2;

   out.data = arena_array(r->a, double, (size_t)(t * spec->width));
   for (int64_t i = 0; i < t; i++) {
      double p = positions[i];
      rope_inv_freq(spec, p < (double)r->prompt ? (double)r->prompt : p + 1, inv, &scale);
      for (uint32_t k = 0; k < n; k++) {
         out.data[i * spec->width + k] = cos(p * inv[k]) * scale;
         out.data[i * spec->width + n + k] = sin(p * inv[k]) * scale;
      }
   }
   return out;
}

static inline void run_keep(void *user, const ir_value *v, const ir_tensor *t)
{
   run *r = user;
   int64_t n = 1;

   for (uint32_t d = 0; d < t->rank; d++)
      n *= t->dim[d];
   for (size_t i = 0; i < r->num_traces && v->name; i++)
      if (strcmp(v->name, r->traces[i].name) == 0) {
         r->traces[i].value = *t;
         r->traces[i].value.data = arena_copy(r->a, t->data, (size_t)n * sizeof(double));
      }
}

/* Logits of t new tokens behind those already stored: f64[t, V], all rows. The first call sets the
 * prompt length. */
static inline ir_tensor run_step(run *r, const int32_t *ids, int64_t t)
{
   int32_t *pos = arena_array(r->a, int32_t, (size_t)t),
           *rows = arena_array(r->a, int32_t, (size_t)t);
   int32_t *seq = arena_array(r->a, int32_t, (size_t)t);
   ir_tensor ropes[2];
   ir_step step = {.token_ids = ids,
                   .positions = pos,
                   .seq_of = seq,
                   .rows = rows,
                   .num_rope = r->m->num_ropes,
                   .rope = ropes};
   ir_env env = {r, run_weight, run_rows, run_param, run_state};
   ir_tensor *results = arena_array(r->a, ir_tensor, r->m->f->returns.count);

   if (!r->prompt)
      r->prompt = t;
   for (int64_t i = 0; i < t; i++) {
      pos[i] = (int32_t)(r->stored + i);
      rows[i] = (int32_t)i;
   }
   step.sym[SYM_T] = step.sym[SYM_R] = t;
   step.sym[SYM_S] = 1;
   for (uint32_t i = 0; i < r->m->num_ropes; i++)
      ropes[i] = run_rope(r, &r->m->ropes[i], pos, t);
   cr_assert_eq(ir_eval_run(r->a, r->m->f, r->mode, &step, &env, results, run_keep, r), SINTER_ok,
                "%s", sinter_error());
   r->stored += t;
   return results[0];
}

static inline int32_t run_argmax(const double *logits, int64_t n)
{
   int32_t best = 0;

   for (int64_t i = 1; i < n; i++)
      if (logits[i] > logits[best])
         best = (int32_t)i;
   return best;
}

static inline model *run_open(arena *a, const char *path)
{
   model_options options = {.max_rows = 512, .max_wanted = 512, .max_sequences = 1};
   model *m = NULL;

   cr_assert_eq(model_open(a, path, &options, &m), SINTER_ok, "%s", sinter_error());
   return m;
}

#endif
