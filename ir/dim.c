/* dim.c - extents as affine forms of symbols, rounded at most once.
 *
 * Canonical form, so that equal dims have equal bytes: common factors are divided out, a form
 * without symbols is a number, and of the two spellings floor((x + a) / d) = ceil((x + a - d + 1) /
 * d) the one with the smaller |a| is kept. */
#include "ir.h"

static const ir_dim invalid = {.div = 0};

bool ir_dim_is_valid(ir_dim d)
{
   return d.div > 0;
}

static int64_t div_floor(int64_t a, int64_t b)
{
   return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t div_round(int64_t a, int64_t b, int32_t round)
{
   return round == IR_ROUND_ceil ? -div_floor(-a, b) : div_floor(a, b);
}

static int64_t gcd(int64_t a, int64_t b)
{
   while (b) {
      int64_t r = a % b;
      a = b;
      b = r;
   }
   return a < 0 ? -a : a;
}

static bool in_bounds(const ir_dim *d)
{
   for (int s = 0; s < SYM_COUNT; s++)
      if (d->coef[s] > IR_MAX_COEF || d->coef[s] < -(int64_t)IR_MAX_COEF)
         return false;
   return d->div > 0 && d->add <= IR_MAX_EXTENT && d->add >= -IR_MAX_EXTENT;
}

static ir_dim canonical(ir_dim d)
{
   int64_t common = d.div;
   bool symbolic = false;

   if (!in_bounds(&d))
      return invalid;
   for (int s = 0; s < SYM_COUNT; s++) {
      symbolic |= d.coef[s] != 0;
      common = gcd(common, d.coef[s]);
   }
   if (!symbolic)
      return (ir_dim){.add = div_round(d.add, d.div, d.round), .div = 1};
   if (common > 1) {
      for (int s = 0; s < SYM_COUNT; s++)
         d.coef[s] /= common;
      d.add = div_round(d.add, common, d.round);
      d.div /= (int32_t)common;
   }
   if (d.div == 1) {
      d.round = IR_ROUND_none;
      return d;
   }
   int64_t as_floor = d.round == IR_ROUND_ceil ? d.add + d.div - 1 : d.add;
   int64_t as_ceil = as_floor - d.div + 1;
   int64_t floor_size = as_floor < 0 ? -as_floor : as_floor;
   int64_t ceil_size = as_ceil < 0 ? -as_ceil : as_ceil;
   d.round = ceil_size < floor_size ? IR_ROUND_ceil : IR_ROUND_floor;
   d.add = ceil_size < floor_size ? as_ceil : as_floor;
   return d;
}

ir_dim ir_dim_of(int64_t n)
{
   return canonical((ir_dim){.add = n, .div = 1});
}

ir_dim ir_dim_sym(sym s)
{
   ir_dim d = {.div = 1};

   d.coef[s] = 1;
   return d;
}

ir_dim ir_dim_mul(ir_dim d, int64_t k)
{
   if (k == 0 && ir_dim_is_valid(d))
      return ir_dim_of(0);
   if (d.div != 1 && k != 1)
      return invalid;
   for (int s = 0; s < SYM_COUNT; s++)
      if (!base_mul(d.coef[s], k, &d.coef[s]))
         return invalid;
   if (!base_mul(d.add, k, &d.add))
      return invalid;
   return canonical(d);
}

ir_dim ir_dim_add(ir_dim a, ir_dim b)
{
   if (b.div != 1 && a.div == 1) {
      ir_dim swap = a;
      a = b;
      b = swap;
   }
   if (b.div != 1 || a.div <= 0)
      return invalid;
   b = ir_dim_mul(b, a.div);
   if (b.div != 1)
      return invalid;
   for (int s = 0; s < SYM_COUNT; s++)
      a.coef[s] += b.coef[s];
   a.add += b.add;
   return canonical(a);
}

/* round(round(x / a) / b) = round(x / ab) when both round the same way; a dim can be spelled either
 * way. */
static ir_dim divide(ir_dim d, int32_t by, ir_round round)
{
   if (d.div <= 0 || by <= 0)
      return invalid;
   if (d.div != 1 && d.round != (int32_t)round)
      d.add += round == IR_ROUND_ceil ? 1 - (int64_t)d.div : (int64_t)d.div - 1;
   if (!base_mul(d.div, by, &d.div))
      return invalid;
   d.round = round;
   return canonical(d);
}

ir_dim ir_dim_ceil_div(ir_dim d, int32_t by)
{
   return divide(d, by, IR_ROUND_ceil);
}

ir_dim ir_dim_floor_div(ir_dim d, int32_t by)
{
   return divide(d, by, IR_ROUND_floor);
}

bool ir_dim_is_const(ir_dim d)
{
   for (int s = 0; s < SYM_COUNT; s++)
      if (d.coef[s])
         return false;
   return d.div == 1;
}

int64_t ir_dim_const(ir_dim d)
{
   return d.add;
}

bool ir_dim_equal(ir_dim a, ir_dim b)
{
   return memcmp(&a, &b, sizeof a) == 0;
}

int64_t ir_dim_eval(ir_dim d, const int64_t *syms)
{
   int64_t sum = d.add;

   if (!ir_dim_is_valid(d))
      return -1;
   for (int s = 0; s < SYM_COUNT; s++) {
      int64_t term;
      if (!base_mul(d.coef[s], d.coef[s] ? syms[s] : 0, &term) || !base_add(sum, term, &sum))
         return -1;
   }
   return d.div == 1 ? sum : div_round(sum, d.div, d.round);
}
