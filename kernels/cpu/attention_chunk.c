/* attention_chunk.c - scores, softmax and weighted sum of one chunk of positions, for every
 * row-head of a block. */
#include "attention_impl.h"

vec_value attn_head_of_page(attn *t, vec_value page)
{
   vec_fn *f = t->f;
   int64_t head = (t->k->latent ? 1 : 2) * t->d * PAGE_TOKENS * t->kv_bytes;

   if (t->expanded)
      return vec_at(f, t->expanded,
                    attn_times(t, vec_and_i(f, page, ATTN_CHUNK / PAGE_TOKENS - 1),
                               (t->d + t->dv) * PAGE_TOKENS * t->kv_bytes));
   vec_value id = attn_load_index(t, t->table, page);
   vec_value at = vec_add(f, attn_times(t, id, head * t->k->groups), attn_times(t, t->group, head));

   return vec_at(f, t->pages, at);
}

vec_value attn_score_at(attn *t, vec_value r, vec_value page, uint32_t part)
{
   vec_value in_chunk = vec_and_i(t->f, page, ATTN_CHUNK / PAGE_TOKENS - 1);
   vec_value i = vec_add(t->f, attn_times(t, r, ATTN_CHUNK), attn_times(t, in_chunk, PAGE_TOKENS));

   return vec_at_i(t->f, vec_at(t->f, t->s, attn_times(t, i, 4)), (int64_t)part * t->lanes * 4);
}

void attn_pages_of_chunk(attn *t)
{
   vec_fn *f = t->f;
   vec_value first = attn_times(t, t->chunk, ATTN_CHUNK / PAGE_TOKENS);
   int shift = __builtin_ctz(PAGE_TOKENS);

   t->page0 = vec_imax(f, first, vec_lshr_i(f, t->low, shift));
   t->page1 =
      vec_imin(f, vec_add_i(f, first, ATTN_CHUNK / PAGE_TOKENS - 1), vec_lshr_i(f, t->high, shift));
   t->page1 = vec_add_i(f, t->page1, 1);
}

void attn_clear_tops(attn *t)
{
   for (uint32_t r = 0; r < t->block; r++)
      vec_store(t->f, attn_infinity(t, t->lanes), vec_at_i(t->f, t->top, (int64_t)r * t->lanes * 4),
                4);
}

void attn_keep_scores(attn *t, vec_value page, const vec_value *dots)
{
   vec_fn *f = t->f;
   uint32_t parts = PAGE_TOKENS / t->lanes;
   int64_t iota[16];

   for (int i = 0; i < 16; i++)
      iota[i] = i;
   for (uint32_t r = 0; r < t->block; r++) {
      vec_value row = vec_i(f, r);
      vec_value last = attn_wide(t, vec_load(f, VEC_i32, 1, attn_slot(t, t->last, row), 4));
      vec_value first = attn_wide(t, vec_load(f, VEC_i32, 1, attn_slot(t, t->first, row), 4));
      vec_value top_at = vec_at_i(f, t->top, (int64_t)r * t->lanes * 4);
      vec_value top = vec_load(f, VEC_f32, t->lanes, top_at, 4);
      for (uint32_t j = 0; j < parts; j++) {
         vec_value from =
            vec_trunc(f, vec_add_i(f, attn_times(t, page, PAGE_TOKENS), j * t->lanes), VEC_i32);
         vec_value at = vec_add(f, attn_wide(t, from), vec_ints(f, VEC_i32, t->lanes, iota));
         vec_value s = vec_fmul(f, dots[r * parts + j], vec_float(f, t->lanes, t->k->scale));
         if (t->k->cap != 0)
            s = vec_softcap(f, s, t->k->cap);
         vec_value seen = vec_and(f, vec_icmp(f, VEC_le, at, last), vec_icmp(f, VEC_ge, at, first));
         s = vec_select(f, seen, s, attn_infinity(t, t->lanes));
         vec_store(f, s, attn_score_at(t, row, page, j), 4);
         top = vec_fmax(f, top, s);
      }
      vec_store(f, top, top_at, 4);
   }
}

/* What comes after a line of keys: the same of the next page, and the values of this one. A page is
 * too short, and its table too irregular, for the hardware to see a stream. */
