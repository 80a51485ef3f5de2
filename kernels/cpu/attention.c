/* attention.c - keys, launches and the forms: whole and row, part, merge. */
#include "attention_impl.h"

#include "base/pack.h"
#include "quant.h"

#include <stdio.h>

enum { STACK_FLOATS = 14 << 10 }; /* queries, scores and sums of a latent block */

/* ---- blocking ---- */

/* Row-heads of one block: as many as registers hold, evenly spread; in the row form of one row. */
static uint32_t block_of(const attention_key *k, uint32_t lanes)
{
   uint32_t most = lanes == 16 ? MAX_BLOCK : 6, per_kv = k->heads / k->groups;

   if (k->latent) /* keys are long: queries and sums of more leave the stack */
      most = MIN(lanes == 16 ? 8 : 4, STACK_FLOATS / (k->width + k->value + ATTN_CHUNK));

   uint32_t n = k->form == ATTENTION_row ? per_kv : per_kv * ATTN_ROWS;
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
   return (uint64_t)block_of(k, lanes) * (k->value + 2) * sizeof(float);
}

uint64_t attention_scratch(const attention_key *key, uint32_t lanes, int64_t max_tiles)
{
   return entry_bytes(key, lanes) * num_blocks(key, lanes) * key->groups * (uint64_t)max_tiles;
}

/* Parts are floats in scratch memory, whatever becomes of the result. */
static bool writes_codes(const attention_key *k)
{
   return k->quant && k->form != ATTENTION_part;
}

void attention_symbol(const attention_key *k, char out[ATTENTION_SYMBOL_MAX])
{
   static const char *const forms[] = {"whole", "row", "part", "merge"};

   if (k->form >= ATTENTION_expanded) {
      snprintf(out, ATTENTION_SYMBOL_MAX, "attention_%s_%s_%s_%s_h%u_d%u_v%u_r%u_%s_%s_s%a",
               k->form == ATTENTION_expanded_merge ? "expanded_merge"
               : k->bytes                          ? "expanded_f8"
                                                   : "expanded",
               dtype_infos[k->q].name, dtype_infos[k->kv].name, dtype_infos[k->y].name, k->heads,
               k->width, k->value, k->rank, panel_infos[k->keys].name, panel_infos[k->values].name,
               k->scale);
      return;
   }
   snprintf(out, ATTENTION_SYMBOL_MAX,
            "attention_%s%s%s%s%s_%s_%s_%s_h%u_g%u_d%u_v%u_w%lld_s%a_c%a",
            k->bytes     ? "f8mma_"
            : k->columns ? "mma_"
                         : "",
            writes_codes(k) ? "quant_" : "", k->sinks ? "sinks_" : "", k->latent ? "latent_" : "",
            forms[k->form], dtype_infos[k->q].name, dtype_infos[k->kv].name, dtype_infos[k->y].name,
            k->heads, k->groups, k->width, k->value, (long long)k->window, k->scale, k->cap);
}

/* A tile a head, through which the step's runs pass one by one. Counted as one sequence whose rows
 * see half of the chunks. */
static void expanded_launch(const attention_key *k, plan_launch *out)
{
   int64_t heads = k->heads;
   int64_t latent = (int64_t)(k->rank + k->rotated) * dtype_infos[k->kv].bytes;
   plan_extent chunks = {.k = ATTN_CHUNK * latent, .num_factors = 1, .factor = {{SYM_C, 1}}};
   plan_extent rows = {.k = ATTN_CHUNK * heads * (k->width + k->value),
                       .num_factors = 2,
                       .factor = {{SYM_T, 1}, {SYM_C, 1}}};

   out->tiles = (plan_extent){.k = heads};
   out->num_refs = ATTENTION_EXPANDED_REFS;
   out->bytes = chunks;
   out->flops = rows;
}

/* A window reaches these chunks, whatever the context. */
static void bound_chunks(const attention_key *k, plan_extent *e)
{
   for (uint32_t i = 0; k->window && i < e->num_factors; i++)
      if (e->factor[i].sym == SYM_C)
         e->most[i] = (uint32_t)MIN((k->window + ATTN_CHUNK - 1) / ATTN_CHUNK, UINT32_MAX);
}

