/* meta.c - what a step costs here grows with its rows, never with the context before them. */
#include "meta.h"

#include <stdlib.h>

_Static_assert((int)RT_META_COUNT <= (int)RT_MAX_FIELDS,
               "rt_step.meta has room for every row of meta.def");

enum { PER_STEP, PER_GROUP, PER_ROPE };

/* Dims of meta.def: a symbol or a number. */
enum {
   T = -1 - SYM_T,
   R = -1 - SYM_R,
   S = -1 - SYM_S,
   A = -1 - SYM_A,
   B = -1 - SYM_B,
   Q = -1 - SYM_Q,
   I = -1 - SYM_I,
   N = -100
};

static const struct {
   dtype dtype;
   int rank, dim[2], per;
} fields[] = {
#define META(name, dtype, rank, dim0, dim1, per, what) {DT_##dtype, rank, {dim0, dim1}, PER_##per},
#include "base/meta.def"
#undef META
};

static int64_t extent(int dim, const int64_t *syms, uint32_t width)
{
   if (dim == N)
      return width;
   return dim < 0 ? syms[-1 - dim] : dim;
}

/* What N is in a field. */
static uint32_t width_of(const plan *p, uint32_t field, uint32_t instance)
{
   const plan_model *m = &p->model;

   switch (field) {
   case RT_META_rope: return p->ropes[instance].width;
   case RT_META_patches: return m->tower ? plan_patch_width(&m->vision) : 0;
   case RT_META_features: return m->vision.patch && !m->tower ? m->width : 0;
   default: return 0;
   }
}

uint64_t rt_meta_bytes(const plan *p, uint32_t field, uint32_t instance, const int64_t *syms)
{
   uint32_t width = width_of(p, field, instance);
   int64_t n = extent(fields[field].dim[0], syms, width);

   if (fields[field].rank > 1)
      n *= extent(fields[field].dim[1], syms, width);
   return (uint64_t)n * dtype_infos[fields[field].dtype].bytes;
}

static bool allocate_field(rt_meta *m, const plan *p, uint32_t field, const int64_t *syms)
{
   uint32_t count = fields[field].per == PER_GROUP  ? m->num_groups
                    : fields[field].per == PER_ROPE ? m->num_ropes
                                                    : 1;

   if (field == RT_META_block_table)
      return true;
   for (uint32_t i = 0; i < count; i++) {
      /* Kernels may load whole vectors at the end. */
      size_t bytes = rt_meta_bytes(p, field, i, syms);
      m->step.meta[field][i] = aligned_alloc(64, base_align(bytes + 64, 64));
      if (!m->step.meta[field][i])
         return false;
      memset(m->step.meta[field][i], 0, bytes + 64);
   }
   return true;
}

static bool allocate(rt_meta *m, const plan *p, const int64_t *syms)
{
   m->stored = calloc((size_t)syms[SYM_S], sizeof *m->stored);
   m->step.stored = m->stored;
   for (uint32_t f = 0; f < RT_META_COUNT; f++) {
      if (!allocate_field(m, p, f, syms))
         return false;
   }
   return m->stored != NULL;
}

