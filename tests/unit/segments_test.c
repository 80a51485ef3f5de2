// LINK: runtime base
/* segments_test.c - the launch lists that run on the pool. */
#include <criterion/criterion.h>
#include <stdatomic.h>

#include "base/pack.h"
#include "runtime/segment.h"

/* A launch adds its number to the log; konst[0]: number. ptr[0]: what the reference points to. */
static _Atomic int64_t log_of[256];
static _Atomic uint32_t log_count;

static void log_kernel(const sinter_kargs *k, unsigned tile)
{
   (void)tile;
   atomic_store(&log_of[atomic_fetch_add(&log_count, 1) % countof(log_of)], k->konst[0]);
   *(int64_t *)k->ptr[0] += k->step->sym[SYM_T];
}

static sinter_kernel *find_log(void *user, uint32_t index)
{
   (void)user;
   return index == 0 ? log_kernel : NULL;
}

static plan_launch launch(int64_t number, uint32_t phase, uint32_t by, uint64_t offset)
{
   return (plan_launch){.phase = phase,
                        .tiles = {.k = 1, .num_factors = 1, .factor = {{by, 4}}},
                        .bytes = {.k = 10},
                        .flops = {.k = 20},
                        .group = number == 11,
                        .num_refs = 1,
                        .num_consts = 1,
                        .refs = {{.kind = PLAN_REF_arena, .offset = offset}},
                        .consts = {number}};
}

static void reads(plan_launch *l, uint64_t offset)
{
   l->refs[l->num_refs++] = (plan_ref){.kind = PLAN_REF_weight, .offset = offset};
}

/* What the launches of the program below say after its three steps. */
static void check_times(const rt_program *g, bool times)
{
   static const uint64_t runs[] = {1, 2, 1, 2, 2};
   const sinter_launch_time *t;
   uint32_t n = rt_program_launches(g, &t);

   cr_assert(n == (times ? 5 : 0));
   for (uint32_t i = 0; i < n; i++) {
      cr_assert(t[i].runs == runs[i] && t[i].bytes == 10 && t[i].ops == 20 &&
                t[i].best_seconds <= t[i].seconds);
      cr_assert_str_eq(t[i].variant, i ? "prefill" : "decode");
      cr_assert_str_eq(t[i].group, i == 2 ? "second" : "first");
      cr_assert_str_eq(t[i].kernel, "log");
   }
}

static void run_program(bool times)
{
   plan_launch small[] = {launch(1, 0, SYM_T, 0)};
   plan_launch large[] = {launch(10, 0, SYM_T, 0), launch(11, 1, SYM_R, 8),
                          launch(12, 2, SYM_T, 16), launch(13, 3, SYM_T, 24)};
   /* Launch 12 reads bytes; 10 codes of 4 bits, 13 the top of bytes and, now and then, those. */
   plan_weight weights[] = {{.layout = PANEL_q8_0, .size = 64},
                            {.layout = PANEL_q4_0, .offset = 64, .size = 64},
                            {.layout = PANEL_q8_0_top, .offset = 128, .size = 64}};
   reads(&large[0], 64);
   reads(&large[2], 63);
   reads(&large[3], 128);
   reads(&large[3], 0);
   plan_segment one[] = {{PLAN_SEGMENT_recorded, 0, 1, NULL}};
   plan_segment three[] = {{PLAN_SEGMENT_recorded, 0, 2, NULL},
                           {PLAN_SEGMENT_eager, 2, 1, "test"},
                           {PLAN_SEGMENT_recorded, 3, 1, NULL}};
   plan_variant variants[] = {{"decode", 4, 0, 1, 1, small, one},
                              {"prefill", 64, 0, 4, 3, large, three}};
   plan_kernel kernels[] = {{"log", "test"}, {"missing", "test"}};
   plan_group groups[] = {{"first", ""}, {"second", "rule"}};
   plan p = {.target = "test",
             .num_groups = 2,
             .groups = groups,
             .num_weights = countof(weights),
             .weights = weights,
             .num_kernels = 2,
             .kernels = kernels,
             .num_variants = 2,
             .variants = variants};
   int64_t room[4] = {0};
   rt_step step = {0};
   rt_memory memory = {.arena = (uint8_t *)room, .step = &step};
   rt_program *g;
   rt_pool *pool;

   log_count = 0;
   cr_assert(rt_pool_create(1, &pool) == SINTER_ok);
   cr_assert(rt_program_create(&p, &memory, find_log, NULL, times, &g) == SINTER_ok);
   step.block.sym[SYM_T] = 4;
   cr_assert(rt_program_run(g, pool) == SINTER_ok);
   cr_assert(log_count == 1 && log_of[0] == 1 && room[0] == 4);
   step.block.sym[SYM_T] = 5;
   cr_assert(rt_program_run(g, pool) == SINTER_ok); /* R is 0: launch 11 has no tiles */
   cr_assert(log_count == 7 && log_of[1] == 10 && log_of[2] == 10 && log_of[3] == 12 &&
             log_of[6] == 13);
   cr_assert(room[0] == 14 && room[1] == 0 && room[2] == 10 && room[3] == 10);
   step.block.sym[SYM_R] = 1;
   cr_assert(rt_program_run(g, pool) == SINTER_ok);
   cr_assert(log_count == 14 && log_of[9] == 11 && room[1] == 5);
   const rt_counters *c = rt_program_counters(g);
   cr_assert(c->launches == 1 + 3 + 4 && c->segments == 1 + 3 + 3 &&
             c->graphs == (times ? 0 : 1 + 2 + 2) && c->bytes == 80 && c->ops == 160 &&
             c->byte_ops == 40);
   check_times(g, times);
   step.block.sym[SYM_T] = 65;
   cr_assert(rt_program_run(g, pool) == SINTER_bad_input);
   rt_program_destroy(g);
   small[0].kernel = 1;
   cr_assert(rt_program_create(&p, &memory, find_log, NULL, times, &g) == SINTER_bad_input && !g);
   rt_pool_destroy(pool);
}

