// LINK: codegen runtime sinter_mock
/* The mock device against its own promises: what it refuses, what it does late, and which mistakes
 * of kernels it shows. Kernels are small ones in the language of kernels/simt.h, built as the
 * compiler builds its own. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/sanitized.h"
#include "base/simt_abi.h"
#include "codegen/simt.h"
#include "mock/mock.h"

#define OK(call) cr_assert(eq(int, (call), 0), "%s", mock_message())
#define ERROR(error, call) cr_assert(eq(int, (call), (error)), "%s", mock_message())

/* A sanitizer takes such signals for itself. */
#ifdef __SANITIZE_ADDRESS__
#define FAULTS .disabled = true
#else
#define FAULTS .signal = SIGSEGV
#endif

static const unsigned one[] = {1, 1, 1}, threads[] = {SIMT_THREADS, 1, 1};

typedef struct device {
   arena *a;
   void *stream, *module;
   uint64_t memory; /* 4 KiB */
   float *pinned;
} device;

static void open_device(device *d)
{
   OK(mock_start(32));
   OK(mock_context_set(mock_context()));
   OK(mock_stream_create(&d->stream));
   OK(mock_alloc(4096, &d->memory));
   OK(mock_host_alloc(4096, (void **)&d->pinned));
}

/* A module of kernels with these bodies; `out` is the memory that they get. */
static void load(device *d, const char *kernels)
{
   text_buf text = {0};
   const uint8_t *object;
   size_t size;

   cr_assert(eq(int, arena_create(&d->a), SINTER_ok));
   text.a = d->a;
   const cg_machine machine = {arch_find("sm_90a"), true};
   cr_assert(eq(int, cg_simt_text(d->a, CG_HOST, machine, "mock-cuda", NULL, 0, &text), SINTER_ok));
   text_printf(&text, "typedef struct { float x[SIMT_THREADS]; } some;\n%s", kernels);
   cr_assert(eq(int, cg_host_object(d->a, text.data, text.len, &object, &size), SINTER_ok), "%s",
             sinter_error());
   OK(mock_module_load(object, &d->module));
}

static void *find(device *d, const char *name)
{
   void *function;

   OK(mock_function(d->module, name, &function));
   return function;
}

/* Arguments of one tile: the memory. A step block is not looked at without factors. */
static simt_args args_of(const device *d)
{
   return (simt_args){.k.ptr[0] = (void *)(uintptr_t)d->memory, .tiles = 1};
}

/* Runs a kernel under an order of threads; x[0 .. 128) of the memory, or the error. */
static int run(device *d, const char *name, mock_order order, float *x)
{
   simt_args args = args_of(d);
   void *parameters[] = {&args};

   mock_set_order(order);
   OK(mock_launch(find(d, name), one, threads, 0, parameters, d->stream));
   int error = mock_stream_wait(d->stream);
   if (error)
      return error;
   OK(mock_copy(d->pinned, (void *)(uintptr_t)d->memory, SIMT_THREADS * 4, HIP_COPY_out,
                d->stream));
   OK(mock_stream_wait(d->stream));
   memcpy(x, d->pinned, SIMT_THREADS * 4);
   return 0;
}

#define BEGIN                                                                                      \
   "{ SIMT_BEGIN(a); SIMT_SHARED(some, s); const int t = simt_thread(); float *y = (float "        \
   "*)a->ptr[0]; "

/* ---- what is refused ---- */

Test(mock, refuses_while_a_graph_is_built)
{
   device d = {0};
   uint64_t address;
   void *graph, *memory, *exec;

   open_device(&d);
   OK(mock_graph_create(&graph));
   ERROR(CUDA_ERROR_stream_capture_unsupported, mock_alloc(64, &address));
   ERROR(CUDA_ERROR_stream_capture_unsupported, mock_free(d.memory));
   ERROR(CUDA_ERROR_stream_capture_unsupported, mock_host_alloc(64, &memory));
   ERROR(CUDA_ERROR_stream_capture_unsupported, mock_stream_wait(d.stream));
   ERROR(
      CUDA_ERROR_stream_capture_unsupported,
      mock_module_load("no image at all, and too short for one.......................", &memory));
   OK(mock_graph_make(graph, 0, &exec));
   OK(mock_alloc(64, &address));
   OK(mock_graph_destroy(graph));
}