sinter_status rt_meta_init(rt_meta *m, const plan *p, const rt_limits *limits)
{
   int64_t syms[SYM_COUNT] = {
      [SYM_T] = limits->max_rows,  [SYM_R] = limits->max_wanted,    [SYM_S] = limits->max_sequences,
      [SYM_A] = p->sym_max[SYM_A], [SYM_Q] = limits->max_sequences, [SYM_I] = limits->max_rows};
   sinter_status status = SINTER_ok;

   *m = (rt_meta){
      .num_groups = p->num_cache_groups, .num_ropes = p->num_ropes, .width = p->model.width};
   for (uint32_t i = 0; i < p->num_ropes; i++)
      m->rope_widths[i] = p->ropes[i].width;
   for (uint32_t g = 0; g < m->num_groups; g++)
      m->paged[g] = plan_state_paged[p->cache_groups[g].kind];
   for (uint32_t g = 0; g < m->num_groups; g++)
      m->ratios[g] = p->cache_groups[g].ratio;
   if (!allocate(m, p, syms))
      status = base_fail(SINTER_out_of_memory, "step arrays", "use smaller steps",
                         "no memory for a step of %lld rows", (long long)limits->max_rows);
   for (uint32_t i = 0; i < p->num_ropes && status == SINTER_ok; i++)
      status = rt_rope_create(&p->ropes[i], limits->max_positions, &m->ropes[i]);
   if (status != SINTER_ok)
      rt_meta_deinit(m);
   m->step.block.sym[SYM_S] = limits->max_sequences;
   m->step.block.sym[SYM_B] = (limits->max_positions + PAGE_TOKENS - 1) / PAGE_TOKENS;
   return status;
}

void rt_meta_deinit(rt_meta *m)
{
   for (uint32_t f = 0; f < RT_META_COUNT; f++) {
      for (uint32_t i = 0; i < 8 && f != RT_META_block_table; i++)
         free(m->step.meta[f][i]);
   }
   for (uint32_t i = 0; i < 8; i++)
      rt_rope_destroy(m->ropes[i]);
   free(m->stored);
   *m = (rt_meta){0};
}

void rt_meta_set_tables(rt_meta *m, const kv_cache *cache)
{
   for (uint32_t g = 0; g < m->num_groups; g++)
      m->step.meta[RT_META_block_table][g] = kv_cache_table(cache, g);
}

/* Takes the features of the item's rows that have some: their ids become -1 - number. */
static void fill_features(rt_meta *m, const rt_item *item, int64_t t)
{
   const rt_images *images = item->request->images;
   int32_t *ids = m->step.meta[RT_META_token_ids][0];
   float *features = m->step.meta[RT_META_features][0];
   int64_t *count = &m->step.block.sym[SYM_I];

   for (int64_t i = 0; images && i < item->rows; i++) {
      const float *row = rt_images_row(images, item->first + i, m->width);
      if (!row)
         continue;
      memcpy(features + *count * m->width, row, m->width * sizeof *row);
      ids[t + i] = (int32_t)(-1 - (*count)++);
   }
}

static void fill_rows(rt_meta *m, const rt_item *item, int64_t t)
{
   const sinter_request *r = item->request;
   int32_t *ids = m->step.meta[RT_META_token_ids][0];
   int32_t *next_ids = m->step.meta[RT_META_next_ids][0];
   int32_t *positions = m->step.meta[RT_META_positions][0];
   int32_t *seq_of = m->step.meta[RT_META_seq_of][0];

   for (int64_t i = 0; i < item->rows; i++) {
      int64_t next = item->first + i + 1;
      ids[t + i] = r->tokens[item->first + i];
      next_ids[t + i] = next < r->num_tokens + item->drafted ? r->tokens[next] : 0;
      positions[t + i] = (int32_t)(item->first + i);
      seq_of[t + i] = (int32_t)r->kv.slot;
   }
}

static void fill_slots(rt_meta *m, const rt_item *item, int64_t t)
{
   int64_t width = m->step.block.sym[SYM_B];

   for (uint32_t g = 0; g < m->num_groups; g++) {
      if (!m->paged[g])
         continue;
      const int32_t *tables = m->step.meta[RT_META_block_table][g];
      const int32_t *table = tables + item->request->kv.slot * width;
      int32_t *slots = m->step.meta[RT_META_slots][g];

      for (int64_t i = 0; i < item->rows; i++) {
         int64_t at = item->first + i, page = table[at / PAGE_TOKENS];
         slots[t + i] = m->ratios[g] ? (int32_t)plan_entry_slot(m->ratios[g], page, at)
                                     : (int32_t)(page * PAGE_TOKENS + at % PAGE_TOKENS);
      }
   }
}

