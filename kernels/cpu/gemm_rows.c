/* gemm_rows.c - the rows of a chunk against one panel: which dot products are called for how many
 * rows, and what is fetched from memory meanwhile.
 *
 * With many rows a panel is first unpacked, UNPACKED_K columns at a time, where that is cheaper
 * than unpacking for every 4 rows: to f32 for float products, to bytes for codes with high bits,
 * and to bytes that are values where AMX multiplies them, 16 rows at a time; what rows are left of
 * those are dot products. */
#include "gemm_kernel.h"

/* A dot product of `k` columns of `panel` from column `from` of x on. share: bytes of a cell that
 * one of two calls fetches, where they share what lies ahead; else 0. */
typedef struct stretch {
   char (*dots)[GEMM_SYMBOL_MAX];
   const char *most; /* the one for the most rows */
   vec_value panel, from, k, ahead;
   uint32_t share;
} stretch;

static vec_value x_at(gemm_kernel *g, vec_value row)
{
   return vec_at(g->f, g->x, vec_mul(g->f, vec_add(g->f, g->row0, row), g->k[C_X_STRIDE]));
}

/* 1 for every other call. */
static vec_value is_odd(gemm_kernel *g, vec_value row)
{
   return vec_and_i(g->f, vec_lshr_i(g->f, row, g->most_log), 1);
}

/* Arguments of a dot product for the rows from `row` of the chunk on. */
static void fill_dot(gemm_kernel *g, uint32_t weight, const stretch *s, vec_value row,
                     vec_value *args)
{
   vec_fn *f = g->f;

   args[DOT_w] = s->panel;
   args[DOT_x] = g->x;
   args[DOT_s] = weight && g->raised ? g->raised : g->s;
   args[DOT_number] = vec_at(f, g->from, vec_shl_i(f, row, 3));
   args[DOT_out] = vec_at(f, g->block[weight], vec_mul_i(f, row, PANEL_ROWS * 4));
   args[DOT_from] = s->from;
   args[DOT_k] = s->k;
   args[DOT_all] = g->k[C_K];
   args[DOT_x_stride] = g->k[C_X_STRIDE];
   args[DOT_s_stride] = g->k[C_S_STRIDE];
   args[DOT_ahead] = s->ahead;
   if (s->share)
      args[DOT_ahead] = vec_add(f, s->ahead, vec_mul_i(f, is_odd(g, row), s->share));
}

/* One call for 1 << log rows of the chunk from `row` on. */
static void call_dot(gemm_kernel *g, uint32_t weight, const stretch *s, vec_value row, uint32_t log)
{
   vec_value args[DOT_ARGS];

   fill_dot(g, weight, s, row, args);
   vec_call(g->f, log == g->most_log ? s->most : s->dots[log], DOT_ARGS, args);
}

/* All rows of the stretch from `first` on: the most at once, then what is left. */
static void dot_rows(gemm_kernel *g, uint32_t weight, const stretch *s, vec_value first)
{
   vec_fn *f = g->f;
   int64_t most = (int64_t)1 << g->most_log;
   vec_value done = vec_and_i(f, g->called, -most);
   vec_loop l = vec_loop_begin(f, first, done, most, 0, NULL);

   call_dot(g, weight, s, l.i, g->most_log);
   vec_loop_end(f, &l, NULL);
   for (uint32_t log = g->most_log; log-- > 0;) {
      vec_value bit = vec_and_i(f, g->called, 1 << log);
      vec_if some = vec_if_begin(f, vec_icmp(f, VEC_ne, bit, vec_i(f, 0)));
      call_dot(g, weight, s, done, log);
      vec_if_end(f, &some);
      done = vec_add(f, done, bit);
   }
}

/* Where dpbusd makes rows cheap, what is left takes one call: in each further one memory would rest
 * while rows pass over what is in the cache. The chunk's last row stands in for those behind it. */
