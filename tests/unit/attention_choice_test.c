// LINK: base
/* base/attention.def over the product of what models ask for: some row can always, and each says so
 * by what it has. */
#include <criterion/criterion.h>

#include "base/attention.h"
#include "base/simt_abi.h"

static const dtype caches[] = {DT_f32, DT_f16, DT_bf16, DT_f8e4m3};
static const uint32_t heads[][2] = {{1, 1}, {9, 3}, {14, 2}, {16, 16}, {64, 8}, {128, 1}};
static const uint32_t widths[][2] = {{1, 1},     {7, 7},     {16, 16},   {64, 64},
                                     {80, 80},   {128, 128}, {192, 128}, {256, 256},
                                     {512, 512}, {576, 512}, {1024, 960}};

/* The plain row of a machine: it has to take all that is not said to have no kernel in
 * docs/gpu.md. */
static attention_backend plain_of(const arch_info *arch)
{
   return arch ? ATTENTION_BACKEND_simt : ATTENTION_BACKEND_cpu;
}

static void check_mma(arena *a, attention_backend b, const attention_query *q)
{
   const char *why = attention_refuses(a, b, q);
   bool f8 = b == ATTENTION_BACKEND_mma_f8;

   if (why) {
      cr_assert(why[0]);
      return;
   }
   cr_assert(q->arch && q->arch->matrix && q->fast && q->kv != DT_f32, "a machine, or a cache");
   cr_assert(!f8 || (q->asked && q->kv == DT_f8e4m3 && strcmp(q->arch->name, "gfx950") == 0));
   cr_assert(q->width % (f8 ? 32 : 16) == 0 && q->value % 16 == 0, "%u, %u", q->width, q->value);
   cr_assert(attention_shared(b, q) <= arch_block_shared(q->arch));
   uint32_t columns = attention_columns(b, q);
   cr_assert(columns % (q->arch->warp == 32 ? 8 : 16) == 0 && columns && columns <= 16);
   cr_assert(columns == 8 || q->value <= 256 || q->arch->warp == 64, "sums leave the registers");
}

/* All products of shapes, caches and demands on one machine. */
static void check_machine(const arch_info *arch, bool fast)
{
   static const uint32_t ops[] = {ATTENTION_KV, ATTENTION_LATENT};
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   for (size_t i = 0; i < countof(caches) * countof(heads) * countof(widths) * 2 * 8; i++) {
      size_t k = i;
      attention_query q = {.arch = arch, .fast = fast};

      q.kv = caches[k % countof(caches)], k /= countof(caches);
      q.heads = heads[k % countof(heads)][0];
      q.groups = heads[k % countof(heads)][1], k /= countof(heads);
      q.width = widths[k % countof(widths)][0];
      q.value = widths[k % countof(widths)][1], k /= countof(widths);
      q.wants = ops[k % 2], k /= 2;
      q.wants |= (k & 1 ? ATTENTION_WINDOW : 0) | (k & 2 ? ATTENTION_SINKS : 0) |
                 (k & 4 ? ATTENTION_CAP : 0);
      const char *why = attention_refuses(a, plain_of(arch), &q);
      cr_assert(!why, "%s, cache %s, heads of %u: %s", arch ? arch->name : "cpu",
                dtype_infos[q.kv].name, q.width, why);
      check_mma(a, ATTENTION_BACKEND_mma, &q);
      check_mma(a, ATTENTION_BACKEND_mma_f8, &q);
      q.asked = true;
      check_mma(a, ATTENTION_BACKEND_mma_f8, &q);
      /* what belongs to another kind of machine is never taken */
      cr_assert(attention_refuses(a, plain_of(arch ? NULL : arch_at(0)), &q) != NULL);
   }
   arena_destroy(a);
}

/* Kills: a row that lacks a type or demand which it has; a machine without any row; a kernel taken
 * that its machine has not, or whose block does not fit. */
Test(attention_choice, some_row_can_always)
{
   for (int fast = 0; fast < 2; fast++) {
      check_machine(NULL, fast);
      for (uint32_t i = 0; arch_at(i); i++)
         check_machine(arch_at(i), fast);
   }
}

/* Kills: a machine without these bytes, or a shape that fills no instruction, taken; a kernel that
 * rounds and was not asked for; matrices with minima, whose products with latents nobody adds; a
 * block that does not fit. */