/* Run q: rows of one sequence, and where its states come from and go to. */
static void fill_run(rt_meta *m, const rt_item *item, int64_t t, uint32_t q)
{
   int32_t(*runs)[2] = m->step.meta[RT_META_runs][0];
   int32_t *rows = m->step.meta[RT_META_snap_rows][0];
   const kv_sequence *s = &item->request->kv;

   runs[q][0] = (int32_t)t;
   runs[q][1] = (int32_t)item->rows;
   rows[q] = (int32_t)MAX(s->snap - item->first, 0);
   for (uint32_t g = 0; g < m->num_groups; g++) {
      int32_t *from = m->step.meta[RT_META_state_from][g], *to = m->step.meta[RT_META_state_to][g];
      int32_t *snap = m->step.meta[RT_META_state_snap][g];

      if (m->paged[g])
         continue;
      from[q] = s->state[g].from;
      to[q] = s->state[g].to;
      snap[q] = s->state[g].snap;
   }
}

/* The row of token `index`; where the axes are one it is a text's. */
static void fill_rope(rt_rope *rope, const sinter_request *r, int64_t index, uint32_t width,
                      float *out)
{
   int64_t at[ROPE_AXES];

   rt_images_at(r->images, index, at);
   if (at[0] == at[1] && at[0] == at[2])
      memcpy(out, rt_rope_row(rope, r->options.num_prompt, at[0]), width * sizeof *out);
   else
      rt_rope_fill(rope, at, out);
}

static void fill_ropes(rt_meta *m, const rt_item *item, int64_t t)
{
   for (uint32_t k = 0; k < m->num_ropes; k++) {
      uint32_t width = m->rope_widths[k];
      float *out = (float *)m->step.meta[RT_META_rope][k] + t * width;

      for (int64_t i = 0; i < item->rows; i++, out += width)
         fill_rope(m->ropes[k], item->request, item->first + i, width, out);
   }
}

/* Attention tiles of one sequence's rows; returns how many. */
static int64_t fill_tiles(rt_meta *m, const rt_item *item, int64_t t, int64_t at)
{
   int32_t(*tiles)[2] = m->step.meta[RT_META_tiles][0];
   int64_t n = 0;

   for (int64_t i = 0; i < item->rows; i += ATTN_ROWS, n++) {
      tiles[at + n][0] = (int32_t)(t + i);
      tiles[at + n][1] = (int32_t)MIN(ATTN_ROWS, item->rows - i);
   }
   return n;
}

void rt_meta_fill(rt_meta *m, const rt_item *items, uint32_t num_items)
{
   int32_t *rows = m->step.meta[RT_META_rows][0];
   int64_t t = 0, wanted = 0, tiles = 0, context = 0;

   m->step.block.sym[SYM_I] = 0;
   for (uint32_t i = 0; i < num_items; i++) {
      const rt_item *item = &items[i];

      fill_rows(m, item, t);
      fill_features(m, item, t);
      fill_slots(m, item, t);
      fill_run(m, item, t, i);
      fill_ropes(m, item, t);
      tiles += fill_tiles(m, item, t, tiles);
      m->stored[item->request->kv.slot] = item->first;
      context = MAX(context, item->first + item->rows);
      t += item->rows;
      for (uint32_t k = item->wanted; k > 0; k--)
         rows[wanted++] = (int32_t)(t - k);
   }
   m->step.block.sym[SYM_T] = t;
   m->step.block.sym[SYM_R] = wanted;
   m->step.block.sym[SYM_A] = tiles;
   m->step.block.sym[SYM_Q] = num_items;
   m->step.block.sym[SYM_C] = (context + ATTN_CHUNK - 1) / ATTN_CHUNK;
}

uint64_t rt_meta_rope_id(const rt_meta *m, int64_t num_prompt, int64_t position)
{
   uint64_t id = 0;

   for (uint32_t k = 0; k < m->num_ropes; k++)
      id = id * 31 + rt_rope_id(m->ropes[k], num_prompt, position);
   return id;
}