void gemm_fill_last_call(gemm_kernel *g)
{
   vec_fn *f = g->f;
   vec_value rest = vec_and_i(f, g->rows, ((int64_t)1 << g->most_log) - 1), size = rest;

   g->called = g->rows;
   if (!vec_fn_isa(f)->vnni)
      return;
   for (uint32_t log = 2; log <= g->most_log; log++)
      size = vec_select(f, vec_icmp(f, VEC_gt, rest, vec_i(f, 1 << (log - 1))), vec_i(f, 1 << log),
                        size);
   g->called = vec_add(f, vec_sub(f, g->rows, rest), size);
   vec_value last = vec_at(f, g->from, vec_shl_i(f, vec_add_i(f, g->rows, -1), 3));
   last = vec_load(f, VEC_i64, 1, last, 8);
   vec_loop l = vec_loop_begin(f, g->rows, g->called, 1, 0, NULL);
   vec_store(f, last, vec_at(f, g->from, vec_shl_i(f, l.i, 3)), 8);
   vec_loop_end(f, &l, NULL);
}

/* Also the rows that the last call has too many: what happens to lie there may be numbers that are
 * slow to add to. */
static void clear_block(gemm_kernel *g, uint32_t weight)
{
   vec_fn *f = g->f;
   uint32_t bytes = 4 * vec_lanes(f);
   vec_value end = vec_mul_i(f, g->called, PANEL_ROWS * 4);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), end, bytes, 0, NULL);

   vec_store(f, vec_float(f, vec_lanes(f), 0), vec_at(f, g->block[weight], l.i), 32);
   vec_loop_end(f, &l, NULL);
}

/* Whole blocks of 16 rows, with AMX. */
static void amx_rows(gemm_kernel *g, uint32_t weight, const stretch *s)
{
   vec_fn *f = g->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->in_blocks, PANEL_ROWS, 0, NULL);
   vec_value args[DOT_AMX_ARGS];

   fill_dot(g, weight, s, l.i, args);
   args[DOT_products] = g->products;
   args[DOT_set] = g->set;
   vec_call(f, g->amx_dots[weight], DOT_AMX_ARGS, args);
   vec_loop_end(f, &l, NULL);
}

/* The panel part by part, unpacked where it has to be; every row, or block of rows, passes over a
 * part. */
static void rows_by_parts(gemm_kernel *g, uint32_t weight, vec_value panel)
{
   const panel_info *p = &panel_infos[weight ? g->key->w2 : g->key->w];
   vec_fn *f = g->f;
   bool unpacks = g->unpack[weight][0] != '\0';
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->k[C_K], UNPACKED_K, 1, &panel);
   vec_value left = vec_sub(f, g->k[C_K], l.i);
   uint64_t step = UNPACKED_K / p->block * p->block_bytes;
   vec_value next = vec_at_i(f, l.var[0], (int64_t)step);
   stretch s = {.dots = g->unpacked_dots[weight],
                .most = g->unpacked_dots[weight][g->most_log],
                .panel = unpacks ? g->unpacked : l.var[0],
                .from = l.i,
                .k = vec_imin(f, left, vec_i(f, UNPACKED_K)),
                .ahead = vec_i(f, PANEL_AHEAD)};

   if (unpacks)
      vec_call(f, g->unpack[weight], 3, (vec_value[]){l.var[0], g->unpacked, s.k});
   if (unpacks && g->key->int8 && !g->set) {
      s.ahead = vec_distance(f, g->unpacked, next);
      s.share = dot_fetched(weight ? g->key->w2 : g->key->w, DOT_int8_unpacked);
   }
   if (g->set)
      amx_rows(g, weight, &s);
   else
      dot_rows(g, weight, &s, vec_i(f, 0));
   vec_loop_end(f, &l, &next);
}

/* Rows of a second call pass over a panel that is there already: the next one is fetched then. One
 * call of more than 4 rows reads half as fast as one of few, and half as far ahead. */
static vec_value ahead_of(gemm_kernel *g, uint32_t weight)
{
   vec_fn *f = g->f;
   vec_value again = vec_icmp(f, VEC_gt, g->rows, vec_i(f, (int64_t)1 << g->most_log));
   vec_value slow = vec_icmp(f, VEC_gt, g->rows, vec_i(f, 4));
   vec_value ahead = vec_select(f, slow, vec_i(f, PANEL_AHEAD / 2), vec_i(f, PANEL_AHEAD));

   return vec_select(f, again, g->k[C_PANEL_BYTES + weight], ahead);
}

/* With AMX whole blocks from what is unpacked, and what is left as it is packed: a block of fewer
 * rows costs as much, and more than dot products. */
