// LINK: passes ir base
/* The rule by which a rewrite is judged, on numbers made by hand; and the inputs it is judged
 * on. */
#include "passes/exec.h"

#include <criterion/criterion.h>
#include <math.h>

static ir_tensor tensor(double *data, int64_t rows, int64_t cols)
{
   return (ir_tensor){.rank = 2, .dim = {rows, cols}, .data = data};
}

/* One row of four in four runs: before in f64, before, after in f64, after. */
typedef struct rule_case {
   const char *name;
   dtype type;
   pass_rounding rounding;
   double v[4][4];
   bool holds;
} rule_case;

static const rule_case cases[] = {
   {"equal bits",
    DT_f32,
    PASS_EXACT,
    {{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}},
    true},
   {"another bit",
    DT_f32,
    PASS_EXACT,
    {{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4.0000005}},
    false},
   {"another meaning",
    DT_f32,
    PASS_ROUND_FEWER,
    {{1, 2, 3, 4}, {1, 2, 3, 4.1}, {1, 2, 3, 4.1}, {1, 2, 3, 4}},
    false},
   {"less error",
    DT_f32,
    PASS_ROUND_FEWER,
    {{1, 2, 3, 4}, {1.1, 2.1, 3.1, 4.1}, {1, 2, 3, 4}, {1, 2, 3, 4.1}},
    true},
   {"much more error",
    DT_f32,
    PASS_ROUND_FEWER,
    {{1, 2, 3, 4}, {1.1, 2.1, 3.1, 4.1}, {1, 2, 3, 4}, {1.2, 2.2, 3.2, 4.2}},
    false},
   {"error of 1 %",
    DT_f32,
    PASS_ROUND_MORE,
    {{1, 1, 1, 1}, {1, 1, 1, 1}, {1.01, 1, 1, 1}, {1.01, 1.01, 1, 1}},
    true},
   {"error of 10 %",
    DT_f32,
    PASS_ROUND_MORE,
    {{1, 1, 1, 1}, {1, 1, 1, 1}, {1.1, 1.1, 1.1, 1.1}, {1.1, 1.1, 1.1, 1.1}},
    false},
   {"NaN where it was",
    DT_f32,
    PASS_EXACT,
    {{NAN, 1, 1, 1}, {NAN, 1, 1, 1}, {NAN, 1, 1, 1}, {NAN, 1, 1, 1}},
    true},
   {"NaN lost",
    DT_f32,
    PASS_ROUND_FEWER,
    {{NAN, 1, 1, 1}, {NAN, 1, 1, 1}, {NAN, 1, 1, 1}, {1, 1, 1, 1}},
    false},
   {"NaN quantised away",
    DT_f32,
    PASS_ROUND_MORE,
    {{NAN, 1, 1, 1}, {NAN, 1, 1, 1}, {0, 1, 1, 1}, {0, 1, 1, 1}},
    true},
   {"NaN from a neighbour",
    DT_f32,
    PASS_ROUND_MORE,
    {{NAN, 1, 1, 1}, {NAN, 1, 1, 1}, {NAN, 1, 1, 1}, {NAN, NAN, 1, 1}},
    false},
   {"tiny row flushed",
    DT_f32,
    PASS_RANGE_CHANGE,
    {{1e-9, 1e-9, 0, 0}, {1e-9, 1e-9, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}},
    true},
   {"tiny row flushed without leave",
    DT_f32,
    PASS_ROUND_MORE,
    {{1e-9, 1e-9, 0, 0}, {1e-9, 1e-9, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}},
    false},
   {"one code one step off",
    DT_i8,
    PASS_ROUND_FEWER,
    {{9, 9, 9, 9}, {9, 9, 9, 9}, {9, 9, 9, 9}, {9, 9, 9, 8}},
    true},
   {"two codes off",
    DT_i8,
    PASS_ROUND_FEWER,
    {{9, 9, 9, 9}, {9, 9, 9, 9}, {9, 9, 9, 9}, {9, 9, 8, 8}},
    false},
   {"a code two steps off",
    DT_i8,
    PASS_ROUND_MORE,
    {{9, 9, 9, 9}, {9, 9, 9, 9}, {9, 9, 9, 9}, {9, 9, 9, 7}},
    false},
   {"an e4m3 step",
    DT_f8e4m3,
    PASS_ROUND_FEWER,
    {{448, 16, 1, 1}, {448, 16, 1, 1}, {448, 16, 1, 1}, {416, 16, 1, 1}},
    true},
   {"two e4m3 steps",
    DT_f8e4m3,
    PASS_ROUND_FEWER,
    {{448, 16, 1, 1}, {448, 16, 1, 1}, {448, 16, 1, 1}, {384, 16, 1, 1}},
    false},
   {"e4m3 steps far below the largest",
    DT_f8e4m3,
    PASS_ROUND_FEWER,
    {{448, 16, 1, 1}, {448, 16, 1, 1}, {448, 16, 1, 1}, {448, 16, 1, 2}},
    true},
   {"the same experts in another order",
    DT_i32,
    PASS_ROUND_FEWER,
    {{1, 2, 5, 7}, {1, 2, 5, 7}, {1, 2, 5, 7}, {7, 5, 2, 1}},
    true},
   {"an expert that f64 does not choose",
    DT_i32,
    PASS_ROUND_FEWER,
    {{1, 2, 5, 7}, {1, 2, 5, 7}, {1, 2, 5, 7}, {1, 2, 5, 8}},
    false},
   {"an expert that f64 chooses and the declared run did not",
    DT_i32,
    PASS_ROUND_FEWER,
    {{1, 2, 5, 7}, {1, 2, 5, 8}, {1, 2, 5, 7}, {1, 2, 5, 7}},
    true},
};

