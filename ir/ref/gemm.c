/* gemm.c - y[t,n] = sum over k of x[t,k] * w[n,k], k ascending for every output, in doubles; and
 * the same with a matrix for each expert.
 *
 *    PANEL rows of w  ─transposed─▶  wt[k][PANEL];  TILE rows of x share every load of wt
 *
 * K is walked in blocks that fit the first cache; partial sums wait in y, which does not change
 * them. */
#include "ref.h"

enum { PANEL = 8, TILE = 4, K_BLOCK = 1024, ROWS_READ = 64 };

typedef double lanes __attribute__((vector_size(32), aligned(8), may_alias));

typedef struct panel {
   const double *x, *wt; /* x[t,K]; wt[K][PANEL] */
   double *y;            /* y[t,N], at the panel's first output */
   int64_t rows, k, ldy; /* rows of x; K; N */
   int64_t count;        /* outputs of this panel */
} panel;

/* The loops over r are unrolled (TILE) so that the sums stay in registers. */
__attribute__((always_inline)) static inline void tile(const panel *p, int64_t t, int rows,
                                                       int64_t from, int64_t to)
{
   lanes acc[TILE][2];
   double sums[PANEL];

#pragma GCC unroll 4
   for (int r = 0; r < rows; r++) {
      for (int64_t n = 0; n < PANEL; n++)
         sums[n] = n < p->count && from > 0 ? p->y[(t + r) * p->ldy + n] : 0;
      acc[r][0] = *(const lanes *)sums;
      acc[r][1] = *(const lanes *)(sums + 4);
   }
   for (int64_t k = from; k < to; k++) {
      const lanes w0 = *(const lanes *)(p->wt + k * PANEL);
      const lanes w1 = *(const lanes *)(p->wt + k * PANEL + 4);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) {
         const double x = p->x[(t + r) * p->k + k];
         acc[r][0] += x * w0;
         acc[r][1] += x * w1;
      }
   }
#pragma GCC unroll 4
   for (int r = 0; r < rows; r++) {
      *(lanes *)sums = acc[r][0];
      *(lanes *)(sums + 4) = acc[r][1];
      memcpy(&p->y[(t + r) * p->ldy], sums, (size_t)p->count * sizeof(double));
   }
}