static void amx_then_dots(gemm_kernel *g, uint32_t weight, vec_value panel, const stretch *direct)
{
   vec_fn *f = g->f;
   vec_if some = vec_if_begin(f, vec_icmp(f, VEC_gt, g->in_blocks, vec_i(f, 0)));

   rows_by_parts(g, weight, panel);
   vec_if_end(f, &some);
   dot_rows(g, weight, direct, g->in_blocks);
}

/* As packed, with one call or with several that share what they fetch. */
static void packed_dots(gemm_kernel *g, uint32_t weight, const stretch *direct)
{
   vec_fn *f = g->f;
   stretch shared = *direct;

   if (!g->half[weight][0]) {
      dot_rows(g, weight, direct, vec_i(f, 0));
      return;
   }
   shared.most = g->half[weight];
   shared.share = dot_fetched(weight ? g->key->w2 : g->key->w, DOT_int8_half);
   vec_value most = vec_i(f, (int64_t)1 << g->most_log);
   vec_if several = vec_if_begin(f, vec_icmp(f, VEC_gt, g->rows, most));
   dot_rows(g, weight, &shared, vec_i(f, 0));
   vec_if_else(f, &several);
   dot_rows(g, weight, direct, vec_i(f, 0));
   vec_if_end(f, &several);
}

/* Unpacked where a second call would unpack anew; a third one, where dpbusd waits for a top. */
static void many_or_few(gemm_kernel *g, uint32_t weight, vec_value panel, const stretch *direct)
{
   vec_fn *f = g->f;
   int64_t calls = weight && g->key->bounds && vec_fn_isa(f)->vnni ? 3 : 2;
   vec_value least = vec_i(f, calls << g->most_log);
   vec_if many = vec_if_begin(f, vec_icmp(f, VEC_ge, g->rows, least));

   rows_by_parts(g, weight, panel);
   vec_if_else(f, &many);
   packed_dots(g, weight, direct);
   vec_if_end(f, &many);
}

/* All rows of the chunk against one panel. */
void gemm_panel_dots(gemm_kernel *g, uint32_t weight, vec_value panel)
{
   vec_fn *f = g->f;
   vec_value zero = vec_i(f, 0);
   stretch direct = {.dots = g->dots[weight],
                     .most = g->dots[weight][g->most_log],
                     .panel = panel,
                     .from = zero,
                     .k = g->k[C_K],
                     .ahead = ahead_of(g, weight)};
   vec_if here;

   if (g->key->parts) {
      vec_call(f, g->parts, 6,
               (vec_value[]){panel, x_at(g, zero), g->block[weight], g->k[C_K], g->k[C_X_STRIDE],
                             g->rows});
      return;
   }
   clear_block(g, weight);
   if (g->has_expert)
      here = vec_if_begin(f, g->has_expert);
   if (g->amx_dots[weight][0])
      amx_then_dots(g, weight, panel, &direct);
   else if (g->unpack[weight][0])
      many_or_few(g, weight, panel, &direct);
   else
      packed_dots(g, weight, &direct);
   if (g->has_expert)
      vec_if_end(f, &here);
}

/* The row of a chunk that has one against a panel of each weight. */
void gemm_two_dots(gemm_kernel *g, const vec_value *panel)
{
   vec_fn *f = g->f;
   vec_value zero = vec_i(f, 0);
   vec_value args[DOT_TWO_ARGS] = {
      [DOT_w] = panel[0],
      [DOT_x] = g->x,
      [DOT_s] = g->s,
      [DOT_out] = g->block[0],
      [DOT_number] = g->from,
      [DOT_from] = zero,
      [DOT_k] = g->k[C_K],
      [DOT_all] = g->k[C_K],
      [DOT_x_stride] = g->k[C_X_STRIDE],
      [DOT_s_stride] = g->k[C_S_STRIDE],
      [DOT_ahead] = vec_i(f, PANEL_AHEAD),
      [DOT_w2] = panel[1],
      [DOT_out2] = g->block[1],
   };
   vec_if here;

   for (uint32_t i = 0; i < 2; i++)
      clear_block(g, i);
   if (g->has_expert)
      here = vec_if_begin(f, g->has_expert);
   vec_call(f, g->two, DOT_TWO_ARGS, args);
   if (g->has_expert)
      vec_if_end(f, &here);
}
