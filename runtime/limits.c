/* limits.c - sizes of an engine. */
#include "limits.h"

#include <stdio.h>

#include "base/plan_check.h"

enum { DEFAULT_SEQUENCES = 64, DEFAULT_CONTEXT = 4096 };

/* States: two for each sequence (before and after a step) and those kept for others, in a quarter
 * of the free memory; what a single sequence needs in any case. */
enum { KEPT_STATES = 256, LEAST_STATES = 4 };

uint64_t rt_limits_token_bytes(const plan *p)
{
   uint64_t bytes = 0;

   for (uint32_t i = 0; i < p->num_cache_groups; i++)
      bytes += plan_token_bytes(&p->cache_groups[i]) * p->cache_groups[i].num_layers;
   return bytes;
}

uint64_t rt_limits_state_bytes(const plan *p)
{
   uint64_t bytes = 0;

   for (uint32_t i = 0; i < p->num_cache_groups; i++) {
      const plan_cache_group *g = &p->cache_groups[i];
      if (!plan_state_paged[g->kind])
         bytes += plan_page_bytes(g) * g->num_layers;
   }
   return bytes;
}

/* Memory that can be had without swapping; 0 when the system does not say. */
static uint64_t available_memory(void)
{
   FILE *f = fopen("/proc/meminfo", "re");
   unsigned long long kib = 0;
   char line[128];

   if (!f)
      return 0;
   while (fgets(line, sizeof line, f)) {
      if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
         break;
   }
   fclose(f);
   return (uint64_t)kib * 1024;
}

/* The trained context, as far as half of the free memory holds it. */
static int64_t default_tokens(const plan *p)
{
   int64_t tokens = p->model.trained_context ? p->model.trained_context : DEFAULT_CONTEXT;
   uint64_t memory = available_memory(), each = rt_limits_token_bytes(p);

   if (memory && each)
      tokens = MIN(tokens, (int64_t)(memory / 2 / each));
   return MAX(tokens, PAGE_TOKENS);
}

static int64_t state_pages(const plan *p, int64_t sequences)
{
   uint64_t memory = available_memory(), each = rt_limits_state_bytes(p);
   int64_t pages = 2 * sequences + KEPT_STATES;

   if (memory && each)
      pages = MIN(pages, (int64_t)(memory / 4 / each));
   return MAX(pages, LEAST_STATES);
}

static sinter_status bounded(const char *option, int64_t asked, int64_t standard, int64_t most,
                             int64_t *out)
{
   *out = asked ? asked : MIN(standard, most);
   if (*out > most)
      return base_fail(SINTER_usage, option, "use a smaller value",
                       "%lld is more than the %lld that the artifact was compiled for",
                       (long long)asked, (long long)most);
   return SINTER_ok;
}

sinter_status rt_limits_decide(const plan *p, const sinter_engine_options *o, rt_limits *out)
{
   int64_t tokens;
   int64_t rows = p->sym_max[SYM_T];

   *out = (rt_limits){.max_wanted = p->sym_max[SYM_R],
                      .threads = o->threads,
                      .time_launches = o->time_launches,
                      .share_threads = o->share_threads};
   if (p->num_variants)
      rows = MIN(rows, p->variants[p->num_variants - 1].max_rows);
   if (rows < 1 || out->max_wanted < 1 || p->sym_max[SYM_S] < 1 || p->sym_max[SYM_A] < 1)
      return base_fail(SINTER_bad_input, p->target, "compile the model again",
                       "the plan has no room for a single row");
   SINTER_TRY(bounded("step_tokens", o->step_tokens, rows, rows, &out->max_rows));
   SINTER_TRY(bounded("max_sequences", o->max_sequences, DEFAULT_SEQUENCES, p->sym_max[SYM_S],
                      &out->max_sequences));
   SINTER_TRY(bounded("kv_tokens", o->kv_tokens, default_tokens(p), PLAN_MAX_POSITIONS, &tokens));
   int64_t pages = (tokens + PAGE_TOKENS - 1) / PAGE_TOKENS;
   out->max_positions = pages * PAGE_TOKENS;
   for (uint32_t g = 0; g < p->num_cache_groups; g++)
      out->pages[g] =
         plan_state_paged[p->cache_groups[g].kind] ? pages : state_pages(p, out->max_sequences);
   return SINTER_ok;
}
