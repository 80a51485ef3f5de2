/* exec.c - the runs: two functions, two modes, all probes; the verdict is exec_rule.c's. */
#include "exec.h"
#include "run.h"

#include <stdio.h>

enum { ROWS = 6, SEEDS = 8, SEEDS_MAX_OPS = 200, MAX_RETURNS_POOLED = 16 };

/* Everything a run leaves behind: the returned tensors, then k and v of every state; and, when
 * asked for, every value by its id. */
typedef struct outcome {
   uint32_t num, num_returns;
   ir_tensor *t;
   ir_tensor *values;
   uint32_t num_values;
   arena *a;
} outcome;

/* One step that both functions take. */
typedef struct setting {
   pass_probe probe;
   int64_t rows;
   uint64_t seed;
} setting;

static void keep(void *user, const ir_value *v, const ir_tensor *t)
{
   outcome *o = user;

   if (!t->data || v->id >= o->num_values || v->def->code == IR_OP_weight)
      return;
   o->values[v->id] = *t;
   o->values[v->id].data =
      arena_copy(o->a, t->data, (size_t)MAX(pass_tensor_count(t), 1) * sizeof(double));
}

static sinter_status run(arena *a, const ir_func *f, ir_eval_mode mode, const setting *s,
                         bool traced, outcome *out)
{
   pass_inputs *in = arena_new(a, pass_inputs);
   size_t n = f->returns.count;

   pass_inputs_make(in, a, f, s->rows, s->probe, s->seed);
   *out = (outcome){.num_returns = (uint32_t)n, .num = (uint32_t)n, .a = a};
   if (traced) {
      out->num_values = f->num_values;
      out->values = arena_array(a, ir_tensor, f->num_values + 1);
   }
   out->t = arena_array(a, ir_tensor, n + 2 * PASS_EXEC_SEQS * in->num_states + 1);
   SINTER_TRY(ir_eval_run(a, f, mode, &in->step, &in->env, out->t, traced ? keep : NULL, out));
   for (uint32_t i = 0; i < in->num_states; i++) {
      const ir_kv *kv = in->states[i].kv;
      ir_tensor t = {.rank = 3, .dim = {kv->capacity, kv->heads, kv->width}};

      for (uint32_t seq = 0; seq < kv->num_seqs; seq++)
         for (uint32_t k = 0; k < (kv->v ? 2u : 1u); k++) {
            t.data = k ? kv->v[seq] : kv->k[seq];
            out->t[out->num++] = t;
         }
   }
   return SINTER_ok;
}

/* before in f64, before declared, after in f64, after declared. */
static sinter_status run_four(arena *a, const ir_func *const f[2], const setting *s, bool traced,
                              outcome o[4])
{
   for (int i = 0; i < 4; i++)
      SINTER_TRY(run(a, f[i / 2], i & 1 ? IR_EVAL_declared : IR_EVAL_f64, s, traced, &o[i]));
   return SINTER_ok;
}

static bool same_shape(const ir_tensor *x, const ir_tensor *y)
{
   bool same = x->rank == y->rank && !x->data == !y->data;

   for (uint32_t i = 0; same && i < x->rank; i++)
      same = x->dim[i] == y->dim[i];
   return same;
}

static dtype type_of(const ir_func *f, uint32_t result)
{
   return result < f->returns.count ? f->returns.data[result]->type.dtype : DT_f32;
}

/* ---- all settings ---- */

typedef struct verdict {
   arena *a;
   text_buf *why;
   pass_rounding rounding;
   pass_errors pooled[MAX_RETURNS_POOLED];
   bool same;
} verdict;

const char *pass_numbers(arena *a, double got, const char *between, double want)
{
   const char *x = arena_printf(a, "%.9g", got), *y = arena_printf(a, "%.9g", want);

   if (strcmp(x, y) != 0)
      return arena_printf(a, "%s%s%s", x, between, y);
   return arena_printf(a, "%.17g%s%.17g (equal but for rounding; the rule asks for the same bits)",
                       got, between, want);
}

static void differ(verdict *v, uint32_t i, const setting *s, const pass_finding *f)
{
   text_printf(v->why, "execution: result %u, element %lld, %s inputs: %s: %s\n", i,
               (long long)f->element, s ? pass_probe_names[s->probe] : "all", f->what,
               pass_numbers(v->a, f->got, " against ", f->want));
   v->same = false;
}

