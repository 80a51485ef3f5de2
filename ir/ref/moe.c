/* moe.c - which experts a token goes to, and what their results come to.
 *
 *    logits ─score─▶ scores ─(+ bias, groups)─▶ k largest ─▶ ids ascending, weights from the scores
 *
 * Selection compares (group takes part, value, lower id first); NaN counts as the smallest
 * value. */
#include "ref.h"

#include <math.h>

/* ---- scores ---- */

static double largest(const double *x, int64_t n)
{
   double most = -INFINITY;

   for (int64_t i = 0; i < n; i++)
      most = x[i] > most ? x[i] : most;
   return most;
}

/* exp(x - max) / sum; equal infinities share, and rows without a number are uniform. */
static void softmax(double *x, int64_t n)
{
   double most = largest(x, n), sum = 0;

   for (int64_t i = 0; i < n; i++)
      sum += x[i] = x[i] == most ? 1 : exp(x[i] - most);
   for (int64_t i = 0; i < n; i++)
      x[i] /= sum;
}

/* Scores of one row of logits. */
static void score_row(const ref_call *c, const double *logits, int64_t n, double *out)
{
   const char *score = ir_attr_s(c->op, IR_ATTR_score, "none");

   for (int64_t i = 0; i < n; i++)
      out[i] = isnan(logits[i]) ? -INFINITY : logits[i];
   if (strcmp(score, "softmax") == 0)
      softmax(out, n);
   for (int64_t i = 0; i < n; i++) {
      if (strcmp(score, "sigmoid") == 0)
         out[i] = 1 / (1 + exp(-out[i]));
      if (strcmp(score, "sqrt_softplus") == 0)
         out[i] = sqrt(ref_softplus_of(out[i]));
   }
}

/* Weights of ids[k] from the scores. Those that are not there get 0. */
static void weigh(const ref_call *c, const double *scores, int64_t n, const double *ids, int64_t k,
                  double *out)
{
   const double scale = ir_attr_f(c->op, IR_ATTR_scale, 1);
   double sum = 0;

   for (int64_t j = 0; j < k; j++)
      sum += out[j] = ids[j] >= 0 && ids[j] < (double)n ? scores[(int64_t)ids[j]] : 0;
   if (!ir_attr_i(c->op, IR_ATTR_norm, 0) || !(sum > 0))
      sum = 1;
   for (int64_t j = 0; j < k; j++)
      out[j] = out[j] / sum * scale;
}

/* ---- selection ---- */

/* The best of from .. to that is not taken: larger first, then lower id. */
static int64_t best_of(const double *x, const bool *taken, int64_t from, int64_t to)
{
   int64_t best = -1;

   for (int64_t i = from; i < to; i++)
      if (!taken[i] && (best < 0 || x[i] > x[best]))
         best = i;
   return best;
}

/* Marks the experts of all groups but the best as taken. */
static void drop_groups(ref_call *c, const double *x, int64_t n, bool *taken)
{
   const int64_t groups = ir_attr_i(c->op, IR_ATTR_groups, 1), each = n / groups;
   const int64_t kept = ir_attr_i(c->op, IR_ATTR_kept, groups);
   const int64_t top = ir_attr_i(c->op, IR_ATTR_group_top, 1);
   double *sum = ref_scratch(c, 1, groups);
   bool *gone = arena_array(c->a, bool, (size_t)groups);

   for (int64_t g = 0; g < groups; g++) {
      sum[g] = 0;
      for (int64_t i = 0; i < top; i++) {
         int64_t best = best_of(x, taken, g * each, (g + 1) * each);
         sum[g] += x[best];
         taken[best] = true;
      }
      sum[g] = isnan(sum[g]) ? -INFINITY : sum[g];
   }
   memset(taken, 1, (size_t)n * sizeof *taken);
   for (int64_t i = 0; i < kept; i++) {
      int64_t best = best_of(sum, gone, 0, groups);
      gone[best] = true;
      memset(taken + best * each, 0, (size_t)each * sizeof *taken);
   }
}

