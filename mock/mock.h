/* mock.h - a GPU and its driver in this process, for tests: what cuda.c and hip.c put the vendors'
 * names on.
 *
 *    stream   a queue: work is done when somebody waits for it, not when it is asked for
 *    memory   one stretch of addresses that faults unless work is being done: a host that reads a device
 *             pointer, a kernel that reads freed memory, and one that runs past the end all end there
 *    graph    nodes with copies of their arguments; after it was made, nothing can be added
 *
 * Refused as a driver refuses it, with the vendor's number: unknown handles and addresses, another
 * context, grids that are empty or too large, nodes that wait for nodes of another graph. Refused
 * though a driver may allow it: memory, modules and waiting while a graph is under construction. */
#ifndef MOCK_H
#define MOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "runtime/gpu_api.h"

enum { MOCK_ERROR_failed = 719, MOCK_ERROR_planted = 999 };

/* ---- for tests; also by the environment:
 * SINTER_MOCK=order=last,fail=NAME:N,granularity=N,reuse,count=FILE ---- */

/* Which thread goes on where several can. */
void mock_set_order(mock_order order);
/* Call number n (from 1, counted from now on) of the function fails. */
void mock_fail(const char *symbol, uint32_t n);
/* Calls of a function so far; NULL: of all of them. */
uint32_t mock_calls(const char *symbol);
/* What went wrong last, in words; "" nothing. */
const char *mock_message(void);
/* Pieces of reserved ranges are multiples of so many bytes; 0: the device has no ranges. */
void mock_set_granularity(size_t bytes);
/* Whether kernels of graphs have priorities: older drivers do not know them. */
void mock_set_priorities(bool has);
/* Memory of the device; 0: as much as it has addresses. What goes beyond is refused. */
void mock_set_memory(uint64_t bytes);
/* Kernels that were run so far. */
uint64_t mock_grids(void);
/* Of those, how many a graph has put in front of others. */
uint64_t mock_urgent_grids(void);
/* Bytes of device memory in use, graphs with them: they take some for each node when they are
 * made. */
uint64_t mock_memory(void);

/* ---- what the vendors' calls share; each returns 0 or an error ---- */

/* Counts a call, and says whether it has to fail. */
int mock_enter(const char *symbol);
/* Words for an error; NULL when it is not one of ours. */
const char *mock_error_name(int error);

int mock_start(uint32_t warp);
int mock_context_set(void *context);
void *mock_context(void);
int mock_alloc(size_t size, uint64_t *out);
int mock_free(uint64_t address);
int mock_memory_info(size_t *left, size_t *total);
/* Ranges of addresses, in mock/ranges.c; each takes what the driver's function does. */
int mock_granularity(const struct gpu_piece *what, int which, size_t *out);
int mock_reserve(size_t size, uint64_t *out);
int mock_unreserve(uint64_t address, size_t size);
int mock_piece_create(size_t size, const struct gpu_piece *what, uint64_t *out);
int mock_piece_release(uint64_t handle);
int mock_piece_map(uint64_t address, size_t size, uint64_t handle);
int mock_piece_unmap(uint64_t address, size_t size);
int mock_piece_access(uint64_t address, size_t size, const struct gpu_access *who);
int mock_host_alloc(size_t size, void **out);
int mock_host_free(void *memory);
/* Kinds as HIP_COPY_x. */
int mock_copy(void *to, const void *from, size_t size, int kind, void *stream);
int mock_fill(uint64_t to, uint8_t byte, size_t size, void *stream);
int mock_stream_create(void **out);
int mock_stream_destroy(void *stream);
int mock_stream_wait(void *stream);
int mock_event_create(unsigned flags, void **out);
/* Its time is when the work before it was done. */
int mock_event_record(void *event, void *stream);
int mock_event_elapsed(void *from, void *to, float *ms);
int mock_event_destroy(void *event);
int mock_module_load(const void *image, void **out);
int mock_module_unload(void *module);
int mock_function(void *module, const char *name, void **out);
int mock_launch(void *function, const unsigned *grid, const unsigned *threads, unsigned shared,
                void **parameters, void *stream);
int mock_graph_create(void **out);
int mock_graph_destroy(void *graph);
int mock_graph_add(void *graph, void *const *after, size_t num_after, void *function,
                   const unsigned *grid, const unsigned *threads, void **parameters, void **out);
int mock_priorities(int *least, int *greatest);
/* Ids and values as gpu_api.h; flags: GPU_MAKE_by_priority or 0. */
int mock_graph_attribute(void *node, int id, const struct gpu_attribute *value);
int mock_graph_make(void *graph, unsigned long long flags, void **out);
/* Leaves a node out of later launches. Refused once the graph that was made is gone. */
int mock_graph_switch(void *exec, void *node, bool on);
int mock_graph_launch(void *exec, void *stream);
int mock_exec_destroy(void *exec);

#endif
