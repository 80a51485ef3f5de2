/* attention.c - see attention.h. What a kernel keeps on its stack, per row-head r of its block:
 *
 *    q[r][d]  s[r][ATTN_CHUNK]  top[r][lanes]  o[r][d]   f32
 *    last[r] first[r]                                    i32, visible positions
 *    m[r] l[r] mc[r] lc[r] a[r] b[r]                     f32, running and chunk maxima and sums,
 * fold factors */
#include "attention.h"

#include <math.h>
#include <stdio.h>

enum { MAX_BLOCK = 12 };

typedef struct attn {
   vec_fn *f;
   const attention_key *k;
   uint32_t lanes, per_kv, block, num_blocks;
   int64_t d, kv_bytes;
   vec_value y, queries, pages, tiles, positions, seq_of, table, scratch;
   vec_value row_tile, group, first_row_head, first_row, num_rows;
   vec_value q, s, top, o, last, first, m, l, mc, lc, a, b;
   vec_value low, high;    /* i64: first and last position that any row of the block sees */
   vec_value chunk;        /* i64: number of the current chunk */
   vec_value page0, page1; /* i64: pages of the chunk that are read */
} attn;

/* ---- blocking
 * ------------------------------------------------------------------------------------ */

/* Row-heads of one block: as many as registers hold, evenly spread. The part form fills up with the
 * heads of one row. */
static uint32_t block_of(const attention_key *k, uint32_t lanes)
{
   uint32_t most = lanes == 16 ? MAX_BLOCK : 6, per_kv = k->heads / k->groups;
   uint32_t n = k->form == ATTENTION_whole ? per_kv * ATTN_ROWS : per_kv;
   uint32_t blocks = (n + most - 1) / most;

   return (n + blocks - 1) / blocks;
}

static uint32_t num_blocks(const attention_key *k, uint32_t lanes)
{
   uint32_t block = block_of(k, lanes);

   return (k->heads / k->groups * ATTN_ROWS + block - 1) / block;
}

static uint64_t entry_bytes(const attention_key *k, uint32_t lanes)
{
   return (uint64_t)block_of(k, lanes) * (k->width + 2) * sizeof(float);
}

uint64_t attention_scratch(const attention_key *key, uint32_t lanes, int64_t max_tiles)
{
   return entry_bytes(key, lanes) * num_blocks(key, lanes) * key->groups * (uint64_t)max_tiles;
}

void attention_symbol(const attention_key *k, char out[ATTENTION_SYMBOL_MAX])
{
   static const char *const forms[] = {"whole", "part", "merge"};

   snprintf(out, ATTENTION_SYMBOL_MAX, "attention_%s_%s_%s_%s_h%u_g%u_d%u_w%lld_s%a_c%a",
            forms[k->form], dtype_infos[k->q].name, dtype_infos[k->kv].name, dtype_infos[k->y].name,
            k->heads, k->groups, k->width, (long long)k->window, k->scale, k->cap);
}

void attention_launch(const attention_key *k, uint32_t lanes, plan_launch *out)
{
   int64_t n = (int64_t)k->groups * num_blocks(k, lanes), d = k->width;
   int64_t kv = (int64_t)2 * ATTN_CHUNK * d * k->groups * dtype_infos[k->kv].bytes;

   out->tiles = (plan_extent){.k = n, .num_factors = 1, .factor = {{SYM_A, 1}}};
   out->bytes = (plan_extent){.k = kv, .num_factors = 2, .factor = {{SYM_A, 1}, {SYM_C, 1}}};
   out->flops = (plan_extent){.k = (int64_t)4 * ATTN_CHUNK * k->heads * d,
                              .num_factors = 2,
                              .factor = {{SYM_T, 1}, {SYM_C, 1}}};
   out->num_refs = k->form == ATTENTION_merge ? 4 : 7;
   if (k->form == ATTENTION_part)
      out->tiles = (plan_extent){.k = n, .num_factors = 2, .factor = {{SYM_A, 1}, {SYM_C, 1}}};
   if (k->form == ATTENTION_merge) {
      out->flops.k = (int64_t)2 * k->heads * d;
      out->bytes.k = (int64_t)entry_bytes(k, lanes) * n;
   }
}

/* ---- small steps
 * --------------------------------------------------------------------------------- */

