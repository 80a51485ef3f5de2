/* attn.c - rotary positions and attention. */
#include "ref.h"

#include <math.h>

sinter_status ref_rope(ref_call *c)
{
   const ir_tensor *x = &c->in[0]->t, *cs = &c->in[1]->t;
   const int64_t half = cs->dim[1] / 2, width = x->dim[2];
   const int64_t start = ir_attr_i(c->op, IR_ATTR_start, 0);
   const double turn = ir_attr_i(c->op, IR_ATTR_inverse, 0) ? -1 : 1;
   const bool is_pair = strcmp(ir_attr_s(c->op, IR_ATTR_style, "half"), "pair") == 0;
   double *out = c->out[0]->t.data;

   memcpy(out, x->data, (size_t)c->in[0]->size * sizeof(double));
   for (int64_t row = 0; row < x->dim[0] * x->dim[1]; row++) {
      const double *cos_t = cs->data + row / x->dim[1] * cs->dim[1], *sin_t = cos_t + half;
      for (int64_t i = 0; i < half; i++) {
         const int64_t a = row * width + start + (is_pair ? 2 * i : i);
         const int64_t b = is_pair ? a + 1 : a + half;
         const double sine = turn * sin_t[i];
         out[a] = x->data[a] * cos_t[i] - x->data[b] * sine;
         out[b] = x->data[b] * cos_t[i] + x->data[a] * sine;
      }
   }
   return SINTER_ok;
}

typedef struct head {
   const double *q, *k, *v;      /* k, v: of position 0, this kv head */
   int64_t stride, value_stride; /* elements between positions */
   int64_t width;                /* of one key */
   int64_t value_width;          /* of one value */
   int64_t first, last;          /* visible positions */
   double scale, cap;            /* cap 0: none */
   double sink;                  /* one more score, of no value; -inf: none */
} head;

