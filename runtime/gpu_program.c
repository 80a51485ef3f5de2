/* gpu_program.c - binding, recording and replaying of a plan on a GPU. */
#include "gpu_program.h"

#include <stdlib.h>

#include "base/simt_abi.h"
#include "gpu_clock.h"

enum { MAX_BUCKETS = 24 };

/* Steps in which a launch has something to do: sym[sym] > above. */
typedef struct condition {
   uint32_t sym, above;
} condition;

/* Launches that are started together: a segment, or a phase of one, or what of it has a
 * condition. */
typedef struct piece {
   uint32_t first, num;
   bool recorded, conditional;
   condition when;
} piece;

/* A node that is left out of launches when its condition does not hold. */
typedef struct node_switch {
   void *node;
   condition when;
   bool off;
} node_switch;

/* A piece as a graph; exec NULL: none. The graph stays where nodes are switched. */
typedef struct recorded {
   void *exec, *graph;
   uint32_t num_switches;
   node_switch *switches;
} recorded;

/* One step size: the graphs of its pieces. */
typedef struct bucket {
   int64_t rows;
   recorded *graphs;
} bucket;

typedef struct variant {
   const plan_variant *plan;
   simt_args *args; /* by launch */
   piece *pieces;
   uint32_t num_pieces;
   uint32_t num_buckets;
   bucket buckets[MAX_BUCKETS];
} variant;

struct rt_gpu_program {
   const rt_gpu_ops *ops;
   rt_gpu *gpu;
   const plan *plan;
   int64_t most[SYM_COUNT];
   void **kernels; /* by plan.kernels */
   variant *variants;
   void **nodes; /* of the graph under construction */
   rt_gpu_conditions conditions;
   uint64_t left_before;            /* bytes of the device before its first graph */
   uint32_t made_nodes, most_nodes; /* of graphs: so far; of all of them at most */
   uint32_t num_bounds, bounds[countof(((sinter_step_block *)0)->holds)]; /* chunks of context */
   rt_gpu_counters counters;
   rt_gpu_clock clock;
};

/* ---- binding ---- */

static uint64_t resolve(const rt_gpu_memory *m, const plan_ref *r)
{
   switch ((plan_ref_kind)r->kind) {
   case PLAN_REF_arena: return m->arena + r->offset;
   case PLAN_REF_weight: return m->weights + r->offset;
   case PLAN_REF_state: return m->state[r->index][r->index2] + r->offset;
   case PLAN_REF_meta: return m->meta[r->index][r->index2];
   case PLAN_REF_scratch: return m->scratch + r->offset;
   case PLAN_REF_output: return r->index ? m->routes[r->index - 1] : m->logits;
   }
   return 0;
}

/* A bound on the context is one more factor of the tiles, where there is room for it: blocks then
 * return as those past the end do. */
static void bind_condition(rt_gpu_program *g, uint32_t above, simt_args *a)
{
   uint32_t i = 0;

   while (i < g->num_bounds && g->bounds[i] != above)
      i++;
   if (!above || i == countof(g->bounds) || a->num_factors == countof(a->factor))
      return;
   g->bounds[i] = above;
   g->num_bounds = MAX(g->num_bounds, i + 1);
   a->factor[a->num_factors][0] = offsetof(sinter_step_block, holds) / sizeof(int64_t) + i;
   a->factor[a->num_factors++][1] = 1;
}

void rt_gpu_program_conditions(const rt_gpu_program *g, sinter_step_block *block)
{
   for (uint32_t i = 0; i < g->num_bounds; i++)
      block->holds[i] = block->sym[SYM_C] > (int64_t)g->bounds[i];
}

static void bind(rt_gpu_program *g, const rt_gpu_memory *m, const plan_launch *l, simt_args *a)
{
   a->k.step = (const sinter_step_block *)(uintptr_t)m->step;
   a->k.num_ptrs = l->num_refs;
   for (uint32_t i = 0; i < l->num_refs; i++)
      a->k.ptr[i] = (void *)(uintptr_t)resolve(m, &l->refs[i]);
   memcpy(a->k.konst, l->consts, sizeof a->k.konst);
   a->tiles = l->tiles.k;
   a->num_factors = l->tiles.num_factors;
   for (uint32_t i = 0; i < l->tiles.num_factors; i++) {
      a->factor[i][0] = l->tiles.factor[i].sym;
      a->factor[i][1] = l->tiles.factor[i].div;
   }
   bind_condition(g, l->tiles.above, a);
}

static sinter_status no_memory(void)
{
   return base_fail(SINTER_out_of_memory, "launches", "", "no memory for the launch lists");
}

