/* quant.c - s = max|x| / 127, q = rne(x / s), and the sums of codes that integer products need.
 *
 * Codes cannot say NaN, so the scale of a group that holds one does: its products are NaN, too. */
#include "quant.h"

quant_place quant_place_of(vec_fn *f, vec_value codes, vec_value scales, vec_value groups,
                           vec_value number)
{
   vec_value at = vec_shl_i(f, number, 2), plane = vec_shl_i(f, groups, 2);
   vec_value scale = vec_at(f, scales, at), dsum = vec_at(f, scale, plane);
   vec_value sum16 = vec_at(f, dsum, plane);

   return (quant_place){.codes = vec_at(f, codes, vec_mul_i(f, number, QUANT_GROUP)),
                        .scale = scale,
                        .dsum = dsum,
                        .sum16 = sum16,
                        .less = vec_at(f, sum16, plane)};
}

/* Codes of a vector as floats, stored as i8. A scale that is denormal can be far off: clamp. */
static vec_value store_codes(vec_fn *f, vec_value x, vec_value divisor, vec_value at)
{
   uint32_t n = vec_width(x);
   vec_value q = vec_round(f, vec_fdiv(f, x, vec_splat(f, divisor, n)));

   q = vec_fmax(f, vec_fmin(f, q, vec_float(f, n, 127)), vec_float(f, n, -127));
   vec_store(f, vec_trunc(f, vec_ftoi(f, q), VEC_i8), at, 1);
   return q;
}

/* The group stays in registers; the sums are exact. */
void quant_emit_group(vec_fn *f, const vec_value *v, const quant_place *to)
{
   uint32_t lanes = vec_width(v[0]), n = QUANT_GROUP / lanes, half = n / 2;
   vec_value most = NULL, all = NULL, sum = NULL;

   for (uint32_t k = 0; k < n; k++) {
      vec_value size = vec_fabs(f, v[k]);
      most = k ? vec_size_max(f, most, size) : size;
   }
   vec_value s = vec_fdiv(f, vec_size_max_all(f, most), vec_float(f, 1, 127));
   vec_value is_zero = vec_fcmp(f, VEC_eq, s, vec_float(f, 1, 0));
   vec_value divisor = vec_select(f, is_zero, vec_float(f, 1, 1), s);
   vec_store(f, s, to->scale, 4);
   for (uint32_t k = 0; k < n; k++) {
      vec_value q = store_codes(f, v[k], divisor, vec_at_i(f, to->codes, (int64_t)k * lanes));
      sum = k % half ? vec_fadd(f, sum, q) : q;
      if (k % half != half - 1)
         continue;
      vec_value total = vec_fsum(f, sum);
      vec_store(f, vec_trunc(f, vec_ftoi(f, total), VEC_i16), vec_at_i(f, to->sum16, k / half * 2),
                2);
      all = all ? vec_fadd(f, all, total) : total;
   }
   vec_store(f, vec_fmul(f, s, all), to->dsum, 4);
   vec_store(f, vec_ftoi(f, vec_fmul(f, all, vec_float(f, 1, -128))), to->less, 4);
}
