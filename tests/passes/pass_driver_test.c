// LINK: passes ir base
/* The driver, the solver, the layout: what golden files do not show. */
#include "passes/exec.h"
#include "passes/golden.h"
#include "replay.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

/* ---- a model of equal layers ---- */

static void layer(text_buf *t, int l)
{
   text_printf(
      t,
      "%%wn%d = weight {name=\"l%d.n\"} : f32[64]\n%%x%d = rmsnorm %%h%d, %%wn%d {eps=1e-05}\n"
      "%%wq%d = weight {name=\"l%d.q\"} : q4_1[64,64]\n%%wk%d = weight {name=\"l%d.k\"} : "
      "q4_1[32,64]\n"
      "%%wv%d = weight {name=\"l%d.v\"} : q4_1[32,64]\n%%q%d = matmul %%x%d, %%wq%d\n",
      l, l, l, l, l, l, l, l, l, l, l, l, l, l);
   text_printf(
      t,
      "%%k%d = matmul %%x%d, %%wk%d\n%%v%d = matmul %%x%d, %%wv%d\n"
      "%%qh%d = reshape %%q%d : f32[T,4,16]\n%%kh%d = reshape %%k%d : f32[T,2,16]\n"
      "%%vh%d = reshape %%v%d : f32[T,2,16]\n%%qr%d = rope %%qh%d, %%cs {style=\"half\"}\n",
      l, l, l, l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%kr%d = rope %%kh%d, %%cs {style=\"half\"}\n%%s%d = state {layer=%d} : f32 "
               "kv_full[2,16]\n%%t%d = kv_write %%s%d, %%kr%d, %%vh%d\n"
               "%%a%d = attention %%qr%d, %%t%d {scale=0.25}\n%%am%d = reshape %%a%d : f32[T,64]\n",
               l, l, l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%wo%d = weight {name=\"l%d.o\"} : q4_1[64,64]\n%%o%d = matmul %%am%d, %%wo%d\n"
               "%%r%d = add %%h%d, %%o%d\n%%y%d = rmsnorm %%r%d, %%wn%d {eps=1e-05}\n"
               "%%wg%d = weight {name=\"l%d.g\"} : q4_1[96,64]\n",
               l, l, l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%wu%d = weight {name=\"l%d.u\"} : q4_1[96,64]\n%%wd%d = weight {name=\"l%d.d\"} : "
               "q4_1[64,96]\n%%g%d = matmul %%y%d, %%wg%d\n%%u%d = matmul %%y%d, %%wu%d\n"
               "%%ga%d = silu %%g%d\n%%gm%d = mul %%ga%d, %%u%d\n%%d%d = matmul %%gm%d, %%wd%d\n"
               "%%h%d = add %%r%d, %%d%d\n",
               l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l + 1, l, l);
}

static ir_func *model_of(arena *a, int layers)
{
   text_buf t = {.a = a};
   ir_module m = {0};

   text_printf(&t, "func @m(T in 1..64) {\n%%ids = meta {field=token_ids} : i32[T]\n"
                   "%%cs = meta {field=rope, index=0} : f32[T,16]\n%%e = weight {name=\"e\"} : "
                   "q8_0[32,64]\n%%h0 = embed %%ids, %%e\n");
   for (int l = 0; l < layers; l++)
      layer(&t, l);
   text_printf(&t, "return %%h%d", layers);
   for (int l = 0; l < layers; l++)
      text_printf(&t, ", %%t%d", l);
   text_printf(&t, "\n}\n");
   cr_assert_eq(ir_parse(a, t.data, t.len, "model", &m), SINTER_ok, "%s", sinter_error());
   return m.funcs.data[0];
}

typedef struct outcome {
   arena *a;
   ir_func *f;
   pass_target target;
   pass_options options;
   pass_report report;
   pass_layout layout;
   sinter_status status;
} outcome;

static outcome start(int layers)
{
   outcome o = {.target = pass_target_cpu("test")};

   cr_assert_eq(arena_create(&o.a), SINTER_ok);
   o.f = model_of(o.a, layers);
   return o;
}

static void run(outcome *o)
{
   o->options.target = &o->target;
   o->status = pass_run_all(o->f, &o->options, &o->report);
   if (o->status == SINTER_ok)
      o->status = pass_finish(o->f, &o->options, &o->report, &o->layout);
}

/* ---- names ---- */

/* Kills: an unknown name that is passed over. */
Test(driver, unknown_names_are_usage_errors)
{
   static const char *const bad[] = {"act_mull", "qkv_merge,", "x,qkv_merge"};

   for (size_t i = 0; i < countof(bad); i++) {
      bool known = i == 1; /* a trailing comma is no name */
      outcome o = start(1);

      o.options.with = bad[i];
      run(&o);
      cr_expect_eq(o.status, known ? SINTER_ok : SINTER_usage, "%s", bad[i]);
      o.options.with = NULL;
      o.options.without = bad[i];
      run(&o);
      cr_expect_eq(o.status, known ? SINTER_ok : SINTER_usage, "%s", bad[i]);
      arena_destroy(o.a);
   }
}

/* Kills: --without plan_memory, which would leave values without a place. */
Test(driver, the_last_passes_cannot_be_left_out)
{
   outcome o = start(1);

   o.options.without = "plan_memory";
   run(&o);
   cr_expect_eq(o.status, SINTER_usage);
   arena_destroy(o.a);
}

/* ---- sites ---- */

static void list_sites(const pass_report *r, text_buf *out)
{
   for (pass_id id = 0; id < pass_count(); id++)
      for (size_t i = 0; i < r->entry[id].sites.count; i++) {
         const pass_site *s = r->entry[id].sites.data[i];

         text_printf(out, "%s:%u %s %d %s\n", pass_infos[id].name, s->number, s->at, s->verdict,
                     s->reason ? s->reason : "");
      }
}

/* Kills: numbers or choices that depend on addresses. */
Test(driver, two_runs_have_the_same_sites_and_text)
{
   text_buf text[2], sites[2];
   outcome o[2];

   for (int i = 0; i < 2; i++) {
      o[i] = start(4);
      (void)arena_alloc(o[i].a, 1 + 4096 * (size_t)i);
      run(&o[i]);
      cr_assert_eq(o[i].status, SINTER_ok);
      text[i] = (text_buf){.a = o[i].a};
      sites[i] = (text_buf){.a = o[i].a};
      ir_print(&text[i], o[i].f);
      pass_print_layout(&text[i], o[i].f, &o[i].layout);
      list_sites(&o[i].report, &sites[i]);
   }
   cr_expect_str_eq(text[0].data, text[1].data);
   cr_expect_str_eq(sites[0].data, sites[1].data);
   arena_destroy(o[0].a);
   arena_destroy(o[1].a);
}

/* Kills: a skip list that skips a neighbour; counts in which a site is neither fired nor declined.
 */
Test(driver, a_skipped_site_is_the_only_difference)
{
   outcome o = start(4);

   o.options.skip = "act_mul:2";
   run(&o);
   cr_assert_eq(o.status, SINTER_ok);
   const pass_entry *e = &o.report.entry[PASS_ID_act_mul];
   cr_expect_eq(e->matched, 4);
   cr_expect_eq(e->fired, 3);
   cr_expect_eq(e->sites.data[2]->verdict, PASS_DECLINED);
   for (pass_id id = 0; id < pass_count(); id++) {
      uint32_t declined = 0;

      e = &o.report.entry[id];
      for (size_t i = 0; i < e->sites.count; i++)
         declined += e->sites.data[i]->verdict == PASS_DECLINED;
      cr_expect_eq(e->matched, e->fired + declined, "%s", pass_infos[id].name);
   }
   arena_destroy(o.a);
}

static double seconds(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Kills: a walk over all ops for each op. Memory grows with the work that sites do, so twice the
 * layers may take a little more than twice of it; time has a wide margin. */
Test(driver, equal_layers_cost_the_same_each)
{
   size_t used[2];
   double took = 0;

   for (int i = 0; i < 2; i++) {
      outcome o = start(61 << i);
      size_t before = arena_used(o.a);

      took = seconds();
      run(&o);
      took = seconds() - took;
      cr_assert_eq(o.status, SINTER_ok);
      used[i] = arena_used(o.a) - before;
      cr_expect_eq(o.report.entry[PASS_ID_act_mul].fired, 61u << i);
      cr_expect_eq(o.report.entry[PASS_ID_rope_kv].fired, 61u << i);
      arena_destroy(o.a);
   }
   cr_expect_lt(used[1], used[0] * 5 / 2);
   cr_expect_lt(took, 5.0);
}

/* ---- the solver ---- */

static pass_site *made_up(outcome *o, pass_id id, uint32_t number, double gain, ir_op **ops, int n)
{
   pass_site *s = arena_new(o->a, pass_site);

   s->f = o->f;
   s->pass = id;
   s->number = number;
   s->gain_ns = gain;
   for (int i = 0; i < n; i++)
      pass_own(s, ops[i]);
   return s;
}

/* Kills: greedy choice alone, which takes the best single site and loses the better pair; a loser
 * that is told of one of them only, which saves less than it. */
Test(solver, two_small_sites_beat_a_larger_one)
{
   outcome o = start(1);
   ir_op *ops[3] = {o.f->first, o.f->first->next, o.f->last};
   pass_site *sites[] = {
      made_up(&o, PASS_ID_act_mul, 0, 10, ops, 2),
      made_up(&o, PASS_ID_rope_kv, 0, 6, ops, 1),
      made_up(&o, PASS_ID_rope_kv, 1, 6, ops + 1, 1),
   };

   pass_resolve(o.a, o.f, sites, countof(sites));
   cr_expect_eq(sites[0]->verdict, PASS_DECLINED);
   cr_expect_str_eq(sites[0]->reason, "rope_kv:0 and rope_kv:1 save more: 12 ns against 10 ns");
   cr_expect(sites[0]->lost_to == sites[1] && sites[0]->lost_ns == 12);
   cr_expect_eq(sites[1]->verdict, PASS_OPEN);
   cr_expect_eq(sites[2]->verdict, PASS_OPEN);
   arena_destroy(o.a);
}

/* Kills: a forced site that loses to cost; a loser without the winner's name. */
Test(solver, a_forced_site_wins)
{
   outcome o = start(1);
   ir_op *ops[2] = {o.f->first, o.f->first->next};
   pass_site *sites[] = {
      made_up(&o, PASS_ID_act_mul, 0, 100, ops, 2),
      made_up(&o, PASS_ID_rope_kv, 7, -5, ops, 1),
   };

   sites[1]->forced = true;
   pass_resolve(o.a, o.f, sites, countof(sites));
   cr_expect_eq(sites[1]->verdict, PASS_OPEN);
   cr_expect_eq(sites[0]->verdict, PASS_DECLINED);
   cr_expect(strstr(sites[0]->reason, "rope_kv:7"));
   arena_destroy(o.a);
}

/* ---- cost ---- */

/* Kills: reads or the write of an inner value left out; a value that others read counted as inner.
 */
Test(cost, gains_are_launches_and_bytes)
{
   static const struct {
      const char *returns;
      double values; /* times %h is not written or read */
   } cases[] = {{"%n", 2}, {"%n, %h", 1}};

   for (size_t i = 0; i < countof(cases); i++) {
      outcome o = {.target = pass_target_cpu("test")};
      ir_module m = {0};

      cr_assert_eq(arena_create(&o.a), SINTER_ok);
      char *text = arena_printf(o.a,
                                "func @f(T in 1..64) {\n%%x = param {name=\"x\"} : f32[T,64]\n"
                                "%%w = weight {name=\"w\"} : f32[64]\n%%h = silu %%x\n"
                                "%%n = rmsnorm %%h, %%w {eps=1e-05}\nreturn %s\n}\n",
                                cases[i].returns);
      cr_assert_eq(ir_parse(o.a, text, strlen(text), "text", &m), SINTER_ok);
      o.f = m.funcs.data[0];
      o.target.cost_rows = 10;
      ir_op *ops[] = {ir_find(o.f, "h")->def, ir_find(o.f, "n")->def};
      pass_site *s = made_up(&o, PASS_ID_pointwise, 0, 0, ops, 2);

      s->target = &o.target;
      cr_expect_float_eq(pass_gain(s),
                         o.target.launch_ns + cases[i].values * 10 * 64 * 4 / o.target.bytes_per_ns,
                         1e-6);
      arena_destroy(o.a);
   }
}

/* ---- the layout ---- */

/* Kills: freeing an operand too early; an in-place result over a value that is read later; two
 * results of a kernel in one place. */
Test(layout, no_value_is_overwritten_before_its_last_reader)
{
   static const char *const without[] = {"", "epilogue", "pointwise,act_mul", "qkv_merge,rope_kv"};

   for (size_t i = 0; i < countof(without); i++) {
      outcome o = start(3);

      o.options.without = without[i];
      o.options.numerics = i & 1 ? SINTER_NUMERICS_exact : SINTER_NUMERICS_fast;
      run(&o);
      cr_assert_eq(o.status, SINTER_ok);
      replay(o.a, &o.layout);
      arena_destroy(o.a);
   }
}

/* Kills: an op outside every kernel; kernels out of order; segments that leave one out. */
Test(layout, every_op_is_in_a_kernel_of_one_segment)
{
   outcome o = start(3);
   uint32_t in_segments = 0, at = 0;

   o.target.extra_props[IR_OP_attention] = IR_HOST_SYNC;
   run(&o);
   cr_assert_eq(o.status, SINTER_ok);
   for (uint32_t i = 0; i < o.layout.num_segments; i++) {
      cr_expect_eq(o.layout.segments[i].first_kernel, in_segments);
      in_segments += o.layout.segments[i].num_kernels;
   }
   cr_expect_eq(in_segments, o.layout.num_kernels);
   cr_expect_eq(o.report.breaks.count, 3);
   ir_op_foreach (o.f, op) {
      if (!op->group) {
         cr_expect(pass_is_leaf(op) || ir_is_alias(op));
         continue;
      }
      at += at < o.layout.num_kernels && op->group != o.layout.kernels[at];
      cr_assert_lt(at, o.layout.num_kernels);
      cr_expect_eq(op->group, o.layout.kernels[at]);
   }
   replay(o.a, &o.layout);
   arena_destroy(o.a);
}

/* ---- the checker itself ---- */

static pass_golden check(arena *a, const char *text)
{
   text_buf report = {.a = a};
   pass_golden result;

   cr_assert_eq(pass_golden_run(a, text, strlen(text), "text", &report, &result), SINTER_ok);
   return result;
}

#define CASE(run, checks)                                                                          \
   "// RUN: " run "\nfunc @f(T in 1..4) {\n%x = param {name=\"x\"} : f32[T,32]\n%a = silu %x\n"    \
   "%b = scale %a {scale=2}\nreturn %b\n}\n" checks

/* Kills: a matcher that accepts what is not there. */
Test(checker, wrong_expectations_fail)
{
   static const char *const bad[] = {
      CASE("pointwise", "// CHECK: gelu"),
      CASE("pointwise", "// CHECK: kernel pointwise\n// CHECK-NEXT: %b = scale"),
      CASE("pointwise", "// CHECK: kernel\n// CHECK-NOT: silu\n// CHECK: scale"),
      CASE("pointwise", "// DECLINE: whatever"),
      CASE("pointwise", "// ROUNDING: ROUND_MORE"),
      CASE("pointwise", "// NOTE: none"),
      CASE("pointwise", "// CHECK: $y = silu $x\n// CHECK: scale $x"),
      CASE("pointwise", ""),
      CASE("pointwise", "// CHEKC: kernel"),
      CASE("pointwise nonsense=1", "// CHECK: kernel"),
      CASE("pointwose", "// CHECK: kernel"),
      "func @f() {\n}\n",
   };
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   cr_expect_eq(check(a, CASE("pointwise", "// CHECK: $y = silu $x\n// CHECK: scale $y")).failed,
                0);
   for (size_t i = 0; i < countof(bad); i++)
      cr_expect_eq(check(a, bad[i]).failed, 1, "case %zu passes", i);
   arena_destroy(a);
}

static ir_func *parse(arena *a, const char *body)
{
   char *text = arena_printf(a,
                             "func @f(T in 1..8) {\n%%x = param {name=\"x\"} : f32[T,32]\n"
                             "%%w = weight {name=\"w\"} : f32[32]\n%s\nreturn %%y\n}\n",
                             body);
   ir_module m = {0};

   cr_assert_eq(ir_parse(a, text, strlen(text), "text", &m), SINTER_ok, "%s", sinter_error());
   return m.funcs.data[0];
}

/* Kills: a comparison that accepts a changed meaning, a changed bit under EXACT, or more error
 * under ROUND_FEWER. */
Test(checker, changed_meanings_are_seen)
{
   static const struct {
      const char *before, *after;
      pass_rounding rounding;
      bool same;
   } cases[] = {
      {"%y = scale %x {scale=2}", "%y = scale %x {scale=2}", PASS_EXACT, true},
      {"%y = scale %x {scale=2}", "%y = scale %x {scale=2.0000001}", PASS_EXACT, false},
      {"%y = rmsnorm %x, %w {eps=1e-05}", "%y = rmsnorm %x, %w {eps=1e-04}", PASS_ROUND_FEWER,
       false},
      {"%a = silu %x : f16[T,32]\n%y = scale %a {scale=3} : f32[T,32]",
       "%a = silu %x : f32[T,32]\n%y = scale %a {scale=3} : f32[T,32]", PASS_ROUND_FEWER, true},
      {"%a = silu %x : f32[T,32]\n%y = scale %a {scale=3} : f32[T,32]",
       "%a = silu %x : f16[T,32]\n%y = scale %a {scale=3} : f32[T,32]", PASS_ROUND_FEWER, false},
      {"%a = silu %x : f32[T,32]\n%y = scale %a {scale=3} : f32[T,32]",
       "%a = silu %x : f16[T,32]\n%y = scale %a {scale=3} : f32[T,32]", PASS_ROUND_MORE, true},
      {"%y = scale %x {scale=2}", "%y = scale %x {scale=2.1}", PASS_ROUND_MORE, false},
   };
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   for (size_t i = 0; i < countof(cases); i++) {
      text_buf why = {.a = a};
      bool same = !cases[i].same;

      cr_assert_eq(pass_exec_compare(a, parse(a, cases[i].before), parse(a, cases[i].after),
                                     cases[i].rounding, &why, &same),
                   SINTER_ok);
      cr_expect_eq(same, cases[i].same, "case %zu: %s", i, why.data ? why.data : "");
   }
   arena_destroy(a);
}
