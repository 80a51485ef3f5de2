// LINK: codegen runtime sinter_mock
/* A plan's launches on a device behind a driver: what is bound, what becomes a graph, which bucket
 * a step takes. Both drivers, on the mock, with graphs of segments, of phases, and none.
 *
 *    phase 0   y[t] = 2 x[t] + k                          T tiles
 *    phase 1   z[t] = 3 y[t];   w[t] = y[t] + k'          T tiles each, in one phase
 *    phase 2   u[q] = z[q] + w[q]                         Q tiles, eager
 *
 * Kills: an edge that is missing between phases, or runs to the wrong node; the arguments of
 * another launch; constants that are not copied; a grid of another bucket; a block past the step's
 * tiles that works; a step block that is not read; a failure that is not passed on. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <malloc.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/simt_abi.h"
#include "codegen/simt.h"
#include "mock/mock.h"
#include "runtime/gpu_program.h"

enum {
   ROWS = 16,
   FEW = 4,
   ARRAY = 256,
   X = 0,
   Y = ARRAY,
   Z = 2 * ARRAY,
   W = 3 * ARRAY,
   U = 4 * ARRAY
};

static const char kernels[] =
   "#define AT(i) ((float *)a->ptr[i])[simt_tile()]\n"
   "#define ONE if (simt_thread() == 0)\n"
   "SIMT_KERNEL(first) { SIMT_BEGIN(a); ONE AT(0) = 2 * AT(1) + (float)a->konst[0]; }\n"
   "SIMT_KERNEL(times) { SIMT_BEGIN(a); ONE AT(0) = 3 * AT(1); }\n"
   "SIMT_KERNEL(plus) { SIMT_BEGIN(a); ONE { for (volatile long i = 0; i < a->konst[1]; i++); "
   "AT(0) = AT(1) + (float)a->konst[0]; } }\n"
   "SIMT_KERNEL(sum) { SIMT_BEGIN(a); ONE AT(0) = AT(1) + AT(2); }\n";

static plan_kernel names[] = {
   {"first", "test"}, {"times", "test"}, {"plus", "test"}, {"sum", "test"}};

typedef struct machine {
   const rt_gpu_ops *ops;
   rt_gpu *gpu;
   void *module, *modules[countof(names)]; /* one for all */
   plan p;
   plan_variant variants[2];
   plan_launch launches[4];
   plan_segment segments[2];
   rt_gpu_memory memory;
   arena *a;
} machine;

#define OK(call) cr_assert(eq(int, (call), SINTER_ok), "%s", sinter_error())

static plan_ref at(uint64_t offset)
{
   return (plan_ref){.kind = PLAN_REF_arena, .offset = offset};
}

static plan_launch launch(uint32_t kernel, uint32_t phase, sym s, uint64_t to, uint64_t from)
{
   return (plan_launch){.kernel = kernel,
                        .phase = phase,
                        .tiles = {.k = 1, .num_factors = 1, .factor = {{s, 1}}},
                        .num_refs = 2,
                        .refs = {at(to), at(from)}};
}