Test(mock, refuses_what_is_not_its_own)
{
   device d = {0};
   char bytes[64] = "";
   void *out;

   open_device(&d);
   ERROR(CUDA_ERROR_illegal_address,
         mock_copy((void *)(uintptr_t)d.memory, bytes, 5000, HIP_COPY_in, d.stream));
   ERROR(CUDA_ERROR_illegal_address,
         mock_copy((void *)(uintptr_t)(d.memory + 4090), bytes, 64, HIP_COPY_in, d.stream));
   ERROR(CUDA_ERROR_invalid_handle, mock_fill(d.memory, 0, 64, &d));
   OK(mock_free(d.memory));
   ERROR(CUDA_ERROR_invalid_value, mock_free(d.memory));
   ERROR(CUDA_ERROR_illegal_address, mock_fill(d.memory, 0, 64, d.stream));
   ERROR(CUDA_ERROR_invalid_value, mock_host_free(bytes));
   ERROR(CUDA_ERROR_invalid_handle, mock_graph_destroy(NULL));
   ERROR(CUDA_ERROR_invalid_value, mock_module_load(bytes, &out));
   ERROR(CUDA_ERROR_invalid_context, mock_context_set(&d));
}

static void *without_context(void *user)
{
   uint64_t address;

   *(int *)user = mock_alloc(64, &address);
   return NULL;
}

Test(mock, a_thread_needs_the_context)
{
   device d = {0};
   pthread_t thread;
   int error = 0;

   open_device(&d);
   pthread_create(&thread, NULL, without_context, &error);
   pthread_join(thread, NULL);
   cr_assert(eq(int, error, CUDA_ERROR_invalid_context));
}

Test(mock, refuses_bad_launches)
{
   device d = {0}, other = {0};
   simt_args args;
   void *parameters[] = {&args}, *graph, *another, *node, *exec;

   open_device(&d);
   load(&d, "SIMT_KERNEL(k) " BEGIN "y[t] = 1; s->x[t] = 0; }");
   args = args_of(&d);
   void *k = find(&d, "k");
   ERROR(CUDA_ERROR_not_found, mock_function(d.module, "no_such", &node));
   ERROR(CUDA_ERROR_invalid_value,
         mock_launch(k, (unsigned[]){0, 1, 1}, threads, 0, parameters, d.stream));
   ERROR(CUDA_ERROR_invalid_value,
         mock_launch(k, (unsigned[]){1, 2, 1}, threads, 0, parameters, d.stream));
   ERROR(CUDA_ERROR_invalid_value,
         mock_launch(k, one, (unsigned[]){33, 1, 1}, 0, parameters, d.stream));
   ERROR(CUDA_ERROR_invalid_value,
         mock_launch(k, one, (unsigned[]){2048, 1, 1}, 0, parameters, d.stream));
   ERROR(CUDA_ERROR_invalid_value, mock_launch(k, one, threads, 1 << 20, parameters, d.stream));
   ERROR(CUDA_ERROR_invalid_value, mock_launch(k, one, threads, 0, NULL, d.stream));
   OK(mock_graph_create(&graph));
   OK(mock_graph_create(&another));
   OK(mock_graph_add(another, NULL, 0, k, one, threads, parameters, &node));
   ERROR(CUDA_ERROR_invalid_value,
         mock_graph_add(graph, &node, 1, k, one, threads, parameters, &node));
   OK(mock_graph_make(another, 0, &exec));
   ERROR(CUDA_ERROR_invalid_value,
         mock_graph_add(another, NULL, 0, k, one, threads, parameters, &node));
   OK(mock_graph_destroy(graph));
   OK(mock_module_unload(d.module));
   ERROR(CUDA_ERROR_invalid_handle, mock_launch(k, one, threads, 0, parameters, d.stream));
   (void)other;
}

Test(mock, fails_when_it_is_asked_to)
{
   OK(mock_start(32));
   uint32_t before = mock_calls("cuSomething");
   mock_fail("cuSomething", 2);
   OK(mock_enter("cuSomething"));
   ERROR(MOCK_ERROR_planted, mock_enter("cuSomething"));
   OK(mock_enter("cuSomething"));
   cr_assert(eq(u32, mock_calls("cuSomething") - before, 3));
}