static vec_value times(attn *t, vec_value i, int64_t n)
{
   return vec_mul_i(t->f, i, n);
}

static vec_value load_index(attn *t, vec_value array, vec_value i)
{
   return vec_sext(t->f, vec_load(t->f, VEC_i32, 1, vec_at(t->f, array, times(t, i, 4)), 4),
                   VEC_i64);
}

/* Element r of a small stack array. */
static vec_value slot(attn *t, vec_value array, vec_value r)
{
   return vec_at(t->f, array, times(t, r, 4));
}

static vec_value get(attn *t, vec_value array, vec_value r)
{
   return vec_load(t->f, VEC_f32, 1, slot(t, array, r), 4);
}

static void put(attn *t, vec_value array, vec_value r, vec_value v)
{
   vec_store(t->f, v, slot(t, array, r), 4);
}

static vec_loop rows_begin(attn *t)
{
   return vec_loop_begin(t->f, vec_i(t->f, 0), vec_i(t->f, t->block), 1, 0, NULL);
}

static vec_value wide(attn *t, vec_value scalar)
{
   return vec_splat(t->f, scalar, t->lanes);
}

static vec_value infinity(attn *t, uint32_t lanes)
{
   return vec_float(t->f, lanes, -INFINITY);
}

/* m, or 0 where m is -inf: so that exp(-inf - m) is 0 and not NaN. */
static vec_value or_zero(attn *t, vec_value m)
{
   vec_value none = vec_fcmp(t->f, VEC_eq, m, infinity(t, 1));

   return vec_select(t->f, none, vec_float(t->f, 1, 0), m);
}

/* for each column of d: vectors, then single ones. */
typedef void column_body(attn *t, vec_value r, vec_value col, uint32_t lanes);

static void columns(attn *t, vec_value r, column_body *each)
{
   int64_t whole = t->d / t->lanes * t->lanes;

   for (int k = 0; k < 2; k++) {
      int64_t from = k ? whole : 0, to = k ? t->d : whole;
      uint32_t lanes = k ? 1 : t->lanes;
      if (from == to)
         continue;
      vec_loop l = vec_loop_begin(t->f, vec_i(t->f, from), vec_i(t->f, to), lanes, 0, NULL);
      each(t, r, l.i, lanes);
      vec_loop_end(t->f, &l, NULL);
   }
}

/* ---- the block's rows
 * ---------------------------------------------------------------------------- */

/* Row-head r of the block: head number and row of the step. */
static void row_head(attn *t, vec_value r, vec_value *head, vec_value *row_in_tile)
{
   vec_value rh = vec_add(t->f, t->first_row_head, r), per = vec_i(t->f, t->per_kv);

   *row_in_tile = vec_div(t->f, rh, per);
   *head = vec_add(t->f, times(t, t->group, t->per_kv), vec_rem(t->f, rh, per));
}

static vec_value row_address(attn *t, vec_value base, dtype e, vec_value r)
{
   vec_value head, row;

   row_head(t, r, &head, &row);
   row = vec_add(t->f, row, t->first_row);
   vec_value at = vec_add(t->f, times(t, row, t->k->heads), head);
   return vec_at(t->f, base, times(t, at, t->d * dtype_infos[e].bytes));
}

static void load_query(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_fn *f = t->f;
   vec_value from = row_address(t, t->queries, t->k->q, r);
   vec_value v =
      vec_load_f32(f, t->k->q, lanes, vec_at(f, from, times(t, col, dtype_infos[t->k->q].bytes)));

   vec_store(f, v, vec_at(f, t->q, times(t, vec_add(f, times(t, r, t->d), col), 4)), 4);
}

static void zero_output(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_store(t->f, vec_float(t->f, lanes, 0),
             vec_at(t->f, t->o, times(t, vec_add(t->f, times(t, r, t->d), col), 4)), 4);
}

/* Visible positions of every row-head; one past the tile's rows sees none. Leaves the kernel when
 * there is no row. */