static void build(machine *m, const rt_gpu_ops *ops)
{
   text_buf text = {0};
   const uint8_t *object;
   size_t size;

   *m = (machine){.ops = ops};
   OK(arena_create(&m->a));
   text.a = m->a;
   const cg_machine host = {arch_find(ops == &rt_cuda_ops ? "sm_90a" : "gfx950"), false};
   OK(cg_simt_text(m->a, CG_HOST, host, "mock", NULL, 0, &text));
   text_append(&text, kernels, sizeof kernels - 1);
   OK(cg_host_object(m->a, text.data, text.len, &object, &size));
   OK(ops->open("libsinter_mock.so", &m->gpu));
   OK(ops->load(m->gpu, object, &m->module));
   for (size_t i = 0; i < countof(names); i++)
      m->modules[i] = m->module;
   OK(ops->alloc(m->gpu, 8 * ARRAY, &m->memory.arena));
   OK(ops->alloc(m->gpu, sizeof(sinter_step_block), &m->memory.step));
   m->launches[0] = launch(0, 0, SYM_T, Y, X);
   m->launches[0].consts[0] = 5;
   m->launches[1] = launch(1, 1, SYM_T, Z, Y);
   m->launches[2] = launch(2, 1, SYM_T, W, Y);
   m->launches[2].consts[0] = 7;
   m->launches[3] = launch(3, 2, SYM_Q, U, Z);
   m->launches[3].refs[m->launches[3].num_refs++] = at(W);
   m->segments[0] = (plan_segment){PLAN_SEGMENT_recorded, 0, 3, ""};
   m->segments[1] = (plan_segment){PLAN_SEGMENT_eager, 3, 1, "a host looks"};
   m->variants[0] = (plan_variant){"decode", FEW, 0, 4, 2, m->launches, m->segments};
   m->variants[1] = (plan_variant){"prefill", ROWS, 0, 4, 2, m->launches, m->segments};
   m->p = (plan){.target = "mock",
                 .num_kernels = countof(names),
                 .kernels = names,
                 .num_variants = 2,
                 .variants = m->variants};
}

static const int64_t most[SYM_COUNT] = {
   [SYM_T] = ROWS, [SYM_R] = ROWS, [SYM_S] = ROWS, [SYM_A] = ROWS,
   [SYM_C] = 1,    [SYM_B] = 1,    [SYM_Q] = ROWS};

static void set(machine *m, uint64_t to, const void *from, size_t size)
{
   OK(m->ops->copy_in(m->gpu, to, from, size));
   OK(m->ops->wait(m->gpu));
}

/* One step of `rows` rows, of which every second one ends a sequence. */
static void step(machine *m, rt_gpu_program *g, int64_t rows)
{
   sinter_step_block block = {0};
   float x[ROWS], got[5][ARRAY / 4];
   int64_t q = (rows + 1) / 2;

   for (int i = 0; i < ROWS; i++)
      x[i] = (float)(rows * 100 + i);
   block.sym[SYM_T] = rows;
   block.sym[SYM_Q] = q;
   /* What others take and give back between steps is not what graphs refer to. */
   uint64_t other;
   OK(m->ops->alloc(m->gpu, 1 << 16, &other));
   OK(m->ops->fill(m->gpu, other, 0xff, 1 << 16));
   OK(m->ops->wait(m->gpu));
   m->ops->release(m->gpu, other);
   OK(m->ops->fill(m->gpu, m->memory.arena, 0xff, 8 * ARRAY));
   set(m, m->memory.arena, x, sizeof x);
   set(m, m->memory.step, &block, sizeof block);
   OK(rt_gpu_program_run(g, &block));
   for (int i = 0; i < 5; i++)
      OK(m->ops->copy_out(m->gpu, got[i], m->memory.arena + (uint64_t)i * ARRAY, ARRAY));
   OK(m->ops->wait(m->gpu));
   OK(rt_gpu_program_read_times(g, block.sym));
   for (int i = 0; i < ROWS; i++) {
      float y = 2 * x[i] + 5, z = 3 * y, w = y + 7;
      uint32_t bits[4];
      if (i < rows) {
         cr_assert(eq(flt, got[1][i], y));
         cr_assert(eq(flt, got[2][i], z));
         cr_assert(eq(flt, got[3][i], w));
      }
      if (i < q)
         cr_assert(eq(flt, got[4][i], z + w));
      for (int k = 0; k < 4; k++)
         memcpy(&bits[k], &got[k + 1][i], 4);
      for (int k = 0; k < 4; k++)
         if (i >= (k == 3 ? q : rows))
            cr_assert(eq(u32, bits[k], 0xffffffffu), "array %d, row %d of %d is not the step's",
                      k + 1, i, (int)rows);
   }
}

