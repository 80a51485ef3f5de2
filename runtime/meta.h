/* meta.h - the per-step arrays of meta.def: made once, filled for every step. */
#ifndef RT_META_H
#define RT_META_H

#include "device.h"
#include "rope_rows.h"
#include "scheduler.h"

typedef enum rt_meta_field {
#define META(name, dtype, rank, dim0, dim1, per, what) RT_META_##name,
#include "base/meta.def"
#undef META
   RT_META_COUNT
} rt_meta_field;

typedef struct rt_meta {
   rt_step step;
   uint32_t num_groups, num_ropes;
   uint32_t rope_widths[8];
   bool paged[8];      /* by cache group */
   uint32_t ratios[8]; /* positions of a chunk, of groups with an entry for each; else 0 */
   rt_rope *ropes[8];
   int64_t *stored; /* by slot */
   uint32_t width;  /* of a row of features */
} rt_meta;

/* Allocates every array for the largest step; those of block_table are the cache's. Errors
 * OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_meta_init(rt_meta *m, const plan *p, const rt_limits *limits);
void rt_meta_deinit(rt_meta *m);

/* Takes the block tables of the cache, which live elsewhere. */
void rt_meta_set_tables(rt_meta *m, const kv_cache *cache);

/* Writes the rows of the items, in their order, and the symbols of the step. */
void rt_meta_fill(rt_meta *m, const rt_item *items, uint32_t num_items);

/* Bytes of one array in a step of these symbols. */
uint64_t rt_meta_bytes(const plan *p, uint32_t field, uint32_t instance, const int64_t *syms);

/* Names the rotary tables of a position over all ropes. */
uint64_t rt_meta_rope_id(const rt_meta *m, int64_t num_prompt, int64_t position);

#endif
