/* attention_expand.c - latent attention with the keys and values of a head made from the latents.
 *
 *    tile = head h; for each run (rows of one sequence), for each chunk of its context:
 *       pages of the chunk     c f32[16][r]  ─ keys[h], values[h] ─▶  k[a+n][16], v[16][dv]
 *       4 rows at a time       scores, softmax, fold, as in attention.c
 *
 *    scratch   head h:  pages f32[16][(a+n) * 16 + 16 * dv] │ c f32[16][r]
 *              then, head h, row t of run q, at number t + 3 q:  o[dv] of 4 rows, m of 4, l of 4
 *
 * Products of positions are the GEMM family's (gemm_impl.h), so any panel will do. A row's bits
 * depend on its own q and the positions that it sees: not on the run's other rows, nor on where a
 * step ends. */
#include "attention_impl.h"
#include "gemm_impl.h"

enum { PAGES = ATTN_CHUNK / PAGE_TOKENS, DOT_ROWS = 4 };

typedef struct expand {
   attn *t;
   attention_key inner; /* of the expanded pages: f32, plain */
   const attention_key *k;
   vec_value matrices[2], latents, out, numbers; /* f32[16][r]; f32[16][16]; i64[16] */
   vec_value run_first, run_rows, folds;
   char dots[2][GEMM_SYMBOL_MAX];
} expand;

static int64_t page_floats(const attention_key *k)
{
   return (int64_t)PAGE_TOKENS * (k->width + k->value);
}

static int64_t slot_bytes(const attention_key *k)
{
   return (int64_t)base_align(4 * (uint64_t)(PAGES * page_floats(k) + PAGE_TOKENS * k->rank), 64);
}

static int64_t fold_bytes(const attention_key *k)
{
   return 4 * ((int64_t)k->value + 2);
}

uint64_t attention_expanded_scratch(const attention_key *k, int64_t max_rows, int64_t max_runs)
{
   int64_t folds = (max_rows + (ATTN_ROWS - 1) * max_runs) * fold_bytes(k);

   return (uint64_t)k->heads * (uint64_t)(slot_bytes(k) + folds);
}

const char *attention_expanded_unsupported(const attention_key *k)
{
   gemm_key keys = {.w = k->keys}, values = {.w = k->values};
   const char *why = gemm_unsupported(&keys, k->rank);

   why = why ? why : gemm_unsupported(&values, k->rank);
   if (why)
      return why;
   if (k->rank > 4096 || k->width > 1024 || k->value > 1024)
      return "heads of up to 1024 elements and latents of up to 4096 are supported";
   return NULL;
}

/* ---- one page ---- */

static void widen_row(expand *e, vec_value row, vec_value position, vec_value col, uint32_t lanes)
{
   vec_fn *f = e->t->f;
   vec_value v = vec_load_f32(f, e->k->kv, lanes,
                              vec_at(f, row, vec_mul_i(f, col, dtype_infos[e->k->kv].bytes)));
   vec_value at = vec_add(f, vec_mul_i(f, position, e->k->rank), col);

   vec_store(f, v, vec_at(f, e->latents, vec_mul_i(f, at, 4)), 4);
}

/* The latents of a page as f32. */
static void widen(expand *e, vec_value page)
{
   vec_fn *f = e->t->f;
   int64_t bytes = (int64_t)(e->k->rank + e->k->rotated) * dtype_infos[e->k->kv].bytes;
   int64_t lanes = e->t->lanes, whole = e->k->rank / lanes * lanes;
   vec_loop p = vec_loop_begin(f, vec_i(f, 0), vec_i(f, PAGE_TOKENS), 1, 0, NULL);
   vec_value row = vec_at(f, page, vec_mul_i(f, p.i, bytes));

   for (int k = 0; k < 2; k++) {
      int64_t from = k ? whole : 0, to = k ? e->k->rank : whole;
      if (from == to)
         continue;
      vec_loop c = vec_loop_begin(f, vec_i(f, from), vec_i(f, to), k ? 1 : lanes, 0, NULL);
      widen_row(e, row, p.i, c.i, k ? 1 : (uint32_t)lanes);
      vec_loop_end(f, &c, NULL);
   }
   vec_loop_end(f, &p, NULL);
}