static sinter_status bind_variant(rt_gpu_program *g, variant *v, const rt_gpu_memory *m)
{
   v->args = calloc(MAX(v->plan->num_launches, 1u), sizeof *v->args);
   v->pieces = calloc(v->plan->num_launches + v->plan->num_segments + 1, sizeof *v->pieces);
   if (!v->args || !v->pieces)
      return no_memory();
   for (uint32_t i = 0; i < v->plan->num_launches; i++)
      bind(g, m, &v->plan->launches[i], &v->args[i]);
   return SINTER_ok;
}

/* ---- conditions ---- */

/* Of a launch that some steps leave out; false: none does. Rows that are wanted and rows of images
 * may be none. */
static bool condition_of(const plan_launch *l, condition *out)
{
   *out = (condition){SYM_C, l->tiles.above};
   if (l->tiles.above)
      return true;
   for (uint32_t i = 0; i < l->tiles.num_factors; i++)
      if (l->tiles.factor[i].sym == SYM_R || l->tiles.factor[i].sym == SYM_I) {
         *out = (condition){l->tiles.factor[i].sym, 0};
         return true;
      }
   return false;
}

static bool holds(condition c, const int64_t *syms)
{
   return syms[c.sym] > (int64_t)c.above;
}

/* Whether launch k begins what is a graph of its own because steps of the variant leave it out, or
 * ends it: only what prompts leave out of all but their last steps is worth another graph. */
static bool is_border(const rt_gpu_program *g, const variant *v, uint32_t k)
{
   condition a, b;
   bool x = condition_of(&v->plan->launches[k - 1], &a) && a.sym == SYM_R;
   bool y = condition_of(&v->plan->launches[k], &b) && b.sym == SYM_R;

   return g->conditions == RT_GPU_CONDITIONS_break && x != y &&
          v->plan->max_rows > g->plan->variants[0].max_rows;
}

/* A piece a segment; by phases: a piece a phase of it; by conditions: what has one apart. */
static void cut(const rt_gpu_program *g, variant *v, rt_gpu_graphs graphs)
{
   for (uint32_t i = 0; i < v->plan->num_segments; i++) {
      const plan_segment *s = &v->plan->segments[i];
      for (uint32_t k = s->first_launch; k < s->first_launch + s->num_launches; k++) {
         const plan_launch *l = &v->plan->launches[k];
         bool border = k > s->first_launch && is_border(g, v, k);
         bool begins = k == s->first_launch || border ||
                       (graphs == RT_GPU_GRAPHS_phases && l->phase != (l - 1)->phase);
         if (begins)
            v->pieces[v->num_pieces++] = (piece){.first = k,
                                                 .recorded = graphs != RT_GPU_GRAPHS_none &&
                                                             s->kind == PLAN_SEGMENT_recorded};
         piece *p = &v->pieces[v->num_pieces - 1];
         p->conditional = border && condition_of(l, &p->when) ? true : p->num && p->conditional;
         p->num++;
      }
   }
}

static sinter_status find_kernels(rt_gpu_program *g, void *const *modules)
{
   g->kernels = calloc(MAX(g->plan->num_kernels, 1u), sizeof *g->kernels);
   if (!g->kernels)
      return no_memory();
   for (uint32_t i = 0; i < g->plan->num_kernels; i++)
      SINTER_TRY_IN(g->plan->kernels[i].symbol,
                    g->ops->find(g->gpu, modules[i], g->plan->kernels[i].symbol, &g->kernels[i]));
   return SINTER_ok;
}

/* ---- recording ---- */

/* Symbols of the largest step of a bucket. */
static void bucket_syms(const rt_gpu_program *g, int64_t rows, int64_t *syms)
{
   memcpy(syms, g->most, sizeof g->most);
   syms[SYM_T] = MIN(rows, g->most[SYM_T]);
   syms[SYM_R] = MIN(rows, g->most[SYM_R]);
   syms[SYM_A] = MIN(rows, g->most[SYM_A]);
   syms[SYM_Q] = MIN(rows, g->most[SYM_Q]);
}

static sinter_status grid_of(const rt_gpu_program *g, const plan_launch *l, const int64_t *syms,
                             uint32_t *out)
{
   int64_t tiles = plan_extent_eval(&l->tiles, syms);

   *out = tiles > 0 ? (uint32_t)tiles : 0;
   if (tiles > INT32_MAX)
      return base_fail(SINTER_bad_input, g->plan->kernels[l->kernel].symbol, "use smaller steps",
                       "a launch has %lld tiles", (long long)tiles);
   return SINTER_ok;
}

