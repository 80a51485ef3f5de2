/* plan_check.c - proves a plan's indices, offsets and extents against its tables.
 *
 * A launch hands addresses to machine code, so each plan_ref must lie inside the memory it names at
 * the largest step that the plan allows; what the code does from there is the compiler's promise,
 * kept by the digest over plan and code. */
#include "plan_check.h"

#include "pack.h"

enum {
   MAX_EXTENT_ROWS = 1 << 20,
   MAX_LAYERS = 1 << 14,
   MAX_VOCAB = 1 << 26,
   MAX_HEADS = 1 << 14,
   MAX_STATE = 1 << 24
};

static const int64_t max_bytes = (int64_t)1 << 46;

typedef enum meta_per { PER_STEP, PER_GROUP, PER_ROPE } meta_per;

static const meta_per meta_pers[] = {
#define META(name, dtype, rank, dim0, dim1, per, what) PER_##per,
#include "meta.def"
#undef META
};

static const bool state_has_window[] = {
#define STATE(name, paged, window, rows, what) window,
#include "states.def"
#undef STATE
};

#define CHECK(condition, why)                                                                      \
   do {                                                                                            \
      if (!(condition))                                                                            \
         return why;                                                                               \
   } while (0)

#define CHECK_ALL(count, call)                                                                     \
   for (uint32_t i = 0; i < (count); i++) {                                                        \
      const char *why_ = (call);                                                                   \
      if (why_)                                                                                    \
         return why_;                                                                              \
   }

/* The largest value of a symbol in a step of so many rows: the plan's, or what PLAN_MAX_POSITIONS
 * allows for those the engine sets. Tiles of attention have a row each, at least. */
static int64_t sym_bound(const plan *p, uint32_t id, int64_t rows)
{
   if (id == SYM_T || id == SYM_A)
      return MIN(p->sym_max[id], rows);
   if (p->sym_max[id])
      return p->sym_max[id];
   if (id == SYM_Q)
      return p->sym_max[SYM_S];
   if (id == SYM_I)
      return p->sym_max[SYM_T];
   /* a frame is a sequence whose rows are all in one step */
   int64_t positions = p->model.tower ? p->sym_max[SYM_T] + ATTN_CHUNK : PLAN_MAX_POSITIONS;
   return id == SYM_C ? positions / ATTN_CHUNK : positions / PAGE_TOKENS;
}

/* How much there is to do is never bounded by what it costs. */
static bool is_whole(const plan_extent *e)
{
   if (e->above > INT32_MAX)
      return false;
   for (uint32_t i = 0; i < e->num_factors; i++)
      if (e->most[i])
         return false;
   return true;
}

/* True when the extent is well-formed and at most `most` for every value that its symbols have in
 * steps of so many rows; *out is its largest. */
static bool extent_fits(const plan *p, const plan_extent *e, int64_t rows, int64_t most,
                        int64_t *out)
{
   int64_t v = e->k;

   if (v < 0 || v > most)
      return false;
   for (uint32_t i = 0; i < e->num_factors; i++) {
      if (e->factor[i].sym >= SYM_COUNT || !e->factor[i].div)
         return false;
      int64_t div = e->factor[i].div;
      int64_t n = (sym_bound(p, e->factor[i].sym, rows) + div - 1) / div;
      if (e->most[i])
         n = MIN(n, (int64_t)e->most[i]);
      if (!base_mul(v, n, &v) || v > most)
         return false;
   }
   *out = v;
   return true;
}

/* Bytes of scratch that are there whatever the engine's context: at sym_max, one chunk, one page.
 */
static int64_t scratch_floor(const plan *p)
{
   int64_t syms[SYM_COUNT];

   for (uint32_t i = 0; i < SYM_COUNT; i++)
      syms[i] = MAX(p->sym_max[i], 1);
   return plan_extent_eval(&p->scratch, syms);
}

static const char *check_vision(const plan_model *m)
{
   const plan_vision *v = &m->vision;

   CHECK(m->tower <= 1 && (v->patch || !m->tower), "a tower sees no images");
   if (!v->patch)
      return NULL;
   CHECK(v->patch <= 256 && v->frames >= 1 && v->frames <= 16 && v->channels >= 1 &&
            v->channels <= 3,
         "patches are out of range");
   CHECK(v->merge >= 1 && v->merge <= 16 && v->table <= 1 << 12, "merged patches are out of range");
   const int32_t tokens[] = {v->token, v->before, v->after};
   for (int i = 0; i < 3; i++)
      CHECK(tokens[i] >= -1 && (m->tower || tokens[i] < (int64_t)m->vocab),
            "a token of images is not in the vocabulary");
   CHECK(v->min_pixels <= v->max_pixels && v->max_pixels <= (uint64_t)1 << 40,
         "the size of images is out of range");
   for (int i = 0; i < 3; i++)
      CHECK(v->std[i] > 0, "a channel has no spread");
   return NULL;
}