/* Kills: a bound that is never reached; codes judged as numbers; a set judged by order; NaN taken
 * for a difference of zero. */
Test(exec_rule, judges_as_the_facts_say)
{
   for (size_t i = 0; i < countof(cases); i++) {
      ir_tensor t[4];

      for (int k = 0; k < 4; k++)
         t[k] = tensor((double *)(uintptr_t)cases[i].v[k], 1, 4);
      const pass_four four = {&t[0], &t[1], &t[2], &t[3], cases[i].type};
      pass_finding f = pass_rule_check(&four, cases[i].rounding);

      cr_expect_eq(!f.what, cases[i].holds, "%s: %s", cases[i].name, f.what ? f.what : "holds");
   }
}

/* Kills: an rms bound that passes what is 6 % worse everywhere; a percentile that one bad element
 * in a thousand cannot move. */
Test(exec_rule, errors_over_many_runs)
{
   enum { N = 2000 };
   static double exact[N], was[N], is[N];
   ir_tensor t[3] = {tensor(exact, 1, N), tensor(was, 1, N), tensor(is, 1, N)};
   const pass_four four = {&t[0], &t[1], &t[0], &t[2], DT_f32};
   const double growth[] = {1.04, 1.06};
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   for (int g = 0; g < 2; g++) {
      pass_errors e = {0};

      for (int i = 0; i < N; i++) {
         exact[i] = 1 + i % 7;
         was[i] = exact[i] + (i % 2 ? 1e-7 : -1e-7);
         is[i] = exact[i] + growth[g] * (was[i] - exact[i]);
      }
      pass_errors_add(a, &e, &four);
      cr_expect_eq(!pass_errors_check(&e).what, g == 0);
   }
   pass_errors e = {0};

   for (int i = 0; i < N; i++)
      is[i] = i % 500 ? exact[i] : exact[i] + 1e-6;
   for (int i = 0; i < N; i++)
      was[i] = exact[i] + 1e-6 / 16;
   pass_errors_add(a, &e, &four);
   cr_expect_str_eq(pass_errors_check(&e).what,
                    "the error at the 99.9th percentile grew by more than an ulp");
   arena_destroy(a);
}

static ir_func *parse(arena *a, const char *text)
{
   ir_module m = {0};

   cr_assert_eq(ir_parse(a, text, strlen(text), "text", &m), SINTER_ok, "%s", sinter_error());
   return m.funcs.data[0];
}

/* The inputs are what their names say. Kills: a probe that is another one; rows that are all
 * ordinary. */
Test(exec_inputs, probes)
{
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   ir_func *f =
      parse(a, "func @f(T in 1..8) {\n%x = param {name=\"x\"} : f32[T,64]\nreturn %x\n}\n");

   for (pass_probe p = 0; p < PASS_PROBE_COUNT; p++) {
      pass_inputs *in = arena_new(a, pass_inputs);
      ir_tensor t;

      pass_inputs_make(in, a, f, 6, p, 0);
      cr_assert_eq(in->env.param(in, "x", &f->returns.data[0]->type, &t), SINTER_ok);
      cr_expect_eq(t.dim[0], 6);
      cr_expect_eq(isnan(t.data[5 * 64]), p == PASS_PROBE_nan);
      cr_expect_not(isnan(t.data[4 * 64]));
      cr_expect_eq(t.data[1] == 0 && t.data[63] == 0, p == PASS_PROBE_tiny);
      cr_expect_eq(fabs(t.data[64 + 1]) < 1e-10, p == PASS_PROBE_tiny);
      cr_expect_eq(t.data[0] == 1 && t.data[32] == -1, p == PASS_PROBE_powers);
      cr_expect_eq(t.data[64] == nextafterf(1, 2) && t.data[128] == nextafterf(1, 0),
                   p == PASS_PROBE_powers);
      cr_expect_eq(!in->step.writes[0] && in->step.writes[1], p == PASS_PROBE_hidden);
   }
   arena_destroy(a);
}

/* The first value out of contract, by name and element. Kills: the last one; an element of another
 * row; a value that only inherits the error. */
Test(exec_first, names_value_and_element)
{
   static const char text[] = "func @f(T in 1..8) {\n%x = param {name=\"x\"} : f32[T,8]\n"
                              "%a = silu %x\n%b = scale %a {scale=2}\n%c = silu %b\n%d = silu "
                              "%c\nreturn %d\n}\n";
   pass_spot spot;
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   ir_func *after = ir_func_clone(a, parse(a, text)), *before = ir_func_clone(a, after);

   cr_assert_eq(pass_exec_first(a, before, after, PASS_EXACT, &spot), SINTER_ok);
   cr_expect_not(spot.found);
   ir_attr_set(after, ir_find(after, "b")->def, (ir_attr){IR_ATTR_scale, {.f = 2.5}});
   cr_assert_eq(pass_exec_first(a, before, after, PASS_EXACT, &spot), SINTER_ok);
   cr_expect(spot.found);
   cr_expect_str_eq(spot.value, "%b");
   cr_expect_eq(spot.rank, 2);
   cr_expect_eq(spot.index[0], 0);
   cr_expect_neq(spot.got, spot.want);
   arena_destroy(a);
}
