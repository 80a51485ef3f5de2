/* sample.cuh - tokens from logits: the meaning of runtime/sampler.c, to the bit.
 *
 *    sample_part   a block takes a chunk of a row: its largest logit, and where
 *    sample_pick   a block takes a row: the largest of all, or a draw among what the filters keep
 *
 * Rows that the host picks from are left alone. Filters end at a logit that is searched for by SAMPLE_BITS bits of its order at a
 * time. Weights are whole numbers, so that sums have no order; a thread has logits SIMT_THREADS apart where order does not count,
 * and neighbours where it does. */
#ifndef SAMPLE_CUH
#define SAMPLE_CUH

/* base/draw.h */
typedef struct sample_draw {
   simt_u32 how, k;
   float inverse, least;
   simt_u64 p, random;
} sample_draw;

SIMT_ASSERT(sizeof(sample_draw) == 4 * DRAW_WORDS);

enum { SAMPLE_BITS = 4, SAMPLE_LINES = 1 << SAMPLE_BITS, SAMPLE_BAD = -1, SAMPLE_NONE = 0x7fffffff };

/* The largest logit of a part of a row and its number: SAMPLE_BAD when one is not a number, SAMPLE_NONE when all are -inf. */
typedef struct sample_best {
   float most;
   simt_i32 at;
} sample_best;

typedef struct sample_part_shared {
   sample_best best[SIMT_THREADS];
} sample_part_shared;

typedef struct sample_shared {
   sample_best best[SIMT_THREADS];
   simt_u64 mass[SAMPLE_LINES][SIMT_THREADS], sum[SAMPLE_LINES], each[SIMT_THREADS];
   simt_i32 end;
} sample_shared;

/* A row that is drawn from. */
typedef struct sample_row {
   const float *x;
   simt_i64 n;
   float most, inverse;
} sample_row;

/* The last of the row that a filter keeps, in the order (logit, number). */
typedef struct sample_end {
   simt_u32 key;
   simt_i32 at;
} sample_end;

SIMT_FN sample_best sample_better(sample_best a, sample_best b)
{
   return b.most > a.most || (b.most == a.most && b.at < a.at) ? b : a;
}

/* Of all threads. */
SIMT_FN sample_best sample_best_of(sample_best own, sample_best *each)
{
   const int t = simt_thread();

   each[t] = own;
   simt_sync();
   for (int n = SIMT_THREADS / 2; n; n /= 2) {
      if (t < n)
         each[t] = sample_better(each[t], each[t + n]);
      simt_sync();
   }
   return each[0];
}

/* exp((x - most) * inverse) in units of 2^-30: runtime/rows.c. */
SIMT_FN simt_u32 sample_weigh(const sample_row *r, float x)
{
   const float magic = 0x1.8p23f, v = (x - r->most) * r->inverse;
   const float in = v > -87.0f ? v : 0, shifted = in * 0x1.715476p0f + magic, n = shifted - magic;
   const float rest = in - n * 0x1.62e4p-1f - n * 0x1.7f7d1cp-20f;
   float p = 0x1.a01a02p-13f;

   p = p * rest + 0x1.6c16c2p-10f;
   p = p * rest + 0x1.111112p-7f;
   p = p * rest + 0x1.555556p-5f;
   p = p * rest + 0x1.555556p-3f;
   p = p * rest + 0.5f;
   p = p * rest + 1.0f;
   p = p * rest + 1.0f;
   p = v > -87.0f ? simt_float(simt_bits(p) + ((simt_bits(shifted) - simt_bits(magic)) << 23)) : 0;
   return (simt_u32)(p * 0x1p30f + 0.5f);
}

/* The high half of a product: a * b in units of 2^64. */
SIMT_FN simt_u64 sample_share(simt_u64 a, simt_u64 b)
{
   const simt_u64 low = 0xffffffffu, a0 = a & low, a1 = a >> 32, b0 = b & low, b1 = b >> 32;
   const simt_u64 middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (middle & low);

   return a1 * b1 + (middle >> 32) + (other >> 32);
}

/* What a logit counts for in a search: its weight, or one. */
SIMT_FN simt_u64 sample_size(const sample_row *r, float x, int weighs)
{
   return weighs ? sample_weigh(r, x) : 1;
}

