/* expert_map.h - where the experts of each layer lie (expert_map.c); an optional object, NULL:
 * where the checkpoint has them. */
#ifndef MODEL_EXPERT_MAP_H
#define MODEL_EXPERT_MAP_H

#include "family.h"

typedef struct expert_map expert_map;

/* text: JSON, or NULL, which gives NULL. Errors BAD_INPUT with the offset. */
SINTER_CHECKED sinter_status expert_map_read(arena *a, const char *text, uint32_t num_layers,
                                             expert_map **out);

/* Fails for layers of the map that no mixture has asked for. */
SINTER_CHECKED sinter_status expert_map_check(const expert_map *places, const char *path);

/* How many matrices the stacks of layer l have; `experts` without a map. */
uint64_t expert_places(model_build *m, uint32_t l, uint64_t experts);

/* Places that work for ids[T,k]; ids itself without a map. */
ir_value *expert_places_of(model_build *m, uint32_t l, ir_value *ids);

/* The name of the stack blk.<l>.<name> with a matrix for each place; `name` without a map. */
const char *expert_stack(model_build *m, uint32_t l, const char *name);

#endif
