/* norm.c - reductions over a row. */
#include "ref.h"

#include <math.h>

sinter_status ref_rmsnorm(ref_call *c)
{
   const double eps = ir_attr_f(c->op, IR_ATTR_eps, 0),
                offset = ir_attr_f(c->op, IR_ATTR_offset, 0);
   const int64_t n = ref_row(c->in[0]);
   const double *w = c->in[1]->t.data;

   for (int64_t at = 0; at < c->in[0]->size; at += n) {
      const double *x = c->in[0]->t.data + at;
      double *y = c->out[0]->t.data + at;
      double sum = 0;
      for (int64_t i = 0; i < n; i++)
         sum += x[i] * x[i];
      double root = sqrt(sum / (double)n + eps);
      for (int64_t i = 0; i < n; i++)
         y[i] = (w[i] + offset) * x[i] / root;
   }
   return SINTER_ok;
}

sinter_status ref_center(ref_call *c)
{
   const int64_t n = ref_row(c->in[0]);

   for (int64_t at = 0; at < c->in[0]->size; at += n) {
      const double *x = c->in[0]->t.data + at;
      double sum = 0;
      for (int64_t i = 0; i < n; i++)
         sum += x[i];
      for (int64_t i = 0; i < n; i++)
         c->out[0]->t.data[at + i] = x[i] - sum / (double)n;
   }
   return SINTER_ok;
}

sinter_status ref_l2norm(ref_call *c)
{
   const double eps = ir_attr_f(c->op, IR_ATTR_eps, 0);
   const int64_t n = ref_row(c->in[0]);

   for (int64_t at = 0; at < c->in[0]->size; at += n) {
      const double *x = c->in[0]->t.data + at;
      double sum = 0;
      for (int64_t i = 0; i < n; i++)
         sum += x[i] * x[i];
      for (int64_t i = 0; i < n; i++)
         c->out[0]->t.data[at + i] = x[i] / sqrt(sum + eps);
   }
   return SINTER_ok;
}