static void all_steps(const rt_gpu_ops *ops, rt_gpu_graphs graphs)
{
   static const int64_t rows[] = {1, 16, 1, 2, 3, 5, 8, 9, 4, 16, 1, 7};
   const char *launches = ops == &rt_cuda_ops ? "cuGraphLaunch" : "hipGraphLaunch";
   machine m;
   rt_gpu_program *g;

   build(&m, ops);
   OK(rt_gpu_program_create(ops, m.gpu, m.modules, &m.p, &m.memory, most, graphs,
                            RT_GPU_CONDITIONS_nodes, &g));
   uint32_t before = mock_calls(launches);
   uint64_t grids = mock_grids(), urgent = mock_urgent_grids();
   for (size_t i = 0; i < countof(rows); i++)
      step(&m, g, rows[i]);
   /* decode's launches of the recorded segment in steps of at most FEW rows */
   uint32_t few = 0;
   for (size_t i = 0; i < countof(rows); i++)
      few += rows[i] <= FEW;
   cr_assert(eq(u64, mock_urgent_grids() - urgent, graphs == RT_GPU_GRAPHS_none ? 0 : 3 * few));
   uint32_t each = graphs == RT_GPU_GRAPHS_none ? 0 : graphs == RT_GPU_GRAPHS_phases ? 2 : 1;
   cr_assert(eq(u32, mock_calls(launches) - before, each * (uint32_t)countof(rows)));
   cr_assert(eq(u64, rt_gpu_program_counters(g)->graphs, (uint64_t)each * countof(rows)));
   cr_assert(eq(u64, rt_gpu_program_counters(g)->segments, 2 * countof(rows)));
   cr_assert(eq(u64, rt_gpu_program_counters(g)->launches, 4 * countof(rows)));
   cr_assert(eq(u64, mock_grids() - grids, 4 * countof(rows)), "what is counted is what ran");
   sinter_step_block block = {.sym = {[SYM_T] = ROWS + 1}};
   cr_assert(eq(int, rt_gpu_program_run(g, &block), SINTER_bad_input));
   rt_gpu_program_destroy(g);
   ops->close(m.gpu);
   arena_destroy(m.a);
}

Test(program, segments)
{
   all_steps(&rt_cuda_ops, RT_GPU_GRAPHS_segments);
   all_steps(&rt_hip_ops, RT_GPU_GRAPHS_segments);
}

Test(program, phases)
{
   all_steps(&rt_cuda_ops, RT_GPU_GRAPHS_phases);
   all_steps(&rt_hip_ops, RT_GPU_GRAPHS_phases);
}

Test(program, launches)
{
   all_steps(&rt_cuda_ops, RT_GPU_GRAPHS_none);
   all_steps(&rt_hip_ops, RT_GPU_GRAPHS_none);
}

/* A step of 8 rows, of which `wanted` are, in a context of `chunks`: z for contexts over one chunk,
 * w for wanted rows. */
static void conditional_step(machine *m, rt_gpu_program *g, int64_t wanted, int64_t chunks)
{
   sinter_step_block block = {.sym = {[SYM_T] = 8, [SYM_R] = wanted, [SYM_C] = chunks}};
   float x[ROWS] = {1, 2, 3, 4, 5, 6, 7, 8}, got[5][ARRAY / 4];

   OK(m->ops->fill(m->gpu, m->memory.arena, 0xff, 8 * ARRAY));
   set(m, m->memory.arena, x, sizeof x);
   rt_gpu_program_conditions(g, &block);
   set(m, m->memory.step, &block, sizeof block);
   OK(rt_gpu_program_run(g, &block));
   for (int i = 0; i < 5; i++)
      OK(m->ops->copy_out(m->gpu, got[i], m->memory.arena + (uint64_t)i * ARRAY, ARRAY));
   OK(m->ops->wait(m->gpu));
   for (int i = 0; i < 8; i++) {
      float y = 2 * x[i] + 5;
      cr_assert(eq(flt, got[1][i], y));
      cr_assert(chunks > 1 ? got[2][i] == 3 * y : got[2][i] != got[2][i], "row %d of z", i);
      cr_assert(i < wanted ? got[3][i] == y + 7 : got[3][i] != got[3][i], "row %d of w", i);
   }
}

/* Kills: a region that runs when nobody needs it, or does not when somebody does; a node that stays
 * as the last step left it; a graph of another bucket that is switched with it; a switch that
 * failed and counts as made; a break where none is worth it. */
