/* dev_gpu.c - memory and steps of a device behind a driver.
 *
 *    open   driver ─▶ target of the artifact ─▶ kernels ─▶ weights, KV pages, arena ─▶ graphs
 *    run    meta arrays ─▶ staging (pinned) ─▶ device;  graphs;  logits ─▶ host
 *
 * Everything is taken when the device is opened; a step takes nothing. */
#include "dev_gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "artifact.h"
#include "base/debug.h"
#include "base/draw.h"
#include "dev_host.h"
#include "gpu_modules.h"
#include "gpu_pool.h"
#include "gpu_program.h"
#include "launch_times.h"
#include "meta.h"

enum { MAX_MEMORY = 4096, PATH_BYTES = 4096 };

/* A field of meta.def on its way to the device. */
typedef struct stage {
   void *host; /* pinned; NULL: no launch reads the field */
   uint64_t device;
} stage;

struct rt_device {
   const rt_gpu_ops *ops;
   rt_gpu *gpu;
   const plan *plan;
   rt_step *step;
   int64_t most[SYM_COUNT];
   rt_gpu_modules modules;
   rt_gpu_memory memory;
   stage block, meta[RT_MAX_FIELDS][8];
   float *logits; /* pinned */
   bool picks;    /* launches pick tokens: the routes behind the plan's */
   int32_t **routes;
   rt_gpu_pool pools[8]; /* by cache group */
   rt_gpu_program *program;
   uint32_t num_device, num_host;
   uint64_t device_memory[MAX_MEMORY];
   void *host_memory[MAX_MEMORY];
};

/* ---- memory ---- */

static sinter_status take(rt_device *d, uint64_t size, const char *what, uint64_t *out)
{
   if (d->num_device == MAX_MEMORY)
      return base_fail(SINTER_unsupported, what, "report the model",
                       "the device would need more than %d pieces of memory", MAX_MEMORY);
   SINTER_TRY_IN(what, d->ops->alloc(d->gpu, MAX(size, 1), out));
   d->device_memory[d->num_device++] = *out;
   return SINTER_ok;
}

static sinter_status take_host(rt_device *d, uint64_t size, void **out)
{
   if (d->num_host == MAX_MEMORY)
      return base_fail(SINTER_unsupported, "staging", "report the model",
                       "the device would need more than %d pieces of memory", MAX_MEMORY);
   SINTER_TRY_IN("staging", d->ops->host_alloc(d->gpu, MAX(size, 1), out));
   d->host_memory[d->num_host++] = *out;
   return SINTER_ok;
}

static sinter_status take_stage(rt_device *d, uint64_t size, const char *what, stage *out)
{
   SINTER_TRY(take_host(d, size, &out->host));
   return take(d, size, what, &out->device);
}

/* Fields that no launch reads stay on the host. */
static sinter_status take_meta(rt_device *d)
{
   const plan *p = d->plan;

   for (uint32_t v = 0; v < p->num_variants; v++) {
      for (uint32_t i = 0; i < p->variants[v].num_launches; i++) {
         const plan_launch *l = &p->variants[v].launches[i];
         for (uint32_t k = 0; k < l->num_refs; k++) {
            const plan_ref *r = &l->refs[k];
            stage *s = r->kind == PLAN_REF_meta ? &d->meta[r->index][r->index2] : NULL;
            if (!s || s->host)
               continue;
            SINTER_TRY(
               take_stage(d, rt_meta_bytes(p, r->index, r->index2, d->most), "step arrays", s));
            d->memory.meta[r->index][r->index2] = s->device;
         }
      }
   }
   SINTER_TRY(take_stage(d, sizeof(sinter_step_block), "step block", &d->block));
   d->memory.step = d->block.device;
   return SINTER_ok;
}

static sinter_status take_group(rt_device *d, uint32_t index, const rt_limits *limits)
{
   const plan_cache_group *g = &d->plan->cache_groups[index];

   SINTER_TRY(rt_gpu_pool_create(d->ops, d->gpu, plan_page_bytes(g), limits->pages[index],
                                 g->num_layers, &d->pools[index]));
   d->memory.state[index] = d->pools[index].layers;
   return SINTER_ok;
}

