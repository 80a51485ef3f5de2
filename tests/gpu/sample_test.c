// LINK: codegen passes models ir runtime base sinter_mock
/* Tokens picked by kernels/sample.cuh on the mock's threads, for warps of 32 and of 64, against the
 * sampler of the host: the same ones. Then the same with defects planted in the text, each of which
 * must be seen (all of them with SINTER_CHECK_LONG=1). */
#include "simt_run.h"

#include <math.h>
#include <stdlib.h>

#include "base/draw.h"
#include "runtime/rows.h"
#include "runtime/sampler.h"

enum { ROWS = 3, MOST = SAMPLE_CHUNK + 77, UNTOUCHED = -77 };

typedef struct machine {
   arena *a;
   void *module;
   uint32_t warp;
   rt_sampler *sampler;
   uint32_t vocab;
   float *logits;
} machine;

/* Kinds of rows; what is not said is noise. */
typedef enum row_kind { NOISE, FEW_VALUES, FLAT, HOLES, STEEP, ZEROS, KINDS } row_kind;

static uint64_t state = 1;

static uint32_t dice(uint32_t n)
{
   state = state * 6364136223846793005u + 1442695040888963407u;
   return (uint32_t)(state >> 33) % n;
}

static void fill_row(float *x, uint32_t n, row_kind kind)
{
   for (uint32_t i = 0; i < n; i++) {
      float noise = ((float)dice(1 << 20) / (1 << 19) - 1) * 8;
      x[i] = kind == FEW_VALUES ? (float)(int)dice(5)
             : kind == FLAT     ? noise * 1e-3f
             : kind == HOLES    ? (dice(4) ? -INFINITY : noise)
             : kind == STEEP    ? noise * 40
             : kind == ZEROS    ? (dice(2) ? 0.0f : -0.0f)
                                : noise;
   }
   /* The largest one, often where parts of a row meet. */
   const uint32_t at[] = {dice(n), SAMPLE_CHUNK - 1, SAMPLE_CHUNK, n - 1};
   x[at[dice(4)] % n] = kind == ZEROS ? 0 : 6;
}

/* What logits weigh, alone. */
static const char weights[] = "SIMT_KERNEL(weigh) { SIMT_BEGIN(a); const sample_row r = {(const "
                              "float *)a->ptr[1], a->konst[0], 3.5f, 1.7f};\n"
                              "for (int i = simt_thread(); i < r.n; i += SIMT_THREADS) ((simt_u32 "
                              "*)a->ptr[0])[i] = sample_weigh(&r, r.x[i]); }\n";

static const char *text_of(arena *a, uint32_t warp, const char *was, const char *now, size_t *size)
{
   const cg_kernel kernels[] = {
      {.symbol = "sample_part", .family = "sample", .simt = &cg_simt_sample},
      {.symbol = "sample_pick", .family = "sample", .simt = &cg_simt_sample}};
   text_buf text = {.a = a}, changed = {.a = a};

   const cg_machine host = {harness_arch(warp), false};
   HARNESS_OK(cg_simt_text(a, CG_HOST, host, "test", kernels, countof(kernels), &text));
   const char *at = was ? strstr(text.data, was) : NULL;
   cr_assert(!was || at, "the text has no %s", was);
   if (at) {
      text_printf(&changed, "%.*s%s%s", (int)(at - text.data), text.data, now, at + strlen(was));
      text = changed;
   }
   text_printf(&text, "%s", weights);
   *size = text.len;
   return text.data;
}

static machine machine_of(uint32_t warp, const char *was, const char *now)
{
   machine m = {.warp = warp};
   const uint8_t *object;
   size_t size;

   HARNESS_OK(arena_create(&m.a));
   const char *text = text_of(m.a, warp, was, now, &size);
   HARNESS_OK(cg_host_object(m.a, text, size, &object, &size));
   m.module = simt_load(object, size);
   m.logits = calloc((size_t)ROWS * MOST, sizeof(float));
   return m;
}

static void set_vocab(machine *m, uint32_t vocab)
{
   rt_sampler_destroy(m->sampler);
   HARNESS_OK(rt_sampler_create(vocab, &m->sampler));
   m->vocab = vocab;
}

