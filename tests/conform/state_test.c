// LINK: codegen passes models ir runtime base
/* Convolutions and gated delta nets against the f64 meaning, and against themselves: a run split at
 * any row, beside any neighbours, has the same bits and leaves the same state. Freed and unwritten
 * memory is NaN in every run. */
#include <stdio.h>

#include "harness.h"

typedef struct shape {
   int groups, heads, dk, dv, width; /* G, H, dk, dv, W */
   const char *w;
} shape;

/* Shapes of real models, then what fits neither lanes nor panels nor blocks. */
static const shape shapes[] = {
   {2, 4, 16, 16, 4, "bf16"}, {4, 8, 128, 128, 4, "f32"}, {1, 3, 24, 40, 3, "f16"},
   {2, 2, 5, 7, 2, "f32"},    {1, 1, 1, 1, 5, "bf16"},    {3, 3, 20, 33, 4, "f32"},
   {1, 2, 256, 72, 4, "f32"},
};

/* Both ops, alone or with what pass gdn_conv_gate_norm puts around them. */
static harness *compile(const shape *s, isa_level level, bool fuse)
{
   char text[4096];
   int keys = s->groups * s->dk, values = s->heads * s->dv, all = 2 * keys + values;

   snprintf(
      text, sizeof text,
      "func @f(T in 1..64, R in 0..16, S in 1..4, Q in 1..4) {\n"
      "%%x = param {name=\"x\"} : f32[T,%d]\n%%cw = weight {name=\"conv\"} : %s[%d,%d]\n"
      "%%a = param {name=\"a\"} : f32[T,%d]\n%%b = param {name=\"b\"} : f32[T,%d]\n"
      "%%z = param {name=\"z\"} : f32[T,%d,%d]\n"
      "%%alog = weight {name=\"alog\"} : f32[%d]\n%%dt = weight {name=\"dt\"} : f32[%d]\n"
      "%%nw = weight {name=\"norm\"} : f32[%d]\n"
      "%%c0 = state {layer=0} : f32 conv[%d,%d]\n%%s0 = state {layer=1} : f32 recurrent[%d,%d,%d]\n"
      "%%c1, %%y = conv_step %%c0, %%x, %%cw\n%%act = silu %%y\n"
      "%%q0 = slice %%act {axis=1, start=0, size=%d}\n%%q1 = reshape %%q0 : f32[T,%d,%d]\n"
      "%%q = l2norm %%q1 {eps=1e-06}\n"
      "%%k0 = slice %%act {axis=1, start=%d, size=%d}\n%%k1 = reshape %%k0 : f32[T,%d,%d]\n"
      "%%k = l2norm %%k1 {eps=1e-06}\n"
      "%%v0 = slice %%act {axis=1, start=%d, size=%d}\n%%v = reshape %%v0 : f32[T,%d,%d]\n"
      "%%g = decay %%a, %%alog, %%dt\n%%beta = sigmoid %%b\n"
      "%%s1, %%o = gdn %%s0, %%q, %%k, %%v, %%g, %%beta {scale=0.25}\n"
      "%%n = rmsnorm %%o, %%nw {eps=1e-06}\n%%zs = silu %%z\n%%out = mul %%n, %%zs\n"
      "return %%out, %%c1, %%s1\n}\n",
      all, s->w, all, s->width, s->heads, s->heads, s->heads, s->dv, s->heads, s->heads, s->dv,
      s->width - 1, all, s->heads, s->dk, s->dv, keys, s->groups, s->dk, keys, keys, s->groups,
      s->dk, 2 * keys, values, s->heads, s->dv);
   return harness_compile(
      text, (harness_options){.level = level, .fuse = fuse, .numerics = SINTER_NUMERICS_exact});
}

/* The first element that is off, n when there is none. */
static int64_t first_off(const double *want, const float *got, int64_t n)
{
   double most = 0;
   int64_t i = 0;

   for (int64_t k = 0; k < n; k++)
      most = fmax(most, fabs(want[k]));
   while (i < n && fabs(got[i] - want[i]) <= 512 * 0x1p-24 * most)
      i++;
   return i;
}

