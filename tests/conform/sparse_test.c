// LINK: codegen passes models ir runtime base
/* Compressed attention against the f64 meaning and against itself: states of rows and of entries,
 * what entries are made of, which are chosen, and attention over both. Unwritten memory is NaN. */
#include <stdio.h>

#include "harness.h"

/* 256 roundings' worth of the largest value: sums of up to a few thousand products. */
static void compare(const harness_run *r, uint32_t result, const char *what)
{
   const ir_tensor *want = &r->want[result];
   const float *got = (const float *)(const void *)r->out[result];
   double most = 0;

   for (int64_t i = 0; i < harness_count(want); i++)
      most = fmax(most, fabs(want->data[i]));
   for (int64_t i = 0; i < harness_count(want); i++)
      cr_assert(fabs(got[i] - want->data[i]) <= 256 * 0x1p-24 * most,
                "%s: result %u [%lld] %.9g, should be %.9g", what, result, (long long)i, got[i],
                want->data[i]);
}

static void compare_ids(const harness_run *r, uint32_t result, const char *what)
{
   const ir_tensor *want = &r->want[result];
   const int32_t *got = (const int32_t *)(const void *)r->out[result];

   for (int64_t i = 0; i < harness_count(want); i++)
      cr_assert(got[i] == want->data[i], "%s: id [%lld] %d, should be %g", what, (long long)i,
                got[i], want->data[i]);
}

/* Same bytes of the first rows of a result. */
static void same_rows(const harness_run *a, const harness_run *b, uint32_t result, int64_t from_a,
                      int64_t from_b, int64_t rows, const char *what)
{
   size_t row = a->out_bytes[result] / (size_t)a->sym[SYM_T];

   cr_assert(memcmp(a->out[result] + (size_t)from_a * row, b->out[result] + (size_t)from_b * row,
                    (size_t)rows * row) == 0,
             "%s: result %u, rows %lld and %lld", what, result, (long long)from_a,
             (long long)from_b);
}

static harness *compile(const char *text, isa_level level)
{
   return harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_NUMERICS_exact});
}

/* ---- entries ---- */

typedef struct pool {
   int d, ratio, overlap, front; /* front: elements before the values */
   const char *kv;
} pool;

/* As in DeepSeek V4; widths and chunks that fill neither vectors nor pages; chunks of one
 * position. */
static const pool pools[] = {
   {512, 4, 1, 0, "f32"}, {32, 128, 0, 0, "f32"}, {37, 3, 1, 5, "f32"},
   {9, 20, 0, 2, "f16"},  {64, 16, 1, 0, "f32"},  {130, 1, 0, 0, "f32"},
};

static harness *compile_pool(const pool *p, isa_level level)
{
   char text[1024];
   int wide = p->d * (1 + p->overlap), width = p->front + 2 * wide;

   snprintf(text, sizeof text,
            "func @f(T in 1..300, S in 1..4) {\n%%x = param {name=\"x\"} : %s[T,1,%d]\n"
            "%%g = param {name=\"g\"} : %s[T,1,%d]\n%%ape = weight {name=\"ape\"} : f32[%d,%d]\n"
            "%%w = weight {name=\"w\"} : f32[%d]\n"
            "%%s = state {layer=0, window=%d} : %s compressor[1,%d]\n"
            "%%e = state {layer=1, ratio=%d} : f32 csa[1,%d]\n%%s1 = mla_write %%s, %%x, %%g\n"
            "%%c = compress %%s1, %%ape {overlap=%d, start=%d}\n%%n = rmsnorm %%c, %%w {eps=0.01}\n"
            "%%e1 = mla_write %%e, %%n\nreturn %%c, %%s1, %%e1\n}\n",
            p->kv, p->front + wide, p->kv, wide, p->ratio, wide, p->d, (1 + p->overlap) * p->ratio,
            p->kv, width, p->ratio, p->d, p->overlap, p->front);
   return compile(text, level);
}

