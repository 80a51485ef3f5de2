// LINK: ir base
/* The validator: one case per violation, and all of them in one run. */
#include "ir_support.h"

#include "ir/internal.h"

#include <math.h>

TestSuite(ir_validate, .init = open_arena, .fini = close_arena);

/* Kills: a check that refuses what models build. */
Test(ir_validate, accepts_a_layer)
{
   cr_assert_str_eq(report_on(parse_one(LAYER_IR)), "");
}

/* Violations that text can hold. Each: ranges, body, the one line of the report.
 * Kills: the check the case is named after. */
static const struct {
   const char *what, *ranges, *body, *report;
} cases[] = {
   {"operands", "", "%x = param {name=\"x\"} : f32[4]\n %y = add %x : f32[4]",
    "%y = add: has 1 operands, must have 2"},
   {"results", "", "%x = param {name=\"x\"} : f32[4]\n %y, %z = silu %x : f32[4], f32[4]",
    "%y = silu: has 2 results, must have 1"},
   {"missing attribute", "", "%x = param {name=\"x\"} : f32[4]\n %y = scale %x : f32[4]",
    "%y = scale: lacks attribute scale"},
   {"foreign attribute", "", "%x = param {name=\"x\", eps=1} : f32[4]",
    "%x = param: takes no attribute eps"},
   {"shape", "", "%x = param {name=\"x\"} : f32[4]\n %y = silu %x : f32[5]",
    "%y = silu: %y has type f32[5], its operands give f32[4]"},
   {"dtype of codes", "",
    "%x = param {name=\"x\"} : f32[4]\n %q, %s = quant %x {group=4} : i32[4], f32[1]",
    "%q = quant: %q has type i32[4], its operands give i8[4]"},
   {"no range", "", "%x = param {name=\"x\"} : f32[T]", "symbol T is used and has no range"},
   {"empty range", "T in 5..4", "", "the range of T is empty or out of bounds"},
   {"negative extent", "T in 1..4", "%x = param {name=\"x\"} : f32[T-2]",
    "%x = param: extent 0 of %x can be negative"},
   {"zero extent", "", "%x = param {name=\"x\"} : f32[0]", "%x = param: extent 0 of %x is below 1"},
   {"two inputs of one name", "",
    "%x = param {name=\"x\"} : f32[4]\n %y = param {name=\"x\"} : f32[4]",
    "%y = param: stands for the same as %x"},
   {"one weight of two types", "",
    "%x = weight {name=\"x\"} : f32[4]\n %y = weight {name=\"x\"} : f16[4]",
    "%y = weight: stands for the same as %x"},
   {"two states of one layer", "",
    "%x = state {layer=1} : f32 kv_full[1,8]\n %y = state {layer=1} : f32 kv_full[1,8]",
    "%y = state: stands for the same as %x"},
   {"second successor", "T in 1..4",
    "%k = param {name=\"k\"} : f32[T,1,8]\n %s = state {layer=1} : f32 kv_full[1,8]\n"
    "%a = kv_write %s, %k, %k\n %b = kv_write %s, %k, %k",
    "kv_write: %s has a second successor"},
   {"late reader", "T in 1..4",
    "%k = param {name=\"k\"} : f32[T,1,8]\n %s = state {layer=1} : f32 kv_full[1,8]\n"
    "%a = kv_write %s, %k, %k\n %b = attention %k, %s {scale=1}",
    "%b = attention: reads %s after it was consumed"},
   {"block", "", "%w = weight {name=\"w\"} : q4_0[4,48]", "multiple of the type's block"},
   {"symbolic weight", "T in 1..4", "%w = weight {name=\"w\"} : f32[T]", "must be numbers"},
   {"state as input", "", "%w = param {name=\"w\"} : f32 kv_full[1,8]", "plain type"},
   {"meta type", "T in 1..4", "%m = meta {field=token_ids} : f32[T]",
    "differs from the field's row"},
   {"meta extent", "T in 1..4, R in 1..4", "%m = meta {field=token_ids} : i32[R]",
    "an extent differs"},
   {"window of a full state", "", "%s = state {layer=0, window=4} : f32 kv_full[1,8]", "window"},
   {"no window", "", "%s = state {layer=0} : f32 kv_window[1,8]", "window"},
   {"state extents", "", "%s = state {layer=0} : f32 kv_full[8]", "[G,d]"},
   {"untyped operand", "", "%x = param {name=\"x\"} : none\n %y = silu %x : f32[4]",
    "%y = silu: an operand has no type"},
};

Test(ir_validate, one_case_per_violation)
{
   for (size_t i = 0; i < countof(cases); i++) {
      const char *text =
         arena_printf(the_arena, "func @f(%s) {\n %s\n return\n}", cases[i].ranges, cases[i].body);
      const char *report = report_on(parse_one(text));
      cr_expect(strstr(report, cases[i].report), "%s: got \"%s\"", cases[i].what, report);
   }
}

