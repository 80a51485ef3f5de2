// LINK: ir base
/* The meanings of routing, permutation, grouped matmul and combination: recorded routers, values by
 * hand, and inputs that have made routers of others fail. */
#include "ir_support.h"
#include "recorded.h"

#include "ir/eval.h"

#include <math.h>

TestSuite(moe_ref, .init = open_arena, .fini = close_arena);

typedef struct input {
   const char *name;
   const double *data;
} input;

static const input *the_inputs;
static const ir_step *the_step;

static sinter_status give(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   const input *in = the_inputs;

   (void)user;
   while (in->name && strcmp(in->name, name) != 0)
      in++;
   cr_assert(in->name, "no input %s", name);
   *out = (ir_tensor){.rank = type->rank, .data = (double *)in->data};
   for (uint32_t i = 0; i < type->rank; i++)
      out->dim[i] = ir_dim_eval(type->dim[i], the_step->sym);
   return SINTER_ok;
}

static sinter_status give_rows(void *user, const char *name, const ir_type *type, int64_t first,
                               int64_t count, double *out)
{
   ir_tensor t;
   const int64_t row = ir_type_row(type);

   cr_assert_eq(give(user, name, type, &t), SINTER_ok);
   memcpy(out, t.data + first * row, (size_t)(count * row) * sizeof *out);
   return SINTER_ok;
}

/* Runs the text's function for `rows` rows; inputs end with a NULL name. */
static void run(const char *text, int64_t rows, const input *inputs, ir_tensor *out)
{
   const ir_env env = {.weight = give, .weight_rows = give_rows, .param = give};
   ir_step step = {.sym = {[SYM_T] = rows}};

   the_inputs = inputs;
   the_step = &step;
   cr_assert_eq(ir_eval_run(the_arena, parse_one(text), IR_EVAL_f64, &step, &env, out, NULL, NULL),
                SINTER_ok, "%s\n%s", sinter_error(), text);
}

static const char *route_text(int64_t experts, const char *attrs, bool bias)
{
   return arena_printf(the_arena,
                       "func @r(T in 1..8) {\n"
                       "  %%x = param {name=\"x\"} : f32[T,%lld]\n"
                       "  %%b = param {name=\"b\"} : f32[%lld]\n"
                       "  %%i, %%w = route %%x%s {%s}\n"
                       "  return %%i, %%w, %%b\n}\n",
                       (long long)experts, (long long)experts, bias ? ", %b" : "", attrs);
}

/* ---- recorded routers ---- */

static double number(const json *j, const char *key, double otherwise)
{
   const json *v = json_get(j, key);

   return !v ? otherwise : v->kind == JSON_bool ? v->boolean : v->number;
}

static const double *numbers(const json *j)
{
   double *out = arena_array(the_arena, double, j->len + 1);

   for (size_t i = 0; i < j->len; i++)
      out[i] = j->items[i]->number;
   return out;
}

static const char *attrs_of(const json *c)
{
   const char *score = json_get(c, "score")->string;
   text_buf t = {.a = the_arena};
   int groups = (int)number(c, "groups", 0);

   if (strcmp(score, "sqrtsoftplus") == 0)
      score = "sqrt_softplus";
   if (strcmp(score, "top1->sigmoid") == 0)
      score = "none";
   text_printf(&t, "k=%d, score=\"%s\", norm=%d, scale=%g", (int)number(c, "k", 0), score,
               number(c, "renorm", 0) != 0, number(c, "scale", 1));
   if (groups)
      text_printf(&t, ", groups=%d, kept=%d, group_top=%d", groups, (int)number(c, "topk_group", 0),
                  json_get(c, "bias") ? 2 : 1);
   return t.data;
}

/* Recorded ids are in order of selection, ours ascend: each recorded one is looked up. */
static void check_row(const char *name, const json *ids, const json *weights, const double *got_ids,
                      const double *got, bool is_sigmoid)
{
   for (size_t j = 0; j < ids->len; j++) {
      size_t at = 0;
      cr_assert(j == 0 || got_ids[j] > got_ids[j - 1], "%s: ids do not ascend", name);
      while (at < ids->len && got_ids[at] != ids->items[j]->number)
         at++;
      cr_assert_lt(at, ids->len, "%s: expert %g is not selected", name, ids->items[j]->number);
      double w = is_sigmoid ? 1 / (1 + exp(-got[at])) : got[at];
      /* recorded in 7 decimals, computed in f32 */
      cr_expect(fabs(w - weights->items[j]->number) <= 2e-7 * fmax(1, fabs(w)) + 5e-8,
                "%s: weight %.9g, not %.9g", name, w, weights->items[j]->number);
   }
}

/* Kills: a wrong score, selection without bias, weights with bias, max for top-2 of a group, the
 * scale before the sum, a missing scale. */
