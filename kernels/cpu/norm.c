/* norm.c - sums over rows, of squares or of what is there, in an order that depends on the row's
 * length only. */
#include "norm.h"

enum { SUMS = 4 };

/* Adds v, or its square. */
typedef vec_value add_to(vec_fn *f, vec_value v, vec_value sum);

static vec_value square_add(vec_fn *f, vec_value v, vec_value sum)
{
   return vec_fma(f, v, v, sum);
}

static vec_value plain_add(vec_fn *f, vec_value v, vec_value sum)
{
   return vec_fadd(f, sum, v);
}

static vec_value sum_row(vec_fn *f, int64_t n, norm_load *load, void *user, add_to *add)
{
   uint32_t w = vec_lanes(f);
   int64_t step = (int64_t)w * SUMS, whole = n / w * w, wide = n / step * step;
   vec_value s[SUMS], next[SUMS];

   for (int k = 0; k < SUMS; k++)
      s[k] = vec_float(f, w, 0);
   if (wide) {
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, wide), step, SUMS, s);
      for (int k = 0; k < SUMS; k++)
         next[k] = add(f, load(user, vec_add_i(f, l.i, k * (int64_t)w), w), l.var[k]);
      vec_loop_end(f, &l, next);
      memcpy(s, l.var, sizeof s);
   }
   for (int64_t i = wide; i < whole; i += w)
      s[0] = add(f, load(user, vec_i(f, i), w), s[0]);
   vec_value sum = vec_fsum(f, vec_fadd(f, vec_fadd(f, s[0], s[1]), vec_fadd(f, s[2], s[3])));
   for (int64_t i = whole; i < n; i++)
      sum = add(f, load(user, vec_i(f, i), 1), sum);
   return sum;
}

vec_value norm_sum_squares(vec_fn *f, int64_t n, norm_load *load, void *user)
{
   return sum_row(f, n, load, user, square_add);
}

vec_value norm_sum(vec_fn *f, int64_t n, norm_load *load, void *user)
{
   return sum_row(f, n, load, user, plain_add);
}

vec_value norm_factor(vec_fn *f, vec_value sum, int64_t count, double eps)
{
   if (count > 1)
      sum = vec_fdiv(f, sum, vec_float(f, 1, (double)count));
   return vec_fdiv(f, vec_float(f, 1, 1), vec_sqrt(f, vec_fadd(f, sum, vec_float(f, 1, eps))));
}