/* ---- memory and time ---- */

Test(mock, the_host_cannot_read_the_device, FAULTS)
{
   device d = {0};

   open_device(&d);
   cr_assert(eq(flt, *(volatile float *)(uintptr_t)d.memory, 0));
}

Test(mock, a_kernel_cannot_read_past_the_end)
{
   device d = {0};
   float x[SIMT_THREADS];

   open_device(&d);
   load(&d, "SIMT_KERNEL(k) " BEGIN "y[t] = t == 9 ? y[1024 + t] : 0; s->x[t] = 0; }");
   ERROR(MOCK_ERROR_failed, run(&d, "k", MOCK_FIRST, x));
   cr_assert(ne(ptr, strstr(mock_message(), "kernel k, tile 0, thread 9: address "), NULL), "%s",
             mock_message());
}

/* Kills: an index that nobody looks at, since there is memory behind it. */
Test(mock, an_index_past_its_array_is_named)
{
   device d = {0};
   float x[SIMT_THREADS];

   open_device(&d);
   load(&d, "SIMT_KERNEL(k) " BEGIN
            "float z[2] = {1, 2}; s->x[t] = 0; y[t] = z[t == 9 ? 2 : t % 2]; }");
   cr_assert(eq(int, run(&d, "k", MOCK_FIRST, x), MOCK_ERROR_failed));
   cr_assert(
      ne(ptr, strstr(mock_message(), "kernel k, tile 0, thread 9: an index past the end"), NULL),
      "%s", mock_message());
}

static const struct gpu_piece ours = {.type = GPU_PIECE_pinned, .place = GPU_PLACE_device};
static const struct gpu_access both = {GPU_PLACE_device, 0, GPU_ACCESS_both};

/* A range with memory behind its first piece. */
static uint64_t open_range(device *d, size_t *granularity)
{
   uint64_t address, handle;

   open_device(d);
   OK(mock_granularity(&ours, GPU_GRANULARITY_least, granularity));
   OK(mock_reserve(3 * *granularity, &address));
   OK(mock_piece_create(*granularity, &ours, &handle));
   OK(mock_piece_map(address, *granularity, handle));
   OK(mock_piece_release(handle));
   OK(mock_piece_access(address, *granularity, &both));
   return address;
}

/* Kills: memory without access, or without memory, that can be used; a place that is mapped twice;
 * addresses that are given back with memory behind them; memory that stays. */
Test(mock, ranges_are_what_is_mapped)
{
   device d = {0};
   size_t g;
   uint64_t range = open_range(&d, &g), handle, other, before = mock_memory();
   float x = 1;

   OK(mock_fill(range, 0, g, d.stream));
   ERROR(CUDA_ERROR_illegal_address, mock_fill(range, 0, g + 1, d.stream));
   cr_assert(ne(ptr, strstr(mock_message(), "piece 1 of 3"), NULL), "%s", mock_message());
   ERROR(CUDA_ERROR_invalid_value, mock_reserve(g / 2, &other));
   ERROR(CUDA_ERROR_invalid_value, mock_piece_create(g + 4096, &ours, &handle));
   OK(mock_piece_create(g, &ours, &handle));
   ERROR(CUDA_ERROR_invalid_value, mock_piece_map(range, g, handle));
   ERROR(CUDA_ERROR_invalid_value, mock_piece_map(range + g / 2, g, handle));
   ERROR(CUDA_ERROR_invalid_value, mock_piece_map(range + 3 * g, g, handle));
   OK(mock_piece_map(range + g, g, handle));
   ERROR(CUDA_ERROR_illegal_address, mock_fill(range, 0, g + 1, d.stream));
   OK(mock_piece_access(range + g, g, &both));
   OK(mock_fill(range, 0, 2 * g, d.stream));
   OK(mock_copy((void *)(uintptr_t)(range + g - 2), &x, 4, HIP_COPY_in, d.stream));
   OK(mock_stream_wait(d.stream));
   ERROR(CUDA_ERROR_invalid_value, mock_piece_unmap(range, 2 * g));
   ERROR(CUDA_ERROR_invalid_value, mock_unreserve(range, 3 * g));
   OK(mock_piece_unmap(range + g, g));
   cr_assert(eq(u64, mock_memory(), before + g), "its handle still holds it");
   OK(mock_piece_release(handle));
   ERROR(CUDA_ERROR_invalid_value, mock_piece_map(range + g, g, handle));
   cr_assert(eq(u64, mock_memory(), before));
   OK(mock_piece_unmap(range, g));
   OK(mock_unreserve(range, 3 * g));
   cr_assert(eq(u64, mock_memory(), before - g));
}

