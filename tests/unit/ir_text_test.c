// LINK: ir base
/* Text form: print and parse are inverse; errors name their place. */
#include "ir_support.h"

#include <float.h>

TestSuite(ir_text, .init = open_arena, .fini = close_arena);

static void expect_round_trip(const char *text)
{
   const char *once = print_one(parse_one(text));

   cr_assert_str_eq(once, print_one(parse_one(once)));
}

/* Kills: printing in any other form than the one documented. */
Test(ir_text, canonical_text_is_kept)
{
   cr_assert_str_eq(print_one(parse_one(LAYER_IR)), LAYER_IR);
}

/* Kills: types that are demanded where they follow; a shape rule that infers another type. */
Test(ir_text, types_may_be_left_out)
{
   const char *text = "func @f(T in 1..4) {\n"
                      "  %x = param {name=\"x\"} : f32[T,64]\n"
                      "  %w = weight {name=\"w\"} : q4_0[96,64]\n"
                      "  %0, %1 = quant %x {group=32}\n"
                      "  %2 = qmatmul %0, %1, %w   // inferred\n"
                      "  %3 = silu %2\n"
                      "  return %3\n}\n";
   const char *printed = print_one(parse_one(text));

   cr_assert(strstr(printed, "%0, %1 = quant %x {group=32} : i8[T,64], f32[T,2]\n"));
   cr_assert(strstr(printed, "%3 = silu %2 : f32[T,96]\n"));
}

/* Kills: keeping the numbers of the input; losing names. */
Test(ir_text, nameless_values_are_numbered_in_order)
{
   const char *printed = print_one(parse_one("func @f() {\n %9 = param {name=\"a\"} : f32[4]\n"
                                             " %b.c = silu %9\n %4 = silu %b.c\n return %4\n}"));

   cr_assert_str_eq(printed, "func @f() {\n  %0 = param {name=\"a\"} : f32[4]\n"
                             "  %b.c = silu %0 : f32[4]\n  %1 = silu %b.c : f32[4]\n"
                             "  return %1\n}\n");
}

/* Kills: dropping a kernel's name, its rule, or an op from it. */
Test(ir_text, kernels)
{
   const char *text = "func @f() {\n"
                      "  %x = param {name=\"x\"} : f32[4]\n"
                      "  kernel act_mul7 {\n"
                      "    %a = silu %x : f32[4]\n"
                      "    %b = mul %a, %x : f32[4]\n"
                      "  }\n"
                      "  kernel k0 {\n"
                      "    %c = silu %b : f32[4]\n"
                      "  }\n"
                      "  return %c\n"
                      "}\n";
   ir_func *f = parse_one(text);

   cr_assert_str_eq(print_one(f), text);
   cr_assert_eq(f->groups.count, 2);
   cr_assert_str_eq(op_named(f, "a")->group->rule, "act_mul");
   cr_assert_eq(op_named(f, "a")->group, op_named(f, "b")->group);
   cr_assert_str_eq(op_named(f, "c")->group->rule, "");
   cr_assert_str_eq(report_on(f), "");
}

/* Kills: fewer digits than a double needs. */
Test(ir_text, floats_are_exact)
{
   const double values[] = {0.1, 1.0 / 3, 1e-5, 1e300, DBL_MIN, 5e-324, DBL_MAX, -0.0, 123456789};

   for (size_t i = 0; i < countof(values); i++) {
      ir_func *f = ir_func_create(the_arena, "f");
      ir_builder b = {.f = f};
      ir_value *x = ir_param(&b, "x", ir_type_make(DT_f32, 1, (ir_dim[]){ir_dim_of(4)}));
      ir_func_return(f, ir_scale(&b, x, values[i]));
      ir_func *again = parse_one(print_one(f));
      double got = ir_attr_f(again->last, IR_ATTR_scale, 7);
      cr_assert_eq(memcmp(&got, &values[i], sizeof got), 0, "%a came back as %a", values[i], got);
   }
}

