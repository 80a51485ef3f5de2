/* expert_map.c - where the experts of a layer lie, when a map says so: in another order, some
 * twice.
 *
 *    {"layers":[{"layer":1,"experts":4,"places":[0,1,2,3,0,0]}]}
 *
 *    router ─▶ capture ─▶ remap ─▶ permute ─▶ …      ids of experts, then of places
 *
 * A stack gets a matrix for each place, which is stored once in the checkpoint; a table says in
 * which places an expert is. Biases and captured ids are those of experts. */
#include "expert_map.h"

#include "base/json.h"

enum { MAX_PLACES = 65536 };

typedef struct layer_map {
   uint32_t experts, num_places;
   uint64_t *places; /* [num_places]: an expert each */
   bool used;
} layer_map;

struct expert_map {
   uint32_t num_layers;
   layer_map *layers; /* by layer; num_places 0: as the checkpoint has them */
};

static sinter_status bad(const json *at, const char *why)
{
   return base_fail(SINTER_bad_input, "map of experts", "make it with `sinter balance`",
                    "at byte %zu: %s", at->offset, why);
}

static bool is_number(const json *j, int64_t below)
{
   return j && j->kind == JSON_int && j->integer >= 0 && j->integer < below;
}

static sinter_status read_layer(arena *a, const json *j, expert_map *all)
{
   const json *number = json_get(j, "layer"), *experts = json_get(j, "experts");
   const json *places = json_get(j, "places");

   if (!is_number(number, all->num_layers))
      return bad(j, "\"layer\" is no layer of the model");
   layer_map *l = &all->layers[number->integer];
   if (l->num_places)
      return bad(j, "the layer is there twice");
   if (!is_number(experts, MAX_PLACES) || !places || places->kind != JSON_array ||
       places->len > MAX_PLACES || !places->len)
      return bad(j, "a layer has a number of \"experts\" and a list of \"places\"");
   l->experts = (uint32_t)experts->integer;
   l->num_places = (uint32_t)places->len;
   l->places = arena_array(a, uint64_t, places->len);
   bool *seen = arena_array(a, bool, l->experts + 1);
   for (size_t i = 0; i < places->len; i++) {
      if (!is_number(places->items[i], l->experts))
         return bad(places->items[i], "a place holds no expert of the layer");
      l->places[i] = (uint64_t)places->items[i]->integer;
      seen[l->places[i]] = true;
   }
   for (uint32_t e = 0; e < l->experts; e++)
      if (!seen[e])
         return bad(places, "an expert of the layer has no place");
   return SINTER_ok;
}

sinter_status expert_map_read(arena *a, const char *text, uint32_t num_layers, expert_map **out)
{
   json *root;

   *out = NULL;
   if (!text)
      return SINTER_ok;
   SINTER_TRY(json_parse(a, text, strlen(text), "map of experts", &root));
   const json *layers = json_get(root, "layers");
   if (!layers || layers->kind != JSON_array)
      return bad(root, "there are no \"layers\"");
   expert_map *places = arena_new(a, expert_map);
   places->num_layers = num_layers;
   places->layers = arena_array(a, layer_map, num_layers + 1);
   for (size_t i = 0; i < layers->len; i++)
      SINTER_TRY(read_layer(a, layers->items[i], places));
   *out = places;
   return SINTER_ok;
}

sinter_status expert_map_check(const expert_map *places, const char *path)
{
   for (uint32_t l = 0; places && l < places->num_layers; l++)
      if (places->layers[l].num_places && !places->layers[l].used)
         return base_fail(SINTER_bad_input, path, "make the map from loads of this model",
                          "the map has places for layer %u, which is no mixture of experts", l);
   return SINTER_ok;
}

/* ---- in a graph ---- */

static layer_map *layer_of(const model_build *m, uint32_t l)
{
   expert_map *places = m->experts;

   return places && l < places->num_layers && places->layers[l].num_places ? &places->layers[l]
                                                                           : NULL;
}

/* [experts][most]: places of each expert, ascending, then -1. */
static const int32_t *table_of(arena *a, const layer_map *l, uint64_t *out_most)
{
   uint64_t *count = arena_array(a, uint64_t, l->experts), most = 0;

   for (uint32_t p = 0; p < l->num_places; p++) {
      count[l->places[p]]++;
      most = MAX(most, count[l->places[p]]);
   }
   int32_t *table = arena_alloc_array(a, l->experts * most, sizeof *table);
   memset(table, 0xff, l->experts * most * sizeof *table);
   memset(count, 0, l->experts * sizeof *count);
   for (uint32_t p = 0; p < l->num_places; p++)
      table[l->places[p] * most + count[l->places[p]]++] = (int32_t)p;
   *out_most = most;
   return table;
}

static ir_value *table_value(model_build *m, uint32_t l, const layer_map *placed)
{
   model_tensor *t = arena_new(m->m->a, model_tensor);
   uint64_t most;
   const int32_t *table = table_of(m->m->a, placed, &most);

   *t = (model_tensor){.name = arena_printf(m->m->a, "blk.%u.ffn_exps.places", l),
                       .source_name = "map of experts",
                       .dtype = DT_i32,
                       .rank = 2,
                       .dim = {placed->experts, most},
                       .data = (const uint8_t *)table,
                       .bytes = placed->experts * most * sizeof *table,
                       .read = true};
   (void)map_set(&m->m->by_name, t->name, t);
   const ir_dim dims[] = {ir_dim_of(placed->experts), ir_dim_of((int64_t)most)};
   return ir_weight(&m->b, t->name, ir_type_make(DT_i32, 2, dims));
}

uint64_t expert_places(model_build *m, uint32_t l, uint64_t experts)
{
   layer_map *placed = layer_of(m, l);

   if (!placed)
      return experts;
   placed->used = true;
   if (placed->experts != experts && m->status == SINTER_ok)
      m->status = base_fail(SINTER_bad_input, m->m->path, "make the map from loads of this model",
                            "layer %u has %llu experts, in the map %u", l,
                            (unsigned long long)experts, placed->experts);
   return placed->num_places;
}

ir_value *expert_places_of(model_build *m, uint32_t l, ir_value *ids)
{
   const layer_map *placed = layer_of(m, l);

   if (!placed)
      return ids;
   if (!m->positions) {
      const ir_dim t = ir_dim_sym(SYM_T);
      m->positions = ir_meta(&m->b, IR_META_positions, IR_NO_I, ir_type_make(DT_i32, 1, &t));
   }
   return ir_remap(&m->b, ids, table_value(m, l, placed), m->positions);
}

const char *expert_stack(model_build *m, uint32_t l, const char *name)
{
   const layer_map *placed = layer_of(m, l);
   arena *a = m->m->a;
   model_tensor *from = map_get(&m->m->by_name, arena_printf(a, "blk.%u.%s", l, name));

   /* A tensor that is missing or has another shape is told about where it is used. */
   if (!placed || !from || from->rank != 3 || from->dim[0] != placed->experts)
      return name;
   const char *own = arena_printf(a, "placed_%s", name);
   model_tensor *t = arena_copy(a, from, sizeof *from);
   t->name = arena_printf(a, "blk.%u.%s", l, own);
   t->dim[0] = placed->num_places;
   t->layout.matrices = placed->places;
   from->read = true;
   (void)map_set(&m->m->by_name, t->name, t);
   return own;
}