static void all_conditions(const rt_gpu_ops *ops, rt_gpu_conditions conditions)
{
   static const int64_t steps[][2] = {{8, 1}, {0, 1}, {0, 2}, {3, 2},
                                      {0, 5}, {0, 1}, {8, 3}, {8, 3}};
   const char *launches = ops == &rt_cuda_ops ? "cuGraphLaunch" : "hipGraphLaunch";
   const char *switches = ops == &rt_cuda_ops ? "cuGraphNodeSetEnabled" : "hipGraphNodeSetEnabled";
   int64_t syms[SYM_COUNT];
   machine m;
   rt_gpu_program *g;

   build(&m, ops);
   memcpy(syms, most, sizeof syms);
   syms[SYM_C] = 5;
   m.launches[1].tiles.above = 1;
   m.launches[2].tiles.factor[0].sym = SYM_R;
   m.segments[0].num_launches = 3;
   OK(rt_gpu_program_create(ops, m.gpu, m.modules, &m.p, &m.memory, syms, RT_GPU_GRAPHS_segments,
                            conditions, &g));
   uint32_t before = mock_calls(launches), switched = mock_calls(switches), wanted = 0;
   uint64_t grids = mock_grids();
   for (size_t i = 0; i < countof(steps); i++) {
      conditional_step(&m, g, steps[i][0], steps[i][1]);
      wanted += steps[i][0] > 0;
   }
   bool breaks = conditions == RT_GPU_CONDITIONS_break;
   uint64_t ran = mock_grids() - grids, counted = rt_gpu_program_counters(g)->launches;
   /* only nodes leave out what depends on the context */
   cr_assert(eq(u64, ran,
                conditions == RT_GPU_CONDITIONS_nodes ? counted
                : breaks                              ? 2 * countof(steps) + wanted
                                                      : 3 * countof(steps)));
   cr_assert(eq(u32, mock_calls(launches) - before, (uint32_t)countof(steps) + breaks * wanted));
   uint32_t made = mock_calls(switches) - switched;
   cr_assert(eq(u32, made, conditions == RT_GPU_CONDITIONS_nodes ? 8 : 0));
   cr_assert(eq(u64, rt_gpu_program_counters(g)->switches, made));
   if (made) {
      sinter_step_block block = {.sym = {[SYM_T] = 8, [SYM_R] = 0, [SYM_C] = 3}};
      mock_fail(switches, 1);
      cr_assert(eq(int, rt_gpu_program_run(g, &block), SINTER_failed));
   }
   conditional_step(&m, g, 0, 3);
   rt_gpu_program_destroy(g);
   ops->close(m.gpu);
   arena_destroy(m.a);
}

Test(program, conditions)
{
   for (int c = RT_GPU_CONDITIONS_nodes; c <= RT_GPU_CONDITIONS_blocks; c++) {
      all_conditions(&rt_cuda_ops, (rt_gpu_conditions)c);
      all_conditions(&rt_hip_ops, (rt_gpu_conditions)c);
   }
}

enum { TIMED = 6 };

/* What so many steps of 4 rows and of 16 left. */
static void check_times(machine *m, const rt_gpu_program *g, double took)
{
   const sinter_launch_time *t;
   double all = 0;

   cr_assert(eq(u32, rt_gpu_program_launches(g, &t), 8));
   for (int i = 0; i < 8; i++) {
      const plan_launch *l = &m->launches[i % 4];
      cr_assert_str_eq(t[i].variant, i < 4 ? "decode" : "prefill");
      cr_assert_str_eq(t[i].kernel, names[l->kernel].symbol);
      cr_assert(eq(u64, t[i].runs, TIMED));
      cr_assert(eq(u64, t[i].bytes, i < 4 ? 40 : 160));
      cr_assert(t[i].best_seconds > 0 && TIMED * t[i].best_seconds <= t[i].seconds * 1.000001);
      all += t[i].seconds;
   }
   cr_assert(all <= took, "launches take %g s of %g s", all, took);
   for (int v = 0; v < 8; v += 4)
      cr_assert(t[v + 2].best_seconds >
                   t[v].best_seconds + t[v + 1].best_seconds + t[v + 3].best_seconds,
                "the long one is the third: %g, %g, %g, %g", t[v].best_seconds,
                t[v + 1].best_seconds, t[v + 2].best_seconds, t[v + 3].best_seconds);
}

