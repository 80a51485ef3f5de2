/* plan_build.c - variants, kernels and tables of a plan.
 *
 *    decode    at most CG_DECODE_ROWS rows, one chunk of context   attention: a tile a row
 *    deep      at most CG_DECODE_ROWS rows                         attention: partials, merge
 *    prefill   all others                             attention: one tile folds all chunks
 *
 * They differ in attention only, where all forms have the same bits; unless prefill has a form of
 * its own (--variant-per-bucket): another function over the same states and weights. */
#include "plan_build.h"

#include "simt.h"

typedef struct build {
   arena *a;
   cg_lower l;
   const cg_form *forms[2]; /* of few rows, of a prompt */
   uint32_t first_group;    /* of the form that is lowered */
   cg_plan *out;
   map kernels; /* symbol → 1 + number */
   VEC(cg_kernel) kernel_list;
   uint64_t scratch, parts;
} build;

static uint32_t kernel_number(build *b, const cg_kernel *k)
{
   uintptr_t found = (uintptr_t)map_get(&b->kernels, k->symbol);

   if (found)
      return (uint32_t)found - 1;
   *vec_push(b->a, &b->kernel_list) = *k;
   (void)map_set(&b->kernels, k->symbol, (void *)(uintptr_t)b->kernel_list.count);
   return (uint32_t)b->kernel_list.count - 1;
}

/* Segments of kernels become segments of launches; first[i] is kernel i's first launch. */
static void add_segments(build *b, const uint32_t *first, plan_variant *v)
{
   const pass_layout *l = b->l.layout;

   v->num_segments = l->num_segments;
   v->segments = arena_array(b->a, plan_segment, l->num_segments + 1);
   for (uint32_t i = 0; i < l->num_segments; i++) {
      const pass_segment *s = &l->segments[i];
      v->segments[i] = (plan_segment){.kind = s->kind,
                                      .first_launch = first[s->first_kernel],
                                      .num_launches = first[s->first_kernel + s->num_kernels] -
                                                      first[s->first_kernel],
                                      .reason = s->reason ? s->reason : ""};
   }
}

/* Tokens are picked behind the last kernel, in a group of their own; on a CPU where logits are
 * made. */
static bool picks_last(const build *b)
{
   return b->l.simt && b->l.picks;
}

/* They belong to the last segment. */
static sinter_status add_picks(build *b, cg_launches *to)
{
   const plan *p = &b->out->plan;
   size_t first = to->list.count;

   cg_lower_picks(&b->l, p->model.vocab, to);
   for (size_t i = first; i < to->list.count; i++) {
      to->list.data[i].launch.group = p->num_groups - 1;
      SINTER_TRY(cg_simt_launch(b->a, p->target, b->l.arch, &to->list.data[i]));
   }
   return SINTER_ok;
}

static sinter_status add_variant(build *b, const char *name, int64_t max_rows, int64_t max_chunks)
{
   const pass_layout *l = b->l.layout;
   cg_launches launches = {.a = b->a};
   uint32_t *first = arena_array(b->a, uint32_t, l->num_kernels + 1);
   const uint32_t *above = cg_conditions(&b->l);
   plan_variant *v = &b->out->plan.variants[b->out->plan.num_variants++];

   b->l.max_rows = max_rows;
   b->l.decode = max_rows <= CG_DECODE_ROWS;
   b->l.one_chunk = max_chunks == 1;
   for (uint32_t i = 0; i < l->num_kernels; i++) {
      first[i] = (uint32_t)launches.list.count;
      launches.parts = 0;
      SINTER_TRY_IN(l->kernels[i]->name, cg_lower_group(&b->l, l->kernels[i], &launches));
      for (size_t k = first[i]; k < launches.list.count; k++) {
         launches.list.data[k].launch.group = b->first_group + i;
         if (above[i])
            cg_set_condition(&launches.list.data[k].launch, above[i]);
         if (b->l.simt)
            SINTER_TRY_IN(l->kernels[i]->name, cg_simt_launch(b->a, b->out->plan.target, b->l.arch,
                                                              &launches.list.data[k]));
      }
   }
   if (picks_last(b))
      SINTER_TRY(add_picks(b, &launches));
   first[l->num_kernels] = (uint32_t)launches.list.count;
   cg_number_phases(&launches);
   *v = (plan_variant){.name = name,
                       .max_rows = max_rows,
                       .max_chunks = max_chunks,
                       .num_launches = (uint32_t)launches.list.count};
   v->launches = arena_array(b->a, plan_launch, launches.list.count + 1);
   for (size_t i = 0; i < launches.list.count; i++) {
      v->launches[i] = launches.list.data[i].launch;
      v->launches[i].kernel = kernel_number(b, &launches.list.data[i].kernel);
   }
   add_segments(b, first, v);
   b->scratch = MAX(b->scratch, launches.scratch);
   b->parts = MAX(b->parts, launches.most_parts);
   return SINTER_ok;
}

static void take_form(build *b, uint32_t which)
{
   b->l.f = b->forms[which]->f;
   b->l.layout = b->forms[which]->layout;
   b->first_group = which ? b->forms[0]->layout->num_kernels : 0;
}

