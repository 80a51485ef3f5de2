// LINK: runtime base
/* Places of experts: recorded cases, what must hold of any, and the documents around them. */
#include "recorded.h"

#include "runtime/eplb.h"

#include <math.h>

static arena *the_arena;

static void begin(void)
{
   cr_assert_eq(arena_create(&the_arena), SINTER_ok);
}

static void end(void)
{
   arena_destroy(the_arena);
}

TestSuite(eplb, .init = begin, .fini = end);

static rt_eplb_plan plan_of(const rt_eplb_shape *s)
{
   return (rt_eplb_plan){.expert = arena_array(the_arena, int32_t, s->places),
                         .rank = arena_array(the_arena, int32_t, s->places),
                         .count = arena_array(the_arena, int32_t, s->experts)};
}

static uint32_t field(const json *j, const char *name)
{
   return (uint32_t)json_get(j, name)->integer;
}

/* Entry j of row e of the recorded log2phy is the place of e's replica number j. */
static void check_ranks(const char *name, const rt_eplb_plan *p, const json *log2phy)
{
   for (size_t e = 0; e < log2phy->len; e++)
      for (int32_t r = 0; r < p->count[e]; r++) {
         int64_t at = log2phy->items[e]->items[r]->integer;
         cr_assert(p->expert[at] == (int32_t)e && p->rank[at] == r,
                   "%s: replica %d of %zu is not at %lld", name, r, e, (long long)at);
      }
}

static void check_layer(const json *c, const rt_eplb_shape *s, size_t layer)
{
   const char *name = json_get(c, "name")->string;
   const json *load = json_get(json_get(c, "input"), "weight")->items[layer];
   const json *places = json_get(c, "phy2log")->items[layer];
   const json *counts = json_get(c, "logcnt")->items[layer];
   double *d = arena_array(the_arena, double, s->experts);
   rt_eplb_plan p = plan_of(s);

   for (uint32_t e = 0; e < s->experts; e++)
      d[e] = load->items[e]->number;
   rt_eplb_place(the_arena, s, d, &p);
   for (uint32_t i = 0; i < s->places; i++)
      cr_assert_eq(p.expert[i], places->items[i]->integer, "%s, layer %zu, place %u: %d, not %lld",
                   name, layer, i, p.expert[i], (long long)places->items[i]->integer);
   for (uint32_t e = 0; e < s->experts; e++)
      cr_assert_eq(p.count[e], counts->items[e]->integer, "%s: replicas of %u", name, e);
   check_ranks(name, &p, json_get(c, "log2phy")->items[layer]);
   /* recorded in six decimals */
   cr_assert_float_eq(rt_eplb_balance(the_arena, s, d, p.expert),
                      json_get(c, "balance")->items[layer]->number, 1e-6, "%s: balance", name);
}

/* Kills: an unstable sort, the last of equal packs, a replica for the first of equal loads only
 * when it is larger, sorting packs of one, groups kept together that nodes do not divide, a node's
 * experts numbered as all. */
Test(eplb, recorded)
{
   const json *cases = json_get(recorded(the_arena, "eplb.json"), "cases");

   cr_assert_geq(cases->len, 4);
   for (size_t i = 0; i < cases->len; i++) {
      const json *c = cases->items[i], *in = json_get(c, "input");
      const json *weight = json_get(in, "weight");
      rt_eplb_shape s = {.experts = (uint32_t)weight->items[0]->len,
                         .places = field(in, "num_replicas"),
                         .groups = field(in, "num_groups"),
                         .nodes = field(in, "num_nodes"),
                         .devices = field(in, "num_gpus")};

      cr_assert_eq(rt_eplb_check(&s), SINTER_ok, "%s", sinter_error());
      for (size_t l = 0; l < weight->len; l++)
         check_layer(c, &s, l);
   }
}