/* Type rules of single ops: operand types, then what the report says.
 * Kills: the condition in ir/shape.c that each line violates. */
static const struct {
   const char *op, *operands[3], *attrs, *result, *report;
} shapes[] = {
   {"embed", {"f32[T]", "f32[8,4]"}, "", "f32[T,4]", "integers [T]"},
   {"embed", {"i32[T]", "f32[8]"}, "", "f32[T,4]", "table [V,D]"},
   {"embed", {"i32[T]", "f32[8,4]", "f32[8,5]"}, "", "f32[T,4]", "[I,D]"},
   {"take_rows", {"f32[T,4]", "i32[R]"}, "{size=0}", "f32[R,4]", "at least 1"},
   {"take_rows", {"f32[T,4,4]", "i32[R]"}, "{size=2}", "f32[R,4,4]", "those of a matrix"},
   {"take_rows", {"f32[T,4]", "f32[R]"}, "", "f32[R,4]", "integers [R]"},
   {"take_rows", {"f32[]", "i32[R]"}, "", "f32[R]", "with rows"},
   {"reshape", {"f32[T,8]"}, "", "f32[T,3,3]", "number of elements"},
   {"reshape", {"f32[T,8]"}, "", "f32[R,8]", "number of elements"},
   {"reshape", {"f32[T,8]"}, "", "f16[8,T]", "one dtype"},
   {"slice", {"f32[T,8]"}, "{axis=0, start=0, size=1}", "f32[1,8]", "a number"},
   {"slice", {"f32[T,8]"}, "{axis=1, start=4, size=5}", "f32[T,5]", "leave the extent"},
   {"slice", {"f32[T,8]"}, "{axis=1, start=4, size=0}", "f32[T,1]", "leave the extent"},
   {"add", {"f32[T,8]", "f32[4]"}, "", "f32[T,8]", "last ones of operand 0"},
   {"add", {"i32[T,8]", "f32[8]"}, "", "f32[T,8]", "tensor of floats"},
   {"mul", {"f32[T,8]", "i32[8]"}, "", "f32[T,8]", "operand 1 must be a tensor of floats"},
   {"rmsnorm", {"f32[T,8]", "f32[T,8]"}, "{eps=1}", "f32[T,8]", "[D]"},
   {"quant", {"f32[T,8]"}, "{group=9}", "i8[T,8], f32[T,1]", "1 .. the last extent"},
   {"quant", {"f32[T,8]"}, "{group=3}", "i8[T,8], f32[T,2]", "operands give f32[T,3]"},
   {"quant", {"f32[8,T]"}, "{group=1}", "i8[8,T], f32[8,T]", "its last extent a number"},
   {"rope", {"f32[T,8]", "f32[T,8]"}, "{style=\"half\"}", "f32[T,8]", "[T,H,d]"},
   {"rope", {"f32[T,2,8]", "f32[R,8]"}, "{style=\"half\"}", "f32[T,2,8]", "[T,n]"},
   {"rope", {"f32[T,2,8]", "f32[T,16]"}, "{style=\"half\"}", "f32[T,2,8]", "at most d"},
   {"rope", {"f32[T,2,8]", "f32[T,7]"}, "{style=\"half\"}", "f32[T,2,8]", "even"},
   {"rope", {"f32[T,2,8]", "f32[T,8]"}, "{style=\"whole\"}", "f32[T,2,8]", "style"},
   {"matmul", {"f32[T,8]", "f32[4,9]"}, "", "f32[T,4]", "with the K of operand 0"},
   {"matmul", {"i8[T,8]", "f32[4,8]"}, "", "f32[T,4]", "floats [T,K]"},
   {"qmatmul", {"f32[T,8]", "f32[T,1]", "f32[4,8]"}, "", "f32[T,4]", "integers [T,K]"},
   {"qmatmul", {"i8[T,8]", "f32[R,1]", "f32[4,8]"}, "", "f32[T,4]", "floats [T,K/group]"},
   {"qmatmul", {"i8[T,8]", "f32[T,3]", "f32[4,8]"}, "", "f32[T,4]", "divide"},
   {"qmatmul", {"i8[T,8]", "f32[T,1]", "f32[4,9]"}, "", "f32[T,4]", "operand 2"},
   {"kv_write", {"f32[T,2,8]", "f32[T,2,8]", "f32[T,2,8]"}, "", "f32[T,2,8]", "a state"},
   {"attention", {"f32[T,2,8]", "f32[T,2,8]"}, "{scale=1}", "f32[T,2,8]", "must be a state"},
   {"silu", {"i32[T]"}, "", "f32[T]", "tensor of floats"},
   {"cast", {"f32[T]"}, "", "f32 kv_full[1,8]", "plain types"},
};