/* Every entry that was closed reads back as the interpreter has it. */
static void compare_entries(const harness_run *r, const char *what)
{
   const ir_kv *kv = &r->kv[1];
   const uint32_t ratio = harness_group(r->h, 1)->ratio;

   for (uint32_t s = 0; s < r->step.num_seqs; s++) {
      int64_t n = (r->step.stored[s] + r->step.rows[s]) / ratio;
      for (int64_t j = 0; j < n * kv->width; j++) {
         float got;
         memcpy(&got, harness_page(r, 1, s, j / kv->width, 0, j % kv->width, false), sizeof got);
         cr_assert(fabs(got - kv->k[s][j]) <= 1e-5 * (1 + fabs(kv->k[s][j])),
                   "%s: sequence %u entry %lld [%lld]: %g, should be %g", what, s,
                   (long long)(j / kv->width), (long long)(j % kv->width), got, kv->k[s][j]);
      }
   }
}

/* Kills: the other half of a row; a chunk before the first one; the place of another position; an
 * entry in the page of the chunk's beginning; entries of rows that close nothing. */
Test(sparse, entries)
{
   static const harness_step steps[] = {
      {.num_seqs = 1, .stored = {0}, .rows = {1}},
      {.num_seqs = 1, .stored = {0}, .rows = {257}, .variant = "prefill"},
      {.num_seqs = 1, .stored = {255}, .rows = {1}},
      {.num_seqs = 3, .stored = {250, 0, 383}, .rows = {7, 5, 3}},
   };

   for (size_t i = 0; i < countof(pools); i++)
      for (int level = 0; level < ISA_LEVEL_COUNT; level++) {
         if (conform_skips((isa_level)level) || (!conform_runs((isa_level)level) && i != 2))
            continue;
         harness *h = compile_pool(&pools[i], (isa_level)level);
         for (size_t k = 0; k < countof(steps); k += conform_every(2)) {
            harness_run *r = harness_go(h, steps[k]);
            compare(r, 0, "entries");
            compare_entries(r, "entries");
            harness_end(r);
         }
         harness_free(h);
      }
}

/* A chunk is split at every offset: rows before the split are stored when the rest comes. The
 * inputs of a position are the same in both, as they are made from its row: so the split run has
 * only the rest. Kills: a chunk that begins with the step; a page of the chunk before that is taken
 * for the chunk's. */
Test(sparse, split_chunk)
{
   for (size_t i = 0; i < countof(pools); i++) {
      const pool *p = &pools[i];
      harness *h = compile_pool(p, isa_best());
      int64_t span = MAX(MIN(3 * (int64_t)p->ratio, 40), p->ratio);
      for (int64_t at = 0; at < span; at++) {
         harness_step step = {.num_seqs = 1, .stored = {at + 16}, .rows = {span + 1 - at}};
         harness_run *r = harness_go(h, step);
         compare(r, 0, "split");
         compare_entries(r, "split");
         harness_end(r);
      }
      harness_free(h);
   }
}

/* ---- choice ---- */

static harness *compile_index(int heads, int d, int ratio, int k, const char *kv, isa_level level)
{
   char text[512];

   snprintf(text, sizeof text,
            "func @f(T in 1..64, S in 1..4) {\n%%q = param {name=\"q\"} : f32[T,%d,%d]\n"
            "%%w = param {name=\"w\"} : f32[T,%d]\n"
            "%%s = state {layer=0, ratio=%d} : %s indexer[1,%d]\n"
            "%%i = index_topk %%q, %%w, %%s {k=%d}\nreturn %%i\n}\n",
            heads, d, heads, ratio, kv, d, k);
   return compile(text, level);
}

/* Kills: an entry that is not closed yet; the k smallest; ids out of order; a chunk of context that
 * is left out; a score of other heads; no -1 behind the last. */
Test(sparse, choice)
{
   static const struct {
      int heads, d, ratio, k;
      const char *kv;
   } cases[] = {{64, 128, 4, 8, "f32"}, {8, 32, 4, 5, "f32"},  {5, 19, 3, 40, "f32"},
                {1, 8, 1, 1, "f16"},    {7, 33, 16, 2, "f32"}, {8, 16, 128, 1, "f32"}};
   static const harness_step steps[] = {
      {.num_seqs = 1, .stored = {0}, .rows = {1}},
      {.num_seqs = 1, .stored = {0}, .rows = {40}, .variant = "prefill"},
      {.num_seqs = 1, .stored = {700}, .rows = {1}, .variant = "deep"},
      {.num_seqs = 3, .stored = {250, 0, 511}, .rows = {7, 1, 3}, .variant = "deep"},
   };

   for (size_t i = 0; i < countof(cases); i++)
      for (int level = 0; level < ISA_LEVEL_COUNT; level++) {
         if (conform_skips((isa_level)level) || (!conform_runs((isa_level)level) && i != 2))
            continue;
         harness *h = compile_index(cases[i].heads, cases[i].d, cases[i].ratio, cases[i].k,
                                    cases[i].kv, (isa_level)level);
         for (size_t n = 0; n < countof(steps); n += conform_every(2)) {
            harness_run *r = harness_go(h, steps[n]);
            compare_ids(r, 0, "choice");
            harness_end(r);
         }
         harness_free(h);
      }
}

