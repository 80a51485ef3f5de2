// LINK: codegen passes models ir runtime base
/* Hyper-connections against the f64 meaning; fused forms have the bits of the single kernels. */
#include <stdio.h>

#include "harness.h"

typedef struct shape {
   int n, d, iters;
} shape;

/* As in DeepSeek V4, two blocks of columns and a rest; one stream, more than four, odd widths. */
static const shape shapes[] = {{4, 520, 20}, {1, 7, 1}, {2, 33, 2}, {8, 256, 20}, {3, 300, 5}};

static harness *compile(const shape *s, bool fuse, isa_level level)
{
   char text[2048];
   int parts = (2 + s->n) * s->n;

   snprintf(text, sizeof text,
            "func @f(T in 1..64) {\n%%y = param {name=\"y\"} : f32[T,%d]\n"
            "%%x = param {name=\"x\"} : f32[T,%d,%d]\n%%po = param {name=\"po\"} : f32[T,%d]\n"
            "%%co = param {name=\"co\"} : f32[T,%d,%d]\n%%fn = weight {name=\"fn\"} : f32[%d,%d]\n"
            "%%s = weight {name=\"s\"} : f32[3]\n%%b = weight {name=\"b\"} : f32[%d]\n"
            "%%w = weight {name=\"w\"} : f32[%d]\n%%z = hc_expand %%y, %%x, %%po, %%co\n"
            "%%p, %%q, %%c = hc_mix %%z, %%fn, %%s, %%b {eps=1e-06, iters=%d, offset=1e-06}\n"
            "%%h = hc_collapse %%z, %%p\n%%n = rmsnorm %%h, %%w {eps=1e-06}\n"
            "return %%n, %%z, %%q, %%c\n}\n",
            s->d, s->n, s->d, s->n, s->n, s->n, parts, s->n * s->d, parts, s->d, s->iters);
   return harness_compile(
      text, (harness_options){.level = level, .fuse = fuse, .numerics = SINTER_NUMERICS_exact});
}

/* 512 roundings' worth of the largest value: thousands of products, and up to 40 divisions by
 * sums. */
static void compare(const harness_run *r, const char *what)
{
   for (uint32_t k = 0; k < 4; k++) {
      const ir_tensor *want = &r->want[k];
      const float *got = (const float *)(const void *)r->out[k];
      double most = 0;
      for (int64_t i = 0; i < harness_count(want); i++)
         most = fmax(most, fabs(want->data[i]));
      for (int64_t i = 0; i < harness_count(want); i++)
         cr_assert(fabs(got[i] - want->data[i]) <= 512 * 0x1p-24 * most,
                   "%s: result %u [%lld] %.9g, should be %.9g", what, k, (long long)i, got[i],
                   want->data[i]);
   }
}

/* Kills: streams in the wrong order; the transpose of comb; a round too few or too many; rows
 * normalised last; a block of columns counted twice; squares of one block only; a mean over one
 * stream. */
Test(hc, meaning)
{
   for (size_t i = 0; i < countof(shapes); i += conform_every(2))
      for (int level = 0; level < ISA_LEVEL_COUNT; level++)
         for (int fuse = 0; fuse < 2; fuse++) {
            if (conform_skips((isa_level)level) || (!conform_runs((isa_level)level) && i != 2))
               continue;
            harness *h = compile(&shapes[i], fuse, (isa_level)level);
            for (int64_t rows = 1; rows < 20; rows += 3 * (int64_t)conform_every(2)) {
               harness_run *r = harness_go(
                  h, (harness_step){
                        .num_seqs = 1, .rows = {rows}, .variant = rows > 4 ? "prefill" : NULL});
               compare(r, fuse ? "fused" : "single");
               harness_end(r);
            }
            harness_free(h);
         }
}

/* One kernel for all has the bits of one for each; a row has them whatever its tile. Kills: sums
 * whose order depends on the number of rows; partials that are added in another order. */
Test(hc, same_bits)
{
   for (size_t i = 0; i < countof(shapes); i += conform_every(2)) {
      harness *a = compile(&shapes[i], true, isa_best()),
              *b = compile(&shapes[i], false, isa_best());
      cr_assert(a->plan.plan.variants[0].num_launches < b->plan.plan.variants[0].num_launches);
      harness_step step = {.num_seqs = 1, .rows = {14}, .variant = "prefill"};
      harness_run *r = harness_bits(a, step), *s = harness_bits(b, step);
      step.rows[0] = 5;
      harness_run *few = harness_bits(a, step);
      for (uint32_t k = 0; k < 4; k++) {
         cr_assert_eq(memcmp(r->out[k], s->out[k], r->out_bytes[k]), 0, "result %u", k);
         cr_assert_eq(memcmp(r->out[k], few->out[k], few->out_bytes[k]), 0, "result %u", k);
      }
      harness_end(r);
      harness_end(s);
      harness_end(few);
      harness_free(a);
      harness_free(b);
   }
}

/* All streams zero, and rows of 1e-12: no division by nothing. */
Test(hc, all_zero_rows)
{
   const shape s = {4, 40, 20};
   harness *h = compile(&s, true, isa_best());
   harness_run *r = harness_setup(h, (harness_step){.num_seqs = 1, .rows = {3}});

   harness_memory(r);
   ir_op_foreach (h->f, op) {
      const pass_place *p = &h->layout.places[op->num_results ? op->results[0]->id : 0];
      if (op->code == IR_OP_param && p->kind == PASS_PLACE_arena)
         memset(r->arena + p->offset, 0,
                (size_t)(3 * pass_row_elements(&op->results[0]->type)) * 4);
   }
   harness_launch_all(r);
   for (uint32_t k = 0; k < 4; k++)
      for (uint64_t i = 0; i < r->out_bytes[k] / 4; i++)
         cr_assert(isfinite(((const float *)(const void *)r->out[k])[i]), "result %u [%lu]", k,
                   (unsigned long)i);
   harness_end(r);
   harness_free(h);
}
