/* slots.c - permutation of slots by expert, the sum over a token's slots, ids from a table,
 * replicas of experts. */
#include "moe.h"

void slots_emit(vec_module *m, const slots_kernel *k)
{
   if (vec_module_has(m, k->symbol))
      return;
   vec_fn *f = vec_kernel(m, k->symbol);
   k->body(f);
   vec_end(f);
}

/* ---- permute ---- */

typedef struct permute {
   vec_fn *f;
   vec_value order, offsets, ids, slots, experts;
} permute;

void permute_launch(gemm_rows slots, uint64_t experts, plan_launch *out)
{
   out->consts[P_PER_SYM] = slots.is_sym ? MAX(slots.num, 1) : 0;
   out->consts[P_SYM] = slots.is_sym ? (int64_t)slots.sym : 0;
   out->consts[P_SLOTS] = slots.is_sym ? 0 : slots.num;
   out->consts[P_EXPERTS] = (int64_t)experts;
   out->num_consts = PERMUTE_CONSTS;
   out->num_refs = 3;
   out->tiles = (plan_extent){.k = 1};
   out->bytes = (plan_extent){.k = (int64_t)(4 * experts)};
   out->flops = out->bytes;
}

static vec_value at_index(permute *p, vec_value base, vec_value i)
{
   return vec_at(p->f, base, vec_shl_i(p->f, i, 2));
}

/* Expert of slot i; E for one without. */
static vec_value expert_of(permute *p, vec_value i)
{
   vec_fn *f = p->f;
   vec_value id = vec_sext(f, vec_load(f, VEC_i32, 1, at_index(p, p->ids, i), 4), VEC_i64);
   vec_value here =
      vec_and(f, vec_icmp(f, VEC_ge, id, vec_i(f, 0)), vec_icmp(f, VEC_lt, id, p->experts));

   return vec_select(f, here, id, p->experts);
}

static vec_value add_to(permute *p, vec_value expert, int64_t by)
{
   vec_fn *f = p->f;
   vec_value at = at_index(p, p->offsets, expert);
   vec_value n = vec_add_i(f, vec_load(f, VEC_i32, 1, at, 4), by);

   vec_store(f, n, at, 4);
   return n;
}

/* offsets[e] = slots of experts 0 .. e, those without an expert last. */
static void count(permute *p)
{
   vec_fn *f = p->f;
   vec_value zero = vec_int(f, VEC_i32, 1, 0), end = vec_add_i(f, p->experts, 1);
   vec_loop clear = vec_loop_begin(f, vec_i(f, 0), end, 1, 0, NULL);

   vec_store(f, zero, at_index(p, p->offsets, clear.i), 4);
   vec_loop_end(f, &clear, NULL);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), p->slots, 1, 0, NULL);
   (void)add_to(p, expert_of(p, l.i), 1);
   vec_loop_end(f, &l, NULL);
   vec_loop sum = vec_loop_begin(f, vec_i(f, 0), end, 1, 1, &zero);
   vec_value at = at_index(p, p->offsets, sum.i);
   vec_value n = vec_add(f, sum.var[0], vec_load(f, VEC_i32, 1, at, 4));
   vec_store(f, n, at, 4);
   vec_loop_end(f, &sum, &n);
}

/* From the last slot to the first, each goes to the end of its expert's room, which shrinks to its
 * start. */
static void place(permute *p)
{
   vec_fn *f = p->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), p->slots, 1, 0, NULL);
   vec_value slot = vec_sub(f, vec_add_i(f, p->slots, -1), l.i);
   vec_value to = vec_sext(f, add_to(p, expert_of(p, slot), -1), VEC_i64);

   vec_store(f, vec_trunc(f, slot, VEC_i32), at_index(p, p->order, to), 4);
   vec_loop_end(f, &l, NULL);
}

void permute_slots(vec_fn *f, vec_value order, vec_value offsets, vec_value ids, vec_value slots,
                   vec_value experts)
{
   permute p = {f, order, offsets, ids, slots, experts};

   count(&p);
   place(&p);
}

static void emit_permute(vec_fn *f)
{
   vec_value rows = vec_sym_at(f, vec_karg_const(f, P_SYM));
   vec_value slots =
      vec_add(f, vec_mul(f, vec_karg_const(f, P_PER_SYM), rows), vec_karg_const(f, P_SLOTS));
   permute_slots(f, vec_karg_ptr(f, 0), vec_karg_ptr(f, 1), vec_karg_ptr(f, 2), slots,
                 vec_karg_const(f, P_EXPERTS));
}

