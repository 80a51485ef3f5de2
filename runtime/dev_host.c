/* dev_host.c - memory, pages and launch lists of a device that runs in this process.
 *
 *    state[group][layer]   page 0 │ page 1 │ …      one mapping a layer, touched as pages are used
 */
#include "dev_host.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/debug.h"
#include "draws.h"
#include "meta.h"
#include "turns.h"

typedef struct mapping {
   uint8_t *data;
   size_t size;
} mapping;

struct rt_host {
   const plan *plan;
   rt_memory memory;
   mapping arena, scratch, logits;
   mapping *routes; /* by plan.routes */
   mapping *state[8];
   uint64_t page_bytes[8];
   rt_program *program;
   rt_pool *pool;
   rt_draws *draws; /* NULL: tokens are not picked */
   bool shared;     /* the pool is the process's */
   bool has_picks;  /* launches pick the likeliest tokens */
   bool poisons;
};

enum { HUGE = 2 << 20 };
static const uint64_t ADDRESSES = (uint64_t)1 << 47;

/* Maps zeroed memory that takes no room until it is touched. huge: asks for huge pages. */
static sinter_status map_memory(uint64_t size, bool huge, const char *what, mapping *out)
{
   /* Kernels may load whole vectors at the end of a buffer. */
   uint64_t whole = size < ADDRESSES ? base_align(size + 64, HUGE) : 0;

   out->data = MAP_FAILED;
   if (whole)
      out->data = mmap(NULL, whole, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
   if (out->data == MAP_FAILED) {
      out->data = NULL;
      return base_fail(SINTER_out_of_memory, what, "use a smaller KV pool or smaller steps",
                       "%llu bytes cannot be mapped", (unsigned long long)size);
   }
   out->size = whole;
   if (huge && size >= HUGE)
      (void)madvise(out->data, whole, MADV_HUGEPAGE);
   return SINTER_ok;
}

static void unmap(mapping *m)
{
   if (m->data)
      munmap(m->data, m->size);
}

static sinter_status map_group(rt_host *h, uint32_t index, const rt_limits *limits)
{
   const plan_cache_group *g = &h->plan->cache_groups[index];
   uint64_t bytes;

   h->page_bytes[index] = plan_page_bytes(g);
   h->state[index] = calloc(g->num_layers, sizeof *h->state[index]);
   h->memory.state[index] = calloc(g->num_layers, sizeof *h->memory.state[index]);
   if (!h->state[index] || !h->memory.state[index] ||
       !base_mul(h->page_bytes[index], (uint64_t)limits->pages[index], &bytes))
      return base_fail(SINTER_out_of_memory, "KV pool", "use a smaller KV pool",
                       "no memory for the pages of a cache group");
   for (uint32_t l = 0; l < g->num_layers; l++) {
      SINTER_TRY(map_memory(bytes, false, "KV pool", &h->state[index][l]));
      h->memory.state[index][l] = h->state[index][l].data;
   }
   return SINTER_ok;
}

void rt_host_largest_step(const plan *p, const rt_limits *limits, int64_t syms[SYM_COUNT])
{
   /* Plans are checked (plan_check.h) against scratch memory for their own largest step. */
   syms[SYM_T] = MAX(limits->max_rows, p->sym_max[SYM_T]);
   syms[SYM_R] = MAX(limits->max_wanted, p->sym_max[SYM_R]);
   syms[SYM_S] = MAX(limits->max_sequences, p->sym_max[SYM_S]);
   syms[SYM_A] = MAX(p->sym_max[SYM_A], 1);
   syms[SYM_C] = (limits->max_positions + ATTN_CHUNK - 1) / ATTN_CHUNK;
   syms[SYM_B] = (limits->max_positions + PAGE_TOKENS - 1) / PAGE_TOKENS;
   syms[SYM_Q] = syms[SYM_S];
   syms[SYM_I] = syms[SYM_T];
}

static sinter_status map_routes(rt_host *h, int64_t rows)
{
   const plan *p = h->plan;

   h->routes = calloc(plan_output_picks(p), sizeof *h->routes);
   h->memory.routes = calloc(plan_output_picks(p), sizeof *h->memory.routes);
   if (!h->routes || !h->memory.routes)
      return base_fail(SINTER_out_of_memory, "device", "", "no memory for expert ids");
   for (uint32_t i = 0; i < plan_output_picks(p); i++) { /* the last one of a number a row */
      uint64_t each = i < p->num_routes ? p->routes[i].k : 1;
      SINTER_TRY(
         map_memory((uint64_t)rows * each * sizeof(int32_t), false, "expert ids", &h->routes[i]));
      h->memory.routes[i] = (int32_t *)(void *)h->routes[i].data;
   }
   return SINTER_ok;
}

static sinter_status map_all(rt_host *h, const rt_limits *limits)
{
   const plan *p = h->plan;
   int64_t syms[SYM_COUNT];

   rt_host_largest_step(p, limits, syms);
   SINTER_TRY(map_memory(p->arena_bytes, true, "activations", &h->arena));
   SINTER_TRY(
      map_memory((uint64_t)plan_extent_eval(&p->scratch, syms), true, "scratch", &h->scratch));
   SINTER_TRY(map_memory((uint64_t)limits->max_wanted * plan_row(&p->model) * sizeof(float), true,
                         "logits", &h->logits));
   SINTER_TRY(map_routes(h, syms[SYM_T]));
   for (uint32_t i = 0; i < p->num_cache_groups; i++)
      SINTER_TRY(map_group(h, i, limits));
   h->memory.arena = h->arena.data;
   h->memory.scratch = h->scratch.data;
   h->memory.logits = (float *)(void *)h->logits.data;
   return SINTER_ok;
}

static sinter_status take_pool(rt_host *h, const rt_limits *limits)
{
   if (!limits->share_threads)
      return rt_pool_create(limits->threads, &h->pool);
   SINTER_TRY(rt_shared_pool(limits->threads, &h->pool));
   h->shared = true;
   return SINTER_ok;
}

static sinter_status build(rt_host *h, const rt_limits *limits, const rt_host_kind *kind)
{
   const plan_model *p = &h->plan->model;

   SINTER_TRY(map_all(h, limits));
   SINTER_TRY(rt_program_create(h->plan, &h->memory, kind->find, kind->user, limits->time_launches,
                                &h->program));
   SINTER_TRY(take_pool(h, limits));
   if (!kind->picks || p->head == PLAN_HEAD_hidden || p->tower)
      return SINTER_ok;
   h->has_picks = plan_has_picks(h->plan);
   return rt_draws_create(p->vocab, rt_pool_threads(h->pool), (uint32_t)limits->max_wanted,
                          &h->draws);
}

sinter_status rt_host_create(const plan *p, const rt_limits *limits, rt_step *step,
                             const rt_host_kind *kind, rt_host **out)
{
   rt_host *h = calloc(1, sizeof *h);

   *out = NULL;
   if (!h)
      return base_fail(SINTER_out_of_memory, "device", "", "no memory for the device");
   h->plan = p;
   h->poisons = debug_is_on(DEBUG_poison);
   h->memory.step = step;
   h->memory.weights = kind->weights;
   sinter_status status = build(h, limits, kind);
   if (status != SINTER_ok) {
      rt_host_destroy(h);
      return status;
   }
   *out = h;
   return SINTER_ok;
}

void rt_host_destroy(rt_host *h)
{
   if (!h)
      return;
   if (h->shared)
      rt_shared_pool_drop();
   else
      rt_pool_destroy(h->pool);
   rt_draws_destroy(h->draws);
   rt_program_destroy(h->program);
   for (uint32_t i = 0; i < h->plan->num_cache_groups; i++) {
      for (uint32_t l = 0; h->state[i] && l < h->plan->cache_groups[i].num_layers; l++)
         unmap(&h->state[i][l]);
      free(h->state[i]);
      free(h->memory.state[i]);
   }
   for (uint32_t i = 0; h->routes && i < plan_output_picks(h->plan); i++)
      unmap(&h->routes[i]);
   free(h->routes);
   free(h->memory.routes);
   unmap(&h->arena);
   unmap(&h->scratch);
   unmap(&h->logits);
   free(h);
}

static int32_t *picks_of(const rt_host *h)
{
   return h->memory.routes[h->plan->num_routes];
}

/* What no launch has picked. */
static void pick(rt_host *h)
{
   const rt_step *step = h->memory.step;
   const rt_drawn_rows rows = {.how = step->meta[RT_META_picks][0],
                               .count = (uint32_t)step->block.sym[SYM_R],
                               .first = h->has_picks ? DRAW_random : DRAW_best,
                               .logits = h->memory.logits,
                               .ids = picks_of(h),
                               .pick = step->pick};

   if (h->draws)
      rt_draws_run(h->draws, h->pool, &rows);
}

sinter_status rt_host_run(rt_host *h, const float **out_logits)
{
   /* No step may read what an earlier one has left: all bits set is NaN. */
   if (h->poisons) {
      memset(h->arena.data, 0xff, h->arena.size);
      memset(h->scratch.data, 0xff, h->scratch.size);
      memset(h->logits.data, 0xff, h->logits.size);
      for (uint32_t i = 0; i < h->plan->num_routes; i++)
         memset(h->routes[i].data, 0xff, h->routes[i].size);
   }
   if (h->shared)
      rt_turn_take();
   sinter_status status = rt_program_run(h->program, h->pool);
   if (status == SINTER_ok)
      pick(h);
   if (h->shared)
      rt_turn_give();
   SINTER_TRY(status);
   *out_logits = h->memory.logits;
   return SINTER_ok;
}

bool rt_host_post(rt_host *h, void (*fn)(void *user), void *user)
{
   return rt_pool_post(h->pool, fn, user);
}

const int32_t *rt_host_picks(const rt_host *h)
{
   return h->draws ? picks_of(h) : NULL;
}

const int32_t *rt_host_routes(const rt_host *h, uint32_t index)
{
   return h->memory.routes[index];
}

void rt_host_copy_page(rt_host *h, uint32_t group, int32_t from, int32_t to)
{
   size_t size = h->page_bytes[group];

   for (uint32_t l = 0; l < h->plan->cache_groups[group].num_layers; l++) {
      uint8_t *pages = h->state[group][l].data;
      memcpy(pages + (size_t)to * size, pages + (size_t)from * size, size);
   }
}

void rt_host_read_page(rt_host *h, uint32_t group, int32_t page, uint8_t *to)
{
   size_t size = h->page_bytes[group];

   for (uint32_t l = 0; l < h->plan->cache_groups[group].num_layers; l++)
      memcpy(to + l * size, h->state[group][l].data + (size_t)page * size, size);
}

void rt_host_write_page(rt_host *h, uint32_t group, int32_t page, const uint8_t *from)
{
   size_t size = h->page_bytes[group];

   for (uint32_t l = 0; l < h->plan->cache_groups[group].num_layers; l++)
      memcpy(h->state[group][l].data + (size_t)page * size, from + l * size, size);
}

void rt_host_poison_page(rt_host *h, uint32_t group, int32_t page)
{
   size_t size = h->page_bytes[group];

   /* All bits set is NaN in f32, f16 and bf16. */
   for (uint32_t l = 0; l < h->plan->cache_groups[group].num_layers; l++)
      memset(h->state[group][l].data + (size_t)page * size, 0xff, size);
}

void rt_host_stats(const rt_host *h, sinter_stats *out)
{
   const rt_counters *c = rt_program_counters(h->program);

   out->launches += c->launches;
   out->segments += c->segments;
   out->graphs += c->graphs;
   out->weight_bytes_read += c->bytes;
   out->ops += c->ops;
   out->byte_ops += c->byte_ops;
}

sinter_status rt_host_time_steps(rt_host *h, uint32_t steps)
{
   return rt_program_time_steps(h->program, steps);
}

uint32_t rt_host_launches(const rt_host *h, const sinter_launch_time **out)
{
   return rt_program_launches(h->program, out);
}
