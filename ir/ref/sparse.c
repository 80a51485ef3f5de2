/* sparse.c - attention over a window and compressed entries.
 *
 *    kv, gate of a chunk ─compress─▶ entry ─▶ state       chunk i: positions i*ratio .. (i+1)*ratio - 1
 *    q, entries ─index_topk─▶ ids                         those with the largest scores
 *    q, window, entries, ids ─sparse_attention─▶ o */
#include "ref.h"

#include <math.h>

enum { SLOT_SCORES, SLOT_TAKEN };

/* ---- entries ---- */

/* What one channel of an entry is made of: `rows` rows of the state, `back` chunks before it. */
typedef struct pool {
   const ref_call *c;
   const double *first; /* row of the chunk's first position, at the values */
   int64_t ratio, width, wide, d;
   bool overlap, has_before;
} pool;

/* Value (and gate with its place's bias) of place j of the chunk `before` it or the chunk
 * itself. */
static double value_of(const pool *p, int64_t j, bool before, int64_t i, double *out_gate)
{
   const int64_t column = p->overlap && !before ? p->d + i : i;
   const double *row = p->first + (before ? j - p->ratio : j) * p->width;

   *out_gate = row[p->wide + column] + p->c->in[1]->t.data[j * p->wide + column];
   return row[column];
}

static double channel(const pool *p, int64_t i)
{
   double most = -INFINITY, sum = 0, total = 0, gate;

   for (int before = p->overlap && p->has_before; before >= 0; before--)
      for (int64_t j = 0; j < p->ratio; j++) {
         (void)value_of(p, j, before, i, &gate);
         most = fmax(most, gate);
      }
   for (int before = p->overlap && p->has_before; before >= 0; before--)
      for (int64_t j = 0; j < p->ratio; j++) {
         const double v = value_of(p, j, before, i, &gate), e = exp(gate - most);
         sum += e;
         total += e * v;
      }
   return total / sum;
}

sinter_status ref_compress(ref_call *c)
{
   const ir_kv *kv = c->in[0]->kv;
   const int64_t d = ref_row(c->out[0]), start = ir_attr_i(c->op, IR_ATTR_start, 0);
   pool p = {.c = c,
             .ratio = c->in[1]->t.dim[0],
             .width = kv->width,
             .wide = c->in[1]->t.dim[1],
             .d = d,
             .overlap = ir_attr_i(c->op, IR_ATTR_overlap, 0) != 0};

   for (int64_t t = 0; t < c->out[0]->t.dim[0]; t++) {
      double *out = c->out[0]->t.data + t * d;
      int64_t seq, last;
      SINTER_TRY(ref_place(c, kv, t, &seq, &last));
      memset(out, 0, (size_t)d * sizeof *out);
      if ((last + 1) % p.ratio)
         continue;
      const int64_t first = last + 1 - p.ratio;
      p.first = kv->k[seq] + first * kv->width + start;
      p.has_before = first > 0;
      for (int64_t i = 0; i < d; i++)
         out[i] = channel(&p, i);
   }
   return SINTER_ok;
}

/* ---- choice ---- */

static double score(const ref_call *c, int64_t t, const double *entry)
{
   const int64_t heads = c->in[0]->t.dim[1], d = ref_row(c->in[0]);
   double sum = 0;

   for (int64_t h = 0; h < heads; h++) {
      const double s = ref_dot(c->in[0]->t.data + (t * heads + h) * d, entry, d);
      sum += c->in[1]->t.data[t * heads + h] * (s < 0 ? 0 : s);
   }
   return isnan(sum) ? -INFINITY : sum;
}

/* Marks the k largest of n scores, the lower one of equals first. */
static void take(const double *scores, int64_t n, int64_t k, double *taken)
{
   memset(taken, 0, (size_t)n * sizeof *taken);
   for (int64_t j = 0; j < MIN(k, n); j++) {
      int64_t best = -1;
      for (int64_t i = 0; i < n; i++)
         if (taken[i] == 0 && (best < 0 || scores[i] > scores[best]))
            best = i;
      taken[best] = 1;
   }
}

