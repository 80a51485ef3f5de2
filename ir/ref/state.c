/* state.c - per-sequence state: k and v of every position, or one latent row, contiguous. The
 * interpreter keeps window states whole; what is older than the window is not looked at. */
#include "ref.h"

sinter_status ref_state(ref_call *c)
{
   ref_value *out = c->out[0];

   out->window = ir_attr_i(c->op, IR_ATTR_window, 0);
   out->kv = c->env->state(c->env->user, ir_attr_i(c->op, IR_ATTR_layer, 0), out->type);
   if (!out->kv)
      return ref_fail(c, SINTER_failed, "there is no state for the layer");
   if (out->kv->heads != out->t.dim[0] || out->kv->width != out->t.dim[1])
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

sinter_status ref_mla_write(ref_call *c)
{
   const ref_value *state = c->in[0];
   const int64_t r = ref_row(c->in[1]), n = ref_row(c->in[2]);

   for (int64_t t = 0; t < c->in[1]->t.dim[0]; t++) {
      double *row, *none;
      if (c->step->writes && !c->step->writes[t])
         continue;
      SINTER_TRY(place(c, state->kv, t, &row, &none));
      for (int64_t i = 0; i < r; i++)
         row[i] = ref_round(c, state->type->dtype, c->in[1]->t.data[t * r + i]);
      for (int64_t i = 0; i < n; i++)
         row[r + i] = ref_round(c, state->type->dtype, c->in[2]->t.data[t * n + i]);
   }
   c->out[0]->kv = state->kv;
   return SINTER_ok;
}
