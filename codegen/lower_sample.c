/* lower_sample.c - tokens from the wanted rows of logits, so that the host reads ids instead.
 *
 * On a CPU the product that makes them finds the likeliest (kernels/cpu/gemm_pick.c), or bounds of
 * all (gemm_bound.c). On a GPU launches behind the last kernel draw, too:
 *
 *    logits[R, V] ─ part: chunks of rows ─▶ largest of each ─ pick: rows ─▶ ids[R]     how: meta.def's picks */
#include "gemm_chain.h"

#include "base/draw.h"
#include "kernels/cpu/gemm_impl.h"
#include "simt.h"

static void emit_sample(arena *a, text_buf *out, const char *symbol, const void *what)
{
   (void)a;
   (void)symbol;
   (void)what;
   cg_simt_include(out, "sample.cuh");
}

const cg_simt_kind cg_simt_sample = {emit_sample, NULL};

bool cg_has_logits(const cg_lower *l, uint32_t vocab)
{
   const ir_value *v = l->f->returns.count ? l->f->returns.data[0] : NULL;

   return v && v->type.rank == 2 && v->type.dtype == DT_f32 && v->type.dim[0].coef[SYM_R] == 1 &&
          ir_dim_is_const(v->type.dim[1]) && ir_dim_const(v->type.dim[1]) == vocab;
}

static cg_launch *add(const cg_lower *l, const char *symbol, uint32_t vocab, int64_t tiles,
                      cg_launches *out)
{
   cg_launch *to = vec_push(l->a, &out->list);

   *to = (cg_launch){.kernel = {symbol, "sample", NULL, NULL, &cg_simt_sample}};
   to->launch.num_consts = SAMPLE_CONSTS;
   to->launch.consts[SAMPLE_V] = vocab;
   to->launch.consts[SAMPLE_CHUNKS] = (vocab + SAMPLE_CHUNK - 1) / SAMPLE_CHUNK;
   to->launch.tiles = (plan_extent){.k = tiles, .num_factors = 1, .factor = {{SYM_R, 1}}};
   return to;
}

void cg_lower_picks(const cg_lower *l, uint32_t vocab, cg_launches *out)
{
   const plan_ref logits = {.kind = PLAN_REF_output},
                  parts = {.kind = PLAN_REF_arena, .offset = l->parts_at},
                  ids = {.kind = PLAN_REF_output, .index = l->picks};
   const int64_t chunks = (vocab + SAMPLE_CHUNK - 1) / SAMPLE_CHUNK;
   const uint64_t bytes = (uint64_t)(l->f->range[SYM_R].max * chunks) * 8;

   cg_launch *part = add(l, "sample_part", vocab, chunks, out);
   cg_launch_ref(part, parts, bytes, true);
   cg_launch_ref(part, logits, 0, false);
   cg_launch_ref(part, cg_ref_meta(IR_META_picks, 0), 0, false);
   part->launch.bytes = (plan_extent){.k = 4 * vocab, .num_factors = 1, .factor = {{SYM_R, 1}}};
   cg_launch *pick = add(l, "sample_pick", vocab, 1, out);
   cg_launch_ref(pick, ids, 0, true);
   cg_launch_ref(pick, parts, bytes, false);
   cg_launch_ref(pick, logits, 0, false);
   cg_launch_ref(pick, cg_ref_meta(IR_META_picks, 0), 0, false);
   out->most_parts = MAX(out->most_parts, bytes);
}

/* ---- CPU ---- */

static void emit_pick(arena *a, vec_module *m, const void *what)
{
   (void)a;
   (void)what;
   pick_emit(m);
}

bool cg_chain_makes_logits(const cg_chain *c)
{
   const pass_place *to = cg_place(c->l, c->end);

   return c->l->picks && !c->l->simt && !c->key.grouped && !c->quant &&
          to->kind == PASS_PLACE_output && to->index == 0;
}

static cg_launch *add_kernel(const cg_chain *c, cg_kernel kernel, cg_launches *out)
{
   cg_launch *to = vec_push(c->l->a, &out->list);

   *to = (cg_launch){.kernel = kernel};
   to->launch.group = c->g->id;
   return to;
}