static void find_rows(attn *t)
{
   vec_fn *f = t->f;
   vec_value low_high[2] = {vec_i(f, INT32_MAX), vec_i(f, -1)}, head, row;
   vec_value rows = times(t, t->num_rows, t->per_kv);

   vec_return_if(f, vec_icmp(f, VEC_ge, t->first_row_head, rows));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, t->block), 1, 2, low_high);
   row_head(t, l.i, &head, &row);
   vec_value real = vec_icmp(f, VEC_lt, row, t->num_rows);
   row = vec_select(f, real, row, vec_i(f, 0));
   vec_value last = load_index(t, t->positions, vec_add(f, row, t->first_row));
   vec_value first = vec_i(f, 0);
   if (t->k->window)
      first = vec_imax(f, first, vec_add_i(f, last, 1 - t->k->window));
   vec_value low = vec_select(f, real, first, vec_i(f, INT32_MAX));
   last = vec_select(f, real, last, vec_i(f, -1));
   vec_store(f, vec_trunc(f, last, VEC_i32), slot(t, t->last, l.i), 4);
   vec_store(f, vec_trunc(f, first, VEC_i32), slot(t, t->first, l.i), 4);
   vec_value next[2] = {vec_imin(f, l.var[0], low), vec_imax(f, l.var[1], last)};
   vec_loop_end(f, &l, next);
   t->low = l.var[0];
   t->high = l.var[1];
}

/* Queries of the block; rows that are not there repeat row 0, and see nothing. */
static void load_queries(attn *t)
{
   vec_fn *f = t->f;
   vec_loop l = rows_begin(t);
   vec_value head, row;

   row_head(t, l.i, &head, &row);
   vec_value real = vec_icmp(f, VEC_lt, row, t->num_rows);
   vec_if there = vec_if_begin(f, real);
   columns(t, l.i, load_query);
   vec_if_else(f, &there);
   vec_loop z = vec_loop_begin(f, vec_i(f, 0), vec_i(f, t->d), 1, 0, NULL);
   vec_store(f, vec_float(f, 1, 0),
             vec_at(f, t->q, times(t, vec_add(f, times(t, l.i, t->d), z.i), 4)), 4);
   vec_loop_end(f, &z, NULL);
   vec_if_end(f, &there);
   vec_loop_end(f, &l, NULL);
}

static void clear_fold(attn *t)
{
   vec_loop l = rows_begin(t);

   put(t, t->m, l.i, infinity(t, 1));
   put(t, t->l, l.i, vec_float(t->f, 1, 0));
   columns(t, l.i, zero_output);
   vec_loop_end(t->f, &l, NULL);
}

/* ---- one chunk
 * ----------------------------------------------------------------------------------- */

/* k of this kv head in page number `page` of the sequence; v follows it. */
static vec_value head_of_page(attn *t, vec_value page)
{
   vec_fn *f = t->f;
   int64_t half = t->d * PAGE_TOKENS * t->kv_bytes;
   vec_value id = load_index(t, t->table, page);
   vec_value at = vec_add(f, times(t, id, 2 * half * t->k->groups), times(t, t->group, 2 * half));

   return vec_at(f, t->pages, at);
}

/* Row r's scores of the page from position `at` on. */
static vec_value score_at(attn *t, vec_value r, vec_value page, uint32_t part)
{
   vec_value in_chunk = vec_and_i(t->f, page, ATTN_CHUNK / PAGE_TOKENS - 1);
   vec_value i = vec_add(t->f, times(t, r, ATTN_CHUNK), times(t, in_chunk, PAGE_TOKENS));

   return vec_at_i(t->f, vec_at(t->f, t->s, times(t, i, 4)), (int64_t)part * t->lanes * 4);
}

static void pages_of_chunk(attn *t)
{
   vec_fn *f = t->f;
   vec_value first = times(t, t->chunk, ATTN_CHUNK / PAGE_TOKENS);
   int shift = __builtin_ctz(PAGE_TOKENS);

   t->page0 = vec_imax(f, first, vec_lshr_i(f, t->low, shift));
   t->page1 =
      vec_imin(f, vec_add_i(f, first, ATTN_CHUNK / PAGE_TOKENS - 1), vec_lshr_i(f, t->high, shift));
   t->page1 = vec_add_i(f, t->page1, 1);
}

