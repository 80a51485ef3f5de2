/* harness_run.h - launches of a plan over the harness's memory; a part of harness.h. */
#ifndef CONFORM_HARNESS_RUN_H
#define CONFORM_HARNESS_RUN_H

/* The layer whose state has that place. */
static inline int64_t harness_layer(const harness_run *r, const plan_ref *p)
{
   ir_op_foreach (r->h->f, op) {
      const pass_place *at = &r->h->layout.places[op->num_results ? op->results[0]->id : 0];
      if (op->code == IR_OP_state && at->index == p->index && at->index2 == p->index2)
         return ir_attr_i(op, IR_ATTR_layer, 0);
   }
   cr_assert(false, "a launch names no state");
   return 0;
}

static inline void *harness_resolve(harness_run *r, const plan_ref *p)
{
   bool entries = p->kind == PLAN_REF_meta && p->index == IR_META_slots &&
                  r->h->layout.cache_groups[p->index2].ratio;
   void *meta[IR_META_COUNT] = {[IR_META_token_ids] = r->ids,
                                [IR_META_positions] = r->positions,
                                [IR_META_ends] = r->ends,
                                [IR_META_seq_of] = r->seq_of,
                                [IR_META_rows] = r->rows,
                                [IR_META_tiles] = r->tiles,
                                [IR_META_slots] = entries ? r->entries[p->index2] : r->slots,
                                [IR_META_block_table] = r->table,
                                [IR_META_rope] = r->rope_f32[p->index2 & 1],
                                [IR_META_runs] = r->runs,
                                [IR_META_snap_rows] = r->snap_rows,
                                [IR_META_state_from] = r->from,
                                [IR_META_state_to] = r->to,
                                [IR_META_state_snap] = r->snap};

   switch ((plan_ref_kind)p->kind) {
   case PLAN_REF_arena: return r->arena + p->offset;
   case PLAN_REF_weight: return r->h->weights + p->offset;
   case PLAN_REF_state: return r->state[harness_layer(r, p)];
   case PLAN_REF_meta: return meta[p->index];
   case PLAN_REF_scratch: return r->scratch + p->offset;
   case PLAN_REF_output: return r->out[p->index];
   }
   return NULL;
}

static inline void harness_launch(harness_run *r, const plan_launch *l,
                                  const sinter_step_block *step)
{
   const plan *p = &r->h->plan.plan;
   sinter_kargs k = {.step = step, .num_ptrs = l->num_refs};
   const char *symbol = p->kernels[l->kernel].symbol;

   for (uint32_t i = 0; i < l->num_refs; i++)
      k.ptr[i] = harness_resolve(r, &l->refs[i]);
   memcpy(k.konst, l->consts, sizeof k.konst);
   if (r->h->simt) {
      simt_args args = {.k = k, .tiles = plan_extent_eval(&l->tiles, r->sym)};
      r->h->simt->run(r->h->module, symbol, r->h->simt->warp, (uint32_t)args.tiles + 1, &args);
      return;
   }
   sinter_kernel *kernel = conform_find(&r->h->code, symbol);
   for (int64_t tile = plan_extent_eval(&l->tiles, r->sym) - 1; tile >= 0; tile--)
      kernel(&k, (unsigned)tile);
}

/* The bytes of a returned value at this step's rows. */
static inline void harness_output(harness_run *r, const ir_value *v)
{
   const pass_place *p = &r->h->layout.places[v->id];
   int64_t most[SYM_COUNT];

   if (p->kind != PASS_PLACE_output)
      return;
   for (int s = 0; s < SYM_COUNT; s++)
      most[s] = r->h->f->range[s].max;
   uint64_t row = p->size / (uint64_t)ir_dim_eval(v->type.dim[0], most);
   r->out_bytes[p->index] = row * (uint64_t)ir_dim_eval(v->type.dim[0], r->sym);
   r->out[p->index] = harness_block(r, r->out_bytes[p->index], 0);
}

static inline void harness_memory(harness_run *r)
{
   const pass_layout *l = &r->h->layout;
   uint64_t scratch = (uint64_t)plan_extent_eval(&r->h->plan.plan.scratch, r->sym);

   r->arena = harness_block(r, r->h->plan.plan.arena_bytes, 64);
   r->scratch = harness_block(r, scratch, 0);
   ir_op_foreach (r->h->f, op) {
      const pass_place *p = &l->places[op->num_results ? op->results[0]->id : 0];
      const ir_type *t = &op->results[0]->type;
      int64_t n = 1;
      if (op->code != IR_OP_param || p->kind != PASS_PLACE_arena)
         continue;
      for (uint32_t i = 0; i < t->rank; i++)
         n *= ir_dim_eval(t->dim[i], r->sym);
      for (int64_t i = 0; i < n; i++) {
         double v = harness_param(t, ir_attr_s(op, IR_ATTR_name, ""), i);
         dtype_store(t->dtype, r->arena + p->offset + (uint64_t)i * dtype_infos[t->dtype].bytes, &v,
                     1);
      }
   }
   ir_op_foreach (r->h->f, op)
      for (uint32_t i = 0; i < op->num_results; i++)
         harness_output(r, op->results[i]);
}

/* The launches of the step's variant over memory that is there. */
static inline void harness_launch_all(harness_run *r)
{
   const plan *p = &r->h->plan.plan;
   sinter_step_block block = {0};
   const plan_variant *v = NULL;

   memcpy(block.sym, r->sym, sizeof r->sym);
   for (uint32_t i = 0; i < p->num_variants; i++)
      if (strcmp(p->variants[i].name, r->step.variant ? r->step.variant : "decode") == 0)
         v = &p->variants[i];
   cr_assert(v);
   for (uint32_t at = 0, end; at < v->num_launches; at = end) {
      for (end = at; end < v->num_launches && v->launches[end].phase == v->launches[at].phase;)
         end++;
      for (uint32_t i = end; i > at; i--)
         harness_launch(r, &v->launches[i - 1], &block);
   }
}

/* Runs the step on the kernels, where only bits are compared: `want` stays empty, and states keep
 * their stored positions. */
static inline harness_run *harness_bits(harness *h, harness_step step)
{
   harness_run *r = harness_setup(h, step);

   harness_memory(r);
   harness_launch_all(r);
   return r;
}

/* Runs the step on the kernels, then on the interpreter, which takes most of the time. */
static inline harness_run *harness_go(harness *h, harness_step step)
{
   harness_run *r = harness_bits(h, step);
   ir_env env = {r, harness_get_weight, harness_get_rows, harness_get_param, harness_get_state};
   ir_step meta = {.token_ids = r->ids,
                   .positions = r->positions,
                   .ends = r->ends,
                   .seq_of = r->seq_of,
                   .rows = r->rows,
                   .writes = r->writes,
                   .num_rope = 2,
                   .rope = r->rope};

   memcpy(meta.sym, r->sym, sizeof r->sym);
   HARNESS_OK(ir_eval_run(r->a, h->before, IR_EVAL_f64, &meta, &env, r->want, NULL, NULL));
   return r;
}

static inline void harness_end(harness_run *r)
{
   for (uint32_t i = 0; i < r->num_blocks; i++)
      free(r->blocks[i]);
   arena_destroy(r->a);
}

#endif
