/* pointwise.c - one element at a time. Operand 1 repeats over the leading extents it lacks. */
#include "ref.h"

#include <math.h>

static void map_unary(ref_call *c, double (*fn)(double x, double k), double k)
{
   const double *x = c->in[0]->t.data;

   for (int64_t i = 0; i < c->in[0]->size; i++)
      c->out[0]->t.data[i] = fn(x[i], k);
}

sinter_status ref_add(ref_call *c)
{
   const ref_value *x = c->in[0], *y = c->in[1];

   for (int64_t i = 0; i < x->size; i++)
      c->out[0]->t.data[i] = x->t.data[i] + y->t.data[i % y->size];
   return SINTER_ok;
}

sinter_status ref_mul(ref_call *c)
{
   const ref_value *x = c->in[0], *y = c->in[1];

   for (int64_t i = 0; i < x->size; i++)
      c->out[0]->t.data[i] = x->t.data[i] * y->t.data[i % y->size];
   return SINTER_ok;
}

static double scale(double x, double k)
{
   return x * k;
}

static double silu(double x, double k)
{
   (void)k;
   return x / (1 + exp(-x));
}

static double gelu(double x, double k)
{
   (void)k;
   return x * 0.5 * erfc(-x * sqrt(0.5));
}

static double gelu_tanh(double x, double k)
{
   return 0.5 * x * (1 + tanh(k * (x + 0.044715 * x * x * x)));
}

static double softcap(double x, double k)
{
   return k * tanh(x / k);
}

static double sigmoid(double x, double k)
{
   (void)k;
   return 1 / (1 + exp(-x));
}

double ref_softplus_of(double x)
{
   return x > 20 ? x : log1p(exp(x));
}

static double softplus(double x, double k)
{
   (void)k;
   return ref_softplus_of(x);
}

static double shift(double x, double k)
{
   return x + k;
}

static double relu2(double x, double k)
{
   (void)k;
   return x < 0 ? 0 : x * x;
}

sinter_status ref_relu2(ref_call *c)
{
   map_unary(c, relu2, 0);
   return SINTER_ok;
}

sinter_status ref_scale(ref_call *c)
{
   map_unary(c, scale, ir_attr_f(c->op, IR_ATTR_scale, 1));
   return SINTER_ok;
}

sinter_status ref_silu(ref_call *c)
{
   map_unary(c, silu, 0);
   return SINTER_ok;
}

sinter_status ref_gelu(ref_call *c)
{
   map_unary(c, gelu, 0);
   return SINTER_ok;
}

sinter_status ref_gelu_tanh(ref_call *c)
{
   map_unary(c, gelu_tanh, sqrt(2 / acos(-1.0)));
   return SINTER_ok;
}

sinter_status ref_softcap(ref_call *c)
{
   map_unary(c, softcap, ir_attr_f(c->op, IR_ATTR_cap, 1));
   return SINTER_ok;
}

sinter_status ref_sigmoid(ref_call *c)
{
   map_unary(c, sigmoid, 0);
   return SINTER_ok;
}

sinter_status ref_softplus(ref_call *c)
{
   map_unary(c, softplus, 0);
   return SINTER_ok;
}

sinter_status ref_shift(ref_call *c)
{
   map_unary(c, shift, ir_attr_f(c->op, IR_ATTR_offset, 0));
   return SINTER_ok;
}

sinter_status ref_clamp(ref_call *c)
{
   const double min = ir_attr_f(c->op, IR_ATTR_min, -INFINITY);
   const double max = ir_attr_f(c->op, IR_ATTR_max, INFINITY);

   for (int64_t i = 0; i < c->in[0]->size; i++) {
      double x = c->in[0]->t.data[i];
      c->out[0]->t.data[i] = x < min ? min : x > max ? max : x;
   }
   return SINTER_ok;
}

sinter_status ref_decay(ref_call *c)
{
   const double *x = c->in[0]->t.data, *a = c->in[1]->t.data, *b = c->in[2]->t.data;
   const int64_t n = ref_row(c->in[0]);

   for (int64_t i = 0; i < c->in[0]->size; i++)
      c->out[0]->t.data[i] = -exp(a[i % n]) * ref_softplus_of(x[i] + b[i % n]);
   return SINTER_ok;
}
