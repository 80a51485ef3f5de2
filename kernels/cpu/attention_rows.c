/* attention_rows.c - which rows and heads a tile has, what they see, and their queries. */
#include "attention_impl.h"

void attn_row_head(attn *t, vec_value r, vec_value *head, vec_value *row_in_tile)
{
   vec_value rh = vec_add(t->f, t->first_row_head, r), per = vec_i(t->f, t->per_kv);

   *row_in_tile = vec_div(t->f, rh, per);
   *head = vec_add(t->f, attn_times(t, t->group, t->per_kv), vec_rem(t->f, rh, per));
}

vec_value attn_row_address(attn *t, vec_value base, int64_t n, dtype e, vec_value r)
{
   vec_value head, row;

   attn_row_head(t, r, &head, &row);
   row = vec_add(t->f, row, t->first_row);
   vec_value at = vec_add(t->f, attn_times(t, row, t->k->heads), head);
   return vec_at(t->f, base, attn_times(t, at, n * dtype_infos[e].bytes));
}

/* Column col of a matrix of n elements a head, to column first + col of the query. */
static void copy_query(attn *t, vec_value base, int64_t n, int64_t first, vec_value r,
                       vec_value col, uint32_t lanes)
{
   vec_fn *f = t->f;
   vec_value from = attn_row_address(t, base, n, t->k->q, r);
   vec_value v = vec_load_f32(f, t->k->q, lanes,
                              vec_at(f, from, attn_times(t, col, dtype_infos[t->k->q].bytes)));
   vec_value to = vec_add_i(f, vec_add(f, attn_times(t, r, t->d), col), first);

   vec_store(f, v, vec_at(f, t->q, attn_times(t, to, 4)), 4);
}

static void load_query(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   copy_query(t, t->queries, t->split, 0, r, col, lanes);
}

/* The rotated part stands behind the latent one, as in the pages. */
static void load_rotated(attn *t, vec_value r, vec_value col, uint32_t lanes)
{
   copy_query(t, t->rotated, t->d - t->split, t->split, r, col, lanes);
}

void attn_find_rows(attn *t)
{
   vec_fn *f = t->f;
   vec_value low_high[2] = {vec_i(f, INT32_MAX), vec_i(f, -1)}, head, row;
   vec_value rows = attn_times(t, t->num_rows, t->per_kv);

   vec_return_if(f, vec_icmp(f, VEC_ge, t->first_row_head, rows));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, t->block), 1, 2, low_high);
   attn_row_head(t, l.i, &head, &row);
   vec_value real = vec_icmp(f, VEC_lt, row, t->num_rows);
   row = vec_select(f, real, row, vec_i(f, 0));
   vec_value last = attn_load_index(t, t->positions, vec_add(f, row, t->first_row));
   vec_value first = vec_i(f, 0);
   if (t->k->window)
      first = vec_imax(f, first, vec_add_i(f, last, 1 - t->k->window));
   vec_value low = vec_select(f, real, first, vec_i(f, INT32_MAX));
   last = vec_select(f, real, last, vec_i(f, -1));
   vec_store(f, vec_trunc(f, last, VEC_i32), attn_slot(t, t->last, l.i), 4);
   vec_store(f, vec_trunc(f, first, VEC_i32), attn_slot(t, t->first, l.i), 4);
   vec_value next[2] = {vec_imin(f, l.var[0], low), vec_imax(f, l.var[1], last)};
   vec_loop_end(f, &l, next);
   t->low = l.var[0];
   t->high = l.var[1];
}

void attn_load_queries(attn *t)
{
   vec_fn *f = t->f;
   vec_loop l = attn_rows_begin(t);
   vec_value head, row;

   attn_row_head(t, l.i, &head, &row);
   vec_value real = vec_icmp(f, VEC_lt, row, t->num_rows);
   vec_if there = vec_if_begin(f, real);
   attn_columns(t, l.i, t->split, load_query);
   attn_columns(t, l.i, t->d - t->split, load_rotated);
   vec_if_else(f, &there);
   vec_loop z = vec_loop_begin(f, vec_i(f, 0), vec_i(f, t->d), 1, 0, NULL);
   vec_store(f, vec_float(f, 1, 0),
             vec_at(f, t->q, attn_times(t, vec_add(f, attn_times(t, l.i, t->d), z.i), 4)), 4);
   vec_loop_end(f, &z, NULL);
   vec_if_end(f, &there);
   vec_loop_end(f, &l, NULL);
}