/* out[position][row] = one panel times the latents. */
static void multiply(expand *e, uint32_t which, vec_value panel)
{
   vec_fn *f = e->t->f;
   uint32_t lanes = e->t->lanes;
   vec_value rank = vec_i(f, e->k->rank), stride = vec_i(f, 4 * (int64_t)e->k->rank);
   vec_loop z =
      vec_loop_begin(f, vec_i(f, 0), vec_i(f, 4 * PAGE_TOKENS * PANEL_ROWS), 4 * lanes, 0, NULL);

   vec_store(f, vec_float(f, lanes, 0), vec_at(f, e->out, z.i), 32);
   vec_loop_end(f, &z, NULL);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, PAGE_TOKENS), DOT_ROWS, 0, NULL);
   vec_value args[DOT_ARGS] = {
      [DOT_w] = panel,
      [DOT_x] = e->latents,
      [DOT_s] = e->latents,
      [DOT_number] = vec_at(f, e->numbers, vec_mul_i(f, l.i, 8)),
      [DOT_out] = vec_at(f, e->out, vec_mul_i(f, l.i, 4 * PANEL_ROWS)),
      [DOT_from] = vec_i(f, 0),
      [DOT_k] = rank,
      [DOT_all] = rank,
      [DOT_x_stride] = stride,
      [DOT_s_stride] = vec_i(f, 0),
      [DOT_ahead] = vec_i(f, PANEL_AHEAD),
   };
   vec_call(f, e->dots[which], DOT_ARGS, args);
   vec_loop_end(f, &l, NULL);
}

/* An element of the 16 x 16 block. */
static vec_value of_block(expand *e, vec_value position, vec_value row, uint32_t lanes)
{
   vec_fn *f = e->t->f;
   vec_value at = vec_add(f, vec_mul_i(f, position, PANEL_ROWS), row);

   return vec_load(f, VEC_f32, lanes, vec_at(f, e->out, vec_mul_i(f, at, 4)), 4);
}

/* Keys are transposed: k[row][position]. */
static void keep_keys(expand *e, vec_value first, vec_value count, vec_value to)
{
   vec_fn *f = e->t->f;
   vec_loop r = vec_loop_begin(f, vec_i(f, 0), count, 1, 0, NULL);
   vec_loop p = vec_loop_begin(f, vec_i(f, 0), vec_i(f, PAGE_TOKENS), 1, 0, NULL);
   vec_value at = vec_add(f, vec_mul_i(f, vec_add(f, first, r.i), PAGE_TOKENS), p.i);

   vec_store(f, of_block(e, p.i, r.i, 1), vec_at(f, to, vec_mul_i(f, at, 4)), 4);
   vec_loop_end(f, &p, NULL);
   vec_loop_end(f, &r, NULL);
}

/* Values are rows: v[position][dv]. */
static void keep_values(expand *e, vec_value first, vec_value count, vec_value to)
{
   vec_fn *f = e->t->f;
   vec_loop p = vec_loop_begin(f, vec_i(f, 0), vec_i(f, PAGE_TOKENS), 1, 0, NULL);
   vec_value row = vec_add(f, vec_mul_i(f, p.i, e->k->value), first);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), count, 1, 0, NULL);

   vec_store(f, of_block(e, p.i, c.i, 1), vec_at(f, to, vec_mul_i(f, vec_add(f, row, c.i), 4)), 4);
   vec_loop_end(f, &c, NULL);
   vec_loop_end(f, &p, NULL);
}

/* All panels of the keys' or the values' matrix. */
static void panels(expand *e, uint32_t which, vec_value to)
{
   vec_fn *f = e->t->f;
   int64_t rows = which ? e->k->value : e->k->width - e->k->rotated;
   uint64_t bytes = 0;

   (void)pack_size(which ? e->k->values : e->k->keys, PANEL_ROWS, e->k->rank, &bytes);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, rows), PANEL_ROWS, 0, NULL);
   vec_value number = vec_lshr_i(f, l.i, 4);
   vec_value left = vec_imin(f, vec_sub(f, vec_i(f, rows), l.i), vec_i(f, PANEL_ROWS));

   multiply(e, which, vec_at(f, e->matrices[which], vec_mul_i(f, number, (int64_t)bytes)));
   (which ? keep_values : keep_keys)(e, l.i, left, to);
   vec_loop_end(f, &l, NULL);
}