static sinter_status take_outputs(rt_device *d, const rt_limits *limits)
{
   const plan *p = d->plan;
   uint64_t logits = (uint64_t)limits->max_wanted * plan_row(&p->model) * sizeof(float);

   SINTER_TRY(take(d, logits, "logits", &d->memory.logits));
   SINTER_TRY(take_host(d, logits, (void **)&d->logits));
   d->picks = plan_has_picks(p);
   d->routes = calloc(plan_output_picks(p), sizeof *d->routes);
   d->memory.routes = calloc(plan_output_picks(p), sizeof *d->memory.routes);
   if (!d->routes || !d->memory.routes)
      return base_fail(SINTER_out_of_memory, "device", "", "no memory for expert ids");
   for (uint32_t i = 0; i < plan_output_picks(p); i++) {
      uint64_t bytes =
         (uint64_t)d->most[SYM_T] * (i < p->num_routes ? p->routes[i].k : 1) * sizeof(int32_t);
      SINTER_TRY(take(d, bytes, "expert ids", &d->memory.routes[i]));
      SINTER_TRY(take_host(d, bytes, (void **)&d->routes[i]));
   }
   return SINTER_ok;
}

static sinter_status take_weights(rt_device *d, const rt_bytes *weights)
{
   SINTER_TRY(take(d, weights->size, "weights", &d->memory.weights));
   if (weights->size)
      SINTER_TRY(d->ops->copy_in(d->gpu, d->memory.weights, weights->data, weights->size));
   return d->ops->wait(d->gpu);
}

static sinter_status take_all(rt_device *d, const rt_limits *limits, const rt_bytes *weights)
{
   const plan *p = d->plan;

   rt_host_largest_step(p, limits, d->most);
   SINTER_TRY(take(d, p->arena_bytes, "activations", &d->memory.arena));
   SINTER_TRY(
      take(d, (uint64_t)plan_extent_eval(&p->scratch, d->most), "scratch", &d->memory.scratch));
   SINTER_TRY(take_outputs(d, limits));
   for (uint32_t i = 0; i < p->num_cache_groups; i++)
      SINTER_TRY(take_group(d, i, limits));
   SINTER_TRY(take_meta(d));
   return take_weights(d, weights);
}

/* ---- opening ---- */

/* The artifact's target for the GPU that is there. */
static sinter_status find_target(rt_device *d, const char *name, const rt_artifact *a, bool tower,
                                 uint32_t *out)
{
   size_t len = strlen(d->ops->vendor);

   if (strcmp(name, d->ops->vendor) != 0)
      return rt_artifact_target(a, name, tower, out);
   bool found = false, code = false;
   for (uint32_t i = 0; i < rt_artifact_num_targets(a) && !code; i++) {
      const char *target = rt_artifact_plan(a, i)->target;
      if (tower != (rt_artifact_plan(a, i)->model.tower != 0))
         continue;
      if (strncmp(target, d->ops->vendor, len) != 0 || target[len] != ':' ||
          !rt_gpu_runs(d->ops->arch(d->gpu), target + len + 1))
         continue;
      /* Machine code goes before what the driver would have to compile. */
      code = strncmp(target + len + 1, "compute_", 8) != 0;
      *out = code || !found ? i : *out;
      found = true;
   }
   if (found)
      return SINTER_ok;
   return base_fail(SINTER_unsupported, rt_artifact_path(a),
                    "compile it with --target for this GPU", "the artifact has no kernels for %s",
                    d->ops->arch(d->gpu));
}