/* Scales, caps and masks the dot products of a page, keeps them and their largest. */
static void keep_scores(attn *t, vec_value page, const vec_value *dots)
{
   vec_fn *f = t->f;
   uint32_t parts = PAGE_TOKENS / t->lanes;
   int64_t iota[16];

   for (int i = 0; i < 16; i++)
      iota[i] = i;
   for (uint32_t r = 0; r < t->block; r++) {
      vec_value row = vec_i(f, r);
      vec_value last = wide(t, vec_load(f, VEC_i32, 1, slot(t, t->last, row), 4));
      vec_value first = wide(t, vec_load(f, VEC_i32, 1, slot(t, t->first, row), 4));
      vec_value top_at = vec_at_i(f, t->top, (int64_t)r * t->lanes * 4);
      vec_value top = vec_load(f, VEC_f32, t->lanes, top_at, 4);
      for (uint32_t j = 0; j < parts; j++) {
         vec_value from =
            vec_trunc(f, vec_add_i(f, times(t, page, PAGE_TOKENS), j * t->lanes), VEC_i32);
         vec_value at = vec_add(f, wide(t, from), vec_ints(f, VEC_i32, t->lanes, iota));
         vec_value s = vec_fmul(f, dots[r * parts + j], vec_float(f, t->lanes, t->k->scale));
         if (t->k->cap != 0)
            s = vec_softcap(f, s, t->k->cap);
         vec_value seen = vec_and(f, vec_icmp(f, VEC_le, at, last), vec_icmp(f, VEC_ge, at, first));
         s = vec_select(f, seen, s, infinity(t, t->lanes));
         vec_store(f, s, score_at(t, row, page, j), 4);
         top = vec_fmax(f, top, s);
      }
      vec_store(f, top, top_at, 4);
   }
}

/* s = q k^T for every row and page of the chunk: k is transposed in its page, so 16 positions are
 * one line. */
static void scores(attn *t)
{
   vec_fn *f = t->f;
   uint32_t parts = PAGE_TOKENS / t->lanes, n = t->block * parts;
   vec_value dots[VEC_MAX_VARS], next[VEC_MAX_VARS], k[2];

   for (uint32_t r = 0; r < t->block; r++)
      vec_store(f, infinity(t, t->lanes), vec_at_i(f, t->top, (int64_t)r * t->lanes * 4), 4);
   vec_loop page = vec_loop_begin(f, t->page0, t->page1, 1, 0, NULL);
   vec_value at = head_of_page(t, page.i);
   for (uint32_t i = 0; i < n; i++)
      dots[i] = vec_float(f, t->lanes, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, t->d), 1, n, dots);
   vec_value line = vec_at(f, at, times(t, l.i, PAGE_TOKENS * t->kv_bytes));
   for (uint32_t j = 0; j < parts; j++)
      k[j] = vec_load_f32(f, t->k->kv, t->lanes,
                          vec_at_i(f, line, (int64_t)j * t->lanes * t->kv_bytes));
   vec_value column = vec_at(f, t->q, times(t, l.i, 4));
   for (uint32_t r = 0; r < t->block; r++) {
      vec_value q = wide(t, vec_load(f, VEC_f32, 1, vec_at_i(f, column, (int64_t)r * t->d * 4), 4));
      for (uint32_t j = 0; j < parts; j++)
         next[r * parts + j] = vec_fma(f, q, k[j], l.var[r * parts + j]);
   }
   vec_loop_end(f, &l, next);
   keep_scores(t, page.i, l.var);
   vec_loop_end(f, &page, NULL);
}

/* s becomes exp(s - mc); mc and lc of every row. */
static void softmax(attn *t)
{
   vec_fn *f = t->f;
   vec_loop l = rows_begin(t);
   vec_value top =
      vec_load(f, VEC_f32, t->lanes, vec_at(f, t->top, times(t, l.i, t->lanes * 4)), 4);
   vec_value mc = vec_fmax_all(f, top), shift = wide(t, or_zero(t, mc));
   vec_value sum = vec_float(f, t->lanes, 0);

   put(t, t->mc, l.i, mc);
   vec_loop page = vec_loop_begin(f, t->page0, t->page1, 1, 1, &sum);
   sum = page.var[0];
   for (uint32_t j = 0; j < PAGE_TOKENS / t->lanes; j++) {
      vec_value at = score_at(t, l.i, page.i, j);
      vec_value p = vec_exp(f, vec_fsub(f, vec_load(f, VEC_f32, t->lanes, at, 4), shift));
      vec_store(f, p, at, 4);
      sum = vec_fadd(f, sum, p);
   }
   vec_loop_end(f, &page, &sum);
   put(t, t->lc, l.i, vec_fsum(f, page.var[0]));
   vec_loop_end(f, &l, NULL);
}