/* Kills: work on what was given back in between; a kernel that may touch what has no memory. */
Test(mock, an_unmapped_page_is_named)
{
   device d = {0};
   size_t g;
   uint64_t range = open_range(&d, &g);
   void *parameters[1];

   load(&d, "SIMT_KERNEL(k) " BEGIN "s->x[t] = 0; y[t + (t == 5 ? 4096 : 0)] = 1; }");
   simt_args args = args_of(&d);
   args.k.ptr[0] = (void *)(uintptr_t)range;
   parameters[0] = &args;
   OK(mock_launch(find(&d, "k"), one, threads, 0, parameters, d.stream));
   ERROR(MOCK_ERROR_failed, mock_stream_wait(d.stream));
   cr_assert(ne(ptr, strstr(mock_message(), "kernel k, tile 0, thread 5: address "), NULL), "%s",
             mock_message());
   cr_assert(ne(ptr, strstr(mock_message(), "is not mapped: piece 2 of 3"), NULL), "%s",
             mock_message());
}

Test(mock, what_is_unmapped_too_early_is_named)
{
   device d = {0};
   size_t g;
   uint64_t range = open_range(&d, &g);

   OK(mock_fill(range, 0, g, d.stream));
   OK(mock_piece_unmap(range, g));
   ERROR(CUDA_ERROR_illegal_address, mock_stream_wait(d.stream));
   cr_assert(ne(ptr, strstr(mock_message(), "piece 0 of 3"), NULL), "%s", mock_message());
}

Test(mock, pinned_memory_is_read_late)
{
   device d = {0};
   float own = 1, got = 0;

   open_device(&d);
   d.pinned[0] = 1;
   OK(mock_copy((void *)(uintptr_t)d.memory, d.pinned, 4, HIP_COPY_in, d.stream));
   d.pinned[0] = 2; /* too early: what arrives is this */
   OK(mock_stream_wait(d.stream));
   OK(mock_copy(&got, (void *)(uintptr_t)d.memory, 4, HIP_COPY_out, d.stream));
   cr_assert(eq(flt, got, 2));
   OK(mock_copy((void *)(uintptr_t)d.memory, &own, 4, HIP_COPY_in, d.stream));
   own = 2;
   OK(mock_copy(&got, (void *)(uintptr_t)d.memory, 4, HIP_COPY_out, d.stream));
   cr_assert(eq(flt, got, 1));
}

/* ---- kernels ---- */

/* Kills: a time before the stream has come to it; an event's time that is when it was asked for;
 * one of its last use. */
Test(mock, events_are_times_of_the_stream)
{
   device d;
   void *a, *b, *c;
   float ms = -1, behind = -1;
   int x = 0;

   open_device(&d);
   OK(mock_event_create(0, &a));
   OK(mock_event_create(0, &b));
   OK(mock_event_create(0, &c));
   ERROR(CUDA_ERROR_invalid_handle, mock_event_elapsed(a, b, &ms));
   ERROR(CUDA_ERROR_invalid_handle, mock_event_record(&x, d.stream));
   ERROR(CUDA_ERROR_invalid_handle, mock_event_record(a, &x));
   OK(mock_event_record(a, d.stream));
   usleep(20000); /* the host's */
   OK(mock_event_record(b, d.stream));
   ERROR(CUDA_ERROR_not_ready, mock_event_elapsed(a, b, &ms));
   OK(mock_stream_wait(d.stream));
   OK(mock_event_record(c, d.stream));
   OK(mock_stream_wait(d.stream));
   OK(mock_event_elapsed(a, b, &ms));
   OK(mock_event_elapsed(b, c, &behind));
   cr_assert(ms >= 0 && behind > 0);
   OK(mock_event_record(b, d.stream));
   ERROR(CUDA_ERROR_not_ready, mock_event_elapsed(a, b, &ms));
   OK(mock_event_destroy(a)); /* waits */
   OK(mock_event_elapsed(c, b, &ms));
   ERROR(CUDA_ERROR_invalid_handle, mock_event_elapsed(a, b, &ms));
}