/* The part of the keys that the rows of the page hold. */
static void rotated_keys(expand *e, vec_value page, vec_value to)
{
   vec_fn *f = e->t->f;
   int64_t size = dtype_infos[e->k->kv].bytes, row = (int64_t)e->k->rank + e->k->rotated;
   int64_t first = (int64_t)e->k->width - e->k->rotated;
   vec_loop p = vec_loop_begin(f, vec_i(f, 0), vec_i(f, PAGE_TOKENS), 1, 0, NULL);
   vec_value from = vec_at_i(f, vec_at(f, page, vec_mul_i(f, p.i, row * size)), e->k->rank * size);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), vec_i(f, e->k->rotated), 1, 0, NULL);
   vec_value v = vec_load_f32(f, e->k->kv, 1, vec_at(f, from, vec_mul_i(f, c.i, size)));
   vec_value at = vec_add(f, vec_mul_i(f, vec_add_i(f, c.i, first), PAGE_TOKENS), p.i);

   vec_store(f, v, vec_at(f, to, vec_mul_i(f, at, 4)), 4);
   vec_loop_end(f, &c, NULL);
   vec_loop_end(f, &p, NULL);
}

/* Pages of a chunk up to the last position of the run. */
static void expand_chunk(expand *e, vec_value chunk, vec_value last)
{
   vec_fn *f = e->t->f;
   attn *t = e->t;
   int64_t bytes =
      (int64_t)PAGE_TOKENS * (e->k->rank + e->k->rotated) * dtype_infos[e->k->kv].bytes;
   vec_value first = vec_mul_i(f, chunk, PAGES);
   vec_value end = vec_imin(f, vec_add_i(f, first, PAGES),
                            vec_add_i(f, vec_lshr_i(f, last, __builtin_ctz(PAGE_TOKENS)), 1));
   vec_loop p = vec_loop_begin(f, first, end, 1, 0, NULL);
   vec_value page = vec_at(f, t->pages, attn_times(t, attn_load_index(t, t->table, p.i), bytes));
   vec_value to = attn_head_of_page(t, p.i);

   widen(e, page);
   panels(e, 0, to);
   rotated_keys(e, page, to);
   panels(e, 1, vec_at_i(f, to, 4 * (int64_t)PAGE_TOKENS * e->k->width));
   vec_loop_end(f, &p, NULL);
}

/* ---- one run ---- */

/* Rows of the run from number i on become the block. */
static void take_rows(expand *e, vec_value i)
{
   vec_fn *f = e->t->f;
   attn *t = e->t;
   vec_value fold = vec_at(f, e->folds, vec_mul_i(f, i, fold_bytes(e->k)));

   t->first_row = vec_add(f, e->run_first, i);
   t->num_rows = vec_imin(f, vec_sub(f, e->run_rows, i), vec_i(f, ATTN_ROWS));
   t->o = fold;
   t->m = vec_at_i(f, fold, 4 * (int64_t)ATTN_ROWS * t->dv);
   t->l = vec_at_i(f, t->m, 4 * ATTN_ROWS);
}

static vec_loop blocks_begin(expand *e)
{
   vec_loop l = vec_loop_begin(e->t->f, vec_i(e->t->f, 0), e->run_rows, ATTN_ROWS, 0, NULL);

   take_rows(e, l.i);
   return l;
}

static void fold_blocks(expand *e, vec_value chunk)
{
   vec_fn *f = e->t->f;
   vec_loop l = blocks_begin(e);

   attn_find_rows(e->t);
   vec_if sees = vec_if_begin(f, vec_icmp(f, VEC_ge, attn_chunk_of(e->t, e->t->high), chunk));
   e->t->chunk = chunk;
   attn_load_queries(e->t);
   attn_fold_chunk(e->t);
   vec_if_end(f, &sees);
   vec_loop_end(f, &l, NULL);
}