static void near(const double *want, const float *got, int64_t n, const shape *s, const char *what)
{
   int64_t i = first_off(want, got, n);

   cr_assert(i == n, "%d/%d heads of %d, %d, %s: [%lld] is %.9g, should be %.9g", s->groups,
             s->heads, s->dk, s->dv, what, (long long)i, got[i], want[i]);
}

/* The output, and both states of every sequence. Errors of the keys' norms and of the states add up
 * over the rows: 512 half ulps of the largest value; a wrong term is off by its own size. */
static void compare(const harness_run *r, const shape *s, const char *what)
{
   near(r->want[0].data, (const float *)(const void *)r->out[0], harness_count(&r->want[0]), s,
        what);
   for (int64_t layer = 0; layer < 2; layer++)
      for (uint32_t q = 0; q < r->step.num_seqs; q++) {
         const ir_kv *kv = &r->kv[layer];
         near(kv->k[q], harness_slot(r, layer, r->to[q]), kv->heads * kv->width, s,
              layer ? "recurrent state" : "conv state");
      }
}

static const harness_step steps[] = {
   {.num_seqs = 1, .stored = {0}, .rows = {1}},
   {.num_seqs = 1, .stored = {9}, .rows = {1}, .in_place = true},
   {.num_seqs = 1, .stored = {0}, .rows = {2}},
   {.num_seqs = 2, .stored = {5, 0}, .rows = {2, 17}, .in_place = true},
   {.num_seqs = 4, .stored = {255, 0, 17, 300}, .rows = {1, 2, 3, 4}},
};

static void at_level(isa_level level, bool fuse)
{
   bool runs = conform_runs(level);

   for (size_t i = 0; i < countof(shapes); i++) {
      if (!runs && i)
         continue;
      harness *h = compile(&shapes[i], level, fuse);
      for (size_t k = 0; runs && k < countof(steps); k += conform_every(2)) {
         harness_run *r = harness_go(h, steps[k]);
         compare(r, &shapes[i], fuse ? "fused" : "alone");
         harness_end(r);
      }
      harness_free(h);
   }
   if (!runs)
      printf("skip: %s is compiled, but does not run here\n", isa_infos[level].name);
}

/* Kills: a tap too many or in the wrong order; history of another channel; decay after the read; a
 * key head of another value head; a state of another head; no zeros where a sequence begins. */
Test(state, meaning)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      if (!conform_skips((isa_level)i))
         at_level((isa_level)i, false);
}

/* Kills: a norm over the wrong head; gates of another head; the gated norm without its weight. */
Test(state, meaning_fused)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      if (!conform_skips((isa_level)i))
         at_level((isa_level)i, true);
}

static void copy_state(harness_run *to, int32_t to_page, const harness_run *from, int32_t page)
{
   for (int64_t layer = 0; layer < 2; layer++) {
      const ir_kv *kv = &from->kv[layer];
      memcpy(harness_slot(to, layer, to_page), harness_slot(from, layer, page),
             (size_t)(kv->heads * kv->width) * sizeof(float));
   }
}

static void same_state(const harness_run *a, int32_t page_a, const harness_run *b, int32_t page_b,
                       const char *what)
{
   for (int64_t layer = 0; layer < 2; layer++) {
      const ir_kv *kv = &a->kv[layer];
      cr_assert(memcmp(harness_slot(a, layer, page_a), harness_slot(b, layer, page_b),
                       (size_t)(kv->heads * kv->width) * sizeof(float)) == 0,
                "%s: state %lld has other bits", what, (long long)layer);
   }
}

static void same_rows(const harness_run *a, int64_t row_a, const harness_run *b, int64_t row_b,
                      int64_t n, const shape *s, const char *what)
{
   size_t row = (size_t)(s->heads * s->dv) * sizeof(float);

   cr_assert(memcmp(a->out[0] + (size_t)row_a * row, b->out[0] + (size_t)row_b * row,
                    (size_t)n * row) == 0,
             "%s: rows have other bits", what);
}

/* Parameters are made from their index, so the second half of a split run is given the rows it
 * would have had: shifted by `by` rows. */