/* Kills: an escape that is not undone. */
Test(ir_text, strings_are_escaped)
{
   const char *names[] = {"",         "a\"b",     "back\\slash", "line\nbreak\ttab",
                          "\x01\x7f", "\xc3\xa9", "{}%@//"};

   for (size_t i = 0; i < countof(names); i++) {
      ir_func *f = ir_func_create(the_arena, "f");
      ir_builder b = {.f = f};
      ir_func_return(f, ir_param(&b, names[i], ir_type_make(DT_f32, 0, NULL)));
      ir_func *again = parse_one(print_one(f));
      cr_assert_str_eq(ir_attr_s(again->first, IR_ATTR_name, NULL), names[i]);
      expect_round_trip(print_one(f));
   }
}

/* Kills: any dim that prints in a form the parser reads differently. */
Test(ir_text, dims)
{
   static const char *const same[] = {"T",
                                      "2*T+1",
                                      "T-1",
                                      "-T+512",
                                      "ceil(T/4)",
                                      "ceil((T+1)/4)",
                                      "floor((T+3*S)/4)",
                                      "T+R+S",
                                      "floor(T/3)",
                                      "1099511627776"};
   static const char *const other[][2] = {{"1+T", "T+1"},
                                          {"2*T+T", "3*T"},
                                          {"ceil(8/3)", "3"},
                                          {"floor((4*T+3)/4)", "T"},
                                          {"ceil((2*T+2)/4)", "ceil((T+1)/2)"},
                                          {"floor((T+3)/4)", "ceil(T/4)"},
                                          {"T-T+5", "5"}};
   const char *form = "func @f(T in 1..512, R in 0..9, S in 1..64) {\n"
                      "  %%x = param {name=\"x\"} : f32[%s]\n  return %%x\n}\n";

   for (size_t i = 0; i < countof(same); i++) {
      const char *text = arena_printf(the_arena, form, same[i]);
      cr_assert_str_eq(print_one(parse_one(text)), text);
   }
   for (size_t i = 0; i < countof(other); i++)
      cr_assert_str_eq(print_one(parse_one(arena_printf(the_arena, form, other[i][0]))),
                       arena_printf(the_arena, form, other[i][1]));
}