Test(moe_ref, recorded)
{
   const json *j = recorded(the_arena, "router.json");
   const json *logits = json_get(j, "logits"), *cases = json_get(j, "cases");
   const int64_t rows = (int64_t)logits->len, experts = (int64_t)logits->items[0]->len;
   double *x = arena_array(the_arena, double, (size_t)(rows * experts));
   double *zero = arena_array(the_arena, double, (size_t)experts);

   for (int64_t t = 0; t < rows; t++)
      memcpy(x + t * experts, numbers(logits->items[t]), (size_t)experts * sizeof *x);
   cr_assert_gt(cases->len, 4);
   for (size_t i = 0; i < cases->len; i++) {
      const json *c = cases->items[i], *bias = json_get(c, "bias");
      const char *name = json_get(c, "name")->string;
      const input inputs[] = {{"x", x}, {"b", bias ? numbers(bias) : zero}, {0}};
      ir_tensor out[3];
      run(route_text(experts, attrs_of(c), bias != NULL), rows, inputs, out);
      for (int64_t t = 0; t < rows; t++)
         check_row(name, json_get(c, "topk_ids")->items[t], json_get(c, "topk_weights")->items[t],
                   out[0].data + t * out[0].dim[1], out[1].data + t * out[0].dim[1],
                   strcmp(json_get(c, "score")->string, "top1->sigmoid") == 0);
   }
}

/* ---- hard inputs ---- */

static void expect_route(const char *attrs, const double *x, const double *bias, const double *ids,
                         const double *weights, int k)
{
   const double zero[4] = {0};
   const input inputs[] = {{"x", x}, {"b", bias ? bias : zero}, {0}};
   ir_tensor out[3];

   run(route_text(4, attrs, bias != NULL), 1, inputs, out);
   for (int j = 0; j < k; j++) {
      cr_expect_eq(out[0].data[j], ids[j], "%s: id %d is %g", attrs, j, out[0].data[j]);
      cr_expect(out[1].data[j] == weights[j] || fabs(out[1].data[j] - weights[j]) < 1e-12,
                "%s: weight %d is %.17g", attrs, j, out[1].data[j]);
   }
}

#define D(...) ((const double[]){__VA_ARGS__})

/* Kills: a running maximum that starts at 0, ties to the higher id, NaN that wins or spreads,
 * infinities that make NaN, a division by a zero sum. */
Test(moe_ref, hard_inputs)
{
   const char *soft = "k=2, score=\"softmax\", norm=1";

   expect_route(soft, D(-900, -901, -900, -2000), NULL, D(0, 2), D(0.5, 0.5), 2);
   expect_route(soft, D(3, 3, 3, 3), NULL, D(0, 1), D(0.5, 0.5), 2);
   expect_route(soft, D(NAN, 1, NAN, 1), NULL, D(1, 3), D(0.5, 0.5), 2);
   expect_route(soft, D(NAN, NAN, NAN, NAN), NULL, D(0, 1), D(0.5, 0.5), 2);
   expect_route(soft, D(1, INFINITY, 2, INFINITY), NULL, D(1, 3), D(0.5, 0.5), 2);
   expect_route(soft, D(-INFINITY, -INFINITY, 0, -INFINITY), NULL, D(0, 2), D(0, 1), 2);
   expect_route("k=2, score=\"sigmoid\", norm=1, scale=2.5", D(-2000, -2000, -2000, -2000), NULL,
                D(0, 1), D(0, 0), 2);
   expect_route("k=1, score=\"none\"", D(-5, -4, -6, -7), NULL, D(1), D(-4), 1);
   expect_route("k=1, score=\"sqrt_softplus\"", D(NAN, 25, 0, 1), NULL, D(1), D(5), 1);
   expect_route("k=2, score=\"none\"", D(1, 2, 3, 4), D(10, 0, 10, 0), D(0, 2), D(1, 3), 2);
   /* an infinite bias of either sign, and a NaN sum of a group */
   expect_route("k=1, score=\"none\", groups=2, kept=1, group_top=2", D(0, 0, 0, 0),
                D(INFINITY, -INFINITY, 0, 1), D(3), D(0), 1);
}

/* Kills: groups judged by all members; the best expert of a group that is dropped. */
Test(moe_ref, groups)
{
   const char *base = "k=2, score=\"none\", groups=2, kept=1";

   expect_route(base, D(9, 0, 5, 6), NULL, D(0, 1), D(9, 0), 2);
   expect_route(arena_printf(the_arena, "%s, group_top=2", base), D(9, 0, 5, 6), NULL, D(2, 3),
                D(5, 6), 2);
   /* the rest of a kept group comes before a better expert elsewhere, even at -inf */
   expect_route(base, D(9, -INFINITY, 5, 6), NULL, D(0, 1), D(9, -INFINITY), 2);
}

/* Kills: weights of the neighbour's ids; a weight for an id that is not there. */
Test(moe_ref, route_weights)
{
   const input inputs[] = {{"x", D(1, 2, 3, 4, 4, 3, 2, 1)}, {"i", D(3, 0, 1, -1)}, {0}};
   ir_tensor out[1];

   run("func @w(T in 1..8) {\n  %x = param {name=\"x\"} : f32[T,4]\n"
       "  %i = param {name=\"i\"} : i32[T,2]\n"
       "  %w = route_weights %x, %i {norm=1, scale=2, score=\"none\"}\n  return %w\n}\n",
       2, inputs, out);
   const double want[] = {8.0 / 5, 2.0 / 5, 2, 0};
   for (int i = 0; i < 4; i++)
      cr_expect(fabs(out[0].data[i] - want[i]) < 1e-12, "weight %d is %g", i, out[0].data[i]);
}