static void shift_params(harness_run *r, int64_t by)
{
   ir_op_foreach (r->h->f, op) {
      const ir_type *t = &op->results[0]->type;
      int64_t row = 1;
      if (op->code != IR_OP_param)
         continue;
      for (uint32_t i = 1; i < t->rank; i++)
         row *= ir_dim_const(t->dim[i]);
      float *data = (float *)(void *)(r->arena + r->h->layout.places[op->results[0]->id].offset);
      for (int64_t i = 0; i < row * r->sym[SYM_T]; i++)
         data[i] = (float)harness_param(t, ir_attr_s(op, IR_ATTR_name, ""), i + by * row);
   }
}

enum { ROWS = 19 };

static void at_split(harness *h, const shape *s, const harness_run *whole, int64_t at)
{
   harness_run *first =
      harness_bits(h, (harness_step){.num_seqs = 1, .stored = {0}, .rows = {at}, .in_place = true});
   harness_run *second = harness_setup(
      h, (harness_step){.num_seqs = 1, .stored = {at}, .rows = {ROWS - at}, .in_place = true});

   same_rows(whole, 0, first, 0, at, s, "first part");
   same_state(whole, whole->snap[0], first, first->to[0], "snapshot");
   harness_memory(second);
   shift_params(second, at);
   copy_state(second, second->from[0], first, first->to[0]);
   harness_launch_all(second);
   same_rows(whole, at, second, 0, ROWS - at, s, "second part");
   same_state(whole, whole->to[0], second, second->to[0], "end");
   harness_end(first);
   harness_end(second);
}

/* Kills: sums whose order depends on the step; a snapshot of the row before or behind; rows of a
 * neighbour; a state that is written where it is still read. */
Test(state, invariance)
{
   for (size_t i = 0; i < countof(shapes); i++)
      for (int fuse = 0; fuse < 2; fuse++) {
         const shape *s = &shapes[i];
         harness *h = compile(s, isa_best(), fuse);
         for (int64_t at = 1; at < ROWS; at += at < 4 ? 1 : 7) {
            harness_run *whole = harness_bits(
               h, (harness_step){.num_seqs = 1, .stored = {0}, .rows = {ROWS}, .snap = {at}});
            at_split(h, s, whole, at);
            harness_end(whole);
         }
         harness_run *alone =
            harness_bits(h, (harness_step){.num_seqs = 1, .stored = {0}, .rows = {7}});
         harness_run *beside =
            harness_bits(h, (harness_step){.num_seqs = 3, .stored = {0, 40, 0}, .rows = {7, 5, 2}});
         same_rows(alone, 0, beside, 0, 7, s, "with neighbours");
         same_state(alone, alone->to[0], beside, beside->to[0], "with neighbours");
         harness_end(alone);
         harness_end(beside);
         harness_free(h);
      }
}

/* Every page but those that a run names stays as it is. Kills: page -1 written; a snapshot that
 * nobody wanted; a write to the page that is only read. */
Test(state, pages)
{
   for (int fuse = 0; fuse < 2; fuse++) {
      harness *h = compile(&shapes[0], isa_best(), fuse);
      harness_run *r = harness_bits(
         h, (harness_step){
               .num_seqs = 2, .stored = {20, 4}, .rows = {3, 2}, .snap = {2}, .hide_last = true});
      for (int64_t layer = 0; layer < 2; layer++) {
         int64_t n = r->kv[layer].heads * r->kv[layer].width;
         for (int32_t page = 0; page < 2 + 3 * 2; page++) {
            bool written = page == 1 || page == 2 || page == r->to[0] || page == r->snap[0];
            for (int64_t j = 0; j < n; j++)
               cr_assert(isnan(harness_slot(r, layer, page)[j]) == !written,
                         "state %lld: page %d [%lld]", (long long)layer, page, (long long)j);
         }
         for (uint32_t q = 0; q < 2; q++)
            for (int64_t j = 0; j < n; j++)
               cr_assert(harness_slot(r, layer, 1 + (int32_t)q)[j] ==
                            (float)harness_number("state", (uint64_t)(j + 7919 * q)),
                         "the state before the step was written");
      }
      harness_end(r);
      harness_free(h);
   }
}