/* What becomes of o_c, a vector of row r at column col. */
typedef void chunk_sink(attn *t, uint32_t r, vec_value col, vec_value oc);

/* o_c of `n` vectors of columns from col on, for all rows. */
static void weigh(attn *t, vec_value col, uint32_t n, uint32_t lanes, chunk_sink *sink)
{
   vec_fn *f = t->f;
   vec_value sum[VEC_MAX_VARS], next[VEC_MAX_VARS], v[12];

   for (uint32_t i = 0; i < n * t->block; i++)
      sum[i] = vec_float(f, lanes, 0);
   vec_loop page = vec_loop_begin(f, t->page0, t->page1, 1, n * t->block, sum);
   vec_value head = vec_at_i(f, head_of_page(t, page.i), t->d * PAGE_TOKENS * t->kv_bytes);
   vec_value base = vec_at(f, head, times(t, col, t->kv_bytes)),
             p_at = score_at(t, vec_i(f, 0), page.i, 0);
   vec_value left = vec_sub(f, vec_add_i(f, t->high, 1), times(t, page.i, PAGE_TOKENS));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_imin(f, left, vec_i(f, PAGE_TOKENS)), 1,
                               n * t->block, page.var);
   vec_value line = vec_at(f, base, times(t, l.i, t->d * t->kv_bytes));
   for (uint32_t j = 0; j < n; j++)
      v[j] = vec_load_f32(f, t->k->kv, lanes, vec_at_i(f, line, (int64_t)j * lanes * t->kv_bytes));
   for (uint32_t r = 0; r < t->block; r++) {
      vec_value p =
         vec_load(f, VEC_f32, 1,
                  vec_at_i(f, vec_at(f, p_at, times(t, l.i, 4)), (int64_t)r * ATTN_CHUNK * 4), 4);
      p = vec_splat(f, p, lanes);
      for (uint32_t j = 0; j < n; j++)
         next[r * n + j] = vec_fma(f, p, v[j], l.var[r * n + j]);
   }
   vec_loop_end(f, &l, next);
   vec_loop_end(f, &page, l.var);
   for (uint32_t r = 0; r < t->block; r++)
      for (uint32_t j = 0; j < n; j++)
         sink(t, r, vec_add_i(f, col, (int64_t)j * lanes), page.var[r * n + j]);
}

/* o_c = p v in groups of columns that fit the registers. */
static void weigh_all(attn *t, chunk_sink *sink)
{
   vec_fn *f = t->f;
   uint32_t most = MIN(MAX((t->lanes == 16 ? 24 : 12) / t->block, 1), 8);
   int64_t vectors = t->d / t->lanes, group = (int64_t)most * t->lanes,
           grouped = vectors / most * group;

   if (grouped) {
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, grouped), group, 0, NULL);
      weigh(t, l.i, most, t->lanes, sink);
      vec_loop_end(f, &l, NULL);
   }
   if (vectors % most)
      weigh(t, vec_i(f, grouped), (uint32_t)(vectors % most), t->lanes, sink);
   if (vectors * t->lanes < t->d) {
      vec_loop l = vec_loop_begin(f, vec_i(f, vectors * t->lanes), vec_i(f, t->d), 1, 0, NULL);
      weigh(t, l.i, 1, 1, sink);
      vec_loop_end(f, &l, NULL);
   }
}

/* ---- folding
 * ------------------------------------------------------------------------------------- */

/* a, b, and the new m and l of row r, from mc and lc. */
static void fold_scalars(attn *t, vec_value r)
{
   vec_fn *f = t->f;
   vec_value m = get(t, t->m, r), mc = get(t, t->mc, r);
   vec_value top = vec_fmax(f, m, mc), shift = or_zero(t, top);
   vec_value a = vec_exp(f, vec_fsub(f, m, shift)), b = vec_exp(f, vec_fsub(f, mc, shift));
   vec_value lc = vec_fmul(f, get(t, t->lc, r), b);

   put(t, t->m, r, top);
   put(t, t->l, r, vec_fma(f, get(t, t->l, r), a, lc));
   put(t, t->a, r, a);
   put(t, t->b, r, b);
}