double ref_dot(const double *x, const double *y, int64_t n)
{
   double sum[4] = {0};
   int64_t i = 0;

   for (; i + 4 <= n; i += 4)
      for (int j = 0; j < 4; j++)
         sum[j] += x[i + j] * y[i + j];
   for (; i < n; i++)
      sum[0] += x[i] * y[i];
   return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void attend(const head *h, double *scores, double *out)
{
   double most = h->sink, sum = 0;

   for (int64_t p = h->first; p <= h->last; p++) {
      double s = h->scale * ref_dot(h->q, h->k + p * h->stride, h->width);
      scores[p] = h->cap > 0 ? h->cap * tanh(s / h->cap) : s;
      most = fmax(most, scores[p]);
   }
   memset(out, 0, (size_t)h->value_width * sizeof *out);
   for (int64_t p = h->first; p <= h->last; p++) {
      const double e = exp(scores[p] - most), *v = h->v + p * h->value_stride;
      sum += e;
      for (int64_t i = 0; i < h->value_width; i++)
         out[i] += e * v[i];
   }
   if (h->sink > -INFINITY)
      sum += exp(h->sink - most);
   for (int64_t i = 0; i < h->value_width; i++)
      out[i] /= sum;
}

sinter_status ref_place(const ref_call *c, const ir_kv *kv, int64_t t, int64_t *seq, int64_t *last)
{
   if (!c->step->positions || !c->step->seq_of)
      return ref_fail(c, SINTER_usage, "the step has no positions or sequences");
   *seq = c->step->seq_of[t];
   *last = c->step->positions[t];
   if (*seq < 0 || *seq >= (int64_t)kv->num_seqs || *last < 0 || *last >= kv->capacity)
      return ref_fail(c, SINTER_usage, "row %lld lies outside the state", (long long)t);
   return SINTER_ok;
}

/* The last position that row t sees where order does not count. */
static sinter_status last_of(const ref_call *c, const ir_kv *kv, int64_t t, int64_t *out)
{
   *out = c->step->ends ? c->step->ends[t] : -1;
   if (*out < 0 || *out >= kv->capacity)
      return ref_fail(c, SINTER_usage, "row %lld sees positions outside the state", (long long)t);
   return SINTER_ok;
}

sinter_status ref_attention(ref_call *c)
{
   const ir_tensor *q = &c->in[0]->t;
   const ref_value *state = c->in[1];
   const ir_kv *kv = state->kv;
   const int64_t heads = q->dim[1], width = q->dim[2], share = heads / kv->heads;
   double *scores = ref_scratch(c, 0, kv->capacity);

   for (int64_t t = 0; t < q->dim[0]; t++) {
      int64_t seq, last;
      SINTER_TRY(ref_place(c, kv, t, &seq, &last));
      if (ir_attr_i(c->op, IR_ATTR_whole, 0))
         SINTER_TRY(last_of(c, kv, t, &last));
      for (int64_t n = 0; n < heads; n++) {
         const int64_t at = n / share * width, row = (t * heads + n) * width;
         head h = {.q = q->data + row,
                   .k = kv->k[seq] + at,
                   .v = kv->v[seq] + at,
                   .stride = kv->heads * width,
                   .value_stride = kv->heads * width,
                   .width = width,
                   .value_width = width,
                   .last = last,
                   .scale = ir_attr_f(c->op, IR_ATTR_scale, 1),
                   .cap = ir_attr_f(c->op, IR_ATTR_cap, 0),
                   .sink = c->op->num_operands > 2 ? c->in[2]->t.data[n] : -INFINITY};
         if (state->window > 0 && last >= state->window)
            h.first = last - state->window + 1;
         attend(&h, scores, c->out[0]->t.data + row);
      }
   }
   return SINTER_ok;
}

/* Keys are whole rows c | k of the state, values their first r elements. */
sinter_status ref_mla_attention(ref_call *c)
{
   const ir_tensor *q = &c->in[0]->t, *p = &c->in[1]->t;
   const ir_kv *kv = c->in[2]->kv;
   const int64_t r = q->dim[2], n = p->dim[2];
   double *scores = ref_scratch(c, 0, kv->capacity), *both = ref_scratch(c, 1, r + n);

   for (int64_t row = 0; row < q->dim[0] * q->dim[1]; row++) {
      int64_t seq, last;
      SINTER_TRY(ref_place(c, kv, row / q->dim[1], &seq, &last));
      memcpy(both, q->data + row * r, (size_t)r * sizeof *both);
      memcpy(both + r, p->data + row * n, (size_t)n * sizeof *both);
      const head h = {.q = both,
                      .k = kv->k[seq],
                      .v = kv->k[seq],
                      .stride = kv->width,
                      .value_stride = kv->width,
                      .width = r + n,
                      .value_width = r,
                      .last = last,
                      .scale = ir_attr_f(c->op, IR_ATTR_scale, 1),
                      .sink = -INFINITY};
      attend(&h, scores, c->out[0]->t.data + row * r);
   }
   return SINTER_ok;
}

/* Keys a[h] c | k and values b[h] c of one head, of one sequence, for the positions so far. */
typedef struct expanded {
   double *keys, *values;
   int64_t head, seq, count;
} expanded;

static void multiply_row(const double *matrix, int64_t rows, int64_t cols, const double *x,
                         double *out)
{
   for (int64_t i = 0; i < rows; i++)
      out[i] = ref_dot(matrix + i * cols, x, cols);
}

static void expand(const ref_call *c, expanded *e, int64_t number, int64_t seq, int64_t last)
{
   const ir_tensor *a = &c->in[3]->t, *b = &c->in[4]->t;
   const ir_kv *kv = c->in[2]->kv;
   const int64_t r = a->dim[2], n = kv->width - r, key = a->dim[1] + n, value = b->dim[1];

   if (e->head != number || e->seq != seq)
      *e = (expanded){e->keys, e->values, number, seq, 0};
   for (; e->count <= last; e->count++) {
      const double *row = kv->k[seq] + e->count * kv->width;
      double *to = e->keys + e->count * key;

      multiply_row(a->data + number * a->dim[1] * r, a->dim[1], r, row, to);
      memcpy(to + a->dim[1], row + r, (size_t)n * sizeof *to);
      multiply_row(b->data + number * value * r, value, r, row, e->values + e->count * value);
   }
}

static void attend_expanded(const ref_call *c, const expanded *e, int64_t t, int64_t last,
                            double *scores, double *both)
{
   const ir_tensor *q = &c->in[0]->t, *p = &c->in[1]->t;
   const int64_t a = q->dim[2], n = p->dim[2], v = c->in[4]->t.dim[1];
   const int64_t row = t * q->dim[1] + e->head;

   memcpy(both, q->data + row * a, (size_t)a * sizeof *both);
   memcpy(both + a, p->data + row * n, (size_t)n * sizeof *both);
   const head h = {.q = both,
                   .k = e->keys,
                   .v = e->values,
                   .stride = a + n,
                   .value_stride = v,
                   .width = a + n,
                   .value_width = v,
                   .last = last,
                   .scale = ir_attr_f(c->op, IR_ATTR_scale, 1),
                   .sink = -INFINITY};
   attend(&h, scores, c->out[0]->t.data + row * v);
}

sinter_status ref_mla_expanded(ref_call *c)
{
   const ir_tensor *q = &c->in[0]->t;
   const ir_kv *kv = c->in[2]->kv;
   const int64_t key = q->dim[2] + c->in[1]->t.dim[2], value = c->in[4]->t.dim[1];
   double *scores = ref_scratch(c, 0, kv->capacity), *both = ref_scratch(c, 1, key);
   expanded e = {.keys = ref_scratch(c, 2, kv->capacity * key),
                 .values = ref_scratch(c, 3, kv->capacity * value),
                 .head = -1};

   for (int64_t h = 0; h < q->dim[1]; h++)
      for (int64_t t = 0; t < q->dim[0]; t++) {
         int64_t seq, last;
         SINTER_TRY(ref_place(c, kv, t, &seq, &last));
         expand(c, &e, h, seq, last);
         attend_expanded(c, &e, t, last, scores, both);
      }
   return SINTER_ok;
}