/* Steps that are timed: launch by launch, with the same results. Kills: a time that is of the
 * launch before or behind; graphs in a step that is timed, or none behind it; a host's clock, which
 * launches are asked for by; events that are made in a step; a failure that is not passed on. */
static void timed_steps(const rt_gpu_ops *ops)
{
   const bool cuda = ops == &rt_cuda_ops;
   const char *create = cuda ? "cuEventCreate" : "hipEventCreateWithFlags",
              *record = cuda ? "cuEventRecord" : "hipEventRecord",
              *elapsed = cuda ? "cuEventElapsedTime_v2" : "hipEventElapsedTime";
   machine m;
   rt_gpu_program *g;

   build(&m, ops);
   m.launches[2].consts[1] = 300000;
   for (int i = 0; i < 4; i++)
      m.launches[i].bytes = (plan_extent){.k = 10, .num_factors = 1, .factor = {{SYM_T, 1}}};
   OK(rt_gpu_program_create(ops, m.gpu, m.modules, &m.p, &m.memory, most, RT_GPU_GRAPHS_segments,
                            RT_GPU_CONDITIONS_nodes, &g));
   mock_fail(create, 2);
   cr_assert(eq(int, rt_gpu_program_time_steps(g, 2), SINTER_failed));
   OK(rt_gpu_program_time_steps(g, 2 * TIMED));
   uint32_t made = mock_calls(create);
   double begin = clock_now();
   for (int i = 0; i < 2 * TIMED; i++)
      step(&m, g, i % 2 ? ROWS : 4);
   double took = clock_now() - begin;
   cr_assert(eq(u64, rt_gpu_program_counters(g)->graphs, 0));
   step(&m, g, 3);
   cr_assert(eq(u64, rt_gpu_program_counters(g)->graphs, 1));
   check_times(&m, g, took);
   cr_assert(eq(u32, mock_calls(create), made));
   OK(rt_gpu_program_time_steps(g, 2));
   sinter_step_block block = {.sym = {[SYM_T] = 1, [SYM_Q] = 1}};
   mock_fail(record, 1);
   cr_assert(eq(int, rt_gpu_program_run(g, &block), SINTER_failed));
   OK(rt_gpu_program_run(g, &block));
   OK(ops->wait(m.gpu));
   mock_fail(elapsed, 1);
   cr_assert(eq(int, rt_gpu_program_read_times(g, block.sym), SINTER_failed));
   rt_gpu_program_destroy(g);
   ops->close(m.gpu);
   arena_destroy(m.a);
}

Test(program, times)
{
   timed_steps(&rt_cuda_ops);
   timed_steps(&rt_hip_ops);
}