void attention_launch(const attention_key *k, uint32_t lanes, plan_launch *out)
{
   if (k->form >= ATTENTION_expanded) {
      expanded_launch(k, out);
      return;
   }
   int64_t n = (int64_t)k->groups * num_blocks(k, lanes), both = k->width + k->value;
   int64_t kept = k->latent ? k->width : both;
   int64_t kv = (int64_t)ATTN_CHUNK * kept * k->groups * dtype_infos[k->kv].bytes;
   int64_t work = (int64_t)2 * ATTN_CHUNK * k->heads * both;
   plan_extent per_tile = {.k = n, .num_factors = 1, .factor = {{SYM_A, 1}}};
   plan_extent per_part = {.k = n, .num_factors = 2, .factor = {{SYM_A, 1}, {SYM_C, 1}}};
   plan_extent per_row = {.k = work, .num_factors = 2, .factor = {{SYM_T, 1}, {SYM_C, 1}}};

   out->tiles = k->form == ATTENTION_part ? per_part : per_tile;
   out->num_refs = (k->form == ATTENTION_merge ? 4
                    : k->latent                ? 8
                                               : 7) +
                   k->sinks + writes_codes(k);
   out->flops = per_row;
   out->bytes = per_part;
   switch (k->form) {
   case ATTENTION_expanded:
   case ATTENTION_expanded_merge: break;
   case ATTENTION_row:
   case ATTENTION_whole: /* a prompt: half of the chunks are behind a row; tiles share what they
                            read */
      out->flops.k = work / 2;
      out->bytes = (plan_extent){.k = kv, .num_factors = 1, .factor = {{SYM_C, 1}}};
      break;
   case ATTENTION_part: out->bytes.k = kv; break;
   case ATTENTION_merge:
      out->flops.k = (int64_t)2 * k->heads * k->value;
      out->bytes.k = (int64_t)entry_bytes(k, lanes) * n;
      break;
   }
   bound_chunks(k, &out->bytes);
   bound_chunks(k, &out->flops);
}

/* ---- folding ---- */

static void zero_output(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_store(t->f, vec_float(t->f, lanes, 0),
             vec_at(t->f, t->o, attn_times(t, vec_add(t->f, attn_times(t, r, t->dv), col), 4)), 4);
}

void attn_clear_fold(attn *t)
{
   vec_loop l = attn_rows_begin(t);
   vec_value head, row, m = attn_infinity(t, 1);

   if (t->k->sinks) {
      attn_row_head(t, l.i, &head, &row);
      m = attn_get(t, t->sinks, head);
   }
   attn_put(t, t->m, l.i, m);
   attn_put(t, t->l, l.i, vec_float(t->f, 1, t->k->sinks));
   attn_columns(t, l.i, t->dv, zero_output);
   vec_loop_end(t->f, &l, NULL);
}

/* a, b, and the new m and l of row r, from mc and lc. */
static void fold_scalars(attn *t, vec_value r)
{
   vec_fn *f = t->f;
   vec_value m = attn_get(t, t->m, r), mc = attn_get(t, t->mc, r);
   vec_value top = vec_fmax(f, m, mc), shift = attn_or_zero(t, top);
   vec_value a = vec_exp(f, vec_fsub(f, m, shift)), b = vec_exp(f, vec_fsub(f, mc, shift));
   vec_value lc = vec_fmul(f, attn_get(t, t->lc, r), b);

   attn_put(t, t->m, r, top);
   attn_put(t, t->l, r, vec_fma(f, attn_get(t, t->l, r), a, lc));
   attn_put(t, t->a, r, a);
   attn_put(t, t->b, r, b);
}

static void fold_column(attn *t, vec_value r, vec_value col, vec_value oc)
{
   vec_fn *f = t->f;
   uint32_t lanes = vec_width(oc);
   vec_value at = vec_at(f, t->o, attn_times(t, vec_add(f, attn_times(t, r, t->dv), col), 4));
   vec_value a = vec_splat(f, attn_get(t, t->a, r), lanes),
             b = vec_splat(f, attn_get(t, t->b, r), lanes);
   vec_value o = vec_load(f, VEC_f32, lanes, at, 4);

   vec_store(f, vec_fma(f, o, a, vec_fmul(f, oc, b)), at, 4);
}

static void fold_sink(attn *t, uint32_t r, vec_value col, vec_value oc)
{
   fold_column(t, vec_i(t->f, r), col, oc);
}