/* Entries of one of three contents: every score stands many times; the lower ones are taken, and
 * NaN last. Kills: ties that go to the higher one; one more than there is room for; NaN as the
 * largest. */
Test(sparse, ties)
{
   harness *h = compile_index(4, 16, 4, 13, "f32", isa_best());
   harness_run *r = harness_setup(
      h, (harness_step){.num_seqs = 1, .stored = {600}, .rows = {4}, .variant = "deep"});
   ir_env env = {r, harness_get_weight, harness_get_rows, harness_get_param, harness_get_state};
   ir_step meta = {.positions = r->positions, .seq_of = r->seq_of, .writes = r->writes};

   for (int64_t e = 0; e < 150; e++)
      for (int64_t i = 0; i < 16; i++) {
         float v = e % 11 == 3 ? NAN : (float)harness_number("three", (uint64_t)(e % 3 * 16 + i));
         r->kv[0].k[0][e * 16 + i] = v;
         memcpy(harness_page(r, 0, 0, e, 0, i, false), &v, sizeof v);
      }
   harness_memory(r);
   harness_launch_all(r);
   memcpy(meta.sym, r->sym, sizeof r->sym);
   HARNESS_OK(ir_eval_run(r->a, h->before, IR_EVAL_f64, &meta, &env, r->want, NULL, NULL));
   compare_ids(r, 0, "ties");
   harness_end(r);
   harness_free(h);
}

/* ---- attention ---- */

typedef struct shape {
   int heads, d, window, ratio, k; /* ratio 0: no entries; k 0: all of them */
   const char *kv;
} shape;

static const shape shapes[] = {
   {64, 512, 128, 4, 32, "f32"}, {4, 32, 16, 0, 0, "f32"}, {6, 33, 5, 3, 7, "f32"},
   {5, 40, 300, 128, 0, "f32"},  {1, 8, 1, 1, 200, "f16"}, {12, 20, 64, 16, 0, "f16"},
};

static harness *compile_shape(const shape *s, isa_level level)
{
   char text[2048], more[512] = "";

   if (s->ratio)
      snprintf(more, sizeof more, "%%e = state {layer=1, ratio=%d} : %s hca[1,%d]\n", s->ratio,
               s->kv, s->d);
   if (s->k)
      snprintf(more + strlen(more), sizeof more - strlen(more),
               "%%iq = param {name=\"iq\"} : f32[T,2,8]\n%%iw = param {name=\"iw\"} : f32[T,2]\n"
               "%%ix = state {layer=2, ratio=%d} : f32 indexer[1,8]\n"
               "%%ids = index_topk %%iq, %%iw, %%ix {k=%d}\n",
               s->ratio, s->k);
   snprintf(text, sizeof text,
            "func @f(T in 1..64, S in 1..4) {\n%%q = param {name=\"q\"} : f32[T,%d,%d]\n"
            "%%r = param {name=\"r\"} : %s[T,1,%d]\n%%k = weight {name=\"sinks\"} : f32[%d]\n"
            "%%s = state {layer=0, window=%d} : %s window[1,%d]\n%s%%n = mla_write %%s, %%r\n"
            "%%a = sparse_attention %%q, %%n, %%k%s%s {scale=0.2}\nreturn %%a, %%n\n}\n",
            s->heads, s->d, s->kv, s->d, s->heads, s->window, s->kv, s->d, more,
            s->ratio ? ", %e" : "", s->k ? ", %ids" : "");
   return compile(text, level);
}

/* Kills: a window one too wide; a sink left out or counted twice; an entry that is not closed; a
 * row of another sequence; ids of another row; heads of another block; a rest of the row left
 * out. */