static void prefetch_ahead(attn *t, vec_value line, vec_value offset, vec_value next_page)
{
   vec_prefetch(t->f, vec_at(t->f, next_page, offset));
   if (!t->k->latent)
      vec_prefetch(t->f, vec_at_i(t->f, line, t->d * PAGE_TOKENS * t->kv_bytes));
}

/* A step of many rows finds pages in the cache; one of a row reads them from memory. */
static bool from_memory(const attn *t)
{
   return t->k->form == ATTENTION_row || t->k->form == ATTENTION_part;
}

/* Pages whose keys are multiplied at once: so many sums that neither an instruction's latency nor
 * the loads of queries, which are one for all pages, hold the multiplications up. */
enum { MAX_PAGES = 4 };

static uint32_t pages_at_once(const attn *t)
{
   uint32_t most = t->lanes == 16 ? 24 : 12, page = t->block * (PAGE_TOKENS / t->lanes);

   return MIN(MAX(most / page, 1), MAX_PAGES);
}

/* Keys of pages page .. page + n: where they begin, and where those of the pages behind them do. */
typedef struct page_keys {
   uint32_t n;
   vec_value page, at[MAX_PAGES], ahead[MAX_PAGES];
} page_keys;

static page_keys keys_of(attn *t, vec_value page, uint32_t n)
{
   vec_fn *f = t->f;
   page_keys k = {.n = n, .page = page};
   vec_value last = vec_sub(f, t->page1, vec_i(f, 1));

   for (uint32_t i = 0; i < n; i++) {
      k.at[i] = attn_head_of_page(t, vec_add_i(f, page, i));
      if (from_memory(t))
         k.ahead[i] = attn_head_of_page(t, vec_imin(f, vec_add_i(f, page, n + i), last));
   }
   return k;
}

/* Lines of keys of one element: vector v is part v % parts of page v / parts. */
typedef struct key_lines {
   uint32_t parts;
   vec_value line[MAX_PAGES];
} key_lines;

static key_lines lines_of(attn *t, const page_keys *p, vec_value element)
{
   vec_value offset = attn_times(t, element, PAGE_TOKENS * t->kv_bytes);
   key_lines l = {.parts = PAGE_TOKENS / t->lanes};

   for (uint32_t i = 0; i < p->n; i++) {
      l.line[i] = vec_at(t->f, p->at[i], offset);
      if (from_memory(t))
         prefetch_ahead(t, l.line[i], offset, p->ahead[i]);
   }
   return l;
}

static vec_value load_keys(attn *t, const key_lines *l, uint32_t v)
{
   int64_t at = (int64_t)(v % l->parts) * t->lanes * t->kv_bytes;

   return vec_load_f32(t->f, t->k->kv, t->lanes, vec_at_i(t->f, l->line[v / l->parts], at));
}

static vec_value load_element(attn *t, vec_value column, uint32_t r)
{
   vec_value at = vec_at_i(t->f, column, (int64_t)r * t->d * 4);

   return attn_wide(t, vec_load(t->f, VEC_f32, 1, at, 4));
}

/* next[page][r][part] = sum + q[r] k of one element of all keys; k is transposed in its page, so 16
 * positions are one line. The fewer of queries and keys stay in registers, as in add_weighted: a
 * sum that is spilled waits for its own store. */
static void add_products(attn *t, const page_keys *p, vec_value element, const vec_value *sum,
                         vec_value *next)
{
   const key_lines l = lines_of(t, p, element);
   const uint32_t vectors = p->n * l.parts;
   const bool keep_queries = t->block < vectors;
   const uint32_t kept = MIN(t->block, vectors), passing = MAX(t->block, vectors);
   vec_value column = vec_at(t->f, t->q, attn_times(t, element, 4)), keep[MAX_BLOCK];

   for (uint32_t i = 0; i < kept; i++)
      keep[i] = keep_queries ? load_element(t, column, i) : load_keys(t, &l, i);
   for (uint32_t i = 0; i < passing; i++) {
      vec_value x = keep_queries ? load_keys(t, &l, i) : load_element(t, column, i);
      for (uint32_t k = 0; k < kept; k++) {
         const uint32_t r = keep_queries ? k : i, v = keep_queries ? i : k;
         const uint32_t at = (v / l.parts * t->block + r) * l.parts + v % l.parts;
         next[at] = vec_fma(t->f, keep[k], x, sum[at]);
      }
   }
}

