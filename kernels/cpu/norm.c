/* norm.c - sums of squares of rows, in an order that depends on the row's length only. */
#include "norm.h"

enum { SUMS = 4 };

static vec_value square_add(vec_fn *f, norm_load *load, void *user, vec_value i, uint32_t lanes,
                            vec_value sum)
{
   vec_value v = load(user, i, lanes);

   return vec_fma(f, v, v, sum);
}

vec_value norm_sum_squares(vec_fn *f, int64_t n, norm_load *load, void *user)
{
   uint32_t w = vec_lanes(f);
   int64_t step = (int64_t)w * SUMS, whole = n / w * w, wide = n / step * step;
   vec_value s[SUMS], next[SUMS];

   for (int k = 0; k < SUMS; k++)
      s[k] = vec_float(f, w, 0);
   if (wide) {
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, wide), step, SUMS, s);
      for (int k = 0; k < SUMS; k++)
         next[k] = square_add(f, load, user, vec_add_i(f, l.i, k * (int64_t)w), w, l.var[k]);
      vec_loop_end(f, &l, next);
      memcpy(s, l.var, sizeof s);
   }
   for (int64_t i = wide; i < whole; i += w)
      s[0] = square_add(f, load, user, vec_i(f, i), w, s[0]);
   vec_value sum = vec_fsum(f, vec_fadd(f, vec_fadd(f, s[0], s[1]), vec_fadd(f, s[2], s[3])));
   for (int64_t i = whole; i < n; i++)
      sum = square_add(f, load, user, vec_i(f, i), 1, sum);
   return sum;
}

vec_value norm_factor(vec_fn *f, vec_value sum, int64_t count, double eps)
{
   if (count > 1)
      sum = vec_fdiv(f, sum, vec_float(f, 1, (double)count));
   return vec_fdiv(f, vec_float(f, 1, 1), vec_sqrt(f, vec_fadd(f, sum, vec_float(f, 1, eps))));
}