Test(sparse, meaning)
{
   static const harness_step steps[] = {
      {.num_seqs = 1, .stored = {0}, .rows = {1}},
      {.num_seqs = 1, .stored = {0}, .rows = {20}, .variant = "prefill"},
      {.num_seqs = 1, .stored = {700}, .rows = {2}, .variant = "deep"},
      {.num_seqs = 4, .stored = {255, 256, 17, 300}, .rows = {1, 2, 3, 4}, .variant = "deep"},
   };

   for (size_t i = 0; i < countof(shapes); i++)
      for (int level = 0; level < ISA_LEVEL_COUNT; level++) {
         if (conform_skips((isa_level)level) || (!conform_runs((isa_level)level) && i != 2))
            continue;
         harness *h = compile_shape(&shapes[i], (isa_level)level);
         for (size_t n = 0; n < countof(steps); n += conform_every(2)) {
            harness_run *r = harness_go(h, steps[n]);
            compare(r, 0, "attention");
            harness_end(r);
         }
         harness_free(h);
      }
}

/* The bits of a row are those of a step of its own, with neighbours, and in every variant; without
 * a closed chunk those of a layer that has no entries at all: an empty block folds nothing.
 * Kills: blocks that begin with the step; a fold of nothing that rounds. */
Test(sparse, invariance)
{
   for (size_t i = 0; i < countof(shapes); i++) {
      harness *h = compile_shape(&shapes[i], isa_best());
      harness_step base = {.num_seqs = 1, .stored = {501}, .rows = {16}, .variant = "prefill"};
      harness_run *whole = harness_bits(h, base);
      harness_step step = base;
      step.variant = "deep";
      harness_run *r = harness_bits(h, step);
      same_rows(whole, r, 0, 0, 0, 16, "another variant");
      harness_end(r);
      step.rows[0] = 5;
      r = harness_bits(h, step);
      same_rows(whole, r, 0, 0, 0, 5, "fewer rows");
      harness_end(r);
      step = base;
      step.num_seqs = 3;
      step.stored[1] = 40;
      step.rows[1] = 5;
      step.rows[2] = 2;
      r = harness_bits(h, step);
      same_rows(whole, r, 0, 0, 0, 16, "with neighbours");
      harness_end(r);
      harness_end(whole);
      harness_free(h);
   }
}

Test(sparse, empty_block)
{
   const shape with = {5, 40, 300, 128, 0, "f32"}, without = {5, 40, 300, 0, 0, "f32"};
   harness *a = compile_shape(&with, isa_best()), *b = compile_shape(&without, isa_best());
   harness_step step = {.num_seqs = 1, .stored = {100}, .rows = {27}};
   harness_run *r = harness_bits(a, step), *s = harness_bits(b, step);

   same_rows(r, s, 0, 0, 0, 27, "no chunk is closed");
   harness_end(r);
   harness_end(s);
   harness_free(a);
   harness_free(b);
}

/* ---- tables of ids ---- */

Test(sparse, lookup)
{
   harness *h = compile("func @f(T in 1..64) {\n%t = weight {name=\"t\"} : i32[64,3]\n"
                        "%i = meta {field=token_ids} : i32[T]\n%r = lookup %t, %i\nreturn %r\n}\n",
                        isa_best());
   harness_run *r =
      harness_go(h, (harness_step){.num_seqs = 1, .rows = {40}, .variant = "prefill"});

   compare_ids(r, 0, "lookup");
   harness_end(r);
   harness_free(h);
}

/* ---- rotation ---- */

/* The last elements of a head are turned, and turned back. Kills: the first ones; a sign that
 * stays; what stands in front of them lost. */
Test(sparse, turned_back)
{
   static const char *const styles[] = {"pair", "half"};

   for (size_t i = 0; i < countof(styles); i++)
      for (int start = 0; start < 30; start += 13) {
         char text[512];
         snprintf(text, sizeof text,
                  "func @f(T in 1..64) {\n%%x = param {name=\"x\"} : f32[T,3,39]\n"
                  "%%c = meta {field=rope, index=0} : f32[T,10]\n"
                  "%%r = rope %%x, %%c {start=%d, style=\"%s\", inverse=1}\n"
                  "%%s = rope %%x, %%c {start=%d, style=\"%s\"}\nreturn %%r, %%s\n}\n",
                  start, styles[i], start, styles[i]);
         harness *h = compile(text, isa_best());
         harness_run *r = harness_go(h, (harness_step){.num_seqs = 1, .rows = {5}});
         compare(r, 0, "turned back");
         compare(r, 1, "turned");
         harness_end(r);
         harness_free(h);
      }
}