/* Kills: an error without its place, with a wrong one, or none at all. */
Test(ir_text, errors_name_their_place)
{
   static const struct {
      const char *text, *where, *what;
   } cases[] = {
      {"", "line 1, column 1", "expected `func`"},
      {"func f", "line 1, column 6", "function's name"},
      {"func @f(X in 1..2) {", "line 1, column 9", "symbol"},
      {"func @f(T in 1) {", "line 1, column 15", "expected `..`"},
      {"func @f(T in 1..2, T in 1..2) {", "line 1, column 20", "stands twice"},
      {"func @f() {\n", "line 2, column 1", "no such op"},
      {"func @f() {\n}", "line 2, column 1", "no `return`"},
      {"func @f() {\n  return\n  return\n}", "line 3, column 3", "must come last"},
      {"func @f() {\n  return %x\n}", "line 2, column 10", "%x is not defined above"},
      {"func @f() {\n  %y = silu %x\n}", "line 2, column 13", "%x is not defined above"},
      {"func @f() {\n  %y = frob\n}", "line 2, column 8", "no such op"},
      {"func @f() {\n  %y = param {nom=\"x\"}\n}", "line 2, column 15", "no such attribute"},
      {"func @f() {\n  %y = param {name=3}\n}", "line 2, column 20", "expected a string"},
      {"func @f() {\n  %y = param {name=\"a\n\"}\n}", "line 2, column 20", "does not end"},
      {"func @f() {\n  %y = param {name=\"\\q\"}\n}", "line 2, column 20", "escape"},
      {"func @f() {\n  %y = param {name=\"\\x00\"}\n}", "line 2, column 20", "NUL"},
      {"func @f() {\n  %y = param {name=\"x\", name=\"y\"}\n}", "line 2, column 25", "twice"},
      {"func @f() {\n  %y = meta {field=nothing}\n}", "line 2, column 20", "metadata field"},
      {"func @f() {\n  %y = param {name=\"x\"} : g32[4]\n}", "line 2, column 27",
       "expected a type"},
      {"func @f() {\n  %y = param {name=\"x\"} : f32[Z]\n}", "line 2, column 31", "symbol"},
      {"func @f() {\n  %y = param {name=\"x\"} : f32[1,1,1,1,1,1,1]\n}", "line 2, column 43",
       "extents"},
      {"func @f() {\n  %y = param {name=\"x\"} : f32[ceil(T/0)]\n}", "line 2, column 38",
       "positive"},
      {"func @f() {\n  %y = param {name=\"x\"} : f32[99999999999999999999]\n}", "line 2, column 31",
       "exceeds"},
      {"func @f() {\n  %y = state {layer=0} : f32 kv_most[1,1]\n}", "line 2, column 30",
       "state kind"},
      {"func @f() {\n  %y = scale %y {scale=1}\n}", "line 2, column 14", "%y is not defined"},
      {"func @f() {\n  %y = param {name=\"x\"} : f32[1]\n  %y = param {name=\"x\"} : f32[1]\n}",
       "line 3, column 3", "%y is defined twice"},
      {"func @f() {\n  kernel k0 { }\n}", "line 2, column 15", "empty"},
      {"func @f() {\n  %y = $\n}", "line 2, column 8", "character 0x24"},
      {"func @f() {\n  % = x\n}", "line 2, column 3", "followed by a name"},
      {"func @f() {\n return\n}\nfunc @f() {\n return\n}", "line 6, column 2", "@f stands twice"},
   };

   for (size_t i = 0; i < countof(cases); i++) {
      ir_module m;
      sinter_status status = ir_parse(the_arena, cases[i].text, strlen(cases[i].text), "x.ir", &m);
      cr_expect_eq(status, SINTER_bad_input, "case %zu", i);
      cr_expect(strstr(sinter_error(), arena_printf(the_arena, "x.ir: %s", cases[i].where)),
                "case %zu: %s", i, sinter_error());
      cr_expect(strstr(sinter_error(), cases[i].what), "case %zu: %s", i, sinter_error());
   }
}

/* Kills: a parser that reads past the end, or accepts a part as the whole. */
Test(ir_text, every_truncation_is_an_error)
{
   const size_t len = strlen(LAYER_IR) - 2; /* without the last brace and newline */

   for (size_t n = 0; n <= len; n++) {
      char *part = malloc(n + 1);
      ir_module m;
      memcpy(part, LAYER_IR, n);
      cr_expect_eq(ir_parse(the_arena, part, n, "part", &m), SINTER_bad_input, "%zu bytes", n);
      free(part);
   }
}

/* Kills: crashes and lost round trips on text that is almost right. */
Test(ir_text, mutations_end_in_an_error_or_a_round_trip)
{
   const size_t len = strlen(LAYER_IR);
   uint32_t random = 12345, parsed = 0;

   for (int round = 0; round < 10000; round++) {
      close_arena();
      open_arena();
      char *text = arena_strdup(the_arena, LAYER_IR);
      for (int i = 0; i < 1 + round % 3; i++) {
         random = random * 1664525 + 1013904223;
         text[random / 7 % len] = LAYER_IR[random / 65536 % len];
      }
      ir_module m;
      if (ir_parse(the_arena, text, len, "mutation", &m) != SINTER_ok)
         continue;
      parsed++;
      report_on(m.funcs.data[0]);
      expect_round_trip(print_one(m.funcs.data[0]));
      cr_assert_lt(arena_used(the_arena), 16 << 20);
   }
   cr_assert_gt(parsed, 200);
}

static sinter_status parse_layer(void *user)
{
   ir_module *m = user;

   SINTER_TRY(ir_parse(the_arena, LAYER_IR, strlen(LAYER_IR), "layer", m));
   report_on(m->funcs.data[0]);
   ir_func_clone(the_arena, m->funcs.data[0]);
   return SINTER_ok;
}