static void emit_raise(arena *a, vec_module *m, const void *what)
{
   (void)a;
   (void)what;
   raise_emit(m);
}

static void emit_settle(arena *a, vec_module *m, const void *what)
{
   (void)a;
   settle_emit(m, ((const gemm_key *)what)->w);
}

static void add_raise(cg_chain *c, const plan_launch *own, plan_ref raised, uint64_t bytes,
                      cg_launches *out)
{
   cg_launch *to = add_kernel(c, (cg_kernel){RAISE_SYMBOL, "pick", emit_raise, NULL, NULL}, out);

   raise_launch(own, &to->launch);
   to->launch.num_refs = 0;
   cg_launch_ref(to, raised, bytes, true);
   for (uint32_t i = 0; i < 2; i++)
      cg_launch_value(c->l, to, c->start->operands[i], false);
}

static void add_settle(cg_chain *c, const plan_launch *own, plan_ref bounds, uint64_t bytes,
                       cg_launches *out)
{
   const cg_lower *l = c->l;
   const plan_ref ids = {.kind = PLAN_REF_output, .index = l->picks};
   char symbol[GEMM_SYMBOL_MAX];

   settle_symbol(c->key.w, symbol);
   cg_launch *to = add_kernel(c,
                              (cg_kernel){arena_strdup(l->a, symbol), "pick", emit_settle,
                                          arena_copy(l->a, &c->key, sizeof c->key), NULL},
                              out);
   settle_launch(own, &to->launch);
   to->launch.num_refs = 0;
   cg_launch_ref(to, ids, 0, true);
   cg_launch_ref(to, bounds, bytes, false);
   for (uint32_t i = 0; i < 3; i++)
      cg_launch_value(l, to, c->start->operands[i], false);
}

sinter_status cg_chain_bounds(cg_chain *c, cg_launches *out)
{
   const cg_lower *l = c->l;
   const plan_weight *top = &l->layout->weights[cg_place(l, c->start->operands[2])->index2 - 1];
   plan_launch own = {0};

   c->key.picks = c->key.bounds = true;
   c->key.w2 = (panel_layout)top->layout;
   SINTER_TRY(cg_chain_plan(c, &own));
   uint64_t bytes = gemm_bound_bytes(&own), raised = (uint64_t)own.consts[C_S_STRIDE];
   const plan_ref bounds = cg_chain_room(c, &bytes, out), scales = cg_chain_room(c, &raised, out);
   add_raise(c, &own, scales, raised, out);
   cg_launch *to = cg_chain_launch(c, GEMM_whole, &own, out);
   cg_launch_value(l, to, c->end, true);
   cg_launch_ref(to, bounds, bytes, true);
   cg_launch_ref(to, cg_ref_meta(IR_META_picks, 0), 0, false);
   for (uint32_t i = 0; i < 2; i++)
      cg_launch_value(l, to, c->start->operands[i], false);
   cg_launch_ref(to, scales, raised, false);
   cg_launch_value(l, to, c->start->operands[2], false);
   cg_launch_ref(to, (plan_ref){.kind = PLAN_REF_weight, .offset = top->offset}, top->size, false);
   add_settle(c, &own, bounds, bytes, out);
   return SINTER_ok;
}

void cg_chain_picks(cg_chain *c, const plan_launch *own, cg_launches *out)
{
   const cg_lower *l = c->l;
   uint64_t bytes = gemm_pick_bytes(own);
   const plan_ref parts_of = cg_chain_room(c, &bytes, out),
                  ids = {.kind = PLAN_REF_output, .index = l->picks};

   c->key.picks = true;
   cg_launch *to = cg_chain_launch(c, GEMM_whole, own, out);
   cg_launch_value(l, to, c->end, true);
   cg_launch_ref(to, parts_of, bytes, true);
   cg_launch_ref(to, cg_ref_meta(IR_META_picks, 0), 0, false);
   cg_chain_inputs(c, c->end, to);
   cg_launch *pick = add_kernel(c, (cg_kernel){PICK_SYMBOL, "pick", emit_pick, NULL, NULL}, out);
   pick_launch(own, &pick->launch);
   pick->launch.num_refs = 0;
   cg_launch_ref(pick, ids, 0, true);
   cg_launch_ref(pick, parts_of, bytes, false);
}