static void machine_end(machine *m)
{
   simt_unload(m->module);
   rt_sampler_destroy(m->sampler);
   free(m->logits);
   arena_destroy(m->a);
}

/* Both launches over the rows. */
static void pick(const machine *m, const draw *draws, int32_t *ids)
{
   const int64_t chunks = (m->vocab + SAMPLE_CHUNK - 1) / SAMPLE_CHUNK;
   sinter_step_block step = {.sym[SYM_R] = ROWS};
   uint8_t parts[ROWS * 8 * (MOST / SAMPLE_CHUNK + 1)];
   simt_args args = {.k.step = &step, .num_factors = 1, .factor = {{SYM_R, 1}}, .tiles = chunks};

   memset(parts, 0xff, sizeof parts);
   args.k.konst[SAMPLE_V] = m->vocab;
   args.k.konst[SAMPLE_CHUNKS] = chunks;
   args.k.ptr[0] = parts;
   args.k.ptr[1] = m->logits;
   args.k.ptr[2] = (void *)(uintptr_t)draws;
   simt_run(m->module, "sample_part", m->warp, (uint32_t)(ROWS * chunks) + 1, &args);
   args.tiles = 1;
   args.k.ptr[0] = ids;
   args.k.ptr[1] = parts;
   args.k.ptr[2] = m->logits;
   args.k.ptr[3] = (void *)(uintptr_t)draws;
   simt_run(m->module, "sample_pick", m->warp, ROWS + 1, &args);
}

/* How many of the rows are not picked as the host picks them. */
static int differences(machine *m, const sinter_sampling *o, row_kind kind, uint32_t index)
{
   int32_t ids[ROWS];
   draw draws[ROWS];
   int wrong = 0;

   for (uint32_t i = 0; i < ROWS; i++) {
      fill_row(m->logits + (size_t)i * m->vocab, m->vocab, kind);
      draws[i] = rt_draw_of(o, index + i);
      ids[i] = UNTOUCHED;
   }
   draws[1].how = index % 4 ? draws[1].how : DRAW_host;
   pick(m, draws, ids);
   for (uint32_t i = 0; i < ROWS; i++) {
      rt_ask ask = {.sampling = o, .index = index + i};
      rt_pick want = {.id = UNTOUCHED};
      if (draws[i].how != DRAW_host)
         HARNESS_OK(rt_sample(m->sampler, m->logits + (size_t)i * m->vocab, &ask, &want));
      wrong += ids[i] != want.id;
   }
   return wrong;
}

static const sinter_sampling options[] = {
   {.temperature = 0, .top_p = 1},
   {.temperature = 1, .top_p = 1},
   {.temperature = 0.7f, .top_p = 1, .top_k = 5},
   {.temperature = 3, .top_p = 1, .top_k = 300},
   {.temperature = 2, .top_p = 0.6f},
   {.temperature = 4, .top_p = 0.9f, .top_k = 40},
   {.temperature = 50, .top_p = 0.5f, .top_k = 400},
   {.temperature = 2, .top_p = 1, .min_p = 0.1f},
   {.temperature = 3, .top_p = 0.95f, .top_k = 50, .min_p = 0.05f},
   {.temperature = 1, .top_p = 1e-6f},
   {.temperature = 1, .top_p = 1, .min_p = 1},
   {.temperature = 2, .top_p = 1, .top_k = 1},
   {.temperature = 1e6f, .top_p = 0.3f, .top_k = 2 * MOST},
   {.temperature = 1e-7f, .top_p = 0.99999994f},
};

/* Weights of other bits would change one pick of a million. */
static int other_weights(const machine *m)
{
   enum { N = 4000 };
   static float x[N];
   static uint32_t w[N];
   simt_args args = {.k.ptr = {w, x}, .k.konst[0] = N, .tiles = 1};
   int wrong = 0;

   for (int i = 0; i < N; i++)
      x[i] = 3.5f - (float)i * 0.0041f - (float)dice(1000) * 1e-6f;
   x[N - 1] = -INFINITY;
   simt_run(m->module, "weigh", m->warp, 1, &args);
   for (int i = 0; i < N; i++)
      wrong += w[i] != rt_weigh(x[i], 3.5f, 1.7f);
   return wrong;
}