sinter_status ref_index_topk(ref_call *c)
{
   const ref_value *state = c->in[2];
   const ir_kv *kv = state->kv;
   const int64_t k = ref_row(c->out[0]);
   double *scores = ref_scratch(c, SLOT_SCORES, kv->capacity);
   double *taken = ref_scratch(c, SLOT_TAKEN, kv->capacity);

   for (int64_t t = 0; t < c->out[0]->t.dim[0]; t++) {
      double *ids = c->out[0]->t.data + t * k;
      int64_t seq, last, at = 0;
      SINTER_TRY(ref_place(c, kv, t, &seq, &last));
      const int64_t n = (last + 1) / state->ratio;
      for (int64_t i = 0; i < n; i++)
         scores[i] = score(c, t, kv->k[seq] + i * kv->width);
      take(scores, n, k, taken);
      for (int64_t i = 0; i < n; i++)
         if (taken[i] != 0)
            ids[at++] = (double)i;
      while (at < k)
         ids[at++] = -1;
   }
   return SINTER_ok;
}

/* ---- attention ---- */

typedef struct seen {
   const double **rows;
   int64_t count;
} seen;

/* Entries that row t sees: all that are closed, or the chosen ones among them. */
static sinter_status see_entries(const ref_call *c, int64_t t, int64_t last, int64_t seq, seen *out)
{
   const ref_value *state = c->in[3], *ids = c->op->num_operands > 4 ? c->in[4] : NULL;
   const int64_t closed = (last + 1) / state->ratio, n = ids ? ref_row(ids) : closed;

   for (int64_t i = 0; i < n; i++) {
      const int64_t e = ids ? (int64_t)ids->t.data[t * n + i] : i;
      if (e >= closed)
         return ref_fail(c, SINTER_usage, "chunk %lld of row %lld is not closed", (long long)e,
                         (long long)t);
      if (e < 0)
         break;
      out->rows[out->count++] = state->kv->k[seq] + e * state->kv->width;
   }
   return SINTER_ok;
}

static void attend(const double *q, const seen *s, int64_t d, double scale, double sink,
                   double *scores, double *out)
{
   double most = sink, sum = 0;

   for (int64_t i = 0; i < s->count; i++) {
      scores[i] = scale * ref_dot(q, s->rows[i], d);
      most = fmax(most, scores[i]);
   }
   memset(out, 0, (size_t)d * sizeof *out);
   for (int64_t i = 0; i < s->count; i++) {
      const double e = exp(scores[i] - most);
      sum += e;
      for (int64_t j = 0; j < d; j++)
         out[j] += e * s->rows[i][j];
   }
   sum += exp(sink - most);
   for (int64_t j = 0; j < d; j++)
      out[j] /= sum;
}

sinter_status ref_sparse_attention(ref_call *c)
{
   const ir_tensor *q = &c->in[0]->t;
   const ref_value *window = c->in[1];
   const ir_kv *kv = window->kv;
   const int64_t heads = q->dim[1], d = q->dim[2];
   const int64_t most = 2 * kv->capacity + (c->op->num_operands > 4 ? ref_row(c->in[4]) : 0);
   double *scores = ref_scratch(c, SLOT_SCORES, most);
   seen s = {.rows = arena_array(c->a, const double *, (size_t)most)};

   for (int64_t t = 0; t < q->dim[0]; t++) {
      int64_t seq, last;
      SINTER_TRY(ref_place(c, kv, t, &seq, &last));
      s.count = 0;
      for (int64_t p = MAX(last - window->window + 1, 0); p <= last; p++)
         s.rows[s.count++] = kv->k[seq] + p * d;
      if (c->op->num_operands > 3)
         SINTER_TRY(see_entries(c, t, last, seq, &s));
      for (int64_t h = 0; h < heads; h++)
         attend(q->data + (t * heads + h) * d, &s, d, ir_attr_f(c->op, IR_ATTR_scale, 1),
                c->in[2]->t.data[h], scores, c->out[0]->t.data + (t * heads + h) * d);
   }
   return SINTER_ok;
}
