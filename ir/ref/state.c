/* state.c - per-sequence state: k and v of every position, or one latent row, contiguous; of a
 * convolution or a gated delta net one array of its extents, in the place of k. The interpreter
 * keeps window states whole; what is older than the window is not looked at. */
#include "ref.h"

#include <math.h>

sinter_status ref_state(ref_call *c)
{
   ref_value *out = c->out[0];

   out->window = ir_attr_i(c->op, IR_ATTR_window, 0);
   out->ratio = ir_attr_i(c->op, IR_ATTR_ratio, 0);
   out->kv = c->env->state(c->env->user, ir_attr_i(c->op, IR_ATTR_layer, 0), out->type);
   if (!out->kv)
      return ref_fail(c, SINTER_failed, "there is no state for the layer");
   if (out->kv->heads != out->t.dim[0] || out->kv->width != ir_state_width(out->type))
      return ref_fail(c, SINTER_failed, "the state has other extents");
   return SINTER_ok;
}

/* Sequence and position of a row, within the state. */
static sinter_status place(const ref_call *c, const ir_kv *kv, int64_t t, double **k, double **v)
{
   if (!c->step->positions || !c->step->seq_of)
      return ref_fail(c, SINTER_usage, "the step has no positions or sequences");
   const int64_t seq = c->step->seq_of[t], pos = c->step->positions[t];

   if (seq < 0 || seq >= (int64_t)kv->num_seqs || pos < 0 || pos >= kv->capacity)
      return ref_fail(c, SINTER_exhausted, "row %lld: sequence %lld, position %lld has no room",
                      (long long)t, (long long)seq, (long long)pos);
   *k = kv->k[seq] + pos * kv->heads * kv->width;
   *v = kv->v ? kv->v[seq] + pos * kv->heads * kv->width : NULL;
   return SINTER_ok;
}

sinter_status ref_kv_write(ref_call *c)
{
   const ref_value *state = c->in[0];
   const int64_t row = state->kv->heads * state->kv->width;

   for (int64_t t = 0; t < c->in[1]->t.dim[0]; t++) {
      double *k, *v;
      if (c->step->writes && !c->step->writes[t])
         continue;
      SINTER_TRY(place(c, state->kv, t, &k, &v));
      for (int64_t i = 0; i < row; i++) {
         k[i] = ref_round(c, state->type->dtype, c->in[1]->t.data[t * row + i]);
         v[i] = ref_round(c, state->type->dtype, c->in[2]->t.data[t * row + i]);
      }
   }
   c->out[0]->kv = state->kv;
   c->out[0]->window = state->window;
   return SINTER_ok;
}

/* Where row t goes in a state of rows; NULL when it writes nothing. */
static sinter_status row_place(const ref_call *c, int64_t t, double **out)
{
   const ref_value *state = c->in[0];
   double *none;

   *out = NULL;
   if (c->step->writes && !c->step->writes[t])
      return SINTER_ok;
   SINTER_TRY(place(c, state->kv, t, out, &none));
   if (!state->ratio)
      return SINTER_ok;
   const int64_t closed = c->step->positions[t] + 1;
   *out = closed % state->ratio
             ? NULL
             : state->kv->k[c->step->seq_of[t]] + (closed / state->ratio - 1) * state->kv->width;
   return SINTER_ok;
}

sinter_status ref_mla_write(ref_call *c)
{
   const ref_value *state = c->in[0];

   for (int64_t t = 0; t < c->in[1]->t.dim[0]; t++) {
      double *row;
      SINTER_TRY(row_place(c, t, &row));
      for (uint32_t part = 1; row && part < c->op->num_operands; part++) {
         const int64_t n = ref_row(c->in[part]);
         for (int64_t i = 0; i < n; i++)
            *row++ = ref_round(c, state->type->dtype, c->in[part]->t.data[t * n + i]);
      }
   }
   c->out[0]->kv = state->kv;
   c->out[0]->window = state->window;
   c->out[0]->ratio = state->ratio;
   return SINTER_ok;
}

/* ---- states without pages ---- */

enum { SLOT_STATE, SLOT_DELTA };

