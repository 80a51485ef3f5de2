// LINK: codegen passes models ir runtime base
/* Attention and the cache write against the f64 meaning, and against themselves: any split of rows
 * and context has the same bits. Freed and unwritten memory is NaN in every run. */
#include <stdio.h>

#include "attention_case.h"

typedef struct shape {
   int heads, groups, width, window;
   double cap;
   const char *kv;
   bool sinks, whole;
} shape;

/* Shapes of real models, then what does not fit the registers: widths around the lanes, many heads,
 * one of all. */
static const shape shapes[] = {
   {9, 3, 64, 0, 0, "f16", false, false},    {9, 3, 64, 0, 0, "f32", false, false},
   {4, 1, 256, 512, 0, "f16", false, false}, {4, 1, 256, 100, 0, "f32", false, false},
   {8, 2, 128, 0, 30, "f16", false, false},  {32, 8, 80, 0, 0, "f16", false, false},
   {1, 1, 1, 0, 0, "f32", false, false},     {3, 3, 7, 0, 0, "f16", false, false},
   {2, 1, 8, 3, 2, "f32", false, false},     {7, 1, 20, 0, 0, "bf16", false, false},
   {16, 1, 33, 17, 0, "f16", false, false},  {14, 2, 64, 1, 0, "f16", false, false},
   {6, 2, 64, 128, 0, "f16", true, false},   {5, 1, 24, 0, 0, "f32", true, false},
   {3, 3, 7, 2, 3, "f32", true, false},      {8, 2, 64, 0, 0, "f8e4m3", false, false},
   {5, 1, 24, 9, 0, "f8e4m3", true, false},
};

static const char *label(arena *a, const shape *s)
{
   return arena_printf(a, "%d/%d heads of %d, window %d, %s", s->heads, s->groups, s->width,
                       s->window, s->kv);
}

/* Where order does not count: heads of images. */
static const shape whole_shapes[] = {
   {16, 16, 80, 0, 0, "f16", false, true},
   {2, 2, 16, 0, 0, "f32", false, true},
   {3, 3, 72, 0, 0, "f32", false, true},
   {4, 2, 12, 0, 0, "f32", true, true},
};

static harness *compile(const shape *s, isa_level level)
{
   char text[1024], window[32] = "", cap[32] = "";

   if (s->window)
      snprintf(window, sizeof window, ", window=%d", s->window);
   if (s->cap != 0)
      snprintf(cap, sizeof cap, ", cap=%g", s->cap);
   snprintf(text, sizeof text,
            "func @f(T in 1..64, R in 0..16, S in 1..4) {\n"
            "%%q = param {name=\"q\"} : f32[T,%d,%d]\n%%k = param {name=\"pk\"} : %s[T,%d,%d]\n"
            "%%v = param {name=\"pv\"} : %s[T,%d,%d]\n%%s = state {layer=0%s} : %s kv_%s[%d,%d]\n"
            "%%n = kv_write %%s, %%k, %%v\n%%sinks = param {name=\"sinks\"} : f32[%d]\n"
            "%%a = attention %%q, %%n%s {scale=0.21%s%s}\nreturn %%a, %%n\n}\n",
            s->heads, s->width, s->kv, s->groups, s->width, s->kv, s->groups, s->width, window,
            s->kv, s->window ? "window" : "full", s->groups, s->width, s->heads,
            s->sinks ? ", %sinks" : "", cap, s->whole ? ", whole=1" : "");
   return harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_NUMERICS_exact});
}

/* Kills: a mask off by one; a head of another kv head; a page's tail read; k and v swapped; a cap
 * after the softmax. */
Test(attention, meaning)
{
   for (int level = 0; level < ISA_LEVEL_COUNT; level++)
      for (size_t i = 0; i < countof(shapes); i += conform_every(3)) {
         if (conform_skips((isa_level)level) || (!conform_runs((isa_level)level) && i))
            continue; /* one shape will do where the level is emulated */
         harness *h = compile(&shapes[i], (isa_level)level);
         attention_meaning(h, 128, label(h->a, &shapes[i]));
         harness_free(h);
      }
}

/* Kills: chunks that move with the step; sums whose order depends on the tile; a fold that starts
 * elsewhere. */
Test(attention, invariance)
{
   for (size_t i = 0; i < countof(shapes); i += conform_every(3)) {
      harness *h = compile(&shapes[i], isa_best());
      attention_invariance(h, label(h->a, &shapes[i]));
      harness_free(h);
   }
}

/* Kills: the mask of a text; the end of another row's sequence; a chunk past the own position left
 * out. */
Test(attention, whole_sequences)
{
   for (size_t i = 0; i < countof(whole_shapes); i++) {
      const harness_step step = {
         .num_seqs = 1, .stored = {501}, .rows = {16}, .variant = "prefill"};
      harness *h = compile(&whole_shapes[i], isa_best());
      harness_run *r = harness_bits(h, step);

      attention_meaning(h, 128, label(h->a, &whole_shapes[i]));
      attention_in_company(h, r, label(h->a, &whole_shapes[i]));
      harness_end(r);
      harness_free(h);
   }
}

/* Kills: a slot of -1 written to the last page. */
Test(attention, hidden_row)
{
   harness *h = compile(&shapes[0], isa_best());

   attention_hidden_row(h);
   harness_free(h);
}