/* Sums by the SAMPLE_BITS bits above `shift`, of logits with the bits of `key` above these. */
SIMT_FN void sample_add(const sample_row *r, int weighs, simt_u32 key, int shift, sample_shared *s)
{
   const int t = simt_thread(), above = shift + SAMPLE_BITS;

   SIMT_LOOP
   for (int d = 0; d < SAMPLE_LINES; d++)
      s->mass[d][t] = 0;
   SIMT_LOOP
   for (simt_i64 i = t; i < r->n; i += SIMT_THREADS) {
      const simt_u32 k = simt_order(r->x[i]);
      if ((simt_u64)k >> above == (simt_u64)key >> above)
         s->mass[k >> shift & (SAMPLE_LINES - 1)][t] += sample_size(r, r->x[i], weighs);
   }
   simt_sync();
   if (t < SAMPLE_LINES) {
      simt_u64 sum = 0;
      SIMT_LOOP
      for (int i = 0; i < SIMT_THREADS; i++)
         sum += s->mass[t][(i + t) % SIMT_THREADS];
      s->sum[t] = sum;
   }
   simt_sync();
}

/* The number of the `wanted`-th of the logits that have a key. A thread takes neighbours. */
SIMT_FN simt_i32 sample_nth(const sample_row *r, simt_u32 key, simt_u64 wanted, sample_shared *s)
{
   const int t = simt_thread();
   const simt_i64 share = (r->n + SIMT_THREADS - 1) / SIMT_THREADS;
   const simt_i64 from = t * share, to = simt_least(from + share, r->n);
   simt_u64 many = 0;

   SIMT_LOOP
   for (simt_i64 i = from; i < to; i++)
      many += simt_order(r->x[i]) == key;
   s->each[t] = many;
   if (t == 0)
      s->end = SAMPLE_NONE;
   simt_sync();
   SIMT_LOOP
   for (int i = 0; i < t; i++)
      wanted = wanted > s->each[i] ? wanted - s->each[i] : 0;
   if (wanted && wanted <= many)
      SIMT_LOOP
      for (simt_i64 i = from; i < to; i++)
         if (simt_order(r->x[i]) == key && --wanted == 0)
            s->end = (simt_i32)i;
   simt_sync();
   const simt_i32 end = s->end;
   simt_sync(); /* before it is written again */
   return end;
}

/* The first logit up to which they add up to `wanted`, in the order (logit, number). */
SIMT_FN sample_end sample_search(const sample_row *r, int weighs, simt_u64 wanted, sample_shared *s)
{
   sample_end end = {0, SAMPLE_NONE};

   wanted = wanted ? wanted : 1; /* the best stays */
   SIMT_LOOP
   for (int shift = 32 - SAMPLE_BITS; shift >= 0; shift -= SAMPLE_BITS) {
      int d = SAMPLE_LINES - 1;
      sample_add(r, weighs, end.key, shift, s);
      while (d > 0 && s->sum[d] < wanted)
         wanted -= s->sum[d--];
      end.key |= (simt_u32)d << shift;
   }
   if (weighs) {
      const simt_u32 bits = end.key & 0x80000000u ? end.key & 0x7fffffffu : ~end.key;
      const simt_u64 w = sample_weigh(r, simt_float(bits));
      wanted = w ? (wanted + w - 1) / w : 1;
   }
   end.at = sample_nth(r, end.key, wanted, s);
   return end;
}

SIMT_FN int sample_keeps(const sample_end *end, float x, simt_i64 at)
{
   const simt_u32 key = simt_order(x);

   return key > end->key || (key == end->key && at <= end->at);
}

/* What is kept weighs; each: of the neighbours that a thread has. */
SIMT_FN simt_u64 sample_kept(const sample_row *r, const sample_end *end, float least, simt_u64 *each)
{
   const int t = simt_thread();
   const simt_i64 share = (r->n + SIMT_THREADS - 1) / SIMT_THREADS;
   const simt_i64 from = t * share, to = simt_least(from + share, r->n);
   simt_u64 sum = 0;

   SIMT_LOOP
   for (simt_i64 i = from; i < to; i++)
      if (sample_keeps(end, r->x[i], i) && (r->x[i] - r->most) * r->inverse >= least)
         sum += sample_weigh(r, r->x[i]);
   each[t] = sum;
   simt_sync();
   sum = 0;
   SIMT_LOOP
   for (int i = 0; i < SIMT_THREADS; i++)
      sum += each[i];
   return sum;
}