Test(ir_validate, shapes)
{
   for (size_t i = 0; i < countof(shapes); i++) {
      text_buf text = {.a = the_arena};
      const char *results =
         strchr(shapes[i].result, ' ') && shapes[i].op[0] == 'q' ? "%y, %z" : "%y";
      text_printf(&text, "func @f(T in 1..4, R in 0..4) {\n");
      for (int k = 0; k < 3 && shapes[i].operands[k]; k++)
         text_printf(&text, " %%p%d = param {name=\"p%d\"} : %s\n", k, k, shapes[i].operands[k]);
      text_printf(&text, " %s = %s ", results, shapes[i].op);
      for (int k = 0; k < 3 && shapes[i].operands[k]; k++)
         text_printf(&text, "%s%%p%d", k ? ", " : "", k);
      text_printf(&text, " %s : %s\n return\n}", shapes[i].attrs, shapes[i].result);
      const char *report = report_on(parse_one(text.data));
      cr_expect_eq(num_lines(report), 1, "case %zu, %s: got \"%s\"", i, shapes[i].op, report);
      cr_expect(strstr(report, shapes[i].report), "case %zu, %s: got \"%s\"", i, shapes[i].op,
                report);
   }
}

/* The same for states, whose types no input can have. */
Test(ir_validate, state_shapes)
{
   const char *form = "func @f(T in 1..4) {\n %%s = state {layer=0} : f16 kv_full[2,8]\n"
                      " %%k = param {name=\"k\"} : %s\n %%v = param {name=\"v\"} : %s\n"
                      " %%n = kv_write %%s, %%k, %%v : %s\n"
                      " %%a = attention %%k, %%n {scale=1}\n return\n}";
   static const char *const wrong[][4] = {
      {"f32[T,3,8]", "f32[T,2,8]", "f16 kv_full[2,8]", "operand 1 must be floats [T,G,d]"},
      {"f32[T,2,8]", "f32[1,2,8]", "f16 kv_full[2,8]", "operand 2 must be floats shaped"},
      {"f32[T,2,8]", "f32[T,2,8]", "f32 kv_full[2,8]",
       "%n has type f32 kv_full[2,8], its operands"},
      {"f32[T,2,4]", "f32[T,2,4]", "f16 kv_full[2,8]", "state [G,d] with the d"},
      {"f32[T,3,8]", "f32[T,3,8]", "f16 kv_full[2,8]", "H must be a multiple of G"},
   };

   for (size_t i = 0; i < countof(wrong); i++) {
      const char *report =
         report_on(parse_one(arena_printf(the_arena, form, wrong[i][0], wrong[i][1], wrong[i][2])));
      cr_expect(strstr(report, wrong[i][3]), "case %zu: got \"%s\"", i, report);
   }
}

/* A float result may be rounded to any float type: that is how rounding points are written down.
 * Kills: demanding the dtype of operand 0; allowing what moves elements to round them. */
Test(ir_validate, rounding_points)
{
   const char *form =
      "func @f() {\n %%x = param {name=\"x\"} : bf16[2,4]\n %%y = %s %%x %s\n return\n}";

   cr_assert_str_eq(report_on(parse_one(arena_printf(the_arena, form, "silu", ": f32[2,4]"))), "");
   cr_assert_str_eq(report_on(parse_one(arena_printf(the_arena, form, "cast", ": i8[2,4]"))), "");
   cr_assert_neq(report_on(parse_one(arena_printf(the_arena, form, "silu", ": i32[2,4]")))[0], 0);
   cr_assert_neq(report_on(parse_one(arena_printf(the_arena, form, "reshape", ": f32[8]")))[0], 0);
}

/* ---- violations that only code can make ---- */

static ir_func *small(void)
{
   return parse_one("func @f(T in 1..4) {\n %x = param {name=\"x\"} : f32[T]\n %a = silu %x\n"
                    " %b = add %a, %x\n %c = mul %b, %a\n return %c\n}");
}

static void expect_report(const ir_func *f, const char *what)
{
   const char *report = report_on(f);

   cr_expect(strstr(report, what), "wanted \"%s\", got \"%s\"", what, report);
}

/* Kills: the order check. */
Test(ir_validate, use_before_definition)
{
   ir_func *f = small();

   ir_move_before(f, op_named(f, "a"), NULL);
   expect_report(f, "%b = add: operand 0, %a, is not defined before it");
}

/* Kills: the check of foreign values. */
Test(ir_validate, value_of_another_function)
{
   ir_func *f = small(), *other = small();

   ir_set_operand(f, op_named(f, "b"), 0, ir_find(other, "a"));
   expect_report(f, "%b = add: operand 0, %a, is not defined before it");
}

