/* eplb.c - places of experts by load. */
#include "eplb.h"

#include <stdlib.h>

sinter_status rt_eplb_check(const rt_eplb_shape *s)
{
   const bool whole = s->experts && s->groups && s->nodes && s->devices;
   const struct {
      bool holds;
      const char *why, *remedy;
   } rules[] = {
      {whole, "experts, groups, nodes and devices are at least 1", "choose larger numbers"},
      {s->places >= s->experts, "there are fewer places than experts",
       "ask for a place for each expert at least"},
      {whole && s->experts % s->groups == 0, "groups do not divide the experts",
       "choose groups that divide the experts"},
      {whole && s->devices % s->nodes == 0, "nodes do not divide the devices",
       "choose as many devices on each node"},
      {whole && s->places % s->devices == 0, "devices do not divide the places",
       "choose places that are a multiple of the devices"},
   };

   for (size_t i = 0; i < countof(rules); i++)
      if (!rules[i].holds)
         return base_fail(SINTER_usage, "places, groups, nodes, devices", rules[i].remedy,
                          "%u experts in %u groups, %u places, %u nodes, %u devices: %s",
                          s->experts, s->groups, s->places, s->nodes, s->devices, rules[i].why);
   return SINTER_ok;
}

/* ---- packing ---- */

typedef struct item {
   double load;
   uint32_t index;
} item;

static int heavier(const void *a, const void *b)
{
   const item *x = a, *y = b;

   if (x->load != y->load)
      return x->load > y->load ? -1 : 1;
   return x->index < y->index ? -1 : 1;
}

static uint32_t lightest(const double *load, const uint32_t *held, uint32_t packs, uint32_t most)
{
   uint32_t best = packs;

   for (uint32_t p = 0; p < packs; p++)
      if (held[p] < most && (best == packs || load[p] < load[best]))
         best = p;
   return best;
}

/* n items into packs of equal size; place[i] = pack * size + number in the pack. Packs of one item
 * keep the order as it is. */
static void pack(arena *a, const double *load, uint32_t n, uint32_t packs, uint32_t *place)
{
   const uint32_t size = n / packs;
   item *items = arena_array(a, item, n);
   double *sum = arena_array(a, double, packs);
   uint32_t *held = arena_array(a, uint32_t, packs);

   for (uint32_t i = 0; i < n; i++) {
      items[i] = (item){load[i], i};
      place[i] = i;
   }
   if (size == 1)
      return;
   qsort(items, n, sizeof *items, heavier);
   for (uint32_t i = 0; i < n; i++) {
      uint32_t p = lightest(sum, held, packs, size);

      place[items[i].index] = p * size + held[p]++;
      sum[p] += items[i].load;
   }
}

/* One place for each of n experts, every further one for the expert whose replicas carry most. */
static void replicate(const double *load, uint32_t n, uint32_t places, uint32_t *of, int32_t *rank,
                      int32_t *count)
{
   for (uint32_t i = 0; i < places; i++) {
      uint32_t most = i < n ? i : 0;

      for (uint32_t e = 1; e < n && i >= n; e++)
         if (load[e] / count[e] > load[most] / count[most])
            most = e;
      if (i < n)
         count[i] = 0;
      of[i] = most;
      rank[i] = count[most]++;
   }
}

/* ---- a layer ---- */

/* inside[m]: expert number m when those of a node stand together, node after node. */
static void order_by_node(arena *a, const rt_eplb_shape *s, const double *load, uint32_t *inside)
{
   const uint32_t size = s->experts / s->groups;
   double *sum = arena_array(a, double, s->groups);
   uint32_t *place = arena_array(a, uint32_t, s->groups);

   for (uint32_t e = 0; e < s->experts; e++)
      sum[e / size] += load[e];
   pack(a, sum, s->groups, s->nodes, place);
   for (uint32_t e = 0; e < s->experts; e++)
      inside[place[e / size] * size + e % size] = e;
}

/* What is needed for one node: experts[n] and their loads, replicas, and where those go. */
typedef struct node {
   uint32_t n, places, devices;
   double *load, *each;
   uint32_t *of, *place;
   int32_t *rank, *count;
} node;

static node node_of(arena *a, const rt_eplb_shape *s)
{
   node d = {
      .n = s->experts / s->nodes, .places = s->places / s->nodes, .devices = s->devices / s->nodes};

   d.load = arena_array(a, double, d.n);
   d.each = arena_array(a, double, d.places);
   d.of = arena_array(a, uint32_t, d.places);
   d.place = arena_array(a, uint32_t, d.places);
   d.rank = arena_array(a, int32_t, d.places);
   d.count = arena_array(a, int32_t, d.n);
   return d;
}

void rt_eplb_place(arena *a, const rt_eplb_shape *shape, const double *load,
                   const rt_eplb_plan *out)
{
   rt_eplb_shape s = *shape;
   uint32_t *inside = arena_array(a, uint32_t, s.experts);

   if (s.groups % s.nodes)
      s.groups = s.nodes = 1;
   order_by_node(a, &s, load, inside);
   node d = node_of(a, &s);
   for (uint32_t i = 0; i < s.nodes; i++) {
      const uint32_t *expert = inside + i * d.n;

      for (uint32_t e = 0; e < d.n; e++)
         d.load[e] = load[expert[e]];
      replicate(d.load, d.n, d.places, d.of, d.rank, d.count);
      for (uint32_t p = 0; p < d.places; p++)
         d.each[p] = d.load[d.of[p]] / d.count[d.of[p]];
      pack(a, d.each, d.places, d.devices, d.place);
      for (uint32_t p = 0; p < d.places; p++) {
         const uint32_t at = i * d.places + d.place[p];

         out->expert[at] = (int32_t)expert[d.of[p]];
         out->rank[at] = d.rank[p];
      }
      for (uint32_t e = 0; e < d.n; e++)
         out->count[expert[e]] = d.count[e];
   }
}

double rt_eplb_balance(arena *a, const rt_eplb_shape *s, const double *load, const int32_t *expert)
{
   const uint32_t size = s->places / s->devices;
   double *count = arena_array(a, double, s->experts), most = 0, all = 0;

   for (uint32_t p = 0; p < s->places; p++)
      count[expert[p]]++;
   for (uint32_t d = 0; d < s->devices; d++) {
      double sum = 0;

      for (uint32_t p = d * size; p < (d + 1) * size; p++)
         sum += load[expert[p]] / count[expert[p]];
      most = MAX(most, sum);
      all += sum;
   }
   return most > 0 ? all / s->devices / most : 1;
}