Test(mock, barriers_and_shuffles)
{
   static const mock_order orders[] = {MOCK_FIRST, MOCK_LAST, MOCK_ROUND};
   device d = {0};
   float x[SIMT_THREADS];

   open_device(&d);
   load(&d, "SIMT_KERNEL(right) " BEGIN
            "s->x[t] = (float)t; simt_sync(); y[t] = s->x[SIMT_THREADS - 1 - t]; }"
            "SIMT_KERNEL(missing) " BEGIN "s->x[t] = (float)t; y[t] = s->x[SIMT_THREADS - 1 - t]; }"
            "SIMT_KERNEL(sum) " BEGIN "s->x[0] = 0; y[t] = simt_warp_sum((float)t); }"
            "SIMT_KERNEL(unset) " BEGIN "y[t] = s->x[t]; }");
   for (size_t o = 0; o < countof(orders); o++) {
      OK(run(&d, "right", orders[o], x));
      for (int i = 0; i < SIMT_THREADS; i++)
         cr_assert(eq(flt, x[i], (float)(SIMT_THREADS - 1 - i)));
      OK(run(&d, "sum", orders[o], x));
      for (int i = 0; i < SIMT_THREADS; i++)
         cr_assert(eq(flt, x[i], 496.0f + 1024.0f * (float)(i / 32)));
      OK(run(&d, "unset", orders[o], x));
      cr_assert(isnan(x[0]) && isnan(x[SIMT_THREADS - 1]), "shared memory begins as NaN");
   }
   OK(run(&d, "missing", MOCK_FIRST, x));
   cr_assert(isnan(x[0]), "the first thread reads what the last one has not written");
   OK(run(&d, "missing", MOCK_LAST, x));
   cr_assert(isnan(x[SIMT_THREADS - 1]));
}

/* Each of these ends the context's work, so each is a test of its own. */
static void must_fail(const char *body, const char *says)
{
   device d = {0};
   float x[SIMT_THREADS];
   char text[512];

   open_device(&d);
   snprintf(text, sizeof text, "SIMT_KERNEL(k) " BEGIN "s->x[t] = 0; y[t] = 0; %s }", body);
   load(&d, text);
   ERROR(MOCK_ERROR_failed, run(&d, "k", MOCK_FIRST, x));
   cr_assert(ne(ptr, strstr(mock_message(), says), NULL), "%s", mock_message());
   cr_assert(ne(ptr, strstr(mock_message(), "kernel k, tile 0"), NULL), "%s", mock_message());
   ERROR(MOCK_ERROR_failed, mock_fill(d.memory, 0, 64, d.stream));
}

Test(mock, a_barrier_that_one_thread_misses)
{
   must_fail("if (t == 3) return; simt_sync();", "passed by");
}

Test(mock, two_barriers_at_once)
{
   must_fail("if (t < 64) simt_sync(); else simt_sync();", "different barriers");
}

Test(mock, a_lane_that_returned)
{
   must_fail("if (t == 40) return; y[t] = simt_shfl_xor(1, 1);", "has returned");
}

Test(mock, lanes_at_different_places)
{
   must_fail("if (t & 1) y[t] = simt_shfl_xor(1, 1); else y[t] = simt_shfl_xor(1, 1);",
             "different places");
}

Test(mock, a_lane_at_a_barrier)
{
   must_fail("if (t == 1) simt_sync(); y[t] = simt_shfl_xor(1, 1);", "barrier");
}

/* ---- graphs ---- */