static void score_pages(attn *t, vec_value page, uint32_t n)
{
   vec_fn *f = t->f;
   uint32_t sums = t->block * (PAGE_TOKENS / t->lanes);
   vec_value dots[VEC_MAX_VARS], next[VEC_MAX_VARS];
   const page_keys keys = keys_of(t, page, n);

   for (uint32_t i = 0; i < n * sums; i++)
      dots[i] = vec_float(f, t->lanes, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, t->d), 1, n * sums, dots);
   add_products(t, &keys, l.i, l.var, next);
   vec_loop_end(f, &l, next);
   for (uint32_t i = 0; i < n; i++)
      attn_keep_scores(t, vec_add_i(f, page, i), l.var + i * sums);
}

/* s = q k^T for every row and page of the chunk. */
void attn_scores(attn *t)
{
   vec_fn *f = t->f;
   uint32_t n = pages_at_once(t);
   vec_value count = vec_sub(f, t->page1, t->page0);
   vec_value whole = vec_add(f, t->page0, vec_sub(f, count, vec_rem(f, count, vec_i(f, n))));

   attn_clear_tops(t);
   vec_loop l = vec_loop_begin(f, t->page0, whole, n, 0, NULL);
   score_pages(t, l.i, n);
   vec_loop_end(f, &l, NULL);
   if (n == 1)
      return;
   l = vec_loop_begin(f, whole, t->page1, 1, 0, NULL);
   score_pages(t, l.i, 1);
   vec_loop_end(f, &l, NULL);
}

/* s becomes exp(s - mc); mc and lc of every row. */
void attn_softmax(attn *t)
{
   vec_fn *f = t->f;
   vec_loop l = attn_rows_begin(t);
   vec_value top =
      vec_load(f, VEC_f32, t->lanes, vec_at(f, t->top, attn_times(t, l.i, t->lanes * 4)), 4);
   vec_value mc = vec_fmax_all(f, top), shift = attn_wide(t, attn_or_zero(t, mc));
   vec_value sum = vec_float(f, t->lanes, 0);

   attn_put(t, t->mc, l.i, mc);
   vec_loop page = vec_loop_begin(f, t->page0, t->page1, 1, 1, &sum);
   sum = page.var[0];
   for (uint32_t j = 0; j < PAGE_TOKENS / t->lanes; j++) {
      vec_value at = attn_score_at(t, l.i, page.i, j);
      vec_value p = vec_exp(f, vec_fsub(f, vec_load(f, VEC_f32, t->lanes, at, 4), shift));
      vec_store(f, p, at, 4);
      sum = vec_fadd(f, sum, p);
   }
   vec_loop_end(f, &page, &sum);
   attn_put(t, t->lc, l.i, vec_fsum(f, page.var[0]));
   vec_loop_end(f, &l, NULL);
}

/* Rows of values: behind the keys, or the first elements of the keys themselves. */
static vec_value values_of_page(attn *t, vec_value page)
{
   vec_value head = attn_head_of_page(t, page);

   return t->k->latent ? head : vec_at_i(t->f, head, t->d * PAGE_TOKENS * t->kv_bytes);
}

/* Values were fetched while keys were read; so that memory does not rest while values are, the keys
 * of what comes next are fetched then: of the page ahead, what lies where this one is read. */
static vec_value page_ahead(attn *t, vec_value page)
{
   vec_fn *f = t->f;
   vec_value last = vec_lshr_i(f, t->ahead.high, __builtin_ctz(PAGE_TOKENS));
   attn next = *t;

   next.table = t->ahead.table;
   next.group = t->ahead.group;
   return attn_head_of_page(&next, vec_imin(f, vec_add(f, page, t->ahead.pages), last));
}

static void prefetch_next_chunk(attn *t, vec_value next, vec_value offset, uint32_t bytes)
{
   vec_value line = vec_at(t->f, next, offset);

   for (uint32_t at = 0; at < bytes; at += 64)
      vec_prefetch(t->f, vec_at_i(t->f, line, at));
}

static vec_value load_weight(attn *t, vec_value p_at, uint32_t r, uint32_t lanes)
{
   vec_value at = vec_at_i(t->f, p_at, (int64_t)r * ATTN_CHUNK * 4);

   return vec_splat(t->f, vec_load(t->f, VEC_f32, 1, at, 4), lanes);
}