/* Where the filters end. */
SIMT_FN sample_end sample_filter(const sample_row *r, const sample_draw *how, sample_shared *s)
{
   const float none = -simt_float(0x7f800000u);
   sample_end end = {0, SAMPLE_NONE};

   if (how->k && how->k < r->n)
      end = sample_search(r, 0, how->k, s);
   if (how->p) {
      const simt_u64 mass = sample_kept(r, &end, none, s->each);
      const sample_end other = sample_search(r, 1, sample_share(mass, how->p), s);
      if (other.key > end.key || (other.key == end.key && other.at < end.at))
         end = other;
   }
   return end;
}

/* The token where the weights of what is kept, by number, first exceed the random share of their sum. */
SIMT_FN void sample_draw_one(const sample_row *r, const sample_draw *how, sample_shared *s, simt_i32 *id)
{
   const int t = simt_thread();
   const sample_end end = sample_filter(r, how, s);
   const simt_u64 until = sample_share(sample_kept(r, &end, how->least, s->each), how->random);
   const simt_i64 share = (r->n + SIMT_THREADS - 1) / SIMT_THREADS;
   const simt_i64 from = t * share, to = simt_least(from + share, r->n);
   simt_u64 at = 0;

   SIMT_LOOP
   for (int i = 0; i < t; i++)
      at += s->each[i];
   if (at > until || at + s->each[t] <= until)
      return;
   SIMT_LOOP
   for (simt_i64 i = from; i < to && at <= until; i++)
      if (sample_keeps(&end, r->x[i], i) && (r->x[i] - r->most) * r->inverse >= how->least) {
         at += sample_weigh(r, r->x[i]);
         if (at > until)
            *id = (simt_i32)i;
      }
}

SIMT_KERNEL(sample_part)
{
   SIMT_BEGIN(a);
   SIMT_SHARED(sample_part_shared, s);
   const simt_i64 chunks = a->konst[SAMPLE_CHUNKS], row = simt_tile() / chunks;
   const simt_i64 from = simt_tile() % chunks * SAMPLE_CHUNK, to = simt_least(from + SAMPLE_CHUNK, a->konst[SAMPLE_V]);
   const float *x = (const float *)a->ptr[1] + row * a->konst[SAMPLE_V];
   const float infinity = simt_float(0x7f800000u);
   sample_best best = {-infinity, SAMPLE_NONE};

   if (((const sample_draw *)a->ptr[2])[row].how == DRAW_host)
      return;
   SIMT_LOOP
   for (simt_i64 i = from + simt_thread(); i < to; i += SIMT_THREADS) {
      const int good = x[i] < infinity;
      const sample_best one = {good ? x[i] : infinity, good ? (simt_i32)i : SAMPLE_BAD};
      if (one.most > best.most)
         best = one;
   }
   best = sample_best_of(best, s->best);
   if (simt_thread() == 0)
      ((sample_best *)a->ptr[0])[simt_tile()] = best;
}

SIMT_KERNEL(sample_pick)
{
   SIMT_BEGIN(a);
   SIMT_SHARED(sample_shared, s);
   const simt_i64 chunks = a->konst[SAMPLE_CHUNKS], row = simt_tile();
   const sample_best *parts = (const sample_best *)a->ptr[1] + row * chunks;
   const sample_draw how = ((const sample_draw *)a->ptr[3])[row];
   simt_i32 *id = (simt_i32 *)a->ptr[0] + row;
   sample_best best = {-simt_float(0x7f800000u), SAMPLE_NONE};

   if (how.how == DRAW_host)
      return;
   SIMT_LOOP
   for (simt_i64 i = simt_thread(); i < chunks; i += SIMT_THREADS)
      best = sample_better(best, parts[i]);
   best = sample_best_of(best, s->best);
   if (how.how == DRAW_random && best.at >= 0 && best.at != SAMPLE_NONE) {
      const sample_row r = {(const float *)a->ptr[2] + row * a->konst[SAMPLE_V], a->konst[SAMPLE_V], best.most, how.inverse};
      sample_draw_one(&r, &how, s, id);
   } else if (simt_thread() == 0) {
      *id = best.at == SAMPLE_NONE ? SAMPLE_BAD : best.at;
   }
}

#endif