const slots_kernel slots_permute = {"permute", emit_permute};

/* ---- lookup ---- */

void lookup_launch(gemm_rows rows, uint64_t k, plan_launch *out)
{
   out->consts[0] = (int64_t)k;
   out->num_consts = 1;
   out->num_refs = 3;
   out->tiles = (plan_extent){.k = rows.is_sym ? MAX(rows.num, 1) : rows.num};
   if (rows.is_sym) {
      out->tiles.num_factors = 1;
      out->tiles.factor[0].sym = rows.sym;
      out->tiles.factor[0].div = 1;
   }
   out->bytes = out->flops = out->tiles;
   out->bytes.k *= (int64_t)(8 * k);
}

static void emit_lookup(vec_fn *f)
{
   vec_value k = vec_karg_const(f, 0), row = vec_tile(f), bytes = vec_shl_i(f, k, 2);
   vec_value at = vec_at(f, vec_karg_ptr(f, 2), vec_shl_i(f, row, 2));
   vec_value id = vec_sext(f, vec_load(f, VEC_i32, 1, at, 4), VEC_i64);
   vec_value from = vec_at(f, vec_karg_ptr(f, 1), vec_mul(f, id, bytes));
   vec_value to = vec_at(f, vec_karg_ptr(f, 0), vec_mul(f, row, bytes));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), bytes, 4, 0, NULL);
   vec_store(f, vec_load(f, VEC_i32, 1, vec_at(f, from, l.i), 4), vec_at(f, to, l.i), 4);
   vec_loop_end(f, &l, NULL);
}

const slots_kernel slots_lookup = {"lookup", emit_lookup};

/* ---- replicas ---- */

void remap_launch(gemm_rows rows, uint64_t k, uint64_t experts, uint64_t most, plan_launch *out)
{
   lookup_launch(rows, k, out);
   out->consts[REMAP_K] = (int64_t)k;
   out->consts[REMAP_EXPERTS] = (int64_t)experts;
   out->consts[REMAP_MOST] = (int64_t)most;
   out->num_consts = REMAP_CONSTS;
   out->num_refs = 4;
}

static vec_value id_at(vec_fn *f, vec_value base, vec_value i)
{
   return vec_sext(f, vec_load(f, VEC_i32, 1, vec_at(f, base, vec_shl_i(f, i, 2)), 4), VEC_i64);
}

/* Entries of a table's row before the first negative one. */
static vec_value count_places(vec_fn *f, vec_value places, vec_value most)
{
   vec_value start[] = {vec_i(f, 0), vec_i(f, 1)}, next[2]; /* how many, and whether they go on */
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), most, 1, 2, start);
   vec_value here = vec_icmp(f, VEC_ge, id_at(f, places, l.i), vec_i(f, 0));

   next[1] = vec_select(f, here, l.var[1], vec_i(f, 0));
   next[0] = vec_add(f, l.var[0], next[1]);
   vec_loop_end(f, &l, next);
   return l.var[0];
}

/* The place of one expert for a token with that hash. */
static vec_value place_of(vec_fn *f, vec_value table, vec_value id, vec_value hash)
{
   vec_value zero = vec_i(f, 0), most = vec_karg_const(f, REMAP_MOST);
   vec_value here = vec_and(f, vec_icmp(f, VEC_ge, id, zero),
                            vec_icmp(f, VEC_lt, id, vec_karg_const(f, REMAP_EXPERTS)));
   vec_value row = vec_mul(f, vec_select(f, here, id, zero), most);
   vec_value places = vec_at(f, table, vec_shl_i(f, row, 2)), n = count_places(f, places, most);
   vec_value some = vec_and(f, here, vec_icmp(f, VEC_gt, n, zero));
   vec_value place = id_at(f, places, vec_rem(f, hash, vec_select(f, some, n, vec_i(f, 1))));

   return vec_select(f, some, place, vec_i(f, -1));
}

static void emit_remap(vec_fn *f)
{
   vec_value k = vec_karg_const(f, REMAP_K), row = vec_tile(f), first = vec_mul(f, row, k);
   vec_value hash = vec_mul_i(f, id_at(f, vec_karg_ptr(f, 3), row), INT64_C(2654435769));
   hash = vec_and_i(f, hash, INT64_C(0xffffffff));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), k, 1, 0, NULL);
   vec_value i = vec_add(f, first, l.i), id = id_at(f, vec_karg_ptr(f, 1), i);
   vec_value place = place_of(f, vec_karg_ptr(f, 2), id, hash);
   vec_store(f, vec_trunc(f, place, VEC_i32), vec_at(f, vec_karg_ptr(f, 0), vec_shl_i(f, i, 2)), 4);
   vec_loop_end(f, &l, NULL);
}