/* Every expert has a place, ranks count up, and groups stay on one node. */
static void check_any(const rt_eplb_shape *s, const double *load)
{
   rt_eplb_plan p = plan_of(s);
   const uint32_t group = s->experts / s->groups, node = s->places / s->nodes;
   int32_t *node_of = arena_array(the_arena, int32_t, s->groups), sum = 0;

   rt_eplb_place(the_arena, s, load, &p);
   for (uint32_t e = 0; e < s->experts; e++) {
      int32_t seen = 0;
      uint64_t ranks = 0;
      for (uint32_t i = 0; i < s->places; i++)
         if (p.expert[i] == (int32_t)e) {
            seen++;
            ranks |= UINT64_C(1) << p.rank[i];
         }
      cr_assert(seen >= 1 && seen == p.count[e] && ranks == (UINT64_C(1) << seen) - 1, "expert %u",
                e);
      sum += seen;
   }
   cr_assert_eq(sum, (int32_t)s->places);
   for (uint32_t i = 0; i < s->places && s->groups % s->nodes == 0; i++) {
      int32_t *on = &node_of[(uint32_t)p.expert[i] / group], here = (int32_t)(i / node) + 1;
      cr_assert(*on == 0 || *on == here, "a group is on two nodes");
      *on = here;
   }
   cr_assert(rt_eplb_balance(the_arena, s, load, p.expert) <= 1 + 1e-12);
}

Test(eplb, any)
{
   static const rt_eplb_shape shapes[] = {{1, 1, 1, 1, 1},  {4, 8, 2, 2, 4},   {6, 6, 3, 1, 2},
                                          {8, 12, 4, 2, 4}, {16, 48, 8, 4, 8}, {32, 36, 1, 1, 3},
                                          {8, 8, 8, 8, 8},  {6, 12, 3, 2, 4}};
   uint64_t x = 88172645463325252u;

   for (size_t i = 0; i < countof(shapes); i++)
      for (int round = 0; round < 20; round++) {
         double load[32];
         cr_assert_eq(rt_eplb_check(&shapes[i]), SINTER_ok, "%s", sinter_error());
         for (uint32_t e = 0; e < shapes[i].experts; e++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            load[e] = (double)(round ? x >> (40 + round) : 0); /* more and more ties; none at all */
         }
         check_any(&shapes[i], load);
      }
}

Test(eplb, wrong_numbers)
{
   static const rt_eplb_shape shapes[] = {{8, 7, 1, 1, 1}, {8, 8, 3, 1, 1}, {8, 8, 1, 2, 3},
                                          {8, 9, 1, 1, 2}, {0, 8, 1, 1, 1}, {8, 8, 1, 0, 1}};

   for (size_t i = 0; i < countof(shapes); i++)
      cr_assert_eq(rt_eplb_check(&shapes[i]), SINTER_usage, "%zu", i);
}

/* ---- documents ---- */

static sinter_status balance(const char *loads, uint32_t places, uint32_t devices, char **out)
{
   sinter_balance_options o = SINTER_INIT(sinter_balance_options);

   o.loads = loads;
   o.places = places;
   o.devices = devices;
   return sinter_balance(&o, out);
}

/* README case of the algorithm, as one node. */
Test(eplb, document)
{
   char *text;

   cr_assert_eq(
      balance("{\"layers\":[{\"layer\":3,\"experts\":4,\"tokens\":[90,20,0,7]}]}", 6, 2, &text),
      SINTER_ok, "%s", sinter_error());
   cr_assert(strstr(text, "{\"layers\":[{\"layer\":3,\"experts\":4,\"places\":["), "%s", text);
   cr_assert(strstr(text, "\"balance\":{\"before\":"), "%s", text);
   sinter_free(text);
}

Test(eplb, bad_documents)
{
   static const char *const texts[] = {
      "",
      "[]",
      "{\"layers\":[]}",
      "{\"layers\":[{}]}",
      "{\"layers\":[{\"layer\":0,\"experts\":2,\"tokens\":[1]}]}",
      "{\"layers\":[{\"layer\":-1,\"experts\":1,\"tokens\":[1]}]}",
      "{\"layers\":[{\"layer\":0,\"experts\":1,\"tokens\":[-1]}]}",
      "{\"layers\":[{\"layer\":0,\"experts\":1,\"tokens\":[\"x\"]}]}",
      "{\"layers\":[{\"layer\":0,\"experts\":0,\"tokens\":[]}]}"};
   char *text;

   for (size_t i = 0; i < countof(texts); i++) {
      cr_assert_eq(balance(texts[i], 0, 1, &text), SINTER_bad_input, "%s", texts[i]);
      cr_assert_null(text);
   }
}