/* Kills: memory from elsewhere than the arena; a failed allocation that is not reported. */
Test(ir_text, every_allocation_may_fail)
{
   size_t failed = 0;

   for (size_t n = 1;; n++, failed++) {
      ir_module m;
      close_arena();
      open_arena();
      arena_fail_after(n);
      sinter_status status = arena_catch(parse_layer, &m);
      arena_fail_after(0);
      if (status == SINTER_ok)
         break;
      cr_assert_eq(status, SINTER_out_of_memory, "allocation %zu", n);
   }
   cr_assert_gt(failed, 100);
}

static uint32_t next_random(uint32_t *state, uint32_t below)
{
   *state = *state * 1664525 + 1013904223;
   return (*state >> 8) % below;
}

/* A valid function of n ops over f32[T,16], some of them in kernels. */
static ir_func *random_func(uint32_t *state, uint32_t n)
{
   ir_func *f = ir_func_create(the_arena, "random");
   ir_builder b = {.f = f};
   ir_type type = ir_type_make(DT_f32, 2, (ir_dim[]){ir_dim_sym(SYM_T), ir_dim_of(16)});
   ir_value **v = arena_array(the_arena, ir_value *, n + 1);

   ir_func_range(f, SYM_T, 1, 1 + next_random(state, 4096));
   v[0] = ir_param(&b, "x", type);
   for (uint32_t i = 1; i <= n; i++) {
      ir_value *x = v[next_random(state, i)], *y = v[next_random(state, i)];
      switch (next_random(state, 6)) {
      case 0: v[i] = ir_add(&b, x, y); break;
      case 1: v[i] = ir_mul(&b, x, y); break;
      case 2: v[i] = ir_scale(&b, x, next_random(state, 1u << 24) / 65537.0); break;
      case 3: v[i] = ir_silu(&b, x); break;
      case 4: v[i] = ir_gelu_tanh(&b, x); break;
      default: v[i] = ir_softcap(&b, x, 1 + next_random(state, 50)); break;
      }
      if (next_random(state, 3) == 0)
         ir_set_name(f, v[i], "v");
   }
   ir_func_return(f, v[n]);
   for (uint32_t i = 0; i < n; i++) {
      ir_op *ops[3];
      for (int k = 0; k < 3; k++)
         ops[k] = v[1 + next_random(state, n)]->def;
      if (ir_can_group(f, ops, 3))
         ir_group_make(f, i % 2 ? "pointwise" : "", ops, 3);
   }
   return f;
}

/* Kills: a builder, a grouping or a clone that leaves something the text does not say or the
 * validator refuses. */
Test(ir_text, random_functions_round_trip)
{
   uint32_t state = 1, grouped = 0;

   for (int round = 0; round < 200; round++) {
      ir_func *f = random_func(&state, 1 + next_random(&state, 40));
      const char *text = print_one(f);
      cr_assert_str_eq(report_on(f), "");
      cr_assert_str_eq(print_one(parse_one(text)), text);
      cr_assert_str_eq(print_one(ir_func_clone(the_arena, f)), text);
      grouped += (uint32_t)f->groups.count;
   }
   cr_assert_gt(grouped, 300);
}

/* Kills: anything quadratic in the parser, printer, validator or clone: the time limit would not
 * hold for 100,000 ops. */
Test(ir_text, large_functions_are_linear, .timeout = 60)
{
   text_buf text = {.a = the_arena};

   text_printf(&text, "func @big(T in 1..512) {\n  %%0 = param {name=\"x\"} : f32[T,16]\n");
   for (int i = 0; i < 100000; i++) {
      const bool grouped = i % 4 == 0;
      if (grouped)
         text_printf(&text, "  kernel k%d {\n  ", i);
      text_printf(&text, "  %%%d = add %%%d, %%0 : f32[T,16]\n", i + 1, i);
      if (grouped)
         text_printf(&text, "  }\n");
   }
   text_printf(&text, "  return %%100000\n}\n");
   ir_func *f = parse_one(text.data);
   cr_assert_str_eq(report_on(f), "");
   cr_assert_str_eq(print_one(ir_func_clone(the_arena, f)), text.data);
   ir_op *ops[2] = {f->last, f->last->prev};
   for (int i = 0; i < 1000; i++)
      cr_assert(ir_can_group(f, ops, 2));
}