/* Steps of few rows wait for nobody's prompt: another engine's, on the same device. */
static bool is_urgent(const rt_gpu_program *g, const variant *v)
{
   return v->plan->max_rows < g->plan->variants[g->plan->num_variants - 1].max_rows;
}

/* Nodes of the launches of a piece: nodes[before .. first) are the phase that the next ones wait
 * for. */
static sinter_status add_nodes(rt_gpu_program *g, const variant *v, const piece *s,
                               const int64_t *syms, recorded *to)
{
   uint32_t before = 0, first = 0, num = 0, phase = 0, grid;

   for (uint32_t i = s->first; i < s->first + s->num; i++) {
      const plan_launch *l = &v->plan->launches[i];
      SINTER_TRY(grid_of(g, l, syms, &grid));
      if (!grid)
         continue;
      if (num == first || l->phase != phase) {
         before = first;
         first = num;
         phase = l->phase;
      }
      SINTER_TRY_IN(g->plan->kernels[l->kernel].symbol,
                    g->ops->graph_add(g->gpu, to->graph, g->nodes + before, first - before,
                                      g->kernels[l->kernel], grid, &v->args[i], &g->nodes[num]));
      if (is_urgent(g, v))
         SINTER_TRY(g->ops->graph_prefer(g->gpu, g->nodes[num]));
      node_switch one = {.node = g->nodes[num]};
      if (to->switches && condition_of(l, &one.when))
         to->switches[to->num_switches++] = one;
      num++;
   }
   return SINTER_ok;
}

static void drop_graph(rt_gpu_program *g, recorded *r)
{
   if (r->graph)
      g->ops->graph_drop(g->gpu, r->graph);
   r->graph = NULL;
}

/* No driver says what a graph takes: those made tell it, by their nodes. */
static sinter_status check_memory(rt_gpu_program *g)
{
   uint64_t left;

   SINTER_TRY(g->ops->memory_left(g->gpu, &left));
   uint64_t taken = g->left_before > left ? g->left_before - left : 0;
   double rest = (double)taken / MAX(g->made_nodes, 1u) * (double)(g->most_nodes - g->made_nodes);
   g->counters.graph_bytes = taken;
   if (rest <= (double)left)
      return SINTER_ok;
   return base_fail(SINTER_out_of_memory, "graphs",
                    "end what else is on the GPU, make fewer sequences or smaller steps, or set "
                    "SINTER_DEBUG=eager",
                    "graphs of %u kernels took %llu KiB, so those of %u more will not fit into the "
                    "%llu KiB that are left",
                    g->made_nodes, (unsigned long long)(taken >> 10), g->most_nodes - g->made_nodes,
                    (unsigned long long)(left >> 10));
}

static sinter_status record_piece(rt_gpu_program *g, const variant *v, const piece *s,
                                  const int64_t *syms, recorded *out)
{
   if (g->conditions == RT_GPU_CONDITIONS_nodes)
      out->switches = calloc(s->num, sizeof *out->switches);
   if (g->conditions == RT_GPU_CONDITIONS_nodes && !out->switches)
      return no_memory();
   SINTER_TRY(g->ops->graph_create(g->gpu, &out->graph));
   sinter_status status = add_nodes(g, v, s, syms, out);
   if (status == SINTER_ok)
      status = g->ops->graph_make(g->gpu, out->graph, &out->exec);
   g->made_nodes += s->num;
   if (status == SINTER_ok)
      status = check_memory(g);
   if (status != SINTER_ok || !out->num_switches)
      drop_graph(g, out);
   return status;
}

static sinter_status record_bucket(rt_gpu_program *g, variant *v, int64_t rows)
{
   bucket *b = &v->buckets[v->num_buckets];
   int64_t syms[SYM_COUNT];

   b->rows = rows;
   b->graphs = calloc(v->num_pieces + 1, sizeof *b->graphs);
   if (!b->graphs)
      return no_memory();
   v->num_buckets++;
   bucket_syms(g, rows, syms);
   if (v->plan->max_chunks)
      syms[SYM_C] = MIN(syms[SYM_C], v->plan->max_chunks);
   for (uint32_t i = 0; i < v->num_pieces; i++)
      if (v->pieces[i].recorded)
         SINTER_TRY(record_piece(g, v, &v->pieces[i], syms, &b->graphs[i]));
   return SINTER_ok;
}

/* Powers of two from the variant before to this one's rows, which come last. */
static uint32_t list_buckets(const rt_gpu_program *g, const variant *v, int64_t more_than,
                             int64_t *out)
{
   int64_t most = MIN(v->plan->max_rows, g->most[SYM_T]);
   uint32_t n = 0;

   for (int64_t rows = 1; rows < most; rows *= 2)
      if (rows > more_than && n < MAX_BUCKETS - 1)
         out[n++] = rows;
   out[n++] = most;
   return n;
}

