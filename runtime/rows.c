/* rows.c - maximum, exponentials and partial selection over a row.
 *
 * Vectors of four floats are in every x86-64. Sums go to double every BLOCK elements, in one fixed
 * order. */
#include "rows.h"

#include <math.h>

#include "sinter.h"

typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef uint32_t u4 __attribute__((vector_size(16)));

enum { BLOCK = RT_ROW_BLOCK, SIEVE = 32 };

static inline f4 load4(const float *x)
{
   f4 v;

   memcpy(&v, x, sizeof v);
   return v;
}

static inline f4 splat(float x)
{
   return (f4){x, x, x, x};
}

static inline f4 select4(i4 mask, f4 yes, f4 no)
{
   return (f4)((mask & (i4)yes) | (~mask & (i4)no));
}

/* exp(x) for x <= 0, within 2 ulp; 0 below -87. 2^n * Taylor's series of the rest, |rest| < 0.35.
 */
static inline f4 exp4(f4 x)
{
   const f4 magic = splat(0x1.8p23f);
   i4 keep = x > splat(-87.0f);
   f4 in = select4(keep, x, splat(0));
   f4 shifted = in * splat(0x1.715476p0f) + magic;
   f4 n = shifted - magic;
   f4 r = in - n * splat(0x1.62e4p-1f) - n * splat(0x1.7f7d1cp-20f);
   f4 p = splat(0x1.a01a02p-13f);

   p = p * r + splat(0x1.6c16c2p-10f);
   p = p * r + splat(0x1.111112p-7f);
   p = p * r + splat(0x1.555556p-5f);
   p = p * r + splat(0x1.555556p-3f);
   p = p * r + splat(0.5f);
   p = p * r + splat(1.0f);
   p = p * r + splat(1.0f);
   i4 power = ((i4)shifted - (i4)magic) << 23;
   return (f4)((i4)p + power) * select4(keep, splat(1), splat(0));
}

/* The largest of n <= BLOCK values; *bad gains a bit when one is NaN or +inf. */
static float block_max(const float *x, uint32_t n, bool *bad)
{
   f4 m0 = splat(-INFINITY), m1 = m0;
   i4 odd = {0};
   uint32_t i = 0;

   for (; i + 8 <= n; i += 8) {
      f4 a = load4(x + i), b = load4(x + i + 4);
      odd |= ~((a < splat(INFINITY)) & (b < splat(INFINITY)));
      m0 = select4(a > m0, a, m0);
      m1 = select4(b > m1, b, m1);
   }
   m0 = select4(m0 > m1, m0, m1);
   float m = MAX(MAX(m0[0], m0[1]), MAX(m0[2], m0[3]));
   for (; i < n; i++) {
      *bad = *bad || !(x[i] < INFINITY);
      m = MAX(m, x[i]);
   }
   *bad = *bad || odd[0] || odd[1] || odd[2] || odd[3];
   return m;
}

bool rt_row_max(const float *x, uint32_t n, float *out_max, uint32_t *out_at)
{
   float best = -INFINITY;
   uint32_t at = 0;
   bool bad = false;

   for (uint32_t i = 0; i < n; i += BLOCK) {
      float m = block_max(x + i, MIN(n - i, (uint32_t)BLOCK), &bad);
      if (m > best) {
         best = m;
         at = i;
      }
   }
   if (bad || best == -INFINITY)
      return false;
   while (x[at] != best)
      at++;
   *out_max = best;
   *out_at = at;
   return true;
}

double sinter_log_sum(const float *logits, uint32_t vocab)
{
   float max;
   uint32_t at;

   if (!rt_row_max(logits, vocab, &max, &at))
      return (double)NAN;
   return max + log(rt_row_exp(logits, vocab, max, NULL));
}

static inline void store4(float *y, f4 v)
{
   memcpy(y, &v, sizeof v);
}

/* The last n < 4 values of a row. */
static f4 tail_exp(const float *x, uint32_t n, float max, float *y)
{
   float in[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};

   for (uint32_t i = 0; i < n; i++)
      in[i] = x[i];
   f4 e = exp4(load4(in) - splat(max));
   for (uint32_t i = 0; y && i < n; i++)
      y[i] = e[i];
   return e;
}

/* As rt_row_exp, for n <= BLOCK values. */
static double block_exp(const float *x, uint32_t n, float max, float *y)
{
   f4 sum = splat(0), top = splat(max);
   uint32_t i = 0;

   for (; i + 4 <= n; i += 4) {
      f4 e = exp4(load4(x + i) - top);
      if (y)
         store4(y + i, e);
      sum += e;
   }
   if (i < n)
      sum += tail_exp(x + i, n - i, max, y ? y + i : NULL);
   return ((double)sum[0] + sum[1]) + ((double)sum[2] + sum[3]);
}

double rt_row_exp(const float *x, uint32_t n, float max, float *y)
{
   double sum = 0;

   for (uint32_t i = 0; i < n; i += BLOCK)
      sum += block_exp(x + i, MIN(n - i, (uint32_t)BLOCK), max, y ? y + i : NULL);
   return sum;
}

