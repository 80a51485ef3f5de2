/* gpu_program.c - binding, recording and replaying of a plan on a GPU. */
#include "gpu_program.h"

#include <stdlib.h>

#include "base/simt_abi.h"

enum { MAX_BUCKETS = 24 };

/* Launches that are started together: a segment, or a phase of one. */
typedef struct piece {
   uint32_t first, num;
   bool recorded;
} piece;

/* One step size: the graphs of its pieces, NULL for eager ones. */
typedef struct bucket {
   int64_t rows;
   void **execs;
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
   rt_gpu_counters counters;
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

static void bind(const rt_gpu_memory *m, const plan_launch *l, simt_args *a)
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
}

static sinter_status no_memory(void)
{
   return base_fail(SINTER_out_of_memory, "launches", "", "no memory for the launch lists");
}

static sinter_status bind_variant(variant *v, const rt_gpu_memory *m)
{
   v->args = calloc(MAX(v->plan->num_launches, 1u), sizeof *v->args);
   v->pieces = calloc(v->plan->num_launches + v->plan->num_segments + 1, sizeof *v->pieces);
   if (!v->args || !v->pieces)
      return no_memory();
   for (uint32_t i = 0; i < v->plan->num_launches; i++)
      bind(m, &v->plan->launches[i], &v->args[i]);
   return SINTER_ok;
}

/* A piece a segment; by phases: a piece a phase of it. */
static void cut(variant *v, rt_gpu_graphs graphs)
{
   for (uint32_t i = 0; i < v->plan->num_segments; i++) {
      const plan_segment *s = &v->plan->segments[i];
      for (uint32_t k = s->first_launch; k < s->first_launch + s->num_launches; k++) {
         const plan_launch *l = &v->plan->launches[k];
         bool begins =
            k == s->first_launch || (graphs == RT_GPU_GRAPHS_phases && l->phase != (l - 1)->phase);
         if (begins)
            v->pieces[v->num_pieces++] =
               (piece){k, 0, graphs != RT_GPU_GRAPHS_none && s->kind == PLAN_SEGMENT_recorded};
         v->pieces[v->num_pieces - 1].num++;
      }
   }
}

static sinter_status find_kernels(rt_gpu_program *g, void *module)
{
   g->kernels = calloc(MAX(g->plan->num_kernels, 1u), sizeof *g->kernels);
   if (!g->kernels)
      return no_memory();
   for (uint32_t i = 0; i < g->plan->num_kernels; i++)
      SINTER_TRY_IN(g->plan->kernels[i].symbol,
                    g->ops->find(g->gpu, module, g->plan->kernels[i].symbol, &g->kernels[i]));
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

/* Nodes of the launches of a piece: nodes[before .. first) are the phase that the next ones wait for. */
static sinter_status add_nodes(rt_gpu_program *g, const variant *v, const piece *s,
                               const int64_t *syms, void *graph)
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
                    g->ops->graph_add(g->gpu, graph, g->nodes + before, first - before,
                                      g->kernels[l->kernel], grid, &v->args[i], &g->nodes[num]));
      num++;
   }
   return SINTER_ok;
}

static sinter_status record_piece(rt_gpu_program *g, const variant *v, const piece *s,
                                  const int64_t *syms, void **out)
{
   void *graph;

   SINTER_TRY(g->ops->graph_create(g->gpu, &graph));
   sinter_status status = add_nodes(g, v, s, syms, graph);
   if (status != SINTER_ok) {
      g->ops->graph_drop(g->gpu, graph);
      return status;
   }
   return g->ops->graph_make(g->gpu, graph, out);
}

static sinter_status record_bucket(rt_gpu_program *g, variant *v, int64_t rows)
{
   bucket *b = &v->buckets[v->num_buckets];
   int64_t syms[SYM_COUNT];

   b->rows = rows;
   b->execs = calloc(v->num_pieces + 1, sizeof *b->execs);
   if (!b->execs)
      return no_memory();
   v->num_buckets++;
   bucket_syms(g, rows, syms);
   for (uint32_t i = 0; i < v->num_pieces; i++)
      if (v->pieces[i].recorded)
         SINTER_TRY(record_piece(g, v, &v->pieces[i], syms, &b->execs[i]));
   return SINTER_ok;
}

/* Powers of two from the variant before to this one's rows, which come last. */
static sinter_status record_variant(rt_gpu_program *g, variant *v, int64_t more_than)
{
   int64_t most = MIN(v->plan->max_rows, g->most[SYM_T]);

   for (int64_t rows = 1; rows < most; rows *= 2)
      if (rows > more_than && v->num_buckets < MAX_BUCKETS - 1)
         SINTER_TRY(record_bucket(g, v, rows));
   return record_bucket(g, v, most);
}

static sinter_status fill(rt_gpu_program *g, void *module, const rt_gpu_memory *m,
                          rt_gpu_graphs graphs)
{
   uint32_t longest = 1;
   int64_t more_than = 0;

   SINTER_TRY(find_kernels(g, module));
   g->variants = calloc(MAX(g->plan->num_variants, 1u), sizeof *g->variants);
   for (uint32_t i = 0; i < g->plan->num_variants; i++)
      longest = MAX(longest, g->plan->variants[i].num_launches);
   g->nodes = calloc(longest, sizeof *g->nodes);
   if (!g->variants || !g->nodes)
      return no_memory();
   for (uint32_t i = 0; i < g->plan->num_variants; i++) {
      variant *v = &g->variants[i];
      v->plan = &g->plan->variants[i];
      SINTER_TRY(bind_variant(v, m));
      cut(v, graphs);
      SINTER_TRY(record_variant(g, v, more_than));
      more_than = v->plan->max_chunks ? more_than : v->plan->max_rows;
   }
   return SINTER_ok;
}

sinter_status rt_gpu_program_create(const rt_gpu_ops *ops, rt_gpu *gpu, void *module, const plan *p,
                                    const rt_gpu_memory *memory, const int64_t *syms,
                                    rt_gpu_graphs graphs, rt_gpu_program **out)
{
   rt_gpu_program *g = calloc(1, sizeof *g);

   *out = NULL;
   if (!g)
      return no_memory();
   g->ops = ops;
   g->gpu = gpu;
   g->plan = p;
   memcpy(g->most, syms, sizeof g->most);
   sinter_status status = fill(g, module, memory, graphs);
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
         for (uint32_t s = 0; v->buckets[b].execs && s < v->num_pieces; s++)
            if (v->buckets[b].execs[s])
               g->ops->exec_destroy(g->gpu, v->buckets[b].execs[s]);
         free(v->buckets[b].execs);
      }
      free(v->args);
      free(v->pieces);
   }
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

sinter_status rt_gpu_program_run(rt_gpu_program *g, const sinter_step_block *block)
{
   const variant *v = choose(g, block->sym);
   const bucket *b = v ? bucket_of(v, block->sym[SYM_T]) : NULL;

   if (!v)
      return base_fail(SINTER_bad_input, g->plan->target, "compile the model again",
                       "no variant of the plan takes a step of %lld rows",
                       (long long)block->sym[SYM_T]);
   g->counters.segments += v->plan->num_segments;
   for (uint32_t i = 0; i < v->num_pieces; i++) {
      if (b && b->execs[i]) {
         SINTER_TRY(g->ops->graph_launch(g->gpu, b->execs[i]));
         g->counters.graphs++;
      } else {
         SINTER_TRY(run_eager(g, v, &v->pieces[i], block->sym));
      }
   }
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