Test(attention_choice, expanded)
{
   static const struct {
      const char *arch, *words;
      bool asked, fast;
      uint32_t nope, rotated, value, rank;
      dtype keys, values;
   } rows[] = {
      {"gfx950", NULL, true, true, 128, 64, 128, 512, DT_bf16, DT_bf16},
      {"gfx950", NULL, true, true, 16, 16, 256, 32, DT_q6_k, DT_f8_128},
      {"gfx950", "only with --attention expand_f8", false, true, 128, 64, 128, 512, DT_bf16,
       DT_bf16},
      {"gfx950", "exact", true, false, 128, 64, 128, 512, DT_bf16, DT_bf16},
      {"gfx942", "bytes in the matrix units of gfx942", true, true, 128, 64, 128, 512, DT_bf16,
       DT_bf16},
      {"gfx1201", "matrix units of gfx1201", true, true, 128, 64, 128, 512, DT_bf16, DT_bf16},
      {"sm_100a", "bytes in the matrix units of sm_100a", true, true, 128, 64, 128, 512, DT_bf16,
       DT_bf16},
      {NULL, "is for GPUs", true, true, 128, 64, 128, 512, DT_bf16, DT_bf16},
      {"gfx950", "matrices of f16", true, true, 128, 64, 128, 512, DT_bf16, DT_f16},
      {"gfx950", "matrices of q4_k", true, true, 128, 64, 128, 512, DT_q4_k, DT_bf16},
      {"gfx950", "keys of 24 and 8 of latents of 32", true, true, 24, 8, 16, 32, DT_bf16, DT_bf16},
      {"gfx950", "of latents of 48", true, true, 16, 16, 16, 48, DT_bf16, DT_bf16},
      {"gfx950", "values of 512", true, true, 128, 64, 512, 512, DT_bf16, DT_bf16},
      {"gfx950", "wider than 256", true, true, 256, 64, 128, 512, DT_bf16, DT_bf16},
   };
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   for (size_t i = 0; i < countof(rows); i++) {
      const attention_query q = {.arch = rows[i].arch ? arch_find(rows[i].arch) : NULL,
                                 .fast = rows[i].fast,
                                 .asked = rows[i].asked,
                                 .wants = ATTENTION_EXPANDED,
                                 .kv = DT_f16,
                                 .heads = 16,
                                 .groups = 16,
                                 .width = rows[i].nope + rows[i].rotated,
                                 .value = rows[i].value,
                                 .rank = rows[i].rank,
                                 .rotated = rows[i].rotated,
                                 .keys = rows[i].keys,
                                 .values = rows[i].values};
      const char *why = attention_refuses(a, ATTENTION_BACKEND_expand_f8, &q);
      cr_assert(!why == !rows[i].words && (!why || strstr(why, rows[i].words)), "row %zu: %s", i,
                why ? why : "taken");
      cr_assert(why ||
                attention_shared(ATTENTION_BACKEND_expand_f8, &q) <= arch_block_shared(q.arch));
   }
   arena_destroy(a);
}

/* Kills: exact on matrix instructions; an f32 cache in halves; the machines whose instructions we
 * have not. */
Test(attention_choice, reasons)
{
   static const struct {
      const char *arch, *words;
      bool fast;
      uint32_t wants, width;
      dtype kv;
   } rows[] = {
      {"sm_80", NULL, true, ATTENTION_KV, 128, DT_f16},
      {"gfx942", NULL, true, ATTENTION_KV | ATTENTION_SINKS | ATTENTION_WINDOW, 64, DT_bf16},
      {"sm_121", NULL, true, ATTENTION_KV | ATTENTION_CAP, 256, DT_f8e4m3},
      {"gfx908", "matrix units of gfx908", true, ATTENTION_KV, 128, DT_f16},
      {"sm_80", "exact", false, ATTENTION_KV, 128, DT_f16},
      {"sm_80", "cache of f32", true, ATTENTION_KV, 128, DT_f32},
      {"sm_80", "multiples of 16", true, ATTENTION_KV, 72, DT_f16},
      {"sm_80", "mla_expand", true, ATTENTION_EXPANDED, 128, DT_f16},
      {"sm_80", NULL, true, ATTENTION_KV | ATTENTION_QUANT, 128, DT_f16},
      {"gfx90a", NULL, true, ATTENTION_KV, 512, DT_f16},
      {"gfx90a", "shared memory, of 65536", true, ATTENTION_KV, 1024, DT_f16},
      {"gfx950", NULL, true, ATTENTION_KV, 512, DT_bf16},
      {"sm_90a", "shared memory, of 49152", true, ATTENTION_KV, 1024, DT_f16},
   };
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   for (size_t i = 0; i < countof(rows); i++) {
      const attention_query q = {.arch = arch_find(rows[i].arch),
                                 .fast = rows[i].fast,
                                 .wants = rows[i].wants,
                                 .kv = rows[i].kv,
                                 .heads = 32,
                                 .groups = 8,
                                 .width = rows[i].width,
                                 .value = rows[i].width};
      const char *why = attention_refuses(a, ATTENTION_BACKEND_mma, &q);
      cr_assert(!why == !rows[i].words && (!why || strstr(why, rows[i].words)), "row %zu: %s", i,
                why ? why : "taken");
   }
   const attention_query bytes = {.arch = arch_find("gfx950"),
                                  .fast = true,
                                  .asked = true,
                                  .wants = ATTENTION_KV | ATTENTION_QUANT,
                                  .kv = DT_f8e4m3,
                                  .heads = 32,
                                  .groups = 8,
                                  .width = 128,
                                  .value = 128};
   const char *why = attention_refuses(a, ATTENTION_BACKEND_mma_f8, &bytes);
   cr_assert(why && strstr(why, "attn_quant"), "codes of results: %s", why ? why : "taken");
   arena_destroy(a);
}