static sinter_status load(rt_device *d, const char *name, const rt_artifact *artifact,
                          const rt_limits *limits)
{
   uint32_t target;
   rt_bytes weights;

   SINTER_TRY(find_target(d, name, artifact, limits->tower, &target));
   d->plan = rt_artifact_plan(artifact, target);
   SINTER_TRY(rt_gpu_modules_load(
      d->ops, d->gpu, d->plan, rt_artifact_section(artifact, ARTIFACT_code, target), &d->modules));
   SINTER_TRY(rt_artifact_weights(artifact, target, &weights));
   SINTER_TRY(take_all(d, limits, &weights));
   rt_gpu_graphs graphs = debug_is_on(DEBUG_eager)   ? RT_GPU_GRAPHS_none
                          : debug_is_on(DEBUG_split) ? RT_GPU_GRAPHS_phases
                                                     : RT_GPU_GRAPHS_segments;
   rt_gpu_conditions conditions = debug_is_on(DEBUG_break)    ? RT_GPU_CONDITIONS_break
                                  : debug_is_on(DEBUG_blocks) ? RT_GPU_CONDITIONS_blocks
                                                              : RT_GPU_CONDITIONS_nodes;
   SINTER_TRY(rt_gpu_program_create(d->ops, d->gpu, d->modules.of, d->plan, &d->memory, d->most,
                                    graphs, conditions, &d->program));
   return limits->time_launches ? rt_gpu_program_time_steps(d->program, RT_TIMES_always)
                                : SINTER_ok;
}

/* May come from another thread than the steps. */
static void gpu_close(rt_device *d)
{
   sinter_status status = d->gpu ? d->ops->enter(d->gpu) : SINTER_ok;

   (void)status; /* what cannot be given back goes with the process */
   rt_gpu_program_destroy(d->program);
   for (uint32_t i = 0; i < d->num_device; i++)
      d->ops->release(d->gpu, d->device_memory[i]);
   for (uint32_t i = 0; i < d->num_host; i++)
      d->ops->host_release(d->gpu, d->host_memory[i]);
   for (uint32_t i = 0; i < countof(d->pools); i++)
      rt_gpu_pool_destroy(&d->pools[i]);
   free(d->memory.routes);
   free(d->routes);
   rt_gpu_modules_unload(d->ops, d->gpu, &d->modules);
   if (d->gpu)
      d->ops->close(d->gpu);
   free(d);
}

/* The stand-in for a driver lies beside this library. */
static sinter_status mock_path(char out[PATH_BYTES])
{
   Dl_info info;
   const char *slash = dladdr((void *)(uintptr_t)&gpu_close, &info) && info.dli_fname
                          ? strrchr(info.dli_fname, '/')
                          : NULL;

   if (!slash)
      return base_fail(SINTER_no_device, "mock", "run ./setup",
                       "this library's own folder is not known");
   snprintf(out, PATH_BYTES, "%.*s/libsinter_mock.so", (int)(slash - info.dli_fname),
            info.dli_fname);
   return SINTER_ok;
}

static sinter_status open_driver(rt_device *d, const char *name)
{
   char path[PATH_BYTES];

   if (strcmp(name, d->ops->vendor) == 0)
      return d->ops->open(NULL, &d->gpu);
   SINTER_TRY(mock_path(path));
   return d->ops->open(path, &d->gpu);
}

static sinter_status gpu_open(const rt_gpu_ops *ops, const char *name, const rt_artifact *artifact,
                              const rt_limits *limits, rt_step *step, rt_device **out)
{
   rt_device *d = calloc(1, sizeof *d);

   *out = NULL;
   if (!d)
      return base_fail(SINTER_out_of_memory, name, "", "no memory for the device");
   d->ops = ops;
   d->step = step;
   sinter_status status = open_driver(d, name);
   if (status == SINTER_ok)
      status = load(d, name, artifact, limits);
   if (status != SINTER_ok) {
      gpu_close(d);
      return status;
   }
   *out = d;
   return SINTER_ok;
}

/* ---- steps ---- */

static sinter_status send(rt_device *d, const stage *s, const void *from, uint64_t size)
{
   if (!size)
      return SINTER_ok;
   memcpy(s->host, from, size);
   return d->ops->copy_in(d->gpu, s->device, s->host, size);
}

static sinter_status send_step(rt_device *d)
{
   const int64_t *syms = d->step->block.sym;

   SINTER_TRY(send(d, &d->block, &d->step->block, sizeof d->step->block));
   for (uint32_t f = 0; f < RT_META_COUNT; f++)
      for (uint32_t i = 0; i < countof(d->meta[f]); i++)
         if (d->meta[f][i].host)
            SINTER_TRY(
               send(d, &d->meta[f][i], d->step->meta[f][i], rt_meta_bytes(d->plan, f, i, syms)));
   return SINTER_ok;
}