/* Each of the options, and in each round another kind of row. */
static int all_differences(machine *m, uint32_t rounds)
{
   int wrong = other_weights(m);

   for (uint32_t round = 0; round < rounds; round++)
      for (uint32_t i = 0; i < countof(options) && !wrong; i++) {
         sinter_sampling o = options[i];
         o.repetition_penalty = 1;
         o.seed = 1000 * round + i;
         wrong += differences(m, &o, (row_kind)((i + round) % KINDS), i + round);
      }
   return wrong;
}

/* Kills: another order, or another end, of any filter; a tie to the higher id; a weight of other
 * bits; a draw by another order; a chunk or the end of a row that is not looked at; rows of the
 * host that are written. */
Test(sample, picks_what_the_host_picks)
{
   static const uint32_t vocabs[] = {MOST, 317, 3};

   for (size_t w = 0; w < countof(warps); w++) {
      machine m = machine_of(warps[w].warp, NULL, NULL);
      for (size_t v = 0; v < countof(vocabs); v++) {
         set_vocab(&m, vocabs[v]);
         int wrong = all_differences(&m, v ? KINDS : 1);
         cr_assert(wrong == 0, "%d rows of %u on warps of %u", wrong, vocabs[v], warps[w].warp);
      }
      machine_end(&m);
   }
}

/* Kills: garbage that becomes a token. */
Test(sample, what_is_not_finite_is_no_token)
{
   static const float bad[] = {NAN, INFINITY, -NAN};
   const sinter_sampling o = {.temperature = 1, .top_p = 0.9f, .top_k = 3};
   machine m = machine_of(32, NULL, NULL);
   int32_t ids[ROWS];

   set_vocab(&m, SAMPLE_CHUNK + 5);
   for (uint32_t i = 0; i < countof(bad); i++) {
      draw draws[ROWS] = {rt_draw_of(&o, 1), {.how = DRAW_best}, rt_draw_of(&o, 3)};
      for (uint32_t k = 0; k < ROWS * m.vocab; k++)
         m.logits[k] = k < 2 * m.vocab ? (float)(k % 7) : -INFINITY;
      m.logits[m.vocab - 1 - i] = bad[i];
      m.logits[2 * m.vocab - 1 - SAMPLE_CHUNK] = bad[i];
      pick(&m, draws, ids);
      cr_assert(ids[0] == -1 && ids[1] == -1 && ids[2] == -1, "%d %d %d", ids[0], ids[1], ids[2]);
   }
   machine_end(&m);
}

static const struct {
   const char *was, *now;
} faults[] = {
   {"simt_least(from + SAMPLE_CHUNK, a->konst[SAMPLE_V])",
    "simt_least(from + SAMPLE_CHUNK - 1, a->konst[SAMPLE_V])"},
   {"b.most == a.most && b.at < a.at", "b.most == a.most && b.at > a.at"},
   {"s->sum[d] < wanted", "s->sum[d] <= wanted"},
   {"(wanted + w - 1) / w", "wanted / w"},
   {"key == end->key && at <= end->at", "key == end->key"},
   {"a1 * b1 + (middle >> 32) + (other >> 32)", "a1 * b1 + (middle >> 32)"},
   {"p = p * rest + 0.5f;", "p = simt_fma(p, rest, 0.5f);"},
   {"other.key == end.key && other.at < end.at", "0"},
   {"return bits & 0x80000000u ? ~bits : bits | 0x80000000u;",
    "return simt_bits(v) & 0x80000000u ? ~simt_bits(v) : simt_bits(v) | 0x80000000u;"},
   {"how->least", "-simt_float(0x7f800000u)"},
};

/* Kills: rows above that see nothing. */
Test(sample, defects_are_seen)
{
   const char *all = getenv("SINTER_CHECK_LONG");
   const size_t num = all && *all == '1' ? countof(faults) : 1;

   for (size_t i = 0; i < num; i++) {
      machine m = machine_of(32, faults[i].was, faults[i].now);
      set_vocab(&m, i ? 317 : MOST);
      cr_assert(all_differences(&m, i ? 4 * KINDS : KINDS) > 0, "%s", faults[i].now);
      machine_end(&m);
   }
}
