/* dev_host.h - what the devices in this process share: buffers, KV pages, launch lists, threads. */
#ifndef RT_DEV_HOST_H
#define RT_DEV_HOST_H

#include "segment.h"

/* How a device gets its kernels and weights. */
typedef struct rt_host_kind {
   rt_find_kernel *find;
   void *user;
   const uint8_t *weights;
   bool picks; /* tokens are picked from logits: they are a model's */
} rt_host_kind;

typedef struct rt_host rt_host;

/* Maps arena, scratch, logits and KV pages (all lazily) and binds the plan's launches. Errors
 * OUT_OF_MEMORY, and those of rt_program_create and rt_pool_create. */
SINTER_CHECKED sinter_status rt_host_create(const plan *p, const rt_limits *limits, rt_step *step,
                                            const rt_host_kind *kind, rt_host **out);
void rt_host_destroy(rt_host *h);

/* The largest step that the limits allow, by symbol. */
void rt_host_largest_step(const plan *p, const rt_limits *limits, int64_t syms[SYM_COUNT]);

/* As in rt_device_ops. */
SINTER_CHECKED sinter_status rt_host_run(rt_host *h, const float **out_logits);
const int32_t *rt_host_picks(const rt_host *h);
const int32_t *rt_host_routes(const rt_host *h, uint32_t index);
void rt_host_copy_page(rt_host *h, uint32_t group, int32_t from, int32_t to);
void rt_host_read_page(rt_host *h, uint32_t group, int32_t page, uint8_t *to);
void rt_host_write_page(rt_host *h, uint32_t group, int32_t page, const uint8_t *from);
void rt_host_poison_page(rt_host *h, uint32_t group, int32_t page);
bool rt_host_post(rt_host *h, void (*fn)(void *user), void *user);
void rt_host_stats(const rt_host *h, sinter_stats *out);
SINTER_CHECKED sinter_status rt_host_time_steps(rt_host *h, uint32_t steps);
uint32_t rt_host_launches(const rt_host *h, const sinter_launch_time **out);

#endif