/* Rows that steps of the variants before this one have at most. */
static int64_t rows_before(const rt_gpu_program *g, uint32_t number)
{
   int64_t rows = 0;

   for (uint32_t i = 0; i < number; i++)
      rows = g->plan->variants[i].max_chunks ? rows : g->plan->variants[i].max_rows;
   return rows;
}

static sinter_status record_all(rt_gpu_program *g)
{
   int64_t rows[MAX_BUCKETS];

   for (uint32_t i = 0; i < g->plan->num_variants; i++) {
      variant *v = &g->variants[i];
      uint32_t num = list_buckets(g, v, rows_before(g, i), rows);
      for (uint32_t k = 0; k < num; k++)
         SINTER_TRY(record_bucket(g, v, rows[k]));
   }
   return SINTER_ok;
}

/* Of all graphs that will be made, some of which will have fewer. */
static uint32_t count_nodes(const rt_gpu_program *g)
{
   int64_t rows[MAX_BUCKETS];
   uint32_t n = 0;

   for (uint32_t i = 0; i < g->plan->num_variants; i++) {
      const variant *v = &g->variants[i];
      for (uint32_t k = 0; k < v->num_pieces; k++)
         if (v->pieces[k].recorded)
            n += v->pieces[k].num * list_buckets(g, v, rows_before(g, i), rows);
   }
   return n;
}

static sinter_status fill(rt_gpu_program *g, void *const *modules, const rt_gpu_memory *m,
                          rt_gpu_graphs graphs)
{
   uint32_t longest = 1;

   SINTER_TRY(find_kernels(g, modules));
   g->variants = calloc(MAX(g->plan->num_variants, 1u), sizeof *g->variants);
   for (uint32_t i = 0; i < g->plan->num_variants; i++)
      longest = MAX(longest, g->plan->variants[i].num_launches);
   g->nodes = calloc(longest, sizeof *g->nodes);
   if (!g->variants || !g->nodes)
      return no_memory();
   for (uint32_t i = 0; i < g->plan->num_variants; i++) {
      variant *v = &g->variants[i];
      v->plan = &g->plan->variants[i];
      SINTER_TRY(bind_variant(g, v, m));
      cut(g, v, graphs);
   }
   g->most_nodes = count_nodes(g);
   SINTER_TRY(g->ops->memory_left(g->gpu, &g->left_before));
   return record_all(g);
}

sinter_status rt_gpu_program_create(const rt_gpu_ops *ops, rt_gpu *gpu, void *const *modules,
                                    const plan *p, const rt_gpu_memory *memory, const int64_t *syms,
                                    rt_gpu_graphs graphs, rt_gpu_conditions conditions,
                                    rt_gpu_program **out)
{
   rt_gpu_program *g = calloc(1, sizeof *g);

   *out = NULL;
   if (!g)
      return no_memory();
   g->ops = ops;
   g->gpu = gpu;
   g->plan = p;
   g->clock = (rt_gpu_clock){.ops = ops, .gpu = gpu, .plan = p};
   g->conditions = conditions != RT_GPU_CONDITIONS_nodes || ops->can_switch(gpu)
                      ? conditions
                      : RT_GPU_CONDITIONS_break;
   memcpy(g->most, syms, sizeof g->most);
   sinter_status status = fill(g, modules, memory, graphs);
   if (status != SINTER_ok) {
      rt_gpu_program_destroy(g);
      return status;
   }
   *out = g;
   return SINTER_ok;
}

void rt_gpu_program_destroy(rt_gpu_program *g)
{
   if (!g)
      return;
   for (uint32_t i = 0; g->variants && i < g->plan->num_variants; i++) {
      variant *v = &g->variants[i];
      for (uint32_t b = 0; b < v->num_buckets; b++) {
         for (uint32_t s = 0; v->buckets[b].graphs && s < v->num_pieces; s++) {
            recorded *r = &v->buckets[b].graphs[s];
            if (r->exec)
               g->ops->exec_destroy(g->gpu, r->exec);
            drop_graph(g, r);
            free(r->switches);
         }
         free(v->buckets[b].graphs);
      }
      free(v->args);
      free(v->pieces);
   }
   rt_gpu_clock_free(&g->clock);
   free(g->variants);
   free(g->kernels);
   free(g->nodes);
   free(g);
}

/* ---- running ---- */

