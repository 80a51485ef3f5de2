// LINK: ir base
/* Formulas of ops.def, in numbers: kernels that are made from them are compared in
 * tests/conform. */
#include "ir_support.h"

#include "ir/formula.h"

#include <math.h>

static void *number(void *user, double v)
{
   (void)user;
   return arena_copy(the_arena, &v, sizeof v);
}

/* What the tests below use of formula.def. */
static void *call(void *user, ir_formula_fn fn, void *a, void *b)
{
   const double x = *(double *)a, y = b ? *(double *)b : 0;

   switch (fn) {
   case IR_FORMULA_add: return number(user, x + y);
   case IR_FORMULA_sub: return number(user, x - y);
   case IR_FORMULA_mul: return number(user, x * y);
   case IR_FORMULA_div: return number(user, x / y);
   case IR_FORMULA_neg: return number(user, -x);
   case IR_FORMULA_max: return number(user, x > y ? x : y);
   default: return NULL;
   }
}

static double *value(const char *text)
{
   static double x = 3;
   const ir_formula make = {NULL, number, call};
   const ir_func *f = parse_one("func @f() {\n %x = param {name=\"x\"} : f32[4]\n"
                                " %y = softcap %x {cap=5}\n return %y\n}");

   return ir_formula_read(text, f->last, &make, &x);
}

/* Kills: a product after a sum, operators from right to left, operands exchanged, an attribute of
 * another name, a sign for the rest of a product. */
Test(formula, values, .init = open_arena, .fini = close_arena)
{
   static const struct {
      const char *text;
      double want;
   } cases[] = {{"x", 3},           {"1 + 2 * x", 7},
                {"10 - x - 2", 5},  {"12 / x / 2", 2},
                {"(1 + 2) * x", 9}, {"-x * -2 - 1.5", 4.5},
                {"cap * x", 15},    {"max(0, -x) + max( x , 1)*2", 6}};

   for (size_t i = 0; i < countof(cases); i++) {
      const double *v = value(cases[i].text);
      cr_assert(v && *v == cases[i].want, "%s: %g", cases[i].text, v ? *v : NAN);
   }
}

/* Kills: text that is no formula taken for the start of one. */
Test(formula, refused, .init = open_arena, .fini = close_arena)
{
   static const char *const cases[] = {"",         "x x",   "x +",      "(x",       "max(x)",
                                       "max(x, 1", "eps y", "least(x)", "name * x", "x, 1"};

   for (size_t i = 0; i < countof(cases); i++)
      cr_assert(!value(cases[i]), "%s", cases[i]);
}
