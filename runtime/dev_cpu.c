/* dev_cpu.c - native kernels: the artifact's object code, loaded and run on the pool. */
#include "dev_host.h"

#include <stdlib.h>

#include "artifact.h"
#include "base/debug.h"
#include "elf.h"

struct rt_device {
   rt_elf *code;
   const plan *plan;
   rt_host *host;
};

static sinter_kernel *find(void *user, uint32_t index)
{
   const rt_device *d = user;
   void *address = rt_elf_symbol(d->code, d->plan->kernels[index].symbol);
   sinter_kernel *kernel;

   memcpy(&kernel, &address, sizeof kernel);
   return kernel;
}

static void cpu_close(rt_device *d)
{
   rt_host_destroy(d->host);
   if (d->code)
      rt_elf_unload(d->code);
   free(d);
}

static sinter_status load(rt_device *d, const rt_artifact *artifact, const rt_limits *limits,
                          rt_step *step)
{
   uint32_t target;
   rt_bytes weights;

   SINTER_TRY(rt_artifact_target(artifact, "cpu", limits->tower, &target));
   d->plan = rt_artifact_plan(artifact, target);
   rt_bytes code = rt_artifact_section(artifact, ARTIFACT_code, target);
   SINTER_TRY(rt_artifact_weights(artifact, target, &weights));
   SINTER_TRY(rt_elf_load(code.data, code.size, rt_artifact_path(artifact), &d->code));
   if (debug_is_on(DEBUG_perf))
      rt_elf_write_perf_map(d->code);
   rt_host_kind kind = {find, d, weights.data, .picks = true};
   return rt_host_create(d->plan, limits, step, &kind, &d->host);
}

static sinter_status cpu_open(const rt_artifact *artifact, const rt_limits *limits, rt_step *step,
                              rt_device **out)
{
   rt_device *d = calloc(1, sizeof *d);

   *out = NULL;
   if (!d)
      return base_fail(SINTER_out_of_memory, "cpu", "", "no memory for the device");
   sinter_status status = load(d, artifact, limits, step);
   if (status != SINTER_ok) {
      cpu_close(d);
      return status;
   }
   *out = d;
   return SINTER_ok;
}

static sinter_status cpu_run(rt_device *d, const float **out_logits)
{
   return rt_host_run(d->host, out_logits);
}

static const int32_t *cpu_picks(const rt_device *d)
{
   return rt_host_picks(d->host);
}

static const int32_t *cpu_routes(const rt_device *d, uint32_t index)
{
   return rt_host_routes(d->host, index);
}

static void cpu_copy_page(rt_device *d, uint32_t group, int32_t from, int32_t to)
{
   rt_host_copy_page(d->host, group, from, to);
}

static void cpu_read_page(rt_device *d, uint32_t group, int32_t page, uint8_t *to)
{
   rt_host_read_page(d->host, group, page, to);
}

static void cpu_write_page(rt_device *d, uint32_t group, int32_t page, uint8_t *from)
{
   rt_host_write_page(d->host, group, page, from);
}

static void cpu_poison_page(rt_device *d, uint32_t group, int32_t page)
{
   rt_host_poison_page(d->host, group, page);
}

static bool cpu_post(rt_device *d, void (*fn)(void *user), void *user)
{
   return rt_host_post(d->host, fn, user);
}

static void cpu_stats(const rt_device *d, sinter_stats *out)
{
   rt_host_stats(d->host, out);
}

static sinter_status cpu_time_steps(rt_device *d, uint32_t steps)
{
   return rt_host_time_steps(d->host, steps);
}

static uint32_t cpu_launches(const rt_device *d, const sinter_launch_time **out)
{
   return rt_host_launches(d->host, out);
}

const rt_device_ops rt_cpu_device = {
   .name = "cpu",
   .open = cpu_open,
   .close = cpu_close,
   .run = cpu_run,
   .picks = cpu_picks,
   .routes = cpu_routes,
   .copy_page = cpu_copy_page,
   .read_page = cpu_read_page,
   .write_page = cpu_write_page,
   .poison_page = cpu_poison_page,
   .post = cpu_post,
   .stats = cpu_stats,
   .time_steps = cpu_time_steps,
   .launches = cpu_launches,
};