static const variant *choose(const rt_gpu_program *g, const int64_t *syms)
{
   for (uint32_t i = 0; i < g->plan->num_variants; i++) {
      const plan_variant *v = g->variants[i].plan;
      if (syms[SYM_T] <= v->max_rows && (!v->max_chunks || syms[SYM_C] <= v->max_chunks))
         return &g->variants[i];
   }
   return NULL;
}

static const bucket *bucket_of(const variant *v, int64_t rows)
{
   for (uint32_t i = 0; i < v->num_buckets; i++)
      if (rows <= v->buckets[i].rows)
         return &v->buckets[i];
   return NULL;
}

static sinter_status run_eager(rt_gpu_program *g, const variant *v, const piece *s,
                               const int64_t *syms)
{
   uint32_t grid;

   for (uint32_t i = s->first; i < s->first + s->num; i++) {
      const plan_launch *l = &v->plan->launches[i];
      SINTER_TRY(grid_of(g, l, syms, &grid));
      if (grid)
         SINTER_TRY_IN(g->plan->kernels[l->kernel].symbol,
                       g->ops->launch(g->gpu, g->kernels[l->kernel], grid, &v->args[i]));
   }
   return SINTER_ok;
}

/* Leaves out what has nothing to do in this step, where the one before did not. */
static sinter_status switch_nodes(rt_gpu_program *g, recorded *r, const int64_t *syms)
{
   for (uint32_t i = 0; i < r->num_switches; i++) {
      node_switch *s = &r->switches[i];
      bool off = !holds(s->when, syms);
      if (off == s->off)
         continue;
      SINTER_TRY(g->ops->graph_switch(g->gpu, r->exec, s->node, !off));
      s->off = off;
      g->counters.switches++;
   }
   return SINTER_ok;
}

/* Launch by launch, each between two events. */
static sinter_status run_timed(rt_gpu_program *g, const variant *v, const int64_t *syms)
{
   SINTER_TRY(rt_gpu_clock_begin(&g->clock, v->plan));
   for (uint32_t i = 0; i < v->plan->num_launches; i++) {
      const piece one = {.first = i, .num = 1};
      SINTER_TRY(run_eager(g, v, &one, syms));
      SINTER_TRY(rt_gpu_clock_mark(&g->clock, i));
   }
   return SINTER_ok;
}

sinter_status rt_gpu_program_time_steps(rt_gpu_program *g, int64_t steps)
{
   return rt_gpu_clock_ask(&g->clock, steps);
}

sinter_status rt_gpu_program_read_times(rt_gpu_program *g, const int64_t *syms)
{
   return rt_gpu_clock_read(&g->clock, syms);
}

uint32_t rt_gpu_program_launches(const rt_gpu_program *g, const sinter_launch_time **out)
{
   *out = g->clock.times.launches;
   return g->clock.times.num_launches;
}

static sinter_status run_pieces(rt_gpu_program *g, const variant *v, const int64_t *syms)
{
   const bucket *b = bucket_of(v, syms[SYM_T]);

   for (uint32_t i = 0; i < v->num_pieces; i++) {
      if (v->pieces[i].conditional && !holds(v->pieces[i].when, syms))
         continue;
      if (b && b->graphs[i].exec) {
         SINTER_TRY(switch_nodes(g, &b->graphs[i], syms));
         SINTER_TRY(g->ops->graph_launch(g->gpu, b->graphs[i].exec));
         g->counters.graphs++;
      } else {
         SINTER_TRY(run_eager(g, v, &v->pieces[i], syms));
      }
   }
   return SINTER_ok;
}

sinter_status rt_gpu_program_run(rt_gpu_program *g, const sinter_step_block *block)
{
   const variant *v = choose(g, block->sym);

   if (!v)
      return base_fail(SINTER_bad_input, g->plan->target, "compile the model again",
                       "no variant of the plan takes a step of %lld rows",
                       (long long)block->sym[SYM_T]);
   g->counters.segments += v->plan->num_segments;
   if (g->clock.times.steps)
      SINTER_TRY(run_timed(g, v, block->sym));
   else
      SINTER_TRY(run_pieces(g, v, block->sym));
   for (uint32_t i = 0; i < v->plan->num_launches; i++) {
      g->counters.launches += plan_extent_eval(&v->plan->launches[i].tiles, block->sym) > 0;
      g->counters.bytes += (uint64_t)plan_extent_eval(&v->plan->launches[i].bytes, block->sym);
      g->counters.ops += (uint64_t)plan_extent_eval(&v->plan->launches[i].flops, block->sym);
   }
   return SINTER_ok;
}

const rt_gpu_counters *rt_gpu_program_counters(const rt_gpu_program *g)
{
   return &g->counters;
}
