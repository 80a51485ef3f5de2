/* custom_pass.c - a pass outside the tree: two factors in a row become one.
 *
 *    %a = scale %x {scale=p}
 *    %b = scale %a {scale=q}     ->     %b = scale %x {scale=p*q}
 *
 * The product of the factors must be exact, or the result would be rounded elsewhere: powers of two
 * only. Declines other factors, and a first product that somebody else reads.
 *
 *    cc -shared -fPIC -I. -Iinclude -Ibuild/include examples/custom_pass.c -o custom_pass.so
 *    build/sinter-opt --load custom_pass.so -p merge_scales FILE.ir */
#include "sinter_pass.h"

#include <math.h>

enum { X, A };

static bool is_power_of_two(double v)
{
   int exponent;

   return v != 0 && fabs(frexp(v, &exponent)) == 0.5 && fabs(v) <= 0x1p30 && fabs(v) >= 0x1p-30;
}

static double factor(const ir_op *op)
{
   return ir_attr_f(op, IR_ATTR_scale, 1);
}

static bool fits(pass_site *s)
{
   const ir_op *first = s->match.cap[A]->def, *second = s->match.ops[s->match.num_ops - 1];

   if (!ir_only_user(s->match.cap[A]))
      return pass_decline(s, "the first product has another reader");
   if (!is_power_of_two(factor(first)) || !is_power_of_two(factor(second)))
      return pass_decline(s, "a factor is no power of two: the rounding would move");
   return true;
}

static void build(pass_site *s)
{
   ir_op *first = s->match.cap[A]->def, *second = s->match.ops[s->match.num_ops - 1];
   double product = factor(first) * factor(second);

   ir_attr_set(s->f, second, (ir_attr){.key = IR_ATTR_scale, .f = product});
   ir_set_operand(s->f, second, 0, s->match.cap[X]);
   ir_erase(s->f, first);
}

static void run(pass_run *r)
{
   const ir_pat *pattern = PAT(scale, SUB(scale, ANY(X), .as = A));
   const pass_rule rules[] = {{pattern, fits, build}};

   pass_apply(r, rules, countof(rules));
}

SINTER_PASS_MODULE("merge_scales", PASS_CLEAN, "two factors in a row are one", run)