static vec_value result_at(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_fn *f = t->f;
   vec_value o =
      vec_load(f, VEC_f32, lanes,
               vec_at(f, t->o, attn_times(t, vec_add(f, attn_times(t, r, t->dv), col), 4)), 4);

   return vec_fdiv(f, o, vec_splat(f, attn_get(t, t->l, r), lanes));
}

static void finish_column(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_fn *f = t->f;
   vec_value v = result_at(t, r, col, lanes);
   vec_value to = attn_row_address(t, t->y, t->dv, t->k->y, r);

   vec_store_f32(f, t->k->y, v, vec_at(f, to, attn_times(t, col, dtype_infos[t->k->y].bytes)));
}

/* The groups of one row-head. */
static void finish_codes(attn *t, vec_value r, vec_value head, vec_value row)
{
   vec_fn *f = t->f;
   int64_t groups = t->dv / QUANT_GROUP, all = groups * t->k->heads;
   vec_value at = vec_add(f, row, t->first_row), v[QUANT_GROUP];
   vec_value codes = vec_at(f, t->y, attn_times(t, at, all * QUANT_GROUP));
   uint64_t stride = pack_scales_stride((uint64_t)all * QUANT_GROUP, QUANT_GROUP);
   vec_value scales = vec_at(f, t->scales, attn_times(t, at, (int64_t)stride));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, groups), 1, 0, NULL);

   for (uint32_t k = 0; k < QUANT_GROUP / t->lanes; k++)
      v[k] = result_at(t, r, vec_add_i(f, attn_times(t, l.i, QUANT_GROUP), k * t->lanes), t->lanes);
   quant_place to =
      quant_place_of(f, codes, scales, vec_i(f, all), vec_add(f, attn_times(t, head, groups), l.i));
   quant_emit_group(f, v, &to);
   vec_loop_end(f, &l, NULL);
}

void attn_finish(attn *t)
{
   vec_fn *f = t->f;
   vec_loop l = attn_rows_begin(t);
   vec_value head, row;

   attn_row_head(t, l.i, &head, &row);
   vec_if real = vec_if_begin(f, vec_icmp(f, VEC_lt, row, t->num_rows));
   if (t->k->quant)
      finish_codes(t, l.i, head, row);
   else
      attn_columns(t, l.i, t->dv, finish_column);
   vec_if_end(f, &real);
   vec_loop_end(f, &l, NULL);
}

/* ---- scratch ---- */

/* The entry of a chunk: mc[block], lc[block], o[block][d]. */
static vec_value entry(attn *t, vec_value number, vec_value chunk)
{
   vec_value i = vec_add(t->f, vec_mul(t->f, number, vec_sym(t->f, SYM_C)), chunk);

   return vec_at(t->f, t->scratch, attn_times(t, i, (int64_t)t->entry_bytes));
}

static void part_sink(attn *t, uint32_t r, vec_value col, vec_value oc)
{
   vec_value i = vec_add_i(t->f, col, 2 * (int64_t)t->block + (int64_t)r * t->dv);

   vec_store(t->f, oc, vec_at(t->f, t->scratch, attn_times(t, i, 4)), 4);
}

static void merge_column(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   vec_value i =
      vec_add_i(t->f, vec_add(t->f, col, attn_times(t, r, t->dv)), 2 * (int64_t)t->block);

   fold_column(t, r, col,
               vec_load(t->f, VEC_f32, lanes, vec_at(t->f, t->pages, attn_times(t, i, 4)), 4));
}

/* ---- kernels ---- */

static void scores(attn *t)
{
   if (t->k->latent)
      attn_scores_latent(t);
   else
      attn_scores(t);
}

/* Rows follow each other, then heads: what rows share, of one prompt or of one prefix, is still in
 * the cache when the next one reads it. */
static void find_tile(attn *t, vec_value tile)
{
   vec_fn *f = t->f;
   vec_value rest = vec_div(f, tile, vec_i(f, t->num_blocks)), row_tiles = vec_sym(f, SYM_A);
   vec_value at;

   t->number = vec_rem(f, tile, vec_i(f, t->num_blocks));
   t->row_tile = vec_rem(f, rest, row_tiles);
   t->group = vec_div(f, rest, row_tiles);
   t->first_row_head = attn_times(t, t->number, t->block);
   at = attn_times(t, t->row_tile, 2);
   t->first_row = attn_load_index(t, t->tiles, at);
   t->num_rows = attn_load_index(t, t->tiles, vec_add_i(f, at, 1));
}