static vec_value load_values(attn *t, vec_value line, uint32_t j, uint32_t lanes)
{
   return vec_load_f32(t->f, t->k->kv, lanes,
                       vec_at_i(t->f, line, (int64_t)j * lanes * t->kv_bytes));
}

/* next[r][j] = sum[r][j] + p[r] v[j] of one position. The fewer of both stay in registers beside
 * the sums, the others pass through one: with sums for 12 of 16 registers, more would be
 * spilled. */
static void add_weighted(attn *t, vec_value line, vec_value p_at, uint32_t n, uint32_t lanes,
                         const vec_value *sum, vec_value *next)
{
   bool keep_weights = t->block < n;
   uint32_t kept = keep_weights ? t->block : n, passing = keep_weights ? n : t->block;
   vec_value keep[MAX_BLOCK];

   for (uint32_t i = 0; i < kept; i++)
      keep[i] = keep_weights ? load_weight(t, p_at, i, lanes) : load_values(t, line, i, lanes);
   for (uint32_t i = 0; i < passing; i++) {
      vec_value v = keep_weights ? load_values(t, line, i, lanes) : load_weight(t, p_at, i, lanes);
      for (uint32_t k = 0; k < kept; k++) {
         uint32_t at = keep_weights ? k * n + i : i * n + k;
         next[at] = vec_fma(t->f, keep[k], v, sum[at]);
      }
   }
}

/* o_c of `n` vectors of columns from col on, for all rows. */
static void weigh(attn *t, vec_value col, uint32_t n, uint32_t lanes, attn_chunk_sink *sink)
{
   vec_fn *f = t->f;
   vec_value sum[VEC_MAX_VARS], next[VEC_MAX_VARS];

   for (uint32_t i = 0; i < n * t->block; i++)
      sum[i] = vec_float(f, lanes, 0);
   vec_loop page = vec_loop_begin(f, t->page0, t->page1, 1, n * t->block, sum);
   vec_value head = values_of_page(t, page.i);
   vec_value next_head = from_memory(t) ? page_ahead(t, page.i) : NULL;
   vec_value column = attn_times(t, col, t->kv_bytes),
             p_at = attn_score_at(t, vec_i(f, 0), page.i, 0);
   vec_value left = vec_sub(f, vec_add_i(f, t->high, 1), attn_times(t, page.i, PAGE_TOKENS));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_imin(f, left, vec_i(f, PAGE_TOKENS)), 1,
                               n * t->block, page.var);
   vec_value row = attn_times(t, l.i, (t->k->latent ? t->d : t->dv) * t->kv_bytes);
   vec_value offset = vec_add(f, row, column), line = vec_at(f, head, offset);
   if (from_memory(t))
      prefetch_next_chunk(t, next_head, offset, n * lanes * (uint32_t)t->kv_bytes);
   add_weighted(t, line, vec_at(f, p_at, attn_times(t, l.i, 4)), n, lanes, l.var, next);
   vec_loop_end(f, &l, next);
   vec_loop_end(f, &page, l.var);
   for (uint32_t r = 0; r < t->block; r++)
      for (uint32_t j = 0; j < n; j++)
         sink(t, r, vec_add_i(f, col, (int64_t)j * lanes), page.var[r * n + j]);
}

/* o_c = p v in groups of columns that fit the registers. */
void attn_weigh_all(attn *t, attn_chunk_sink *sink)
{
   vec_fn *f = t->f;
   uint32_t most = MIN(MAX((t->lanes == 16 ? 24 : 12) / t->block, 1), 8);
   int64_t vectors = t->dv / t->lanes, group = (int64_t)most * t->lanes,
           grouped = vectors / most * group;

   if (grouped) {
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, grouped), group, 0, NULL);
      weigh(t, l.i, most, t->lanes, sink);
      vec_loop_end(f, &l, NULL);
   }
   if (vectors % most)
      weigh(t, vec_i(f, grouped), (uint32_t)(vectors % most), t->lanes, sink);
   if (vectors * t->lanes < t->dv) {
      vec_loop l = vec_loop_begin(f, vec_i(f, vectors * t->lanes), vec_i(f, t->dv), 1, 0, NULL);
      weigh(t, l.i, 1, 1, sink);
      vec_loop_end(f, &l, NULL);
   }
}