/* y[t] = 2 y[t] + 1, then y[t] = 3 y[t]: only one order gives 3 from 0. */
Test(mock, edges_order_nodes)
{
   device d = {0};
   simt_args args;
   void *parameters[] = {&args}, *exec;

   open_device(&d);
   load(&d, "SIMT_KERNEL(first) " BEGIN "s->x[t] = 0; y[t] = 2 * y[t] + 1; }"
            "SIMT_KERNEL(second) " BEGIN "s->x[t] = 0; y[t] = 3 * y[t]; }");
   args = args_of(&d);
   for (int edge = 1; edge >= 0; edge--) {
      void *graph, *nodes[2];
      float got = -1;
      OK(mock_graph_create(&graph));
      OK(mock_graph_add(graph, NULL, 0, find(&d, "first"), one, threads, parameters, &nodes[0]));
      OK(mock_graph_add(graph, nodes, (size_t)edge, find(&d, "second"), one, threads, parameters,
                        &nodes[1]));
      args.k.ptr[0] = NULL; /* nodes have copies of their arguments */
      OK(mock_graph_make(graph, 0, &exec));
      args = args_of(&d);
      OK(mock_fill(d.memory, 0, 512, d.stream));
      OK(mock_graph_launch(exec, d.stream));
      OK(mock_copy(&got, (void *)(uintptr_t)d.memory, 4, HIP_COPY_out, d.stream));
      cr_assert(eq(flt, got, edge ? 3.0f : 1.0f));
      OK(mock_exec_destroy(exec));
      OK(mock_graph_destroy(graph));
   }
}

/* Kills: a priority out of the device's range, or of a graph that has been made; one that counts
 * though the graph was not made so. */
Test(mock, priorities_of_nodes)
{
   device d = {0};
   simt_args args;
   void *parameters[] = {&args}, *exec[2], *graph, *node;
   int least, greatest;

   open_device(&d);
   load(&d, "SIMT_KERNEL(first) " BEGIN "s->x[t] = 0; y[t] = 2 * y[t] + 1; }");
   args = args_of(&d);
   OK(mock_priorities(&least, &greatest));
   cr_assert(greatest < least);
   const struct gpu_attribute high = {.priority = greatest}, beyond = {.priority = greatest - 1};
   OK(mock_graph_create(&graph));
   OK(mock_graph_add(graph, NULL, 0, find(&d, "first"), one, threads, parameters, &node));
   ERROR(CUDA_ERROR_invalid_value, mock_graph_attribute(node, GPU_ATTRIBUTE_priority, &beyond));
   ERROR(CUDA_ERROR_invalid_value, mock_graph_attribute(node, 2, &high));
   OK(mock_graph_attribute(node, GPU_ATTRIBUTE_priority, &high));
   ERROR(CUDA_ERROR_invalid_value, mock_graph_make(graph, 1, &exec[0]));
   OK(mock_graph_make(graph, 0, &exec[0]));
   OK(mock_graph_make(graph, GPU_MAKE_by_priority, &exec[1]));
   ERROR(CUDA_ERROR_invalid_value, mock_graph_attribute(node, GPU_ATTRIBUTE_priority, &high));
   for (uint64_t i = 0; i < 2; i++) {
      OK(mock_fill(d.memory, 0, 512, d.stream));
      OK(mock_graph_launch(exec[i], d.stream));
      OK(mock_stream_wait(d.stream));
      cr_assert(eq(u64, mock_urgent_grids(), i));
   }
}

/* ---- checked kernels ---- */

#if BASE_SANITIZED
/* One element behind 25: the page goes on, so only a checked kernel sees it. */
static void reads_behind(const char *body)
{
   device d = {0};

   open_device(&d);
   OK(mock_free(d.memory));
   OK(mock_alloc(25 * sizeof(float), &d.memory));
   load(&d, body);
   simt_args args = args_of(&d);
   void *parameters[] = {&args};
   OK(mock_launch(find(&d, "k"), one, threads, 0, parameters, d.stream));
   OK(mock_stream_wait(d.stream));
}

Test(mock, a_kernel_within_its_memory)
{
   reads_behind("SIMT_KERNEL(k) " BEGIN "s->x[t] = 0; if (t < 24) y[t + 1] = y[t]; }");
}

Test(mock, a_kernel_reads_one_element_behind, .exit_code = 1)
{
   reads_behind("SIMT_KERNEL(k) " BEGIN "s->x[t] = 0; if (t < 25) s->x[t] = y[t + 1]; "
                "if (t == 0 && s->x[24] == 12345) y[0] = 0; }");
}

Test(mock, a_copy_reads_behind_pinned_memory, .exit_code = 1)
{
   device d = {0};
   void *pinned;

   open_device(&d);
   OK(mock_host_alloc(100, &pinned));
   OK(mock_copy((void *)(uintptr_t)d.memory, pinned, 104, HIP_COPY_in, d.stream));
   OK(mock_stream_wait(d.stream));
}
#endif