static const char *check_model(const plan_model *m)
{
   CHECK(m->vocab >= 1 && m->vocab <= MAX_VOCAB, "the vocabulary is empty or too large");
   CHECK(m->layers <= MAX_LAYERS && m->exact <= 1 && m->head <= PLAN_HEAD_hidden &&
            m->adds_bos <= 1,
         "a model figure is out of range");
   CHECK(m->head != PLAN_HEAD_hidden || (m->width >= 1 && m->width <= MAX_VOCAB),
         "a row of states is empty or too long");
   CHECK(m->bos >= -1 && m->bos < (int64_t)m->vocab, "the first token is not in the vocabulary");
   for (uint32_t i = 0; i < m->num_eos; i++)
      CHECK(m->eos[i] >= 0 && m->eos[i] < (int64_t)m->vocab,
            "an end token is not in the vocabulary");
   return check_vision(m);
}

static const char *check_sizes(const plan *p, uint64_t weight_section)
{
   int64_t unused;

   for (int i = 0; i < SYM_COUNT; i++) {
      bool engine_time = i == SYM_C || i == SYM_B || i == SYM_Q || i == SYM_I;
      CHECK(p->sym_max[i] >= !engine_time && p->sym_max[i] <= MAX_EXTENT_ROWS,
            "a symbol's range is out of bounds");
   }
   CHECK(p->arena_bytes <= (uint64_t)max_bytes, "the arena is too large");
   CHECK(p->weight_bytes == weight_section, "the weight section is not as large as the plan says");
   CHECK(is_whole(&p->scratch) && !p->scratch.above &&
            extent_fits(p, &p->scratch, p->sym_max[SYM_T], max_bytes, &unused),
         "the scratch memory is too large");
   CHECK(p->num_cache_groups <= PLAN_MAX_INSTANCES, "there are too many cache groups");
   CHECK(p->num_ropes <= PLAN_MAX_INSTANCES, "there are too many rope tables");
   CHECK(!p->num_kernels == !p->num_variants,
         "there are kernels without a variant, or none for one");
   return NULL;
}

static const char *check_cache_group(const plan_cache_group *g)
{
   CHECK(g->kind < countof(state_has_window), "a cache group is of no known kind");
   CHECK(g->heads >= 1 && g->heads <= MAX_HEADS && g->width >= 1 &&
            g->width <= (plan_state_paged[g->kind] ? MAX_HEADS : MAX_STATE),
         "a cache group's heads are out of range");
   CHECK(plan_state_rows[g->kind] != 1 || g->heads == 1,
         "a cache group's rows are shared by all heads");
   CHECK(g->num_layers >= 1 && g->num_layers <= MAX_LAYERS,
         "a cache group's layers are out of range");
   CHECK(g->dtype == DT_f32 || g->dtype == DT_f16 || g->dtype == DT_bf16 || g->dtype == DT_f8e4m3,
         "a cache group has no such type");
   CHECK(plan_state_entries[g->kind] ? g->ratio >= 1 && g->ratio <= PLAN_MAX_POSITIONS : !g->ratio,
         "a cache group's chunks are out of range");
   CHECK(state_has_window[g->kind] ? g->window >= 1 : g->window == 0,
         "a cache group's window is out of range");
   return NULL;
}

static const char *check_rope(const rope_spec *r)
{
   CHECK(r->width >= 2 && r->base > 0, "a rope table is empty");
   CHECK(r->back <= PLAN_MAX_POSITIONS, "a rope table looks back too far");
   for (int i = 0; i < ROPE_AXES; i++)
      CHECK(r->sections[i] <= ROPE_MAX_WIDTH, "an axis of a rope table has too many pairs");
   CHECK(!r->axial || r->width % 4 == 0, "a rope table has no two equal halves");
   return NULL;
}

static bool packed_size(const plan_weight *w, uint64_t *out)
{
   uint64_t row;

   if (w->layout != PANEL_rows)
      return pack_size((panel_layout)w->layout, w->rows / w->stack, w->cols, &row) &&
             base_mul(row, w->stack, out);
   return dtype_size((dtype)w->dtype, w->cols, &row) && base_mul(row, w->rows, out);
}

static const char *check_weight(const plan *p, const plan_weight *w)
{
   uint64_t size, end, rows = 0;

   CHECK(w->layout > PANEL_none && w->layout < PANEL_COUNT, "a weight has no such layout");
   CHECK(w->dtype > DT_none && w->dtype < DT_COUNT, "a weight has no such type");
   CHECK(w->rows && w->cols && w->rows <= (uint64_t)max_bytes && w->cols <= (uint64_t)max_bytes,
         "a weight is empty or too large");
   CHECK(w->stack && w->rows % w->stack == 0 && w->transposed <= 1,
         "a weight is no stack of equal matrices");
   CHECK(packed_size(w, &size) && size == w->size, "a weight is not as large as its layout");
   CHECK(w->offset % 64 == 0 && base_add(w->offset, w->size, &end) && end <= p->weight_bytes,
         "a weight lies outside the weight section");
   for (uint32_t i = 0; i < w->num_sources; i++)
      CHECK(base_add(rows, w->sources[i].num_rows, &rows), "a weight has too many rows");
   CHECK(rows == (w->transposed ? w->stack * w->cols : w->rows),
         "a weight's sources do not add up");
   return NULL;
}