/* Each call of the building fails once, and the next try succeeds. */
Test(program, failures)
{
   static const char *const calls[] = {"cuModuleGetFunction", "cuGraphCreate",
                                       "cuGraphAddKernelNode_v2", "cuGraphInstantiateWithFlags"};
   machine m;
   rt_gpu_program *g;

   build(&m, &rt_cuda_ops);
   for (size_t i = 0; i < countof(calls); i++) {
      for (uint32_t n = 1; n < 5; n++) {
         mock_fail(calls[i], n);
         cr_assert(ne(int,
                      rt_gpu_program_create(m.ops, m.gpu, m.modules, &m.p, &m.memory, most,
                                            RT_GPU_GRAPHS_segments, RT_GPU_CONDITIONS_nodes, &g),
                      SINTER_ok),
                   "%s %u", calls[i], n);
         cr_assert(eq(ptr, g, NULL));
         mock_fail(calls[i], 0);
      }
   }
   OK(rt_gpu_program_create(m.ops, m.gpu, m.modules, &m.p, &m.memory, most, RT_GPU_GRAPHS_segments,
                            RT_GPU_CONDITIONS_nodes, &g));
   step(&m, g, 3);
   mock_fail("cuGraphLaunch", 1);
   sinter_step_block block = {.sym = {[SYM_T] = 1, [SYM_Q] = 1}};
   cr_assert(eq(int, rt_gpu_program_run(g, &block), SINTER_failed));
   mock_fail("cuLaunchKernel", 1);
   cr_assert(eq(int, rt_gpu_program_run(g, &block), SINTER_failed));
   names[2].symbol = "absent";
   rt_gpu_program_destroy(g);
   cr_assert(ne(int,
                rt_gpu_program_create(m.ops, m.gpu, m.modules, &m.p, &m.memory, most,
                                      RT_GPU_GRAPHS_segments, RT_GPU_CONDITIONS_nodes, &g),
                SINTER_ok));
   cr_assert(ne(ptr, strstr(sinter_error(), "absent"), NULL), "%s", sinter_error());
}

/* Kills: a driver that does not know priorities and is not used for it. */
Test(program, drivers_without_priorities)
{
   const rt_gpu_ops *const all[] = {&rt_cuda_ops, &rt_hip_ops};
   machine m;
   rt_gpu_program *g;

   mock_set_priorities(false);
   for (size_t i = 0; i < countof(all); i++) {
      build(&m, all[i]);
      OK(rt_gpu_program_create(m.ops, m.gpu, m.modules, &m.p, &m.memory, most,
                               RT_GPU_GRAPHS_segments, RT_GPU_CONDITIONS_nodes, &g));
      step(&m, g, 3);
      cr_assert(eq(u64, mock_urgent_grids(), 0));
      rt_gpu_program_destroy(g);
      m.ops->close(m.gpu);
      arena_destroy(m.a);
   }
}

/* What a driver exports by an older name, or not at all. Kills: a new name that is not looked for
 * first; a missing function that is found when it is called. */
Test(program, older_drivers)
{
   static const char *const some[][2] = {{"cuAnything_v9", "cuInit"},
                                         {"cuInit", "cuDeviceGet"},
                                         {"cuInit", ""},
                                         {"cuAnything", RT_GPU_MAY_LACK}};
   static const char *const newer[][2] = {{"cuInit", ""}, {"cuAnything_v9", "cuAnything_v8"}};
   void *table[countof(some)], *library;

   OK(rt_gpu_library("libsinter_mock.so", "NVIDIA", some, countof(some), table, &library));
   cr_assert(ne(ptr, table[2], NULL));
   cr_assert(eq(ptr, table[0], table[2]));
   cr_assert(eq(ptr, table[1], table[2]));
   cr_assert(eq(ptr, table[3], NULL));
   cr_assert(
      eq(int, rt_gpu_library("libsinter_mock.so", "NVIDIA", newer, countof(newer), table, &library),
         SINTER_no_device));
   cr_assert(ne(ptr, strstr(sinter_error(), "too old: it has no cuAnything_v9"), NULL), "%s",
             sinter_error());
}

/* Which code a GPU takes. Kills: code for an accelerated architecture on a later one; a family
 * taken for another. */
Test(program, architectures)
{
   static const struct {
      const char *device, *arch;
      bool runs;
   } cases[] = {
      {"sm_90", "sm_90a", true},     {"sm_90", "sm_90", true},       {"sm_86", "sm_80", true},
      {"sm_80", "sm_86", false},     {"sm_121", "sm_120", true},     {"sm_103", "sm_100a", false},
      {"sm_100", "sm_90a", false},   {"sm_120", "sm_100a", false},   {"sm_100", "sm_80", false},
      {"sm_90", "compute_80", true}, {"sm_130", "compute_80", true}, {"sm_75", "compute_80", false},
      {"gfx90a", "gfx90a", true},    {"gfx90a", "gfx908", false},    {"gfx942", "gfx90a", false},
      {"gfx1100", "gfx110", false},  {"", "sm_80", false},           {"sm_80", "gfx906", false},
   };

   for (size_t i = 0; i < countof(cases); i++)
      cr_assert(eq(int, rt_gpu_runs(cases[i].device, cases[i].arch), cases[i].runs), "%s on %s",
                cases[i].arch, cases[i].device);
}