__attribute__((always_inline)) static inline void run_panel(const panel *p)
{
   for (int64_t from = 0; from < p->k; from += K_BLOCK) {
      const int64_t to = MIN(from + K_BLOCK, p->k);
      int64_t t = 0;
      for (; t + TILE <= p->rows; t += TILE)
         tile(p, t, TILE, from, to);
      for (; t < p->rows; t++)
         tile(p, t, 1, from, to);
   }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void panel_avx2(const panel *p)
{
   run_panel(p);
}
#endif

static void panel_any(const panel *p)
{
   run_panel(p);
}

/* Both forms do the same operations in the same order; only their width differs. */
static void (*panel_form(void))(const panel *)
{
#if defined(__x86_64__)
   if (__builtin_cpu_supports("avx2"))
      return panel_avx2;
#endif
   return panel_any;
}

static void transpose(const double *w, int64_t count, int64_t k, double *wt)
{
   for (int64_t i = 0; i < k; i++)
      for (int64_t n = 0; n < PANEL; n++)
         wt[i * PANEL + n] = n < count ? w[n * k + i] : 0;
}

sinter_status ref_multiply(ref_call *c, const double *x, int64_t rows, uint32_t w, int64_t first,
                           int64_t n, double *y)
{
   const int64_t k = ref_row(c->in[w]);
   double *read = ref_scratch(c, 0, ROWS_READ * k);
   double *wt = ref_scratch(c, 1, PANEL * k);
   void (*run)(const panel *) = panel_form();

   for (int64_t done = 0; done < n; done += ROWS_READ) {
      const int64_t count = MIN(n - done, (int64_t)ROWS_READ);
      SINTER_TRY(ref_rows(c, w, first + done, count, read));
      for (int64_t at = 0; at < count; at += PANEL) {
         panel p = {.x = x,
                    .wt = wt,
                    .y = y + done + at,
                    .rows = rows,
                    .k = k,
                    .ldy = n,
                    .count = MIN(count - at, (int64_t)PANEL)};
         transpose(read + at * k, p.count, k, wt);
         run(&p);
      }
   }
   return SINTER_ok;
}

sinter_status ref_matmul(ref_call *c)
{
   const int64_t k = ref_row(c->in[0]);

   return ref_multiply(c, c->in[0]->t.data, k ? c->in[0]->size / k : 0, 1, 0, c->in[1]->t.dim[0],
                       c->out[0]->t.data);
}

/* Codes times scales. */
static double *widen(ref_call *c)
{
   const ref_value *q = c->in[0];
   const int64_t group = ref_row(q) / ref_row(c->in[1]);
   double *x = ref_scratch(c, 2, q->size);

   for (int64_t i = 0; i < q->size; i++)
      x[i] = q->t.data[i] * c->in[1]->t.data[i / group];
   return x;
}

sinter_status ref_qmatmul(ref_call *c)
{
   const int64_t k = ref_row(c->in[0]);

   return ref_multiply(c, widen(c), c->in[0]->size / k, 2, 0, c->in[2]->t.dim[0],
                       c->out[0]->t.data);
}

/* ---- experts ---- */

/* order[offsets[e] .. offsets[e+1]) as far as it lies within the order. */
static void slots_of(const ref_value *offsets, const ref_value *order, int64_t e, int64_t *from,
                     int64_t *to)
{
   *from = MAX((int64_t)offsets->t.data[e], 0);
   *to = MIN((int64_t)offsets->t.data[e + 1], order->size);
}

/* Rows of x for the slots of one expert, its matrix, and back to the slots' rows of y. */
static sinter_status run_expert(ref_call *c, const double *x, uint32_t at, int64_t e)
{
   const ref_value *order = c->in[at], *w = c->in[at + 2];
   const int64_t n = w->t.dim[1], k = w->t.dim[2], per_row = order->size / c->in[0]->t.dim[0];
   int64_t from, to;

   slots_of(c->in[at + 1], order, e, &from, &to);
   if (from >= to)
      return SINTER_ok;
   double *some = ref_scratch(c, 3, (to - from) * (k + n)), *y = some + (to - from) * k;
   for (int64_t p = from; p < to; p++) {
      int64_t slot = (int64_t)order->t.data[p];
      if (slot < 0 || slot >= order->size)
         return ref_fail(c, SINTER_usage, "slot %lld is not below %lld", (long long)slot,
                         (long long)order->size);
      memcpy(some + (p - from) * k, x + slot / per_row * k, (size_t)k * sizeof *x);
   }
   SINTER_TRY(ref_multiply(c, some, to - from, at + 2, e * n, n, y));
   for (int64_t p = from; p < to; p++)
      memcpy(c->out[0]->t.data + (int64_t)order->t.data[p] * n, y + (p - from) * n,
             (size_t)n * sizeof *y);
   return SINTER_ok;
}

static sinter_status run_experts(ref_call *c, const double *x, uint32_t at)
{
   memset(c->out[0]->t.data, 0, (size_t)c->out[0]->size * sizeof(double));
   for (int64_t e = 0; e < c->in[at + 2]->t.dim[0] && c->in[at]->size; e++)
      SINTER_TRY(run_expert(c, x, at, e));
   return SINTER_ok;
}

sinter_status ref_moe_matmul(ref_call *c)
{
   return run_experts(c, c->in[0]->t.data, 1);
}

sinter_status ref_moe_qmatmul(ref_call *c)
{
   return run_experts(c, widen(c), 2);
}

/* y[t,h,n] by the h-th matrix of w: every head is a product of its own rows. */
sinter_status ref_head_matmul(ref_call *c)
{
   const ir_tensor *x = &c->in[0]->t, *w = &c->in[1]->t;
   const int64_t heads = x->dim[1], n = w->dim[1], k = w->dim[2];

   for (int64_t row = 0; row < x->dim[0] * heads; row++) {
      const double *from = x->data + row * k, *matrix = w->data + row % heads * n * k;
      for (int64_t i = 0; i < n; i++) {
         double sum = 0;
         for (int64_t j = 0; j < k; j++)
            sum += from[j] * matrix[i * k + j];
         c->out[0]->t.data[row * n + i] = sum;
      }
   }
   return SINTER_ok;
}