const slots_kernel slots_remap = {"remap", emit_remap};

/* ---- combine ---- */

void combine_launch(gemm_rows rows, uint64_t k, uint64_t width, uint32_t addends, plan_launch *out)
{
   out->consts[M_K] = (int64_t)k;
   out->consts[M_WIDTH] = (int64_t)width;
   out->num_consts = COMBINE_CONSTS;
   out->num_refs = 3 + addends;
   out->tiles = (plan_extent){.k = rows.is_sym ? 1 : rows.num};
   if (rows.is_sym) {
      out->tiles.num_factors = 1;
      out->tiles.factor[0].sym = rows.sym;
      out->tiles.factor[0].div = 1;
   }
   out->bytes = out->flops = out->tiles;
   out->bytes.k *= (int64_t)(4 * (k + 1 + addends) * width);
   out->flops.k *= (int64_t)(2 * k * width);
}

static vec_value load_some(vec_fn *f, vec_value at, vec_value left)
{
   uint32_t lanes = vec_lanes(f);

   return left ? vec_load_first(f, lanes, at, left) : vec_load(f, VEC_f32, lanes, at, 4);
}

/* Elements i .. i + lanes of the token's sum; left: how many exist. */
static void combine_part(vec_fn *f, const vec_value *row, uint32_t addends, vec_value width,
                         vec_value k, vec_value i, vec_value left)
{
   uint32_t lanes = vec_lanes(f);
   vec_value sum = vec_float(f, lanes, 0), at = vec_shl_i(f, i, 2);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), k, 1, 1, &sum);
   vec_value w = vec_load(f, VEC_f32, 1, vec_at(f, row[2], vec_shl_i(f, l.i, 2)), 4);
   vec_value x = vec_at(f, row[1], vec_add(f, vec_shl_i(f, vec_mul(f, l.i, width), 2), at));

   sum = vec_fma(f, vec_splat(f, w, lanes), load_some(f, x, left), l.var[0]);
   vec_loop_end(f, &l, &sum);
   sum = l.var[0];
   for (uint32_t a = 0; a < addends; a++)
      sum = vec_fadd(f, sum, load_some(f, vec_at(f, row[3 + a], at), left));
   if (left)
      vec_store_first(f, sum, vec_at(f, row[0], at), left);
   else
      vec_store(f, sum, vec_at(f, row[0], at), 4);
}

static void emit_sum(vec_fn *f, uint32_t addends)
{
   uint32_t lanes = vec_lanes(f);
   vec_value k = vec_karg_const(f, M_K), width = vec_karg_const(f, M_WIDTH);
   vec_value t = vec_tile(f), bytes = vec_shl_i(f, width, 2), row[3 + COMBINE_ADDENDS];
   row[0] = vec_at(f, vec_karg_ptr(f, 0), vec_mul(f, t, bytes));
   row[1] = vec_at(f, vec_karg_ptr(f, 1), vec_mul(f, vec_mul(f, t, k), bytes));
   row[2] = vec_at(f, vec_karg_ptr(f, 2), vec_shl_i(f, vec_mul(f, t, k), 2));
   for (uint32_t a = 0; a < addends; a++)
      row[3 + a] = vec_at(f, vec_karg_ptr(f, 3 + a), vec_mul(f, t, bytes));
   vec_value whole = vec_and_i(f, width, -(int64_t)lanes);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), whole, lanes, 0, NULL);
   combine_part(f, row, addends, width, k, l.i, NULL);
   vec_loop_end(f, &l, NULL);
   vec_value left = vec_sub(f, width, whole);
   vec_if rest = vec_if_begin(f, vec_icmp(f, VEC_gt, left, vec_i(f, 0)));
   combine_part(f, row, addends, width, k, whole, left);
   vec_if_end(f, &rest);
}

static void emit_combine(vec_fn *f)
{
   emit_sum(f, 0);
}

static void emit_combine_1(vec_fn *f)
{
   emit_sum(f, 1);
}

static void emit_combine_2(vec_fn *f)
{
   emit_sum(f, 2);
}

const slots_kernel slots_combine[COMBINE_ADDENDS + 1] = {
   {"combine", emit_combine}, {"combine_1", emit_combine_1}, {"combine_2", emit_combine_2}};