static void fold_column(attn *t, vec_value r, vec_value col, vec_value oc)
{
   vec_fn *f = t->f;
   uint32_t lanes = vec_width(oc);
   vec_value at = vec_at(f, t->o, times(t, vec_add(f, times(t, r, t->d), col), 4));
   vec_value a = vec_splat(f, get(t, t->a, r), lanes), b = vec_splat(f, get(t, t->b, r), lanes);
   vec_value o = vec_load(f, VEC_f32, lanes, at, 4);

   vec_store(f, vec_fma(f, o, a, vec_fmul(f, oc, b)), at, 4);
}

static void fold_sink(attn *t, uint32_t r, vec_value col, vec_value oc)
{
   fold_column(t, vec_i(t->f, r), col, oc);
}

static void finish_column(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_fn *f = t->f;
   vec_value o = vec_load(f, VEC_f32, lanes,
                          vec_at(f, t->o, times(t, vec_add(f, times(t, r, t->d), col), 4)), 4);
   vec_value v = vec_fdiv(f, o, vec_splat(f, get(t, t->l, r), lanes));
   vec_value to = row_address(t, t->y, t->k->y, r);

   vec_store_f32(f, t->k->y, v, vec_at(f, to, times(t, col, dtype_infos[t->k->y].bytes)));
}

static void finish(attn *t)
{
   vec_fn *f = t->f;
   vec_loop l = rows_begin(t);
   vec_value head, row;

   row_head(t, l.i, &head, &row);
   vec_if real = vec_if_begin(f, vec_icmp(f, VEC_lt, row, t->num_rows));
   columns(t, l.i, finish_column);
   vec_if_end(f, &real);
   vec_loop_end(f, &l, NULL);
}

/* ---- scratch
 * ------------------------------------------------------------------------------------- */

/* The entry of a chunk: mc[block], lc[block], o[block][d]. */
static vec_value entry(attn *t, vec_value number, vec_value chunk)
{
   vec_value i = vec_add(t->f, vec_mul(t->f, number, vec_sym(t->f, SYM_C)), chunk);

   return vec_at(t->f, t->scratch, times(t, i, (int64_t)entry_bytes(t->k, t->lanes)));
}

static void part_sink(attn *t, uint32_t r, vec_value col, vec_value oc)
{
   vec_value i = vec_add_i(t->f, col, 2 * (int64_t)t->block + (int64_t)r * t->d);

   vec_store(t->f, oc, vec_at(t->f, t->scratch, times(t, i, 4)), 4);
}

static void merge_column(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_value i = vec_add_i(t->f, vec_add(t->f, col, times(t, r, t->d)), 2 * (int64_t)t->block);

   fold_column(t, r, col,
               vec_load(t->f, VEC_f32, lanes, vec_at(t->f, t->pages, times(t, i, 4)), 4));
}

/* ---- kernels
 * ------------------------------------------------------------------------------------- */

static void find_tile(attn *t, vec_value tile)
{
   vec_fn *f = t->f;
   vec_value block = vec_rem(f, tile, vec_i(f, t->num_blocks)),
             rest = vec_div(f, tile, vec_i(f, t->num_blocks));
   vec_value at;

   t->group = vec_rem(f, rest, vec_i(f, t->k->groups));
   t->row_tile = vec_div(f, rest, vec_i(f, t->k->groups));
   t->first_row_head = times(t, block, t->block);
   at = times(t, t->row_tile, 2);
   t->first_row = load_index(t, t->tiles, at);
   t->num_rows = load_index(t, t->tiles, vec_add_i(f, at, 1));
}

static void take_stack(attn *t)
{
   vec_fn *f = t->f;
   vec_value *small[] = {&t->last, &t->first, &t->m, &t->l, &t->mc, &t->lc, &t->a, &t->b};

   for (size_t i = 0; i < countof(small); i++)
      *small[i] = vec_stack(f, MAX_BLOCK * 4, 64);
   t->o = vec_stack(f, (uint64_t)t->block * (uint64_t)t->d * 4, 64);
   if (t->k->form == ATTENTION_merge)
      return;
   t->q = vec_stack(f, (uint64_t)t->block * (uint64_t)t->d * 4, 64);
   t->s = vec_stack(f, (uint64_t)t->block * ATTN_CHUNK * 4, 64);
   t->top = vec_stack(f, (uint64_t)t->block * t->lanes * 4, 64);
}