/* Rows of logits that no launch has picked from, as few pieces as they are; and what was picked. */
static sinter_status fetch_wanted(rt_device *d)
{
   const draw *how = d->step->meta[RT_META_picks][0];
   const uint32_t rows = (uint32_t)d->step->block.sym[SYM_R], picks = d->plan->num_routes;
   const size_t row = plan_row(&d->plan->model);

   for (uint32_t i = 0, n; i < rows; i += MAX(n, 1u)) {
      for (n = 0; i + n < rows && (!d->picks || how[i + n].how == DRAW_host);)
         n++;
      if (n)
         SINTER_TRY(d->ops->copy_out(d->gpu, d->logits + i * row,
                                     d->memory.logits + i * row * sizeof(float),
                                     n * row * sizeof(float)));
   }
   if (!rows || !d->picks)
      return SINTER_ok;
   return d->ops->copy_out(d->gpu, d->routes[picks], d->memory.routes[picks],
                           rows * sizeof(int32_t));
}

static sinter_status fetch(rt_device *d)
{
   const int64_t *syms = d->step->block.sym;

   SINTER_TRY(fetch_wanted(d));
   for (uint32_t i = 0; i < d->plan->num_routes; i++)
      SINTER_TRY(d->ops->copy_out(d->gpu, d->routes[i], d->memory.routes[i],
                                  (uint64_t)syms[SYM_T] * d->plan->routes[i].k * sizeof(int32_t)));
   return d->ops->wait(d->gpu);
}

/* No step may read what an earlier one has left: all bits set is NaN. */
static sinter_status poison(rt_device *d)
{
   SINTER_TRY(d->ops->fill(d->gpu, d->memory.arena, 0xff, d->plan->arena_bytes));
   return d->ops->fill(d->gpu, d->memory.logits, 0xff,
                       (uint64_t)d->step->block.sym[SYM_R] * plan_row(&d->plan->model) *
                          sizeof(float));
}

static sinter_status gpu_run(rt_device *d, const float **out_logits)
{
   SINTER_TRY(d->ops->enter(d->gpu));
   if (debug_is_on(DEBUG_poison) && d->step->block.sym[SYM_R])
      SINTER_TRY(poison(d));
   rt_gpu_program_conditions(d->program, &d->step->block);
   SINTER_TRY(send_step(d));
   SINTER_TRY(rt_gpu_program_run(d->program, &d->step->block));
   SINTER_TRY(fetch(d));
   *out_logits = d->logits;
   return rt_gpu_program_read_times(d->program, d->step->block.sym);
}

static const int32_t *gpu_picks(const rt_device *d)
{
   return d->picks ? d->routes[d->plan->num_routes] : NULL;
}

static const int32_t *gpu_routes(const rt_device *d, uint32_t index)
{
   return d->routes[index];
}

/* A failure is found again by the next step: the stream is in order, and errors stick. */
static void gpu_copy_page(rt_device *d, uint32_t group, int32_t from, int32_t to)
{
   uint64_t size = d->pools[group].page_bytes;
   sinter_status status = d->ops->enter(d->gpu);

   for (uint32_t l = 0; status == SINTER_ok && l < d->plan->cache_groups[group].num_layers; l++) {
      uint64_t pages = d->memory.state[group][l];
      status =
         d->ops->copy(d->gpu, pages + (uint64_t)to * size, pages + (uint64_t)from * size, size);
   }
}

/* Waits: what the host has is used at once, and what it holds may be given to others. Failures as
 * in gpu_copy_page. */
static void gpu_read_page(rt_device *d, uint32_t group, int32_t page, uint8_t *to)
{
   uint64_t size = d->pools[group].page_bytes;
   sinter_status status = d->ops->enter(d->gpu);

   for (uint32_t l = 0; status == SINTER_ok && l < d->plan->cache_groups[group].num_layers; l++)
      status = d->ops->copy_out(d->gpu, to + l * size,
                                d->memory.state[group][l] + (uint64_t)page * size, size);
   if (status == SINTER_ok)
      status = d->ops->wait(d->gpu);
   if (status != SINTER_ok) /* nothing that could pass for the page */
      memset(to, 0xff, d->plan->cache_groups[group].num_layers * size);
}

