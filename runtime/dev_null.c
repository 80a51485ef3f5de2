/* dev_null.c - everything but the kernels: memory, launch lists, barriers; logits stay zero.
 *
 * What a step costs without its kernels, and the place to start a new device from. */
#include "dev_host.h"

#include <stdlib.h>

#include "artifact.h"

struct rt_device {
   rt_host *host;
};

static void nothing(const sinter_kargs *k, unsigned tile)
{
   (void)k;
   (void)tile;
}

static sinter_kernel *find(void *user, uint32_t index)
{
   (void)user;
   (void)index;
   return nothing;
}

static void null_close(rt_device *d)
{
   rt_host_destroy(d->host);
   free(d);
}

static sinter_status null_open(const rt_artifact *artifact, const rt_limits *limits, rt_step *step,
                               rt_device **out)
{
   uint32_t target;

   *out = NULL;
   SINTER_TRY(rt_artifact_target(artifact, "null", limits->tower, &target));
   rt_device *d = calloc(1, sizeof *d);
   if (!d)
      return base_fail(SINTER_out_of_memory, "null", "", "no memory for the device");
   rt_host_kind kind = {.find = find};
   sinter_status status =
      rt_host_create(rt_artifact_plan(artifact, target), limits, step, &kind, &d->host);
   if (status != SINTER_ok) {
      free(d);
      return status;
   }
   *out = d;
   return SINTER_ok;
}

static sinter_status null_run(rt_device *d, const float **out_logits)
{
   return rt_host_run(d->host, out_logits);
}

static const int32_t *null_routes(const rt_device *d, uint32_t index)
{
   return rt_host_routes(d->host, index);
}

static void null_copy_page(rt_device *d, uint32_t group, int32_t from, int32_t to)
{
   rt_host_copy_page(d->host, group, from, to);
}

static void null_stats(const rt_device *d, sinter_stats *out)
{
   rt_host_stats(d->host, out);
}

static sinter_status null_time_steps(rt_device *d, uint32_t steps)
{
   return rt_host_time_steps(d->host, steps);
}

static uint32_t null_launches(const rt_device *d, const sinter_launch_time **out)
{
   return rt_host_launches(d->host, out);
}

const rt_device_ops rt_null_device = {
   .name = "null",
   .open = null_open,
   .close = null_close,
   .run = null_run,
   .routes = null_routes,
   .copy_page = null_copy_page,
   .stats = null_stats,
   .time_steps = null_time_steps,
   .launches = null_launches,
};
