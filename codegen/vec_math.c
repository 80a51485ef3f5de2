/* vec_math.c - exp, tanh, erf and the activations in f32, without a library.
 *
 * exp: x = n ln2 + r, |r| <= ln2 / 2; e^r by a polynomial; 2^n by adding n to the exponent. */
#include "vec.h"

static vec_value constant(vec_fn *f, vec_value like, double v)
{
   return vec_float(f, vec_width(like), v);
}

/* c[0] x^(n-1) + … + c[n-1], by fma. */
static vec_value polynomial(vec_fn *f, vec_value x, uint32_t n, const double *c)
{
   vec_value y = constant(f, x, c[0]);

   for (uint32_t i = 1; i < n; i++)
      y = vec_fma(f, y, x, constant(f, x, c[i]));
   return y;
}

/* 2^n for integral n in -126..127 that was made by adding `magic`: n sits in the low bits. */
static vec_value power_of_two(vec_fn *f, vec_value shifted)
{
   uint32_t lanes = vec_width(shifted);
   vec_value n = vec_shl_i(f, vec_bits(f, shifted, VEC_i32, lanes), 23);

   return vec_bits(f, vec_add_i(f, n, 0x3f800000), VEC_f32, lanes);
}

vec_value vec_exp(vec_fn *f, vec_value x)
{
   static const double c[] = {1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1};
   const double low = -86.9, high = 88.72283, magic = 12582912.0; /* 1.5 * 2^23 */
   vec_value lo = constant(f, x, low), hi = constant(f, x, high);

   /* vec_fmin(limit, x) gives x when x is NaN, so a NaN goes through to r and the result. */
   vec_value y = vec_fmin(f, hi, vec_fmax(f, lo, x));
   vec_value shifted = vec_fma(f, y, constant(f, x, 1.4426950408889634), constant(f, x, magic));
   vec_value n = vec_fsub(f, shifted, constant(f, x, magic));
   vec_value r = vec_fma(f, n, constant(f, x, -0.693145751953125), y);
   r = vec_fma(f, n, constant(f, x, -1.4286068203094172e-6), r);
   vec_value p = polynomial(f, r, countof(c), c);
   /* n can be 128 at the top: two factors. */
   vec_value half = vec_fsub(f, shifted, constant(f, x, 1));
   vec_value e = vec_fmul(f, vec_fmul(f, p, power_of_two(f, half)), constant(f, x, 2));
   e = vec_select(f, vec_fcmp(f, VEC_lt, x, lo), constant(f, x, 0), e);
   return vec_select(f, vec_fcmp(f, VEC_gt, x, hi), constant(f, x, __builtin_inf()), e);
}

/* 1 / (1 + exp(-x)). */
vec_value vec_sigmoid(vec_fn *f, vec_value x)
{
   vec_value one = constant(f, x, 1);

   return vec_fdiv(f, one, vec_fadd(f, one, vec_exp(f, vec_fneg(f, x))));
}

vec_value vec_tanh(vec_fn *f, vec_value x)
{
   /* Near 0 the odd Taylor series (through x^13 at |x| < 0.45), else 1 - 2 / (e^2|x| + 1). */
   static const double c[] = {21844.0 / 6081075, -1382.0 / 155925, 62.0 / 2835,
                              -17.0 / 315,       2.0 / 15,         -1.0 / 3};
   uint32_t lanes = vec_width(x);
   vec_value one = constant(f, x, 1), two = constant(f, x, 2);
   vec_value a = vec_fabs(f, x), z = vec_fmul(f, x, x);
   vec_value small = vec_fma(f, vec_fmul(f, polynomial(f, z, countof(c), c), z), x, x);
   vec_value e = vec_exp(f, vec_fmul(f, a, two));
   vec_value big = vec_fsub(f, one, vec_fdiv(f, two, vec_fadd(f, e, one)));
   vec_value sign = vec_and_i(f, vec_bits(f, x, VEC_i32, lanes), INT32_MIN);

   big = vec_bits(f, vec_or(f, vec_bits(f, big, VEC_i32, lanes), sign), VEC_f32, lanes);
   return vec_select(f, vec_fcmp(f, VEC_lt, a, constant(f, x, 0.45)), small, big);
}