/* ids[k], ascending, of the largest x. */
static void select(ref_call *c, const double *x, int64_t n, int64_t k, bool *taken, double *ids)
{
   memset(taken, 0, (size_t)n * sizeof *taken);
   if (ir_attr_i(c->op, IR_ATTR_kept, INT64_MAX) < ir_attr_i(c->op, IR_ATTR_groups, 1))
      drop_groups(c, x, n, taken);
   for (int64_t j = 0; j < k; j++) {
      int64_t best = best_of(x, taken, 0, n), at = j;
      taken[best] = true;
      for (; at > 0 && ids[at - 1] > (double)best; at--)
         ids[at] = ids[at - 1];
      ids[at] = (double)best;
   }
}

sinter_status ref_route(ref_call *c)
{
   const ref_value *x = c->in[0], *bias = c->op->num_operands > 1 ? c->in[1] : NULL;
   const int64_t n = ref_row(x), k = ref_row(c->out[0]);
   double *scores = ref_scratch(c, 0, 2 * n), *by = scores + n;
   bool *taken = arena_array(c->a, bool, (size_t)n);

   for (int64_t t = 0; t < x->t.dim[0]; t++) {
      double *ids = c->out[0]->t.data + t * k;
      score_row(c, x->t.data + t * n, n, scores);
      for (int64_t i = 0; i < n; i++) {
         by[i] = scores[i] + (bias ? bias->t.data[i] : 0);
         by[i] = isnan(by[i]) ? -INFINITY : by[i];
      }
      select(c, by, n, k, taken, ids);
      weigh(c, scores, n, ids, k, c->out[1]->t.data + t * k);
   }
   return SINTER_ok;
}

sinter_status ref_route_weights(ref_call *c)
{
   const int64_t n = ref_row(c->in[0]), k = ref_row(c->in[1]);
   double *scores = ref_scratch(c, 0, n);

   for (int64_t t = 0; t < c->in[0]->t.dim[0]; t++) {
      score_row(c, c->in[0]->t.data + t * n, n, scores);
      weigh(c, scores, n, c->in[1]->t.data + t * k, k, c->out[0]->t.data + t * k);
   }
   return SINTER_ok;
}

sinter_status ref_capture(ref_call *c)
{
   memcpy(c->out[0]->t.data, c->in[0]->t.data, (size_t)c->in[0]->size * sizeof(double));
   return SINTER_ok;
}

/* ---- replicas ---- */

/* Knuth's multiplicative hash: neighbours go to different replicas. */
static int64_t replica_of(double row, int64_t count)
{
   uint32_t hash = (uint32_t)(int64_t)row * UINT32_C(2654435769);

   return (int64_t)hash % count;
}

sinter_status ref_remap(ref_call *c)
{
   const double *ids = c->in[0]->t.data;
   const int64_t k = ref_row(c->in[0]), most = ref_row(c->in[1]), experts = c->in[1]->t.dim[0];

   for (int64_t i = 0; i < c->in[0]->size; i++) {
      const double *row = c->in[1]->t.data + (int64_t)ids[i] * most;
      int64_t n = 0;

      while (ids[i] >= 0 && ids[i] < (double)experts && n < most && row[n] >= 0)
         n++;
      c->out[0]->t.data[i] = n ? row[replica_of(c->in[2]->t.data[i / k], n)] : -1;
   }
   return SINTER_ok;
}

/* ---- slots ---- */

sinter_status ref_permute(ref_call *c)
{
   const ref_value *ids = c->in[0];
   const int64_t experts = ir_attr_i(c->op, IR_ATTR_experts, 0);
   double *order = c->out[0]->t.data, *offsets = c->out[1]->t.data;
   int64_t at = 0;

   for (int64_t e = 0; e <= experts; e++) {
      offsets[e] = (double)at;
      for (int64_t s = 0; s < ids->size; s++) {
         bool here = ids->t.data[s] >= 0 && ids->t.data[s] < (double)experts;
         if (e < experts ? ids->t.data[s] == (double)e : !here)
            order[at++] = (double)s;
      }
   }
   return SINTER_ok;
}

sinter_status ref_combine(ref_call *c)
{
   const int64_t d = ref_row(c->in[0]), k = ref_row(c->in[1]);
   const double *x = c->in[0]->t.data;

   for (int64_t t = 0; t < c->in[1]->t.dim[0]; t++)
      for (int64_t i = 0; i < d; i++) {
         double sum = 0;
         for (int64_t j = 0; j < k; j++)
            sum += c->in[1]->t.data[t * k + j] * x[(t * k + j) * d + i];
         c->out[0]->t.data[t * d + i] = sum;
      }
   return SINTER_ok;
}
