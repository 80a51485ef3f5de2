/* balance.c - from what was counted of each layer's experts to places for them, both as JSON.
 *
 *    {"layers":[{"layer":1,"experts":4,"tokens":[90,20,0,7]}]}
 *       ─rt_eplb_place─▶ {"layers":[{"layer":1,"experts":4,"places":[0,1,2,3,0,0]}],"balance":…} */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "eplb.h"

enum { MAX_EXPERTS = 65536 };

typedef struct balancing {
   const sinter_balance_options *options;
   arena *a;
   text_buf text;
   double before, after; /* sums over layers */
   size_t num_layers;
   char *json;
} balancing;

static sinter_status bad(const json *at, const char *why)
{
   return base_fail(SINTER_bad_input, "loads", "take a file that --loads has written",
                    "at byte %zu: %s", at->offset, why);
}

static bool is_count(const json *j, int64_t most)
{
   return j && j->kind == JSON_int && j->integer >= 0 && j->integer <= most;
}

static sinter_status read_loads(balancing *b, const json *layer, double **out, uint32_t *count)
{
   const json *tokens = json_get(layer, "tokens"), *experts = json_get(layer, "experts");

   if (!tokens || tokens->kind != JSON_array || !is_count(experts, MAX_EXPERTS) ||
       experts->integer != (int64_t)tokens->len || !tokens->len)
      return bad(layer, "a layer has \"experts\" and as many numbers as \"tokens\"");
   *count = (uint32_t)tokens->len;
   *out = arena_array(b->a, double, tokens->len);
   for (size_t i = 0; i < tokens->len; i++) {
      const json *n = tokens->items[i];

      if ((n->kind != JSON_int && n->kind != JSON_float) || !(n->number >= 0) ||
          !isfinite(n->number))
         return bad(n, "loads are numbers that are not negative");
      (*out)[i] = n->number;
   }
   return SINTER_ok;
}

/* The places a model has without a map, and then its experts once more in order. */
static double balance_before(const balancing *b, const rt_eplb_shape *s, const double *load)
{
   int32_t *expert = arena_array(b->a, int32_t, s->places);

   for (uint32_t p = 0; p < s->places; p++)
      expert[p] = (int32_t)(p % s->experts);
   return rt_eplb_balance(b->a, s, load, expert);
}

static sinter_status place_layer(balancing *b, const json *layer)
{
   const sinter_balance_options *o = b->options;
   const json *number = json_get(layer, "layer");
   rt_eplb_shape s = {
      .groups = MAX(o->groups, 1u), .nodes = MAX(o->nodes, 1u), .devices = MAX(o->devices, 1u)};
   double *load;

   if (!is_count(number, INT32_MAX))
      return bad(layer, "a layer has a number, \"layer\"");
   SINTER_TRY(read_loads(b, layer, &load, &s.experts));
   s.places = o->places ? o->places : s.experts;
   if (s.places > MAX_EXPERTS)
      return base_fail(SINTER_usage, "places", "ask for fewer", "a layer has at most %d places",
                       MAX_EXPERTS);
   SINTER_TRY(rt_eplb_check(&s));
   const rt_eplb_plan p = {.expert = arena_array(b->a, int32_t, s.places),
                           .rank = arena_array(b->a, int32_t, s.places),
                           .count = arena_array(b->a, int32_t, s.experts)};
   rt_eplb_place(b->a, &s, load, &p);
   text_printf(&b->text, "%s{\"layer\":%lld,\"experts\":%u,\"places\":[", b->num_layers ? "," : "",
               (long long)number->integer, s.experts);
   for (uint32_t i = 0; i < s.places; i++)
      text_printf(&b->text, "%s%d", i ? "," : "", p.expert[i]);
   text_printf(&b->text, "]}");
   b->before += balance_before(b, &s, load);
   b->after += rt_eplb_balance(b->a, &s, load, p.expert);
   b->num_layers++;
   return SINTER_ok;
}

static sinter_status body(void *user)
{
   balancing *b = user;
   const char *loads = b->options->loads ? b->options->loads : "";
   json *root;

   b->text.a = b->a;
   SINTER_TRY(json_parse(b->a, loads, strlen(loads), "loads", &root));
   const json *layers = json_get(root, "layers");
   if (!layers || layers->kind != JSON_array || !layers->len)
      return bad(root, "there are no \"layers\"");
   text_printf(&b->text, "{\"layers\":[");
   for (size_t i = 0; i < layers->len; i++)
      SINTER_TRY(place_layer(b, layers->items[i]));
   text_printf(&b->text, "],\"balance\":{\"before\":");
   json_write_double(&b->text, b->before / (double)b->num_layers);
   text_printf(&b->text, ",\"after\":");
   json_write_double(&b->text, b->after / (double)b->num_layers);
   text_printf(&b->text, "}}");
   b->json = strdup(b->text.data);
   return b->json
             ? SINTER_ok
             : base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
}

sinter_status sinter_balance(const sinter_balance_options *options, char **out_json)
{
   sinter_balance_options o = {.size = sizeof o};
   balancing b = {.options = &o};

   *out_json = NULL;
   memcpy(&o, options, MIN(options->size, sizeof o));
   SINTER_TRY(arena_create(&b.a));
   sinter_status status = arena_catch(body, &b);
   arena_destroy(b.a);
   *out_json = b.json;
   return status;
}