/* ---- slots ---- */

#define EXPERTS_IR(x)                                                                              \
   "func @e(T in 1..8) {\n"                                                                        \
   "  %x = param {name=\"x\"} : f32[" x ",2]\n"                                                    \
   "  %i = param {name=\"i\"} : i32[T,2]\n"                                                        \
   "  %g = param {name=\"g\"} : f32[T,2]\n"                                                        \
   "  %w = weight {name=\"w\"} : f32[3,2,2]\n"                                                     \
   "  %o, %n = permute %i {experts=3}\n"                                                           \
   "  %y = moe_matmul %x, %o, %n, %w\n"                                                            \
   "  %c = combine %y, %g\n"                                                                       \
   "  return %o, %n, %y, %c\n}\n"

static void expect_all(const ir_tensor *t, const double *want, int n, const char *what)
{
   for (int i = 0; i < n; i++)
      cr_expect_eq(t->data[i], want[i], "%s: element %d is %g", what, i, t->data[i]);
}

/* Expert e multiplies by 10^e; its second output also swaps. Kills: an unstable order, offsets of
 * the wrong expert, results in sorted order, a slot without an expert that is not 0, sums over
 * neighbours' slots. */
Test(moe_ref, experts)
{
   const double w[] = {1, 0, 0, 1, 10, 0, 0, 10, 100, 0, 0, 100};
   const input inputs[] = {{"x", D(1, 2, 3, 4, 5, 6)},
                           {"i", D(2, 0, 1, -1, 0, 2)},
                           {"g", D(1, 2, 3, 4, 5, 6)},
                           {"w", w},
                           {0}};
   ir_tensor out[4];

   run(EXPERTS_IR("T"), 3, inputs, out);
   expect_all(&out[0], D(1, 4, 2, 0, 5, 3), 6, "order");
   expect_all(&out[1], D(0, 2, 3, 5), 4, "offsets");
   expect_all(&out[2], D(100, 200, 1, 2, 30, 40, 0, 0, 5, 6, 500, 600), 12, "y");
   expect_all(&out[3], D(102, 204, 90, 120, 3025, 3630), 6, "combine");
}

/* A row per slot: the second matmul of an expert. Kills: dividing by k again. */
Test(moe_ref, rows_per_slot)
{
   const double w[] = {1, 0, 0, 1, 10, 0, 0, 10, 100, 0, 0, 100};
   const input inputs[] = {
      {"x", D(1, 2, 3, 4, 5, 6, 7, 8)}, {"i", D(2, 0, 1, 2)}, {"g", D(1, 1, 1, 1)}, {"w", w}, {0}};
   ir_tensor out[4];

   run(EXPERTS_IR("2*T"), 2, inputs, out);
   expect_all(&out[2], D(100, 200, 3, 4, 50, 60, 700, 800), 8, "y");
}

/* ---- what is not valid ---- */

static void expect_invalid(const char *line, const char *why)
{
   text_buf report = {.a = the_arena};
   ir_func *f = parse_one(arena_printf(the_arena,
                                       "func @b(T in 1..8) {\n"
                                       "  %%x = param {name=\"x\"} : f32[T,6]\n"
                                       "  %%i = param {name=\"i\"} : i32[T,2]\n"
                                       "  %%o = param {name=\"o\"} : i32[2*T]\n"
                                       "  %%n = param {name=\"n\"} : i32[4]\n"
                                       "  %%w = weight {name=\"w\"} : f32[3,2,6]\n"
                                       "  %s\n  return %%x\n}\n",
                                       line));

   cr_expect(!ir_validate(f, &report), "%s is valid", line);
   cr_expect(report.data && strstr(report.data, why), "%s: %s", line, report.data);
}

/* Kills: a rule that takes shapes which the meaning would read past. */
Test(moe_ref, type_rules)
{
   expect_invalid("%a, %b = route %x {k=2, score=\"softmin\"}", "score must be");
   expect_invalid("%a, %b = route %x {k=7, score=\"softmax\"}", "k must be");
   expect_invalid("%a, %b = route %x {groups=4, k=1, score=\"softmax\"}", "must divide");
   expect_invalid("%a, %b = route %x {groups=3, k=3, kept=1, score=\"softmax\"}", "k must be");
   expect_invalid("%a, %b = route %x {group_top=3, groups=3, k=1, score=\"none\"}", "group_top");
   expect_invalid("%a, %b = route %x, %x {k=1, score=\"none\"}", "operand 1");
   expect_invalid("%a, %b = permute %i {experts=0}", "experts is out of range");
   expect_invalid("%a, %b = permute %x {experts=3}", "operand 0 must be integers");
   expect_invalid("%a = moe_matmul %x, %o, %i, %w", "offsets must be");
   expect_invalid("%a = moe_matmul %x, %n, %n, %w", "a row for each slot");
   expect_invalid("%a = combine %x, %x", "a weight for each row");
}