static uint64_t memory_left(machine *m)
{
   uint64_t left;

   OK(m->ops->memory_left(m->gpu, &left));
   return left;
}

/* What graphs take is told by the first ones: too much is said before it is tried, and what was
 * taken is given back. Kills: graphs that nobody counts; an estimate of the graphs so far only; a
 * driver that is asked until it refuses; graphs that stay behind a failure. */
static void graphs_take_memory(const rt_gpu_ops *ops)
{
   const char *make =
      ops == &rt_cuda_ops ? "cuGraphInstantiateWithFlags" : "hipGraphInstantiateWithFlags";
   machine m;
   rt_gpu_program *g;

   build(&m, ops);
   uint64_t before = memory_left(&m), used = mock_memory();
   uint32_t calls = mock_calls(make);
   OK(rt_gpu_program_create(ops, m.gpu, m.modules, &m.p, &m.memory, most, RT_GPU_GRAPHS_segments,
                            RT_GPU_CONDITIONS_nodes, &g));
   uint64_t took = before - memory_left(&m);
   uint32_t graphs = mock_calls(make) - calls;
   cr_assert(took > 0 && graphs > 2);
   cr_assert(eq(u64, rt_gpu_program_counters(g)->graph_bytes, took));
   rt_gpu_program_destroy(g);
   cr_assert(eq(u64, memory_left(&m), before));

   mock_set_memory(used + took / 2);
   calls = mock_calls(make);
   cr_assert(eq(int,
                rt_gpu_program_create(ops, m.gpu, m.modules, &m.p, &m.memory, most,
                                      RT_GPU_GRAPHS_segments, RT_GPU_CONDITIONS_nodes, &g),
                SINTER_out_of_memory));
   cr_assert(strstr(sinter_error(), "at: graphs") != NULL, "%s", sinter_error());
   cr_assert(eq(u32, mock_calls(make) - calls, 1));
   cr_assert(eq(u64, mock_memory(), used));
   OK(rt_gpu_program_create(ops, m.gpu, m.modules, &m.p, &m.memory, most, RT_GPU_GRAPHS_none,
                            RT_GPU_CONDITIONS_nodes, &g));
   cr_assert(eq(u64, rt_gpu_program_counters(g)->graph_bytes, 0));
   rt_gpu_program_destroy(g);
   mock_set_memory(0);
   ops->close(m.gpu);
   arena_destroy(m.a);
}

Test(program, memory_of_graphs)
{
   graphs_take_memory(&rt_cuda_ops);
   graphs_take_memory(&rt_hip_ops);
}

/* A thousand steps of all buckets in turns: what the first hundred have taken is all that is ever
 * taken, of the device and of the host. Kills: a step that leaves something behind. */
Test(program, soak)
{
   machine m;
   rt_gpu_program *g;
   size_t held = 0;
   uint64_t used = 0;

   build(&m, &rt_cuda_ops);
   OK(rt_gpu_program_create(m.ops, m.gpu, m.modules, &m.p, &m.memory, most, RT_GPU_GRAPHS_segments,
                            RT_GPU_CONDITIONS_nodes, &g));
   uint32_t made = mock_calls("cuGraphInstantiateWithFlags");
   for (int i = 0; i < 1000; i++) {
      if (i == 100) {
         used = mock_memory();
         held = mallinfo2().uordblks;
      }
      step(&m, g, 1 + (i * 7) % ROWS);
   }
   cr_assert(eq(u64, mock_memory(), used));
   cr_assert(eq(sz, mallinfo2().uordblks, held));
   cr_assert(eq(u32, mock_calls("cuGraphInstantiateWithFlags"), made));
   rt_gpu_program_destroy(g);
   m.ops->close(m.gpu);
   arena_destroy(m.a);
}