static void take_stack(attn *t)
{
   vec_fn *f = t->f;
   vec_value *small[] = {&t->last, &t->first, &t->m, &t->l, &t->mc, &t->lc, &t->a, &t->b};

   for (size_t i = 0; i < countof(small); i++)
      *small[i] = vec_stack(f, MAX_BLOCK * 4, 64);
   t->o = vec_stack(f, (uint64_t)t->block * (uint64_t)t->dv * 4, 64);
   if (t->k->form == ATTENTION_merge)
      return;
   t->q = vec_stack(f, (uint64_t)t->block * (uint64_t)t->d * 4, 64);
   t->s = vec_stack(f, (uint64_t)t->block * ATTN_CHUNK * 4, 64);
   t->top = vec_stack(f, (uint64_t)t->block * t->lanes * 4, 64);
}

void attn_find_sequence(attn *t, vec_value tables)
{
   vec_fn *f = t->f;
   vec_value seq = attn_load_index(t, t->seq_of, t->first_row);

   t->table = vec_at(f, tables, attn_times(t, vec_mul(f, seq, vec_sym(f, SYM_B)), 4));
}

vec_value attn_chunk_of(attn *t, vec_value position)
{
   return vec_lshr_i(t->f, position, __builtin_ctz(ATTN_CHUNK));
}

void attn_fold_chunk(attn *t)
{
   attn_pages_of_chunk(t);
   scores(t);
   attn_softmax(t);
   vec_loop r = attn_rows_begin(t);
   fold_scalars(t, r.i);
   vec_loop_end(t->f, &r, NULL);
   attn_weigh_all(t, fold_sink);
}

/* All chunks of the tile's block. */
static void fold_all(attn *t)
{
   vec_fn *f = t->f;

   attn_find_rows(t);
   attn_find_sequence(t, t->table);
   t->ahead = (attn_ahead){.table = t->table,
                           .group = t->group,
                           .pages = vec_i(f, ATTN_CHUNK / PAGE_TOKENS),
                           .high = t->high};
   attn_load_queries(t);
   attn_clear_fold(t);
   vec_loop c = vec_loop_begin(f, attn_chunk_of(t, t->low),
                               vec_add_i(f, attn_chunk_of(t, t->high), 1), 1, 0, NULL);
   t->chunk = c.i;
   attn_fold_chunk(t);
   vec_loop_end(f, &c, NULL);
   attn_finish(t);
}

/* Sequences that decode have tiles of one row, for which most of a block of many would be computed
 * for nobody. Its heads alone are a block then, as in the row form. */
static void by_rows(attn *t, void (*body)(attn *t))
{
   vec_fn *f = t->f;
   attention_key row = *t->k;
   attn one = *t;
   vec_if single;

   row.form = ATTENTION_row;
   one.k = &row;
   one.block = block_of(&row, t->lanes);
   if (one.block == t->block) {
      body(t);
      return;
   }
   single = vec_if_begin(f, vec_icmp(f, VEC_eq, t->num_rows, vec_i(f, 1)));
   one.first_row_head = attn_times(t, t->number, one.block);
   body(&one);
   vec_if_else(f, &single);
   body(t);
   vec_if_end(f, &single);
}

static void emit_whole(attn *t)
{
   find_tile(t, vec_tile(t->f));
   by_rows(t, fold_all);
}

/* The tile that a thread most likely takes next. */
static void find_part_ahead(attn *t, vec_value per_chunk)
{
   vec_fn *f = t->f;
   vec_value all = vec_mul(f, per_chunk, vec_sym(f, SYM_C));
   vec_value tile = vec_imin(f, vec_add_i(f, vec_tile(f), 1), vec_add_i(f, all, -1));
   attn next = *t;

   find_tile(&next, vec_rem(f, tile, per_chunk));
   attn_find_sequence(&next, t->table);
   vec_value last_row = vec_add_i(f, vec_add(f, next.first_row, next.num_rows), -1);
   vec_value chunks = vec_sub(f, vec_div(f, tile, per_chunk), t->chunk);
   t->ahead = (attn_ahead){.table = next.table,
                           .group = next.group,
                           .pages = attn_times(t, chunks, ATTN_CHUNK / PAGE_TOKENS),
                           .high = attn_load_index(t, t->positions, last_row)};
}