static const char *check_routes(const plan *p, const plan_routes *r)
{
   CHECK(r->layer < p->model.layers, "routes belong to no layer");
   CHECK(r->k >= 1 && r->k <= MAX_HEADS, "a token has too many experts");
   CHECK(r->experts >= 1 && r->experts <= INT32_MAX, "a layer has no experts");
   return NULL;
}

static const char *check_meta(const plan *p, const plan_ref *r)
{
   CHECK(r->index < countof(meta_pers), "a pointer names no known metadata");
   uint32_t instances = meta_pers[r->index] == PER_STEP    ? 1
                        : meta_pers[r->index] == PER_GROUP ? p->num_cache_groups
                                                           : p->num_ropes;
   CHECK(r->index2 < instances && r->offset == 0, "a pointer lies outside its metadata");
   return NULL;
}

static const char *check_ref(const plan *p, const plan_ref *r)
{
   switch (r->kind) {
   case PLAN_REF_arena:
      CHECK(r->offset < p->arena_bytes, "a pointer lies outside the arena");
      return NULL;
   case PLAN_REF_weight:
      CHECK(r->offset < p->weight_bytes, "a pointer lies outside the weights");
      return NULL;
   case PLAN_REF_state:
      CHECK(r->index < p->num_cache_groups && r->index2 < p->cache_groups[r->index].num_layers &&
               r->offset < plan_page_bytes(&p->cache_groups[r->index]),
            "a pointer lies outside its cache group");
      return NULL;
   case PLAN_REF_meta: return check_meta(p, r);
   case PLAN_REF_scratch:
      CHECK(r->offset < (uint64_t)scratch_floor(p), "a pointer lies outside the scratch memory");
      return NULL;
   case PLAN_REF_output:
      CHECK(r->index <= plan_output_picks(p) && r->offset == 0, "a pointer names no known output");
      return NULL;
   }
   return "a pointer is of no known kind";
}

static const char *check_launch(const plan *p, const plan_launch *l, int64_t rows)
{
   int64_t unused;

   CHECK(l->kernel < p->num_kernels, "a launch names no kernel");
   CHECK(l->group < MAX(p->num_groups, 1u), "a launch names no group");
   CHECK(is_whole(&l->tiles) && extent_fits(p, &l->tiles, rows, UINT32_MAX, &unused),
         "a launch has too many tiles");
   CHECK(extent_fits(p, &l->bytes, rows, INT64_MAX, &unused) &&
            extent_fits(p, &l->flops, rows, INT64_MAX, &unused),
         "a launch's cost is out of range");
   CHECK_ALL(l->num_refs, check_ref(p, &l->refs[i]));
   return NULL;
}

static const char *check_segments(const plan_variant *v)
{
   uint32_t at = 0;

   for (uint32_t i = 0; i < v->num_segments; i++) {
      const plan_segment *s = &v->segments[i];
      CHECK(s->kind <= PLAN_SEGMENT_eager, "a segment is of no known kind");
      CHECK(s->first_launch == at && s->num_launches <= v->num_launches - at,
            "a segment is out of place");
      at += s->num_launches;
   }
   CHECK(at == v->num_launches, "launches lie outside every segment");
   return NULL;
}

/* Whether every step that v takes but for its chunks is taken by it or the one after it. */
static const char *check_guards(const plan *p, uint32_t index)
{
   const plan_variant *v = &p->variants[index], *next = index + 1 < p->num_variants ? v + 1 : NULL;

   CHECK(v->max_rows >= 1 && v->max_chunks >= 0, "a variant's guard is out of range");
   if (v->max_chunks)
      CHECK(next && next->max_rows == v->max_rows &&
               (!next->max_chunks || next->max_chunks > v->max_chunks),
            "variants are out of order");
   else
      CHECK(!next || next->max_rows > v->max_rows, "variants are out of order");
   return NULL;
}

static const char *check_variant(const plan *p, uint32_t index)
{
   const plan_variant *v = &p->variants[index];
   const char *why = check_guards(p, index);

   if (why)
      return why;
   CHECK_ALL(v->num_launches, check_launch(p, &v->launches[i], v->max_rows));
   for (uint32_t i = 1; i < v->num_launches; i++)
      CHECK(v->launches[i].phase >= v->launches[i - 1].phase, "phases are out of order");
   return check_segments(v);
}

const char *plan_check(const plan *p, uint64_t weight_section)
{
   CHECK(p->target && p->target[0], "the target has no name");
   CHECK_ALL(1, check_model(&p->model));
   CHECK_ALL(1, check_sizes(p, weight_section));
   CHECK_ALL(p->num_cache_groups, check_cache_group(&p->cache_groups[i]));
   CHECK_ALL(p->num_ropes, check_rope(&p->ropes[i]));
   for (uint32_t i = 0; i < p->num_kernels; i++)
      CHECK(p->kernels[i].symbol[0], "a kernel has no name");
   CHECK_ALL(p->num_weights, check_weight(p, &p->weights[i]));
   CHECK_ALL(p->num_routes, check_routes(p, &p->routes[i]));
   CHECK_ALL(p->num_variants, check_variant(p, i));
   return NULL;
}
