/* hc.c - hyper-connections: how n streams are mixed, brought together and spread again.
 *
 *    x[n,D] ─fn─▶ m ─▶ pre[n] post[n] comb[n,n]       comb nearly doubly stochastic
 *    sum_j pre_j x_j ─▶ block ─▶ y;   x'_k = post_k y + sum_j comb[j,k] x_j */
#include "ref.h"

#include <math.h>

enum { SLOT_MIX = 2 };

static double sigmoid(double x)
{
   return 1 / (1 + exp(-x));
}

static void softmax_rows(double *c, int64_t n, double floor)
{
   for (int64_t i = 0; i < n; i++) {
      double most = -INFINITY, sum = 0;
      for (int64_t j = 0; j < n; j++)
         most = fmax(most, c[i * n + j]);
      for (int64_t j = 0; j < n; j++)
         sum += c[i * n + j] = exp(c[i * n + j] - most);
      for (int64_t j = 0; j < n; j++)
         c[i * n + j] = c[i * n + j] / sum + floor;
   }
}

/* Divides the n elements that are `step` apart by their sum. */
static void normalise(double *c, int64_t n, int64_t step, double floor)
{
   double sum = 0;

   for (int64_t i = 0; i < n; i++)
      sum += c[i * step];
   for (int64_t i = 0; i < n; i++)
      c[i * step] /= sum + floor;
}

/* Exactly `iters` times columns, and rows in between: never less, whatever the sums are by then. */
static void balance(double *c, int64_t n, int64_t iters, double floor)
{
   for (int64_t k = 0; k < iters; k++) {
      for (int64_t i = 0; k && i < n; i++)
         normalise(c + i * n, n, 1, floor);
      for (int64_t j = 0; j < n; j++)
         normalise(c + j, n, n, floor);
   }
}

/* m: products of one row, scaled by its root mean square. */
static void mix_row(const ref_call *c, const double *m, int64_t t, int64_t n)
{
   const double *scale = c->in[2]->t.data, *base = c->in[3]->t.data;
   const double floor = ir_attr_f(c->op, IR_ATTR_offset, 0);
   double *comb = c->out[2]->t.data + t * n * n;

   for (int64_t i = 0; i < n; i++) {
      c->out[0]->t.data[t * n + i] = sigmoid(m[i] * scale[0] + base[i]) + floor;
      c->out[1]->t.data[t * n + i] = 2 * sigmoid(m[n + i] * scale[1] + base[n + i]);
   }
   for (int64_t i = 0; i < n * n; i++)
      comb[i] = m[2 * n + i] * scale[2] + base[2 * n + i];
   softmax_rows(comb, n, floor);
   balance(comb, n, ir_attr_i(c->op, IR_ATTR_iters, 1), floor);
}

sinter_status ref_hc_mix(ref_call *c)
{
   const ir_tensor *x = &c->in[0]->t;
   const int64_t rows = x->dim[0], n = x->dim[1], wide = n * x->dim[2], parts = (2 + n) * n;
   double *m = ref_scratch(c, SLOT_MIX, rows * parts);

   SINTER_TRY(ref_multiply(c, x->data, rows, 1, 0, parts, m));
   for (int64_t t = 0; t < rows; t++) {
      const double *row = x->data + t * wide;
      const double mean = ref_dot(row, row, wide) / (double)wide;
      for (int64_t i = 0; i < parts; i++)
         m[t * parts + i] /= sqrt(mean + ir_attr_f(c->op, IR_ATTR_eps, 0));
      mix_row(c, m + t * parts, t, n);
   }
   return SINTER_ok;
}

sinter_status ref_hc_collapse(ref_call *c)
{
   const ir_tensor *x = &c->in[0]->t;
   const int64_t n = x->dim[1], d = x->dim[2];

   for (int64_t t = 0; t < x->dim[0]; t++)
      for (int64_t i = 0; i < d; i++) {
         double sum = 0;
         for (int64_t j = 0; j < n; j++)
            sum += c->in[1]->t.data[t * n + j] * x->data[(t * n + j) * d + i];
         c->out[0]->t.data[t * d + i] = sum;
      }
   return SINTER_ok;
}

sinter_status ref_hc_expand(ref_call *c)
{
   const ir_tensor *x = &c->in[1]->t;
   const double *y = c->in[0]->t.data, *post = c->in[2]->t.data, *comb = c->in[3]->t.data;
   const int64_t n = x->dim[1], d = x->dim[2];

   for (int64_t t = 0; t < x->dim[0]; t++)
      for (int64_t k = 0; k < n; k++)
         for (int64_t i = 0; i < d; i++) {
            double sum = post[t * n + k] * y[t * d + i];
            for (int64_t j = 0; j < n; j++)
               sum += comb[(t * n + j) * n + k] * x->data[(t * n + j) * d + i];
            c->out[0]->t.data[(t * n + k) * d + i] = sum;
         }
   return SINTER_ok;
}
