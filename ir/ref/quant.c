/* quant.c - x = q * s with integers q: the one op whose codes are exact in both modes. */
#include "ref.h"

#include <math.h>

enum { CODE_MAX = 127 };

sinter_status ref_quant(ref_call *c)
{
   const int64_t group = ir_attr_i(c->op, IR_ATTR_group, 1);
   const double *x = c->in[0]->t.data;

   for (int64_t at = 0; at < c->in[0]->size; at += group) {
      double most = 0;
      for (int64_t i = at; i < at + group; i++)
         most = fmax(most, fabs(x[i]));
      double s = ref_round(c, c->out[1]->type->dtype, most / CODE_MAX);
      c->out[1]->t.data[at / group] = s;
      for (int64_t i = at; i < at + group; i++) {
         double q = s > 0 ? nearbyint(x[i] / s) : 0;
         c->out[0]->t.data[i] = fmin(fmax(q, -CODE_MAX), CODE_MAX);
      }
   }
   return SINTER_ok;
}
