/* segment.c - binds launches once, and walks their segments in every step. */
#include "segment.h"

#include "base/clock.h"
#include "base/pack.h"
#include "launch_times.h"

#include <stdlib.h>

/* What a matrix product reads from front to back. */
typedef struct matrices {
   const uint8_t *start[RT_STREAMS];
   uint64_t size[RT_STREAMS];
} matrices;

typedef struct variant {
   const plan_variant *plan;
   sinter_kargs *args; /* by launch */
   sinter_kernel **kernels;
   matrices *reads; /* by launch */
   bool *is_bytes;  /* by launch: multiplies_bytes */
} variant;

/* What the list of tasks and phases holds. */
typedef struct recording {
   const plan_segment *segment; /* NULL: nothing that can be run again */
   int64_t sym[countof(((sinter_step_block *)0)->sym)];
   uint32_t num_phases;
   rt_counters counts; /* of a run */
} recording;

struct rt_program {
   const plan *plan;
   const sinter_step_block *block;
   uint32_t num_variants;
   variant *variants;
   rt_task *tasks; /* room for the longest variant */
   rt_phase *phases;
   recording recorded;
   rt_counters counters;
   rt_launch_times times;
};

/* The address of a reference; plan_check has proven that it lies inside its memory. */
static void *resolve(const rt_memory *m, const plan_ref *r)
{
   switch ((plan_ref_kind)r->kind) {
   case PLAN_REF_arena: return m->arena + r->offset;
   case PLAN_REF_weight: return m->weights ? (void *)(uintptr_t)(m->weights + r->offset) : NULL;
   case PLAN_REF_state: return m->state[r->index][r->index2] + r->offset;
   case PLAN_REF_meta: return m->step->meta[r->index][r->index2];
   case PLAN_REF_scratch: return m->scratch + r->offset;
   case PLAN_REF_output: return r->index ? (void *)m->routes[r->index - 1] : m->logits;
   }
   return NULL;
}

/* The weight that holds a reference; they ascend. NULL: none. */
static const plan_weight *weight_of(const plan *p, const plan_ref *r)
{
   uint32_t low = 0, high = p->num_weights;

   if (r->kind != PLAN_REF_weight)
      return NULL;
   while (low < high) {
      uint32_t middle = low + (high - low) / 2;
      const plan_weight *w = &p->weights[middle];
      if (r->offset < w->offset)
         high = middle;
      else if (r->offset - w->offset >= w->size)
         low = middle + 1;
      else
         return w;
   }
   return NULL;
}

/* Whether the codes of a launch's weights are signed bytes (q8_0), or become such (iq4_nl). */
static bool multiplies_bytes(const plan *p, const plan_launch *l)
{
   bool bytes = false;

   for (uint32_t i = 0; i < l->num_refs; i++) {
      const plan_weight *w = weight_of(p, &l->refs[i]);
      const panel_info *panel = &panel_infos[w ? w->layout : PANEL_none];
      if (panel->kind == PANEL_KIND_TOP) /* of the weight itself only few panels are read */
         return false;
      bytes |= panel->kind == PANEL_KIND_CODES && panel->code != PANEL_CODE_U;
   }
   return bytes;
}

/* Which of a stack a step reads is not known before it runs. */
static matrices matrices_of(const plan *p, const plan_launch *l, const sinter_kargs *k)
{
   matrices out = {.size = {0}};
   uint32_t n = 0;

   if (strcmp(p->kernels[l->kernel].family, "gemm") != 0)
      return out;
   for (uint32_t j = 0; j < l->num_refs && n < RT_STREAMS; j++) {
      const plan_weight *w = weight_of(p, &l->refs[j]);
      if (!w || w->rows == 1 || w->stack != 1)
         continue;
      out.start[n] = k->ptr[j];
      out.size[n++] = w->offset + w->size - l->refs[j].offset;
   }
   return out;
}

static sinter_status bind_variant(rt_program *g, variant *v, const rt_memory *m,
                                  rt_find_kernel *find, void *user)
{
   for (uint32_t i = 0; i < v->plan->num_launches; i++) {
      const plan_launch *l = &v->plan->launches[i];
      sinter_kargs *k = &v->args[i];

      v->kernels[i] = find(user, l->kernel);
      if (!v->kernels[i])
         return base_fail(SINTER_bad_input, g->plan->kernels[l->kernel].symbol,
                          "compile the model again", "the artifact holds no code for a kernel");
      k->step = g->block;
      k->num_ptrs = l->num_refs;
      for (uint32_t j = 0; j < l->num_refs; j++)
         k->ptr[j] = resolve(m, &l->refs[j]);
      memcpy(k->konst, l->consts, sizeof k->konst);
      v->reads[i] = matrices_of(g->plan, l, k);
      v->is_bytes[i] = multiplies_bytes(g->plan, l);
   }
   return SINTER_ok;
}