static void gpu_write_page(rt_device *d, uint32_t group, int32_t page, uint8_t *from)
{
   uint64_t size = d->pools[group].page_bytes;
   sinter_status status = d->ops->enter(d->gpu);

   for (uint32_t l = 0; status == SINTER_ok && l < d->plan->cache_groups[group].num_layers; l++)
      status = d->ops->copy_in(d->gpu, d->memory.state[group][l] + (uint64_t)page * size,
                               from + l * size, size);
   if (status == SINTER_ok)
      status = d->ops->wait(d->gpu);
   (void)status;
}

static void gpu_poison_page(rt_device *d, uint32_t group, int32_t page)
{
   uint64_t size = d->pools[group].page_bytes;
   sinter_status status = d->ops->enter(d->gpu);

   for (uint32_t l = 0; status == SINTER_ok && l < d->plan->cache_groups[group].num_layers; l++)
      status = d->ops->fill(d->gpu, d->memory.state[group][l] + (uint64_t)page * size, 0xff, size);
}

static int64_t gpu_grow(rt_device *d, uint32_t group, int64_t pages)
{
   rt_gpu_pool *p = &d->pools[group];
   sinter_status status = d->ops->enter(d->gpu);

   if (status == SINTER_ok)
      status = rt_gpu_pool_grow(p, pages);
   (void)status; /* what there is stays usable; failures are counted */
   return rt_gpu_pool_usable(p);
}

static void gpu_stats(const rt_device *d, sinter_stats *out)
{
   const rt_gpu_counters *c = rt_gpu_program_counters(d->program);

   out->launches += c->launches;
   out->segments += c->segments;
   out->graphs += c->graphs;
   out->weight_bytes_read += c->bytes;
   out->ops += c->ops;
   out->graph_bytes += c->graph_bytes;
   for (uint32_t i = 0; i < countof(d->pools); i++) {
      out->kv_bytes +=
         d->pools[i].num_layers * (d->pools[i].piece ? d->pools[i].mapped : d->pools[i].range);
      out->kv_refused += d->pools[i].failures;
   }
}

static sinter_status gpu_time_steps(rt_device *d, uint32_t steps)
{
   SINTER_TRY(d->ops->enter(d->gpu));
   return rt_gpu_program_time_steps(d->program, steps);
}

static uint32_t gpu_launches(const rt_device *d, const sinter_launch_time **out)
{
   return rt_gpu_program_launches(d->program, out);
}

/* One table for each device name. */
#define DEVICE_TABLE(id, text, vendor)                                                             \
   static sinter_status open_##id(const rt_artifact *artifact, const rt_limits *limits,            \
                                  rt_step *step, rt_device **out)                                  \
   {                                                                                               \
      return gpu_open(&rt_##vendor##_ops, text, artifact, limits, step, out);                      \
   }                                                                                               \
   const rt_device_ops rt_##id##_device = {                                                        \
      .name = text,                                                                                \
      .open = open_##id,                                                                           \
      .close = gpu_close,                                                                          \
      .run = gpu_run,                                                                              \
      .picks = gpu_picks,                                                                          \
      .routes = gpu_routes,                                                                        \
      .copy_page = gpu_copy_page,                                                                  \
      .read_page = gpu_read_page,                                                                  \
      .write_page = gpu_write_page,                                                                \
      .grow = gpu_grow,                                                                            \
      .poison_page = gpu_poison_page,                                                              \
      .stats = gpu_stats,                                                                          \
      .time_steps = gpu_time_steps,                                                                \
      .launches = gpu_launches,                                                                    \
   };

DEVICE_TABLE(cuda, "cuda", cuda)
DEVICE_TABLE(hip, "hip", hip)
DEVICE_TABLE(mock_cuda, "mock-cuda", cuda)
DEVICE_TABLE(mock_hip, "mock-hip", hip)