/* The chunk, into its entry. */
static void fold_part(attn *t)
{
   vec_fn *f = t->f;

   attn_find_rows(t);
   vec_return_if(f, vec_icmp(f, VEC_lt, t->chunk, attn_chunk_of(t, t->low)));
   vec_return_if(f, vec_icmp(f, VEC_gt, t->chunk, attn_chunk_of(t, t->high)));
   attn_find_sequence(t, t->table);
   attn_load_queries(t);
   attn_pages_of_chunk(t);
   scores(t);
   attn_softmax(t);
   vec_loop r = attn_rows_begin(t);
   attn_put(t, t->scratch, r.i, attn_get(t, t->mc, r.i));
   attn_put(t, t->scratch, vec_add_i(f, r.i, t->block), attn_get(t, t->lc, r.i));
   vec_loop_end(f, &r, NULL);
   attn_weigh_all(t, part_sink);
}

/* All rows and heads pass over a chunk before the next one. */
static void emit_part(attn *t)
{
   vec_fn *f = t->f;
   vec_value per_chunk = attn_times(t, vec_sym(f, SYM_A), (int64_t)t->k->groups * t->num_blocks);
   vec_value number = vec_rem(f, vec_tile(f), per_chunk);

   t->chunk = vec_div(f, vec_tile(f), per_chunk);
   find_tile(t, number);
   find_part_ahead(t, per_chunk);
   t->scratch = entry(t, number, t->chunk);
   by_rows(t, fold_part);
}

static void merge_parts(attn *t)
{
   vec_fn *f = t->f;

   attn_find_rows(t);
   attn_clear_fold(t);
   vec_loop c = vec_loop_begin(f, attn_chunk_of(t, t->low),
                               vec_add_i(f, attn_chunk_of(t, t->high), 1), 1, 0, NULL);
   t->pages = entry(t, vec_tile(f), c.i); /* the entry takes the place of the pages */
   vec_loop r = attn_rows_begin(t);
   attn_put(t, t->mc, r.i, attn_get(t, t->pages, r.i));
   attn_put(t, t->lc, r.i, attn_get(t, t->pages, vec_add_i(f, r.i, t->block)));
   fold_scalars(t, r.i);
   attn_columns(t, r.i, t->dv, merge_column);
   vec_loop_end(f, &r, NULL);
   vec_loop_end(f, &c, NULL);
   attn_finish(t);
}

static void emit_merge(attn *t)
{
   find_tile(t, vec_tile(t->f));
   by_rows(t, merge_parts);
}

void attention_emit(vec_module *m, const attention_key *key)
{
   char symbol[ATTENTION_SYMBOL_MAX];

   attention_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   attn t = {.f = f, .k = key, .lanes = vec_lanes(f), .per_kv = key->heads / key->groups};
   t.block = block_of(key, t.lanes);
   t.num_blocks = num_blocks(key, t.lanes);
   t.entry_bytes = entry_bytes(key, t.lanes);
   t.d = key->width;
   t.dv = key->value;
   t.kv_bytes = dtype_infos[key->kv].bytes;
   t.split = key->latent ? t.dv : t.d;
   if (key->form == ATTENTION_expanded) {
      attn_emit_expanded(&t, m);
      vec_end(f);
      return;
   }
   bool merge = key->form == ATTENTION_merge;
   uint32_t next = 0;
   if (key->form != ATTENTION_part)
      t.y = vec_karg_ptr(f, next++);
   if (writes_codes(key))
      t.scales = vec_karg_ptr(f, next++);
   if (key->form == ATTENTION_part || merge)
      t.scratch = vec_karg_ptr(f, next++);
   if (!merge)
      t.queries = vec_karg_ptr(f, next++);
   if (!merge) {
      if (key->latent)
         t.rotated = vec_karg_ptr(f, next++);
      t.pages = vec_karg_ptr(f, next++);
   }
   if (key->sinks)
      t.sinks = vec_karg_ptr(f, next++);
   t.tiles = vec_karg_ptr(f, next++);
   t.positions = vec_karg_ptr(f, next++);
   if (!merge) {
      t.seq_of = vec_karg_ptr(f, next++);
      t.table = vec_karg_ptr(f, next++);
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
