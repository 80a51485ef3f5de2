/* quant.c - x = q * s with q in a narrow type: the one op whose codes are exact in both modes. */
#include "ref.h"

#include <math.h>

typedef struct quant {
   ref_call *c;
   dtype code;
   double max, floor;
   bool powers;         /* scales are powers of two */
   const double *given; /* the scale; NULL: from the group's largest */
} quant;

/* The power of two not below s, at least 2^-126; 0 and NaN stay. */
static double power_above(double s)
{
   int e;

   if (!(s > 0))
      return s;
   double m = frexp(s, &e);
   return ldexp(1, MAX(m == 0.5 ? e - 1 : e, -126));
}

static double scale_of(const quant *k, const double *x, int64_t n)
{
   double most = 0;

   for (int64_t i = 0; i < n; i++) {
      if (isnan(x[i]))
         return NAN;
      most = fmax(most, fabs(x[i]));
   }
   if (k->given)
      return *k->given;
   double s = fmax(ref_round(k->c, k->c->out[1]->type->dtype, most / k->max), k->floor);
   return k->powers ? power_above(s) : s;
}

static void encode(const quant *k, const double *x, int64_t n, double s, double *out)
{
   for (int64_t i = 0; i < n; i++)
      out[i] = dtype_round(k->code, s > 0 ? fmin(fmax(x[i] / s, -k->max), k->max) : 0);
}

sinter_status ref_quant(ref_call *c)
{
   const int64_t group = ir_attr_i(c->op, IR_ATTR_group, 1), row = ref_row(c->in[0]);
   const int64_t rows = c->in[0]->size / row, groups = (row + group - 1) / group;
   const bool by_column = strcmp(ir_attr_s(c->op, IR_ATTR_layout, "row"), "col") == 0;
   const quant k = {
      .c = c,
      .code = c->out[0]->type->dtype,
      .max = dtype_code_max(c->out[0]->type->dtype),
      .floor = (float)ir_attr_f(c->op, IR_ATTR_floor, 0),
      .powers = strcmp(ir_attr_s(c->op, IR_ATTR_scale_fn, "absmax"), "ue8m0") == 0,
      .given = c->op->num_operands > 1 ? c->in[1]->t.data : NULL,
   };

   for (int64_t r = 0; r < rows; r++) {
      for (int64_t g = 0; g < groups; g++) {
         int64_t at = r * row + g * group, n = MIN(group, row - g * group);
         double s = scale_of(&k, c->in[0]->t.data + at, n);

         c->out[1]->t.data[by_column ? g * rows + r : r * groups + g] = s;
         encode(&k, c->in[0]->t.data + at, n, s, c->out[0]->t.data + at);
      }
   }
   return SINTER_ok;
}