vec_value vec_erf(vec_fn *f, vec_value x)
{
   /* |x| < 0.8: Maclaurin series; else 1 - exp(-x^2) p(t) t with t = 1 / (1 + 0.3275911 |x|),
    * Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7). */
   static const double near[] = {-1.0 / 685440, 1.0 / 75600, -1.0 / 9360, 1.0 / 1320,
                                 -1.0 / 216,    1.0 / 42,    -0.1,        1.0 / 3};
   static const double far[] = {1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592};
   uint32_t lanes = vec_width(x);
   vec_value one = constant(f, x, 1), a = vec_fabs(f, x), z = vec_fmul(f, x, x);
   vec_value series = vec_fneg(f, vec_fmul(f, polynomial(f, z, countof(near), near), z));
   vec_value small = vec_fmul(f, vec_fma(f, series, x, x), constant(f, x, 1.1283791670955126));
   vec_value t = vec_fdiv(f, one, vec_fma(f, a, constant(f, x, 0.3275911), one));
   vec_value tail =
      vec_fmul(f, vec_fmul(f, polynomial(f, t, countof(far), far), t), vec_exp(f, vec_fneg(f, z)));
   vec_value big = vec_fsub(f, one, tail);
   vec_value sign = vec_and_i(f, vec_bits(f, x, VEC_i32, lanes), INT32_MIN);

   big = vec_bits(f, vec_or(f, vec_bits(f, big, VEC_i32, lanes), sign), VEC_f32, lanes);
   return vec_select(f, vec_fcmp(f, VEC_lt, a, constant(f, x, 0.8)), small, big);
}

vec_value vec_silu(vec_fn *f, vec_value x)
{
   return vec_fmul(f, x, vec_sigmoid(f, x));
}

vec_value vec_gelu(vec_fn *f, vec_value x)
{
   vec_value e = vec_erf(f, vec_fmul(f, x, constant(f, x, 0.7071067811865476)));

   return vec_fmul(f, vec_fmul(f, x, constant(f, x, 0.5)), vec_fadd(f, e, constant(f, x, 1)));
}

vec_value vec_gelu_tanh(vec_fn *f, vec_value x)
{
   /* x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
   vec_value z = vec_fmul(f, x, x);
   vec_value inner = vec_fma(f, z, constant(f, x, 2 * 0.7978845608028654 * 0.044715),
                             constant(f, x, 2 * 0.7978845608028654));

   return vec_fmul(f, x, vec_sigmoid(f, vec_fmul(f, x, inner)));
}

vec_value vec_softcap(vec_fn *f, vec_value x, double cap)
{
   vec_value inside = vec_fdiv(f, x, constant(f, x, cap));

   return vec_fmul(f, vec_tanh(f, inside), constant(f, x, cap));
}

/* log(1 + y) for y in 0..1: 2 atanh(y / (2 + y)) by its odd series, |argument| <= 1/3. */
static vec_value log1p_unit(vec_fn *f, vec_value y)
{
   static const double c[] = {2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3, 2};
   vec_value s = vec_fdiv(f, y, vec_fadd(f, y, constant(f, y, 2)));

   return vec_fmul(f, s, polynomial(f, vec_fmul(f, s, s), countof(c), c));
}

vec_value vec_softplus(vec_fn *f, vec_value x)
{
   /* max(x, 0) + log(1 + exp(-|x|)): the last term is nothing beside x > 20. */
   vec_value e = vec_exp(f, vec_fneg(f, vec_fabs(f, x)));

   return vec_fadd(f, vec_fmax(f, constant(f, x, 0), x), log1p_unit(f, e));
}

vec_value vec_decay(vec_fn *f, vec_value x, vec_value a, vec_value b)
{
   return vec_fneg(f, vec_fmul(f, vec_exp(f, a), vec_softplus(f, vec_fadd(f, x, b))));
}

vec_value vec_order(vec_fn *f, vec_value a)
{
   uint32_t lanes = vec_width(a);
   vec_value bits = vec_bits(f, vec_fadd(f, a, vec_float(f, lanes, 0)), VEC_i32, lanes);

   return vec_xor(f, bits, vec_and_i(f, vec_ashr_i(f, bits, 31), 0x7fffffff));
}