static void find_sequence(attn *t)
{
   vec_fn *f = t->f;
   vec_value seq = load_index(t, t->seq_of, t->first_row);

   t->table = vec_at(f, t->table, times(t, vec_mul(f, seq, vec_sym(f, SYM_B)), 4));
}

static vec_value chunk_of(attn *t, vec_value position)
{
   return vec_lshr_i(t->f, position, __builtin_ctz(ATTN_CHUNK));
}

static void emit_whole(attn *t)
{
   vec_fn *f = t->f;

   find_tile(t, vec_tile(f));
   find_rows(t);
   find_sequence(t);
   load_queries(t);
   clear_fold(t);
   vec_loop c =
      vec_loop_begin(f, chunk_of(t, t->low), vec_add_i(f, chunk_of(t, t->high), 1), 1, 0, NULL);
   t->chunk = c.i;
   pages_of_chunk(t);
   scores(t);
   softmax(t);
   vec_loop r = rows_begin(t);
   fold_scalars(t, r.i);
   vec_loop_end(f, &r, NULL);
   weigh_all(t, fold_sink);
   vec_loop_end(f, &c, NULL);
   finish(t);
}

static void emit_part(attn *t)
{
   vec_fn *f = t->f;
   vec_value chunks = vec_sym(f, SYM_C), number = vec_div(f, vec_tile(f), chunks);

   t->chunk = vec_rem(f, vec_tile(f), chunks);
   find_tile(t, number);
   find_rows(t);
   vec_return_if(f, vec_icmp(f, VEC_lt, t->chunk, chunk_of(t, t->low)));
   vec_return_if(f, vec_icmp(f, VEC_gt, t->chunk, chunk_of(t, t->high)));
   find_sequence(t);
   load_queries(t);
   pages_of_chunk(t);
   scores(t);
   t->scratch = entry(t, number, t->chunk);
   softmax(t);
   vec_loop r = rows_begin(t);
   put(t, t->scratch, r.i, get(t, t->mc, r.i));
   put(t, t->scratch, vec_add_i(f, r.i, t->block), get(t, t->lc, r.i));
   vec_loop_end(f, &r, NULL);
   weigh_all(t, part_sink);
}

static void emit_merge(attn *t)
{
   vec_fn *f = t->f;

   find_tile(t, vec_tile(f));
   find_rows(t);
   clear_fold(t);
   vec_loop c =
      vec_loop_begin(f, chunk_of(t, t->low), vec_add_i(f, chunk_of(t, t->high), 1), 1, 0, NULL);
   t->pages = entry(t, vec_tile(f), c.i); /* the entry takes the place of the pages */
   vec_loop r = rows_begin(t);
   put(t, t->mc, r.i, get(t, t->pages, r.i));
   put(t, t->lc, r.i, get(t, t->pages, vec_add_i(f, r.i, t->block)));
   fold_scalars(t, r.i);
   columns(t, r.i, merge_column);
   vec_loop_end(f, &r, NULL);
   vec_loop_end(f, &c, NULL);
   finish(t);
}

void attention_emit(vec_module *m, const attention_key *key)
{
   char symbol[ATTENTION_SYMBOL_MAX];

   attention_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   attn t = {.f = f, .k = key, .lanes = vec_lanes(f), .per_kv = key->heads / key->groups};
   t.block = block_of(key, t.lanes);
   t.num_blocks = num_blocks(key, t.lanes);
   t.d = key->width;
   t.kv_bytes = dtype_infos[key->kv].bytes;
   bool merge = key->form == ATTENTION_merge;
   t.y = vec_karg_ptr(f, 0);
   t.scratch = vec_karg_ptr(f, merge ? 1 : 0);
   t.queries = vec_karg_ptr(f, 1);
   t.tiles = vec_karg_ptr(f, merge ? 2 : 3);
   t.positions = vec_karg_ptr(f, merge ? 3 : 4);
   if (!merge) {
      t.pages = vec_karg_ptr(f, 2);
      t.seq_of = vec_karg_ptr(f, 5);
      t.table = vec_karg_ptr(f, 6);
   }
   take_stack(&t);
   if (merge)
      emit_merge(&t);
   else if (key->form == ATTENTION_part)
      emit_part(&t);
   else
      emit_whole(&t);
   vec_end(f);
}