/* Kills: launches out of order over segments; a launch without tiles that runs; a variant chosen by
 * the wrong bound; eager launches counted as a recorded list; extents evaluated once only; another
 * order or another launch counted when they are timed; operations of bytes counted as those of
 * small codes, or those of a top as those of bytes. */
Test(segments, run_as_the_plan_says)
{
   run_program(false);
   run_program(true);
}

/* Kills: a list that is run again for another step, or when an eager launch has taken its place;
 * one that counts no more, or is not run, the second time. */
Test(segments, lists_are_run_again)
{
   plan_launch launches[] = {launch(1, 0, SYM_T, 0), launch(2, 1, SYM_R, 8)};
   plan_segment two[] = {{PLAN_SEGMENT_recorded, 0, 1, NULL}, {PLAN_SEGMENT_eager, 1, 1, "test"}};
   plan_variant variants[] = {{"all", 64, 0, 2, 1, launches, two}};
   plan_kernel kernels[] = {{"log", "test"}};
   plan p = {.target = "test",
             .num_kernels = 1,
             .kernels = kernels,
             .num_variants = 1,
             .variants = variants};
   int64_t room[2] = {0};
   rt_step step = {0};
   rt_memory memory = {.arena = (uint8_t *)room, .step = &step};
   rt_program *g;
   rt_pool *pool;

   launches[1].group = 0;
   cr_assert(rt_pool_create(1, &pool) == SINTER_ok);
   for (uint32_t segments = 1; segments <= 2; segments++) {
      static const int64_t rows[] = {12, 12, 4, 4, 12, 12}; /* of 3 tiles, or 1 */
      uint32_t want = 0;

      variants[0].num_segments = segments;
      log_count = 0;
      cr_assert(rt_program_create(&p, &memory, find_log, NULL, false, &g) == SINTER_ok);
      for (size_t i = 0; i < countof(rows); i++) {
         step.block.sym[SYM_T] = rows[i];
         step.block.sym[SYM_R] = 1;
         cr_assert(rt_program_run(g, pool) == SINTER_ok);
         cr_assert(log_count == want + rows[i] / 4 + segments - 1 && log_of[want] == 1);
         want = log_count;
         cr_assert(rt_program_counters(g)->launches == (i + 1) * segments);
      }
      rt_program_destroy(g);
   }
   rt_pool_destroy(pool);
}

/* Tiles of both phases that are done, and those of the second that ran before the first was. */
enum { TILES = 300 };
static _Atomic uint32_t done_in[2], early;

/* konst[0]: the phase. */
static void tile_kernel(const sinter_kargs *k, unsigned tile)
{
   (void)tile;
   if (k->konst[0] && atomic_load(&done_in[0]) != 2 * TILES)
      atomic_fetch_add(&early, 1);
   atomic_fetch_add(&done_in[k->konst[0]], 1);
}

static sinter_kernel *find_tile(void *user, uint32_t index)
{
   (void)user;
   (void)index;
   return tile_kernel;
}

/* Kills: launches of different phases run without a barrier. */
Test(segments, phases_are_barriers)
{
   plan_launch launches[3];
   plan_segment segment[] = {{PLAN_SEGMENT_recorded, 0, 3, NULL}};
   plan_variant variants[] = {{"all", 64, 0, 3, 1, launches, segment}};
   plan_kernel kernels[] = {{"tile", "test"}};
   plan p = {.target = "test",
             .num_kernels = 1,
             .kernels = kernels,
             .num_variants = 1,
             .variants = variants};
   rt_step step = {0};
   rt_memory memory = {.step = &step};
   rt_program *g;
   rt_pool *pool;

   for (uint32_t i = 0; i < 3; i++)
      launches[i] =
         (plan_launch){.phase = i / 2, .tiles = {.k = TILES}, .num_consts = 1, .consts = {i / 2}};
   step.block.sym[SYM_T] = 1;
   cr_assert(rt_pool_create(3, &pool) == SINTER_ok);
   cr_assert(rt_program_create(&p, &memory, find_tile, NULL, false, &g) == SINTER_ok);
   for (int run = 0; run < 20; run++) {
      memset(done_in, 0, sizeof done_in);
      cr_assert(rt_program_run(g, pool) == SINTER_ok);
      cr_assert(atomic_load(&done_in[0]) == 2 * TILES && atomic_load(&done_in[1]) == TILES);
      cr_assert(atomic_load(&early) == 0);
   }
   rt_program_destroy(g);
   rt_pool_destroy(pool);
}
