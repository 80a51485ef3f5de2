// LINK: codegen runtime base
/* The plan as bytes: one encoding, and nothing gets through that could make a step leave its
 * memory. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/plan.h"
#include "tiny_artifact.h"

typedef struct bytes {
   const uint8_t *data;
   size_t size;
} bytes;

static bytes encode(const tiny *t)
{
   bytes b;

   plan_encode(t->a, &t->p, &b.data, &b.size);
   return b;
}

static sinter_status decode(const tiny *t, bytes b, plan **out)
{
   return plan_decode(t->a, b.data, b.size, t->p.weight_bytes, out);
}

/* Kills: a field left out of the schema, signs lost, arrays of the wrong length. */
Test(plan, round_trip)
{
   tiny t;
   plan *p;

   tiny_make(&t, 40, 1);
   t.p.ropes[0].kind = ROPE_longrope;
   for (int i = 0; i < 8; i++)
      t.p.ropes[0].long_factor[i] = 1.5 + i;
   bytes b = encode(&t);
   cr_assert_eq(decode(&t, b, &p), SINTER_ok, "%s", sinter_error());
   cr_assert_str_eq(p->model.name, "tiny");
   cr_assert_str_eq(p->target, "cpu:x86-64-v3");
   cr_assert_eq(p->model.eos[0], 2);
   cr_assert_eq(p->ropes[0].long_factor[7], 8.5);
   cr_assert_eq(p->variants[1].launches[1].consts[0], -5);
   cr_assert_eq(p->variants[1].launches[1].refs[4].offset, 192);
   cr_assert_str_eq(p->variants[0].segments[1].reason, "HOST_SYNC of sample");
   cr_assert_str_eq(p->weights[0].sources[0].tensor, "blk.0.ffn_up.weight");
   t.p = *p;
   bytes again = encode(&t);
   cr_assert_eq(again.size, b.size);
   cr_assert_arr_eq(again.data, b.data, b.size);
   arena_destroy(t.a);
}

/* The fuzz target starts from a plan that is read. SINTER_RECORD=1 writes it again. Kills: a format
 * that moved on without its seed. */
Test(plan, seed)
{
   static const char path[] = TEST_ROOT "/fuzz/corpus/plan/tiny";
   uint8_t is[1 << 14];
   tiny t;

   tiny_make(&t, 40, 1);
   bytes b = encode(&t);
   if (getenv("SINTER_RECORD")) {
      FILE *f = fopen(path, "wb");
      cr_assert(f && fwrite(&t.p.weight_bytes, 8, 1, f) == 1 && fwrite(b.data, b.size, 1, f) == 1);
      fclose(f);
   }
   FILE *f = fopen(path, "rb");
   cr_assert_not_null(f, "%s", path);
   size_t size = fread(is, 1, sizeof is, f);
   fclose(f);
   cr_assert(size == 8 + b.size && memcmp(is, &t.p.weight_bytes, 8) == 0 &&
                memcmp(is + 8, b.data, b.size) == 0,
             "another format: SINTER_RECORD=1 build/tests/plan_test --filter=plan/seed");
   arena_destroy(t.a);
}

/* Kills: rounding down instead of up, using the wrong symbol, a bound that is the least. */
Test(plan, extent)
{
   int64_t syms[SYM_COUNT] = {[SYM_T] = 9, [SYM_C] = 3};
   plan_extent e = {.k = 5, .num_factors = 2, .factor = {{SYM_T, 4}, {SYM_C, 1}}};

   cr_assert_eq(plan_extent_eval(&e, syms), 5 * 3 * 3);
   e.most[0] = 3; /* a window of two chunks */
   e.most[1] = 2;
   cr_assert_eq(plan_extent_eval(&e, syms), 5 * 3 * 2);
   syms[SYM_C] = 1;
   cr_assert_eq(plan_extent_eval(&e, syms), 5 * 3 * 1);
}

/* Every cut is declined; every changed byte is declined, or is itself the encoding of what was
 * read: nothing in the bytes goes unread. Kills: a second form of a number, unread tails. */
Test(plan, damage)
{
   tiny t;
   plan *p;

   tiny_make(&t, 40, 1);
   bytes b = encode(&t);
   for (size_t size = 0; size < b.size; size++) {
      uint8_t *cut = malloc(size ? size : 1);
      memcpy(cut, b.data, size);
      cr_assert_eq(decode(&t, (bytes){cut, size}, &p), SINTER_bad_input);
      free(cut);
   }
   uint8_t *copy = arena_copy(t.a, b.data, b.size);
   for (size_t at = 0; at < b.size; at++) {
      for (int step = 1; step < 256; step += 18) {
         copy[at] = (uint8_t)(b.data[at] + step);
         if (decode(&t, (bytes){copy, b.size}, &p) == SINTER_ok) {
            tiny other = t;
            other.p = *p;
            bytes again = encode(&other);
            cr_assert(again.size == b.size && memcmp(again.data, copy, b.size) == 0, "byte %zu",
                      at);
         }
      }
      copy[at] = b.data[at];
   }
   arena_destroy(t.a);
}

#define DECLINES(change, reason)                                                                   \
   do {                                                                                            \
      tiny t;                                                                                      \
      plan *decoded;                                                                               \
      tiny_make(&t, 40, 1);                                                                        \
      plan *p = &t.p;                                                                              \
      plan_launch *l = &p->variants[1].launches[1];                                                \
      uint64_t weights = p->weight_bytes;                                                          \
      (void)l;                                                                                     \
      change;                                                                                      \
      bytes b = encode(&t);                                                                        \
      cr_assert_eq(plan_decode(t.a, b.data, b.size, weights, &decoded), SINTER_bad_input, "%s",    \
                   reason);                                                                        \
      cr_assert(strstr(sinter_error(), reason), "%s is not: %s", sinter_error(), reason);          \
      arena_destroy(t.a);                                                                          \
   } while (0)

