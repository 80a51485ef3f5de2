/* gemm.c - y[t,n] = sum over k of x[t,k] * w[n,k], k ascending for every output, in doubles.
 *
 *    w rows, PANEL at a time, are turned into wt[k][PANEL]; TILE rows of x then share every load of
 * wt. K is walked in blocks that fit the first cache; partial sums wait in y, which does not change
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

/* x[rows,K] by the matrix in operand `w`. */
static sinter_status multiply(ref_call *c, const double *x, int64_t rows, uint32_t w)
{
   const int64_t n = c->in[w]->t.dim[0], k = c->in[w]->t.dim[1];
   double *read = ref_scratch(c, 0, ROWS_READ * k);
   double *wt = ref_scratch(c, 1, PANEL * k);
   void (*run)(const panel *) = panel_form();

   for (int64_t first = 0; first < n; first += ROWS_READ) {
      const int64_t count = MIN(n - first, (int64_t)ROWS_READ);
      SINTER_TRY(ref_rows(c, w, first, count, read));
      for (int64_t at = 0; at < count; at += PANEL) {
         panel p = {.x = x,
                    .wt = wt,
                    .y = c->out[0]->t.data + first + at,
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

   return multiply(c, c->in[0]->t.data, k ? c->in[0]->size / k : 0, 1);
}

sinter_status ref_qmatmul(ref_call *c)
{
   const ref_value *q = c->in[0];
   const int64_t k = ref_row(q), group = k / ref_row(c->in[1]);
   double *x = ref_scratch(c, 2, q->size);

   for (int64_t i = 0; i < q->size; i++)
      x[i] = q->t.data[i] * c->in[1]->t.data[i / group];
   return multiply(c, x, q->size / k, 2);
}