void rt_row_allow(const float *x, const uint32_t *bits, uint32_t n, float *y)
{
   for (uint32_t from = 0; from < n; from += 32) {
      const uint32_t word = bits[from / 32], count = MIN(n - from, 32u);

      if (word == UINT32_MAX)
         memcpy(y + from, x + from, count * sizeof *y);
      else
         for (uint32_t i = 0; i < count; i++)
            y[from + i] = word >> i & 1 ? x[from + i] : -INFINITY;
   }
}

/* True when a comes after b. */
static bool worse(rt_candidate a, rt_candidate b)
{
   return a.value < b.value || (a.value == b.value && a.id > b.id);
}

/* Restores the heap with the worst on top, below i. */
static void sink(rt_candidate *heap, uint32_t n, uint32_t i)
{
   rt_candidate c = heap[i];

   for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
      if (child + 1 < n && worse(heap[child + 1], heap[child]))
         child++;
      if (!worse(heap[child], c))
         break;
      heap[i] = heap[child];
   }
   heap[i] = c;
}

static void make_heap(rt_candidate *c, uint32_t n)
{
   for (uint32_t i = n / 2; i-- > 0;)
      sink(c, n, i);
}

/* Moves the worst to the end, again and again. */
static void sort_heap(rt_candidate *c, uint32_t n)
{
   while (n > 1) {
      rt_candidate top = c[0];
      c[0] = c[--n];
      c[n] = top;
      sink(c, n, 0);
   }
}

void rt_sort(rt_candidate *c, uint32_t n)
{
   make_heap(c, n);
   sort_heap(c, n);
}

uint32_t rt_row_top(const float *x, uint32_t n, uint32_t k, rt_candidate *out)
{
   bool bad = false;

   k = MIN(k, n);
   if (!k)
      return 0;
   for (uint32_t i = 0; i < k; i++)
      out[i] = (rt_candidate){x[i], (int32_t)i};
   make_heap(out, k);
   for (uint32_t from = k; from < n; from += BLOCK) {
      uint32_t to = MIN(n, from + BLOCK);

      /* An equal value comes later, so it is worse. */
      if (!(block_max(x + from, to - from, &bad) > out[0].value))
         continue;
      for (uint32_t i = from; i < to; i++) {
         if (x[i] > out[0].value) {
            out[0] = (rt_candidate){x[i], (int32_t)i};
            sink(out, k, 0);
         }
      }
   }
   sort_heap(out, k);
   return k;
}

/* ---- weights ---- */

static inline u4 weigh4(f4 x, f4 max, f4 inverse)
{
   f4 e = exp4((x - max) * inverse);

   return (u4) __builtin_convertvector(e * splat(0x1p30f) + splat(0.5f), i4);
}

uint32_t rt_weigh(float x, float max, float inverse)
{
   return weigh4(splat(x), splat(max), splat(inverse))[0];
}

/* As rt_row_weigh, for n <= BLOCK: halves of numbers are added apart, so that 32 bits hold the
 * sums. weights NULL: they are not kept. */
static uint64_t block_weigh(const float *x, uint32_t n, f4 max, f4 inverse, uint32_t *weights)
{
   const u4 half = {0xffff, 0xffff, 0xffff, 0xffff};
   u4 low = {0}, high = {0};
   uint64_t sum = 0;
   uint32_t i = 0;

   for (; i + 4 <= n; i += 4) {
      u4 w = weigh4(load4(x + i), max, inverse);
      if (weights)
         memcpy(weights + i, &w, sizeof w);
      low += w & half;
      high += w >> 16;
   }
   for (; i < n; i++) {
      const uint32_t w = rt_weigh(x[i], max[0], inverse[0]);
      if (weights)
         weights[i] = w;
      sum += w;
   }
   for (int k = 0; k < 4; k++)
      sum += low[k] + ((uint64_t)high[k] << 16);
   return sum;
}

uint64_t rt_row_weigh(const float *x, uint32_t n, float max, float inverse, uint32_t *weights)
{
   uint64_t sum = 0;

   for (uint32_t i = 0; i < n; i += BLOCK)
      sum +=
         block_weigh(x + i, MIN(n - i, (uint32_t)BLOCK), splat(max), splat(inverse), weights + i);
   return sum;
}

uint64_t rt_row_weigh_blocks(const float *x, uint32_t n, float max, float inverse, uint64_t *sums)
{
   uint64_t sum = 0;

   for (uint32_t i = 0; i < n; i += BLOCK)
      sum += sums[i / BLOCK] =
         block_weigh(x + i, MIN(n - i, (uint32_t)BLOCK), splat(max), splat(inverse), NULL);
   return sum;
}

uint32_t rt_row_heavy(const float *x, const uint32_t *weights, uint32_t n, uint32_t floor,
                      rt_candidate *out, uint32_t cap)
{
   uint32_t count = 0;

   for (uint32_t from = 0; from < n; from += SIEVE) {
      uint32_t to = MIN(n, from + SIEVE), most = 0;

      for (uint32_t i = from; i < to; i++)
         most = MAX(most, weights[i]);
      for (uint32_t i = from; most >= floor && i < to; i++) {
         if (weights[i] < floor)
            continue;
         if (count < cap)
            out[count] = (rt_candidate){x[i], (int32_t)i};
         count++;
      }
   }
   return count;
}