/* Kills: the checks of use lists and of the returned flag. */
Test(ir_validate, bookkeeping)
{
   ir_func *f = small();
   ir_find(f, "x")->uses = NULL;
   expect_report(f, "the use list of %x is out of step");

   f = small();
   ir_find(f, "c")->returned = false;
   expect_report(f, "the returned flag of %c is out of step");

   f = small();
   ir_erase(f, op_named(f, "c"));
   expect_report(f, "return 0 is not a value of the function");

   f = small();
   op_named(f, "b")->operands[0] = NULL;
   expect_report(f, "%b = add: operand 0 is missing");

   f = small();
   ir_find(f, "b")->id = ir_find(f, "a")->id;
   expect_report(f, "an id that is not its own");

   f = small();
   ir_find(f, "b")->result = 1;
   expect_report(f, "does not point back");

   f = small();
   op_named(f, "b")->order = 0;
   expect_report(f, "its place in the list of ops is out of step");
}

/* Kills: the checks of names. */
Test(ir_validate, names)
{
   ir_func *f = small();
   ir_find(f, "b")->name = "a";
   expect_report(f, "%a is the name of another value");

   f = small();
   ir_find(f, "b")->name = "1 b";
   expect_report(f, "%1 b is not a legal name");

   f = small();
   f->name = "two words";
   expect_report(f, "the function's name is not legal");
}

/* Kills: the checks of attribute values that no text can hold. */
Test(ir_validate, attribute_values)
{
   ir_func *f = small();
   ir_attr_set(f, op_named(f, "x"), (ir_attr){.key = IR_ATTR_name, .s = NULL});
   expect_report(f, "attribute name has no text");

   f = parse_one(
      "func @f() {\n %x = param {name=\"x\"} : f32[4]\n %y = scale %x {scale=1}\n return\n}");
   ir_attr_set(f, op_named(f, "y"), (ir_attr){.key = IR_ATTR_scale, .f = INFINITY});
   expect_report(f, "attribute scale is not finite");

   f = parse_one("func @f() {\n %x = state {layer=0} : f32 kv_full[1,1]\n return\n}");
   ir_attr_set(f, op_named(f, "x"), (ir_attr){.key = IR_ATTR_layer, .i = INT64_MAX});
   expect_report(f, "attribute layer is out of bounds");

   f = parse_one("func @f(T in 1..2) {\n %x = meta {field=token_ids} : i32[T]\n return\n}");
   ir_attr_set(f, op_named(f, "x"), (ir_attr){.key = IR_ATTR_field, .i = IR_META_COUNT});
   expect_report(f, "attribute field names no metadata field");
}

/* Kills: accepting an extent that has no form. */
Test(ir_validate, extent_without_form)
{
   ir_func *f = small();

   ir_find(f, "x")->type.dim[0] = ir_dim_mul(ir_dim_ceil_div(ir_dim_sym(SYM_T), 4), 3);
   expect_report(f, "extent 0 of %x has no affine form");
}

/* Kills: the checks of groups. */
Test(ir_validate, groups)
{
   ir_func *f = small();
   ir_op *ac[] = {op_named(f, "a"), op_named(f, "c")};
   ir_group *g = ir_group_create(f, "k0", "");
   ir_group_append(g, ac[0]);
   ir_group_append(g, ac[1]);
   expect_report(f, "the ops of kernel k0 are not contiguous");
   expect_report(f, "the kernels depend on each other in a cycle");

   f = parse_one("func @f() {\n %x = param {name=\"x\"} : f32[4]\n %a = silu %x\n %b = silu %x\n"
                 " %c = silu %x\n return\n}");
   g = ir_group_create(f, "k0", "");
   ir_group_append(g, op_named(f, "a"));
   ir_group_append(g, op_named(f, "c"));
   expect_report(f, "the ops of kernel k0 are not contiguous");
   cr_assert_null(strstr(report_on(f), "cycle"));

   f = small();
   g = ir_group_create(f, "k0", "");
   expect_report(f, "kernel k0 counts 0 ops and has 0");
   ir_group_append(g, op_named(f, "b"));
   g->num_ops = 5;
   expect_report(f, "kernel k0 counts 5 ops and has 1");
   g->num_ops = 1;
   g->first = op_named(f, "a");
   expect_report(f, "is first in kernel k0, which points elsewhere");
   g->first = op_named(f, "b");
   g->name = "k 0";
   expect_report(f, "kernel name k 0 is not legal");
   f->groups.count = 0;
   expect_report(f, "its kernel k 0 is not in the function's list");
}

/* Kills: stopping at the first violation. */
Test(ir_validate, reports_all)
{
   const char *report = report_on(
      parse_one("func @f(T in 9..1) {\n %x = param : f32[R]\n %y = scale %x : f32[3]\n return\n}"));

   cr_assert_eq(num_lines(report), 5, "%s", report);
}