static sinter_status allocate(rt_program *g)
{
   uint32_t longest = 1;

   g->variants = calloc(MAX(g->plan->num_variants, 1), sizeof *g->variants);
   if (!g->variants)
      return base_fail(SINTER_out_of_memory, "launches", "", "no memory for the launch lists");
   g->num_variants = g->plan->num_variants;
   for (uint32_t i = 0; i < g->num_variants; i++) {
      variant *v = &g->variants[i];

      v->plan = &g->plan->variants[i];
      longest = MAX(longest, v->plan->num_launches);
      v->args = calloc(MAX(v->plan->num_launches, 1), sizeof *v->args);
      v->kernels = calloc(MAX(v->plan->num_launches, 1), sizeof *v->kernels);
      v->reads = calloc(MAX(v->plan->num_launches, 1), sizeof *v->reads);
      v->is_bytes = calloc(MAX(v->plan->num_launches, 1), sizeof *v->is_bytes);
      if (!v->args || !v->kernels || !v->reads || !v->is_bytes)
         return base_fail(SINTER_out_of_memory, "launches", "", "no memory for the launch lists");
   }
   g->tasks = calloc(longest, sizeof *g->tasks);
   g->phases = calloc(longest, sizeof *g->phases);
   if (!g->tasks || !g->phases)
      return base_fail(SINTER_out_of_memory, "launches", "", "no memory for the launch lists");
   return SINTER_ok;
}

static sinter_status fill(rt_program *g, const rt_memory *m, rt_find_kernel *find, void *user,
                          bool times_launches)
{
   SINTER_TRY(allocate(g));
   if (times_launches)
      SINTER_TRY(rt_launch_times_ask(&g->times, g->plan, RT_TIMES_always));
   for (uint32_t i = 0; i < g->num_variants; i++)
      SINTER_TRY(bind_variant(g, &g->variants[i], m, find, user));
   return SINTER_ok;
}

sinter_status rt_program_create(const plan *p, const rt_memory *m, rt_find_kernel *find, void *user,
                                bool times_launches, rt_program **out)
{
   rt_program *g = calloc(1, sizeof *g);

   *out = NULL;
   if (!g)
      return base_fail(SINTER_out_of_memory, "launches", "", "no memory for the launch lists");
   g->plan = p;
   g->block = &m->step->block;
   sinter_status status = fill(g, m, find, user, times_launches);
   if (status != SINTER_ok) {
      rt_program_destroy(g);
      return status;
   }
   *out = g;
   return SINTER_ok;
}

void rt_program_destroy(rt_program *g)
{
   if (!g)
      return;
   for (uint32_t i = 0; i < g->num_variants; i++) {
      free(g->variants[i].args);
      free(g->variants[i].kernels);
      free(g->variants[i].reads);
      free(g->variants[i].is_bytes);
   }
   free(g->variants);
   rt_launch_times_free(&g->times);
   free(g->tasks);
   free(g->phases);
   free(g);
}

/* A launch list under construction. */
typedef struct list {
   rt_program *program;
   uint32_t num_tasks, num_phases, phase;
   rt_counters counts;
} list;

/* Appends launch i. A phase ends with its number, and before its tiles would not fit the pool's
 * numbering; an additional barrier is never wrong. */
static sinter_status append(list *to, const variant *v, uint32_t i)
{
   rt_program *g = to->program;
   const plan_launch *l = &v->plan->launches[i];
   int64_t tiles = plan_extent_eval(&l->tiles, g->block->sym);
   rt_phase *phase = to->num_phases ? &g->phases[to->num_phases - 1] : NULL;

   if (tiles <= 0)
      return SINTER_ok;
   if (tiles > INT32_MAX)
      return base_fail(SINTER_bad_input, g->plan->kernels[l->kernel].symbol, "use smaller steps",
                       "a launch has %lld tiles", (long long)tiles);
   if (!to->num_phases || to->phase != l->phase || phase->tiles + (uint64_t)tiles > INT32_MAX) {
      phase = &g->phases[to->num_phases++];
      *phase = (rt_phase){.tasks = &g->tasks[to->num_tasks]};
      to->phase = l->phase;
   }
   rt_task *t = &g->tasks[to->num_tasks++];
   *t = (rt_task){.kernel = v->kernels[i],
                  .args = &v->args[i],
                  .first = phase->tiles,
                  .tiles = (uint32_t)tiles};
   for (uint32_t s = 0; s < RT_STREAMS; s++)
      t->streams[s] = (rt_stream){v->reads[i].start[s], v->reads[i].size[s] / (uint64_t)tiles};
   phase->tiles += (uint32_t)tiles;
   to->counts.launches++;
   to->counts.bytes += (uint64_t)plan_extent_eval(&l->bytes, g->block->sym);
   uint64_t ops = (uint64_t)plan_extent_eval(&l->flops, g->block->sym);
   to->counts.ops += ops;
   to->counts.byte_ops += v->is_bytes[i] ? ops : 0;
   return SINTER_ok;
}