/* Each line kills the check it names. */
Test(plan, declines_memory)
{
   DECLINES(l->refs[0].offset = p->arena_bytes, "outside the arena");
   DECLINES(l->refs[1].offset = p->weight_bytes, "outside the weights");
   DECLINES(l->refs[2].index = 1, "outside its cache group");
   DECLINES(l->refs[2].index2 = 2, "outside its cache group");
   DECLINES(l->refs[2].offset = 2 * 2 * 16 * 16 * 2, "outside its cache group");
   DECLINES(l->refs[3].index = 99, "no known metadata");
   DECLINES(l->refs[3].index2 = 1, "outside its metadata");
   DECLINES(l->refs[3].offset = 4, "outside its metadata");
   DECLINES(l->refs[4].offset = 256, "outside the scratch");
   DECLINES(l->refs[5].index = 2, "no known output");
   DECLINES(l->refs[5].kind = 6, "no known kind");
   DECLINES(l->kernel = 2, "names no kernel");
   DECLINES(l->group = 1, "names no group");
   DECLINES(weights++, "not as large as the plan");
   DECLINES(p->arena_bytes = (uint64_t)1 << 50, "arena is too large");
}

Test(plan, declines_extents)
{
   DECLINES(l->tiles.k = -1, "too many tiles");
   DECLINES(l->tiles.k = (int64_t)1 << 32, "too many tiles");
   DECLINES(l->tiles.factor[0].sym = SYM_COUNT, "too many tiles");
   DECLINES(l->tiles.factor[0].div = 0, "too many tiles");
   DECLINES(l->tiles = tiny_extent(1 << 30, SYM_B, 1), "too many tiles");
   DECLINES(l->tiles.most[0] = 1, "too many tiles");
   DECLINES(p->scratch.most[0] = 1, "scratch");
   DECLINES(l->flops = tiny_extent(INT64_MAX, SYM_S, 1), "cost is out of range");
   DECLINES(p->scratch.k = (int64_t)1 << 45, "scratch memory is too large");
   DECLINES(p->sym_max[SYM_T] = 0, "range is out of bounds");
   DECLINES(p->sym_max[SYM_A] = 1 << 21, "range is out of bounds");
   DECLINES(p->sym_max[SYM_B] = -1, "range is out of bounds");
}

/* Kills: tiles of decoding counted for as many rows as a prompt's step has, so that a model with a
 * key and value for each of its 32 heads has too many. */
Test(plan, steps_bound_tiles)
{
   const plan_extent parts = {.k = 1 << 14, .num_factors = 2, .factor = {{SYM_A, 1}, {SYM_C, 1}}};
   plan *out;
   tiny of_decode;

   tiny_make(&of_decode, 40, 1);
   of_decode.p.variants[0].launches[1].tiles = parts;
   bytes coded = encode(&of_decode);
   sinter_status status =
      plan_decode(of_decode.a, coded.data, coded.size, of_decode.p.weight_bytes, &out);
   cr_assert_eq(status, SINTER_ok, "%s", sinter_error());
   arena_destroy(of_decode.a);
   DECLINES(l->tiles = parts, "too many tiles");
}

Test(plan, declines_tables)
{
   DECLINES(p->model.vocab = 0, "vocabulary");
   DECLINES(p->model.bos = TINY_VOCAB, "first token");
   DECLINES(p->model.eos[0] = -1, "end token");
   DECLINES(p->cache_groups[0].kind = 99, "no known kind");
   DECLINES(p->cache_groups[0].dtype = DT_i8, "no such type");
   DECLINES(p->cache_groups[0].window = 5, "window");
   DECLINES(p->cache_groups[0].heads = 0, "heads");
   DECLINES(p->ropes[0].width = 15, "no such kind or width");
   DECLINES(p->ropes[0].base = 0, "rope table is empty");
   DECLINES(p->ropes[0].factor = 1.0 / 0.0, "not finite");
   DECLINES(p->weights[0].offset = 32, "outside the weight section");
   DECLINES(p->weights[1].offset += 64, "outside the weight section");
   DECLINES(p->weights[0].stack = 0, "no stack of equal matrices");
   DECLINES(p->weights[0].stack = 7, "no stack of equal matrices");
   DECLINES(p->weights[0].transposed = 2, "no stack of equal matrices");
   DECLINES(p->weights[0].size--, "not as large as its layout");
   DECLINES(p->weights[0].layout = PANEL_COUNT, "no such layout");
   DECLINES(p->weights[0].dtype = DT_COUNT, "no such type");
   DECLINES(p->weights[0].sources[0].num_rows++, "do not add up");
   DECLINES(p->variants[1].max_rows = 1, "out of order");
   DECLINES(p->variants[1].max_chunks = 1, "out of order");
   DECLINES(p->variants[0].max_chunks = 1, "out of order");
   DECLINES(p->variants[0].max_chunks = -1, "out of range");
   DECLINES(l->phase = 0; l[-1].phase = 1, "phases are out of order");
   DECLINES(p->variants[0].segments[1].first_launch = 0, "out of place");
   DECLINES(p->variants[0].segments[0].num_launches = 3, "out of place");
   DECLINES(p->variants[0].num_segments = 1, "outside every segment");
   DECLINES(p->target = "", "no name");
   DECLINES(p->kernels[0].symbol = "", "kernel has no name");
}