/* The state as row t finds it; a copy when the row writes nothing. */
static sinter_status find_slot(ref_call *c, int64_t t, double **out)
{
   const ir_kv *kv = c->in[0]->kv;
   const int64_t n = kv->heads * kv->width;
   double *data;

   if (!c->step->positions || !c->step->seq_of)
      return ref_fail(c, SINTER_usage, "the step has no positions or sequences");
   const int64_t seq = c->step->seq_of[t];
   if (seq < 0 || seq >= (int64_t)kv->num_seqs || c->step->positions[t] < 0)
      return ref_fail(c, SINTER_exhausted, "row %lld: there is no state of sequence %lld",
                      (long long)t, (long long)seq);
   data = kv->k[seq];
   if (c->step->writes && !c->step->writes[t]) {
      data = ref_scratch(c, SLOT_STATE, n);
      memcpy(data, kv->k[seq], (size_t)n * sizeof *data);
   }
   if (c->step->positions[t] == 0)
      memset(data, 0, (size_t)n * sizeof *data);
   *out = data;
   return SINTER_ok;
}

sinter_status ref_conv_step(ref_call *c)
{
   const int64_t channels = ref_row(c->in[1]), width = ref_row(c->in[2]), last = width - 1;
   const double *w = c->in[2]->t.data;

   for (int64_t t = 0; t < c->in[1]->t.dim[0]; t++) {
      const double *x = c->in[1]->t.data + t * channels;
      double *y = c->out[1]->t.data + t * channels, *s;
      SINTER_TRY(find_slot(c, t, &s));
      for (int64_t i = 0; i < channels; i++) {
         y[i] = w[i * width + last] * x[i];
         for (int64_t j = 0; j < last; j++)
            y[i] += w[i * width + j] * s[j * channels + i];
      }
      memmove(s, s + channels, (size_t)((last - 1) * channels) * sizeof *s);
      for (int64_t i = 0; i < channels; i++)
         s[(last - 1) * channels + i] = ref_round(c, c->in[0]->type->dtype, x[i]);
   }
   c->out[0]->kv = c->in[0]->kv;
   return SINTER_ok;
}

/* One head of one row. */
typedef struct delta_head {
   const double *q, *k, *v;
   int64_t dk, dv;
   double keep, beta, scale;
   double *s, *o; /* [dk, dv], [dv] */
} delta_head;

static void step_head(const ref_call *c, const delta_head *h, double *delta)
{
   for (int64_t j = 0; j < h->dv; j++) {
      double known = 0;
      for (int64_t i = 0; i < h->dk; i++)
         known += h->keep * h->s[i * h->dv + j] * h->k[i];
      delta[j] = h->beta * (h->v[j] - known);
      h->o[j] = 0;
   }
   for (int64_t i = 0; i < h->dk; i++)
      for (int64_t j = 0; j < h->dv; j++) {
         double *s = &h->s[i * h->dv + j];
         *s = ref_round(c, c->in[0]->type->dtype, h->keep * *s + h->k[i] * delta[j]);
         h->o[j] += h->scale * *s * h->q[i];
      }
}

sinter_status ref_gdn(ref_call *c)
{
   const ir_tensor *q = &c->in[1]->t, *v = &c->in[3]->t;
   const int64_t heads = v->dim[1], share = heads / q->dim[1], dk = q->dim[2], dv = v->dim[2];
   double *delta = ref_scratch(c, SLOT_DELTA, dv), *s;

   for (int64_t t = 0; t < v->dim[0]; t++) {
      SINTER_TRY(find_slot(c, t, &s));
      for (int64_t n = 0; n < heads; n++) {
         const int64_t at = t * heads + n, key = (t * q->dim[1] + n / share) * dk;
         delta_head h = {.q = q->data + key,
                         .k = c->in[2]->t.data + key,
                         .v = v->data + at * dv,
                         .dk = dk,
                         .dv = dv,
                         .keep = exp(c->in[4]->t.data[at]),
                         .beta = c->in[5]->t.data[at],
                         .scale = ir_attr_f(c->op, IR_ATTR_scale, 1),
                         .s = s + n * dk * dv,
                         .o = c->out[1]->t.data + at * dv};
         step_head(c, &h, delta);
      }
   }
   c->out[0]->kv = c->in[0]->kv;
   return SINTER_ok;
}