static void count(rt_program *g, const rt_counters *of)
{
   g->counters.launches += of->launches;
   g->counters.bytes += of->bytes;
   g->counters.ops += of->ops;
   g->counters.byte_ops += of->byte_ops;
}

/* A list depends on the symbols only, and from one decoded token to the next they hardly ever
 * change. */
static bool is_recorded(const rt_program *g, const plan_segment *s)
{
   return g->recorded.segment == s &&
          memcmp(g->recorded.sym, g->block->sym, sizeof g->recorded.sym) == 0;
}

static sinter_status record(rt_program *g, const variant *v, const plan_segment *s)
{
   list to = {.program = g};

   g->recorded.segment = NULL;
   for (uint32_t i = 0; i < s->num_launches; i++)
      SINTER_TRY(append(&to, v, s->first_launch + i));
   g->recorded = (recording){.segment = s, .num_phases = to.num_phases, .counts = to.counts};
   memcpy(g->recorded.sym, g->block->sym, sizeof g->recorded.sym);
   return SINTER_ok;
}

static sinter_status run_recorded(rt_program *g, rt_pool *pool, const variant *v,
                                  const plan_segment *s)
{
   if (!is_recorded(g, s))
      SINTER_TRY(record(g, v, s));
   rt_pool_run(pool, g->phases, g->recorded.num_phases);
   count(g, &g->recorded.counts);
   g->counters.graphs++;
   return SINTER_ok;
}

/* Launch i by itself. */
static sinter_status run_alone(rt_program *g, rt_pool *pool, const variant *v, uint32_t i)
{
   list to = {.program = g};

   g->recorded.segment = NULL;
   SINTER_TRY(append(&to, v, i));
   count(g, &to.counts);
   if (!g->times.steps || !to.num_phases) {
      rt_pool_run(pool, g->phases, to.num_phases);
      return SINTER_ok;
   }
   double begin = clock_now();
   rt_pool_run(pool, g->phases, to.num_phases);
   double seconds = clock_now() - begin;
   rt_launch_times_add(&g->times, g->plan, v->plan, i, g->block->sym, seconds);
   return SINTER_ok;
}

static sinter_status run_eager(rt_program *g, rt_pool *pool, const variant *v,
                               const plan_segment *s)
{
   for (uint32_t i = 0; i < s->num_launches; i++)
      SINTER_TRY(run_alone(g, pool, v, s->first_launch + i));
   return SINTER_ok;
}

/* The first variant that takes the step: its rows, and its chunks of context. */
static const variant *choose(const rt_program *g)
{
   for (uint32_t i = 0; i < g->num_variants; i++) {
      const plan_variant *v = g->variants[i].plan;

      if (g->block->sym[SYM_T] <= v->max_rows &&
          (!v->max_chunks || g->block->sym[SYM_C] <= v->max_chunks))
         return &g->variants[i];
   }
   return NULL;
}

sinter_status rt_program_run(rt_program *g, rt_pool *pool)
{
   const variant *v = choose(g);

   if (!v)
      return base_fail(SINTER_bad_input, g->plan->target, "compile the model again",
                       "no variant of the plan takes a step of %lld rows",
                       (long long)g->block->sym[SYM_T]);
   for (uint32_t i = 0; i < v->plan->num_segments; i++) {
      const plan_segment *s = &v->plan->segments[i];

      g->counters.segments++;
      if (s->kind == PLAN_SEGMENT_recorded && !g->times.steps)
         SINTER_TRY(run_recorded(g, pool, v, s));
      else
         SINTER_TRY(run_eager(g, pool, v, s));
   }
   rt_launch_times_step(&g->times);
   return SINTER_ok;
}

sinter_status rt_program_time_steps(rt_program *g, uint32_t steps)
{
   return rt_launch_times_ask(&g->times, g->plan, steps);
}

const rt_counters *rt_program_counters(const rt_program *g)
{
   return &g->counters;
}

uint32_t rt_program_launches(const rt_program *g, const sinter_launch_time **out)
{
   *out = g->times.launches;
   return g->times.num_launches;
}