/* Whether errors may not grow, but bits may change. */
static bool is_bounded(pass_rounding r)
{
   return r == PASS_ROUND_FEWER || r == PASS_REORDER;
}

static void judge(verdict *v, const ir_func *before, const setting *s, const outcome o[4],
                  uint32_t i)
{
   const pass_four four = {&o[0].t[i], &o[1].t[i], &o[2].t[i], &o[3].t[i], type_of(before, i)};
   const dtype_info *t = &dtype_infos[four.type];

   if (!same_shape(four.before, four.after)) {
      const pass_finding f = {"the shape changed", 0, 0, 0};
      differ(v, i, s, &f);
      return;
   }
   if (!four.before->data)
      return;
   pass_finding f = pass_rule_check(&four, v->rounding);

   if (f.what)
      differ(v, i, s, &f);
   else if (is_bounded(v->rounding) && s->probe == PASS_PROBE_normal && t->bytes > 1 &&
            t->kind == DTYPE_FLOAT && i < MAX_RETURNS_POOLED)
      pass_errors_add(v->a, &v->pooled[i], &four);
}

static sinter_status compare(const ir_func *const f[2], const setting *s, verdict *v)
{
   outcome o[4];

   SINTER_TRY_IN("execution", run_four(v->a, f, s, false, o));
   if (o[0].num != o[2].num) {
      text_printf(v->why, "execution: %u results and states, not %u\n", o[2].num, o[0].num);
      v->same = false;
      return SINTER_ok;
   }
   for (uint32_t i = 0; i < o[0].num; i++)
      judge(v, f[0], s, o, i);
   return SINTER_ok;
}

static bool writes_state(const ir_func *f)
{
   ir_op_foreach (f, op)
      if (ir_op_infos[op->code].props & IR_MUTATES)
         return true;
   return false;
}

/* One row, then the probes with several; more draws of ordinary numbers where errors are compared.
 */
static uint32_t list_settings(const ir_func *f, pass_rounding rounding, uint32_t probes,
                              setting *out)
{
   uint32_t n = 0, seeds = is_bounded(rounding) && f->num_ops < SEEDS_MAX_OPS ? SEEDS : 1;

   if (probes == PASS_PROBES_ALL)
      out[n++] = (setting){PASS_PROBE_normal, 1, 0};
   for (uint32_t i = 0; i < seeds; i++)
      out[n++] = (setting){PASS_PROBE_normal, ROWS, i};
   for (pass_probe p = PASS_PROBE_normal + 1; p < PASS_PROBE_COUNT; p++)
      if (probes >> p & 1 && (p != PASS_PROBE_hidden || writes_state(f)))
         out[n++] = (setting){p, ROWS, 0};
   return n;
}

sinter_status pass_exec_probe(arena *a, const ir_func *before, const ir_func *after,
                              pass_rounding rounding, uint32_t probes, text_buf *why,
                              bool *out_same)
{
   const ir_func *const f[2] = {before, after};
   setting settings[SEEDS + PASS_PROBE_COUNT + 1];
   verdict *v = arena_new(a, verdict);
   uint32_t n = list_settings(before, rounding, probes, settings);

   *v = (verdict){.a = a, .why = why, .rounding = rounding, .same = true};
   for (uint32_t i = 0; i < n && v->same; i++)
      SINTER_TRY(compare(f, &settings[i], v));
   for (uint32_t i = 0; i < MAX_RETURNS_POOLED && v->same; i++) {
      pass_finding found = pass_errors_check(&v->pooled[i]);

      if (found.what)
         differ(v, i, NULL, &found);
   }
   *out_same = v->same;
   return SINTER_ok;
}

sinter_status pass_exec_compare(arena *a, const ir_func *before, const ir_func *after,
                                pass_rounding rounding, text_buf *why, bool *out_same)
{
   return pass_exec_probe(a, before, after, rounding, PASS_PROBES_ALL, why, out_same);
}

/* ---- which experts are chosen ---- */

static bool is_choice(const ir_value *v)
{
   while (ir_is_alias(v->def))
      v = v->def->operands[0];
   return v->def->code == IR_OP_route && v->result == 0;
}