static void run(expand *e, vec_value number, vec_value runs, vec_value tables, vec_value folds)
{
   vec_fn *f = e->t->f;
   attn *t = e->t;
   vec_value pair = vec_mul_i(f, number, 2);

   e->run_first = attn_load_index(t, runs, pair);
   e->run_rows = attn_load_index(t, runs, vec_add_i(f, pair, 1));
   e->folds = vec_at(f, folds,
                     vec_mul_i(f, vec_add(f, e->run_first, vec_mul_i(f, number, ATTN_ROWS - 1)),
                               fold_bytes(e->k)));
   t->first_row = e->run_first;
   attn_find_sequence(t, tables);
   vec_value last =
      attn_load_index(t, t->positions, vec_add_i(f, vec_add(f, e->run_first, e->run_rows), -1));
   vec_loop clear = blocks_begin(e);
   attn_clear_fold(t);
   vec_loop_end(f, &clear, NULL);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), vec_add_i(f, attn_chunk_of(t, last), 1), 1, 0, NULL);
   expand_chunk(e, c.i, last);
   fold_blocks(e, c.i);
   vec_loop_end(f, &c, NULL);
   vec_loop write = blocks_begin(e);
   attn_finish(t);
   vec_loop_end(f, &write, NULL);
}

/* ---- the kernel ---- */

static void take_stack(expand *e)
{
   vec_fn *f = e->t->f;
   attn *t = e->t;
   vec_value *small[] = {&t->last, &t->first, &t->mc, &t->lc, &t->a, &t->b};

   for (size_t i = 0; i < countof(small); i++)
      *small[i] = vec_stack(f, MAX_BLOCK * 4, 64);
   t->q = vec_stack(f, (uint64_t)(t->block * t->d) * 4, 64);
   t->s = vec_stack(f, (uint64_t)t->block * ATTN_CHUNK * 4, 64);
   t->top = vec_stack(f, (uint64_t)t->block * t->lanes * 4, 64);
   e->out = vec_stack(f, 4 * PAGE_TOKENS * PANEL_ROWS, 64);
   e->numbers = vec_stack(f, 8 * PAGE_TOKENS, 64);
   for (int64_t i = 0; i < PAGE_TOKENS; i++)
      vec_store(f, vec_i(f, i), vec_at_i(f, e->numbers, 8 * i), 8);
}

void attn_emit_expanded(attn *t, vec_module *m)
{
   vec_fn *f = t->f;
   const attention_key *k = t->k;
   expand e = {.t = t, .k = k, .inner = {.kv = DT_f32, .y = k->y, .q = k->q, .scale = k->scale}};
   uint64_t head[2] = {0, 0};
   vec_value tile = vec_tile(f), scratch = vec_karg_ptr(f, 10), zero = vec_i(f, 0);

   e.inner.heads = e.inner.groups = k->heads;
   t->k = &e.inner;
   t->per_kv = 1;
   t->block = ATTN_ROWS;
   t->num_blocks = 1;
   t->kv_bytes = 4;
   t->split = (int64_t)k->width - k->rotated;
   t->group = tile;
   t->first_row_head = zero;
   t->y = vec_karg_ptr(f, 0);
   t->queries = vec_karg_ptr(f, 1);
   t->rotated = vec_karg_ptr(f, 2);
   t->pages = vec_karg_ptr(f, 3);
   t->positions = vec_karg_ptr(f, 7);
   t->seq_of = vec_karg_ptr(f, 8);
   t->expanded = vec_at(f, scratch, attn_times(t, tile, slot_bytes(k)));
   e.latents = vec_at_i(f, t->expanded, 4 * PAGES * page_floats(k));
   for (uint32_t i = 0; i < 2; i++) {
      panel_layout w = i ? k->values : k->keys;
      (void)pack_size(w, i ? k->value : k->width - k->rotated, k->rank, &head[i]);
      e.matrices[i] = vec_at(f, vec_karg_ptr(f, 4 + i), attn_times(t, tile, (int64_t)head[i]));
      dot_emit(m, w, DOT_float, DOT_ROWS, e.dots[i]);
   }
   take_stack(&e);
   vec_value rows = vec_add(f, vec_sym(f, SYM_T), vec_mul_i(f, vec_sym(f, SYM_Q), ATTN_ROWS - 1));
   vec_value folds = vec_at_i(f, scratch, (int64_t)k->heads * slot_bytes(k));
   folds = vec_at(f, folds, vec_mul(f, tile, vec_mul_i(f, rows, fold_bytes(k))));
   vec_loop r = vec_loop_begin(f, zero, vec_sym(f, SYM_Q), 1, 0, NULL);
   run(&e, r.i, vec_karg_ptr(f, 6), vec_karg_ptr(f, 9), folds);
   vec_loop_end(f, &r, NULL);
}