static sinter_status add_variants(build *b)
{
   plan *p = &b->out->plan;
   int64_t most = p->sym_max[SYM_T], few = MIN(most, CG_DECODE_ROWS);

   p->variants = arena_array(b->a, plan_variant, 3);
   take_form(b, 0);
   SINTER_TRY(add_variant(b, "decode", few, 1));
   SINTER_TRY(add_variant(b, "deep", few, 0));
   if (b->forms[1])
      take_form(b, 1);
   if (most > CG_DECODE_ROWS)
      SINTER_TRY(add_variant(b, "prefill", most, 0));
   p->num_kernels = (uint32_t)b->kernel_list.count;
   p->kernels = arena_array(b->a, plan_kernel, p->num_kernels + 1);
   b->out->kernels = b->kernel_list.data;
   for (uint32_t i = 0; i < p->num_kernels; i++)
      p->kernels[i] = (plan_kernel){b->kernel_list.data[i].symbol, b->kernel_list.data[i].family};
   if (b->parts)
      p->arena_bytes = b->l.parts_at + b->parts;
   p->scratch = (plan_extent){.k = (int64_t)b->scratch, .num_factors = 1, .factor = {{SYM_C, 1}}};
   return SINTER_ok;
}

static void add_groups(build *b)
{
   plan *p = &b->out->plan;
   uint32_t most = 2;

   for (uint32_t k = 0; k < 2; k++)
      most += b->forms[k] ? b->forms[k]->layout->num_kernels : 0;
   p->groups = arena_array(b->a, plan_group, most);
   for (uint32_t k = 0; k < 2 && b->forms[k]; k++) {
      const pass_layout *l = b->forms[k]->layout;

      for (uint32_t i = 0; i < l->num_kernels; i++)
         p->groups[p->num_groups++] = (plan_group){l->kernels[i]->name, l->kernels[i]->rule};
   }
   if (picks_last(b))
      p->groups[p->num_groups++] = (plan_group){"picks", ""};
}

/* Experts of the layer whose ids these are: of the permutation, or of the map before it. */
static uint32_t experts_of(const ir_value *ids)
{
   int64_t n = 0;

   for (const ir_use *u = ids->uses; u; u = u->next) {
      if (u->user->code == IR_OP_permute)
         n = ir_attr_i(u->user, IR_ATTR_experts, 0);
      else if (u->user->code == IR_OP_remap)
         n = ir_dim_const(u->user->operands[1]->type.dim[0]);
   }
   return (uint32_t)n;
}

/* Captured ids are the outputs behind the logits. */
static void add_routes(build *b)
{
   const ir_func *f = b->l.f;
   plan *p = &b->out->plan;

   p->routes = arena_array(b->a, plan_routes, f->returns.count + 1);
   for (size_t i = 0; i < f->returns.count; i++) {
      const ir_value *v = f->returns.data[i];
      if (v->def->code == IR_OP_capture)
         p->routes[p->num_routes++] =
            (plan_routes){.layer = (uint32_t)ir_attr_i(v->def, IR_ATTR_layer, 0),
                          .k = (uint32_t)ir_type_row(&v->type),
                          .experts = experts_of(v->def->operands[0])};
   }
}

/* States must lie where both forms look for them. */
static sinter_status check_forms(const pass_layout *x, const pass_layout *y)
{
   if (x->num_cache_groups == y->num_cache_groups &&
       memcmp(x->cache_groups, y->cache_groups, x->num_cache_groups * sizeof *x->cache_groups) == 0)
      return SINTER_ok;
   return base_fail(SINTER_failed, "prefill", "compile without --variant-per-bucket",
                    "the two forms keep different states");
}

/* What both forms share, or the larger of two. */
static void fill_memory(plan *p, const pass_layout *l)
{
   p->arena_bytes = MAX(p->arena_bytes, l->arena_bytes);
   p->weight_bytes = l->weight_bytes;
   p->num_cache_groups = l->num_cache_groups;
   p->cache_groups = l->cache_groups;
   p->num_weights = l->num_weights;
   p->weights = l->weights;
}

sinter_status cg_plan_build(arena *a, const model *m, const cg_form *form, const cg_form *prompts,
                            const char *target, const isa_info *isa, sinter_numerics numerics,
                            cg_plan *out)
{
   build b = {.a = a,
              .l = {.a = a,
                    .f = form->f,
                    .layout = form->layout,
                    .isa = isa,
                    .simt = form->arch != NULL,
                    .arch = form->arch,
                    .matrix = form->arch && form->arch->matrix && numerics == SINTER_NUMERICS_fast},
              .forms = {form, prompts},
              .out = out,
              .kernels.a = a};
   plan *p = &out->plan;

   *out = (cg_plan){0};
   p->model = m->info;
   p->model.exact = numerics == SINTER_NUMERICS_exact;
   p->target = target;
   for (int s = SYM_T; s <= SYM_S; s++)
      p->sym_max[s] = MAX(form->f->range[s].max, 1);
   p->sym_max[SYM_A] = p->sym_max[SYM_T];
   p->sym_max[SYM_I] = form->f->range[SYM_I].max;
   p->num_ropes = m->num_ropes;
   p->ropes = m->ropes;
   fill_memory(p, form->layout);
   if (prompts) {
      SINTER_TRY(check_forms(form->layout, prompts->layout));
      fill_memory(p, prompts->layout);
   }
   b.l.parts_at = (p->arena_bytes + 63) / 64 * 64;
   add_routes(&b);
   if (!isa)
      return SINTER_ok;
   if (p->model.head != PLAN_HEAD_hidden && !p->model.tower && cg_has_logits(&b.l, p->model.vocab))
      b.l.picks = plan_output_picks(p);
   add_groups(&b);
   return add_variants(&b);
}