sinter_status pass_exec_agreement(arena *a, const ir_func *before, const ir_func *after,
                                  pass_agreement *sum)
{
   const ir_func *const f[2] = {before, after};
   bool any = false;

   for (size_t i = 0; i < before->returns.count; i++)
      any |= is_choice(before->returns.data[i]);
   for (uint64_t seed = 0; any && seed < SEEDS; seed++) {
      const setting s = {PASS_PROBE_normal, ROWS, seed};
      outcome o[4];

      SINTER_TRY_IN("execution", run_four(a, f, &s, false, o));
      for (uint32_t i = 0; i < o[0].num_returns; i++) {
         const pass_four four = {&o[0].t[i], &o[1].t[i], &o[2].t[i], &o[3].t[i], DT_i32};

         if (is_choice(before->returns.data[i]) && four.before->data)
            (void)pass_agreement_add(sum, &four);
      }
   }
   return SINTER_ok;
}

/* ---- the first value out of contract ---- */

static void set_spot(pass_spot *out, const char *value, const ir_tensor *t, const pass_finding *f,
                     const setting *s)
{
   int64_t rest = f->element;

   *out = (pass_spot){.found = true,
                      .value = value,
                      .rank = t->rank,
                      .got = f->got,
                      .want = f->want,
                      .what = f->what,
                      .probe = s->probe,
                      .rows = s->rows};
   for (uint32_t i = t->rank; i-- > 0; rest /= MAX(t->dim[i], 1))
      out->index[i] = rest % MAX(t->dim[i], 1);
}

static bool check_value(const ir_value *v, dtype was, const outcome o[4], pass_rounding rounding,
                        pass_finding *out)
{
   pass_four four = {NULL, NULL, NULL, NULL, was};
   const ir_tensor **to[] = {&four.before_f64, &four.before, &four.after_f64, &four.after};

   for (int i = 0; i < 4; i++) {
      if (v->id >= o[i].num_values || !o[i].values[v->id].data)
         return false;
      *to[i] = &o[i].values[v->id];
   }
   if (!same_shape(four.before, four.after))
      *out = (pass_finding){"the shape changed", 0, 0, 0};
   else
      *out = pass_rule_check(&four, rounding);
   return out->what;
}

/* States have no value of their own in a run: their contents at its end. */
static bool check_states(arena *a, const outcome o[4], pass_rounding rounding, const setting *s,
                         pass_spot *out)
{
   for (uint32_t i = o[0].num_returns; i < MIN(o[0].num, o[2].num); i++) {
      const pass_four four = {&o[0].t[i], &o[1].t[i], &o[2].t[i], &o[3].t[i], DT_f32};
      pass_finding f = pass_rule_check(&four, rounding);
      uint32_t k = i - o[0].num_returns;

      if (f.what) {
         set_spot(out, arena_printf(a, "state %u %s", k / (2 * PASS_EXEC_SEQS), k & 1 ? "v" : "k"),
                  four.after, &f, s);
         return true;
      }
   }
   return false;
}

static sinter_status find_spot(arena *a, const ir_func *const f[2], pass_rounding rounding,
                               const setting *s, const dtype *types, pass_spot *out)
{
   outcome o[4];

   SINTER_TRY_IN("execution", run_four(a, f, s, true, o));
   ir_op_foreach (f[1], op)
      for (uint32_t i = 0; i < op->num_results; i++) {
         const ir_value *v = op->results[i];
         pass_finding found;

         if (v->id < o[0].num_values && check_value(v, types[v->id], o, rounding, &found)) {
            set_spot(out, pass_label(a, op), &o[3].values[v->id], &found, s);
            return SINTER_ok;
         }
      }
   (void)check_states(a, o, rounding, s, out);
   return SINTER_ok;
}

sinter_status pass_exec_first(arena *a, const ir_func *before, const ir_func *after,
                              pass_rounding rounding, pass_spot *out)
{
   const ir_func *const f[2] = {before, after};
   setting settings[SEEDS + PASS_PROBE_COUNT + 1];
   uint32_t n = list_settings(before, rounding, PASS_PROBES_ALL, settings);
   pass_types types = pass_types_of(a, before);

   *out = (pass_spot){0};
   for (uint32_t i = 0; i < n && !out->found; i++)
      SINTER_TRY(find_spot(a, f, rounding, &settings[i], types.dtype, out));
   return SINTER_ok;
}
