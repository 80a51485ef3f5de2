/* plan.c - the plan as bytes, both ways by one description.
 *
 *    walk_plan(codec) visits every field once, in order; the codec writes it or reads it.
 *
 * Numbers are LEB128 (signed ones zigzag) in their shortest form, doubles 8 bytes, strings length +
 * bytes, arrays count + items: a plan has exactly one encoding. Reading declines what is not that
 * encoding; then plan_check proves every index, offset and extent against its table. */
#include "plan_check.h"

#include <math.h>
#include <stdio.h>

enum { PLAN_FORMAT = 5, MAX_STRING = 1 << 16 };

typedef struct codec {
   bool writing;
   arena *a;
   const char *why;      /* reading: the first reason to decline; then nothing is read any more */
   const uint8_t *bytes; /* reading */
   size_t size, at;
   text_buf out; /* writing */
} codec;

/* ---- the codec: one function per kind of field ---- */

static void decline(codec *c, const char *why)
{
   if (!c->why)
      c->why = why;
}

static void raw(codec *c, void *data, size_t size)
{
   if (c->writing) {
      text_append(&c->out, data, size);
   } else if (c->why || size > c->size - c->at) {
      decline(c, "the plan is cut short");
      memset(data, 0, size);
   } else {
      memcpy(data, c->bytes + c->at, size);
      c->at += size;
   }
}

static void write_leb(codec *c, uint64_t v)
{
   uint8_t buf[10];
   size_t n = 0;

   do {
      buf[n++] = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
      v >>= 7;
   } while (v);
   text_append(&c->out, (const char *)buf, n);
}

static uint64_t read_leb(codec *c)
{
   uint64_t v = 0;

   for (unsigned shift = 0; shift < 70; shift += 7) {
      if (c->why || c->at == c->size) {
         decline(c, "the plan is cut short");
         return 0;
      }
      uint8_t b = c->bytes[c->at++];
      bool last = !(b & 128);
      if ((shift == 63 && b > 1) || (last && b == 0 && shift))
         break;
      v |= (uint64_t)(b & 127) << shift;
      if (last)
         return v;
   }
   decline(c, "a number is not in its shortest form");
   return 0;
}

static void u64(codec *c, uint64_t *v)
{
   if (c->writing)
      write_leb(c, *v);
   else
      *v = read_leb(c);
}

static void u32(codec *c, uint32_t *v)
{
   uint64_t wide = *v;

   u64(c, &wide);
   if (wide > UINT32_MAX) {
      decline(c, "a number is too large");
      wide = 0;
   }
   *v = (uint32_t)wide;
}

static void i64(codec *c, int64_t *v)
{
   uint64_t zigzag = (uint64_t)*v << 1 ^ (uint64_t)(*v >> 63);

   u64(c, &zigzag);
   *v = (int64_t)(zigzag >> 1 ^ (0 - (zigzag & 1)));
}

static void i32(codec *c, int32_t *v)
{
   int64_t wide = *v;

   i64(c, &wide);
   if (wide != (int32_t)wide) {
      decline(c, "a number is too large");
      wide = 0;
   }
   *v = (int32_t)wide;
}

static void flag(codec *c, bool *v)
{
   uint8_t byte = *v;

   raw(c, &byte, 1);
   if (byte > 1)
      decline(c, "a flag is neither 0 nor 1");
   *v = byte == 1;
}

static void f64(codec *c, double *v)
{
   raw(c, v, sizeof *v);
   if (!c->writing && !isfinite(*v)) {
      decline(c, "a constant is not finite");
      *v = 0;
   }
}

/* The count of items in an array of fixed room. */
static void count_within(codec *c, uint32_t *count, size_t room, const char *why)
{
   u32(c, count);
   if (*count > room) {
      assert(!c->writing);
      decline(c, why);
      *count = 0;
   }
}

/* NULL and "" are one: "". */
static void string(codec *c, const char **s)
{
   uint32_t len = c->writing && *s ? (uint32_t)strlen(*s) : 0;

   u32(c, &len);
   if (c->writing) {
      text_append(&c->out, *s, len);
      return;
   }
   *s = "";
   if (c->why)
      return;
   if (len > MAX_STRING || len > c->size - c->at) {
      decline(c, "a name is longer than the plan");
   } else if (memchr(c->bytes + c->at, 0, len)) {
      decline(c, "a name holds a NUL");
   } else {
      *s = arena_strndup(c->a, (const char *)c->bytes + c->at, len);
      c->at += len;
   }
}

/* Reads or writes the count of an array, and makes room for it when reading. A count is bounded by
 * the bytes that are left, so that a few bytes cannot ask for much memory. */
static void *items(codec *c, uint32_t *count, void *data, size_t item, size_t least)
{
   u32(c, count);
   if (c->writing)
      return data;
   if (c->why || *count > (c->size - c->at) / least) {
      decline(c, "an array is longer than the plan");
      *count = 0;
   }
   return arena_alloc_array(c->a, *count, item);
}

#define ITEMS(c, count, data, least) ((data) = items(c, count, data, sizeof *(data), least))

/* ---- the schema ---- */

static void walk_vision(codec *c, plan_vision *v)
{
   u32(c, &v->patch);
   u32(c, &v->frames);
   u32(c, &v->channels);
   u32(c, &v->merge);
   u32(c, &v->table);
   i32(c, &v->token);
   i32(c, &v->before);
   i32(c, &v->after);
   u64(c, &v->min_pixels);
   u64(c, &v->max_pixels);
   for (int i = 0; i < 3; i++) {
      f64(c, &v->mean[i]);
      f64(c, &v->std[i]);
   }
}

static void walk_model(codec *c, plan_model *m)
{
   string(c, &m->name);
   string(c, &m->family);
   u32(c, &m->vocab);
   u32(c, &m->layers);
   u32(c, &m->width);
   u32(c, &m->trained_context);
   u32(c, &m->exact);
   u32(c, &m->head);
   i32(c, &m->bos);
   count_within(c, &m->num_eos, PLAN_MAX_EOS, "there are too many end tokens");
   for (uint32_t i = 0; i < m->num_eos; i++)
      i32(c, &m->eos[i]);
   u32(c, &m->adds_bos);
   u32(c, &m->tower);
   walk_vision(c, &m->vision);
}

static void walk_cache_group(codec *c, plan_cache_group *g)
{
   u32(c, &g->kind);
   u32(c, &g->heads);
   u32(c, &g->width);
   i64(c, &g->window);
   u32(c, &g->ratio);
   u32(c, &g->dtype);
   u32(c, &g->num_layers);
}

static void walk_rope(codec *c, rope_spec *r)
{
   uint32_t kind = (uint32_t)r->kind;

   u32(c, &kind);
   u32(c, &r->width);
   if (!c->writing) {
      bool good = kind <= ROPE_longrope && r->width <= ROPE_MAX_WIDTH && r->width % 2 == 0;
      if (!good)
         decline(c, "a rope table has no such kind or width");
      r->kind = good ? (rope_kind)kind : ROPE_default;
      r->width = good ? r->width : 0;
   }
   double *const constants[] = {
      &r->base,      &r->factor,           &r->original_context, &r->max_context,     &r->beta_fast,
      &r->beta_slow, &r->attention_factor, &r->low_freq_factor,  &r->high_freq_factor};
   for (size_t i = 0; i < countof(constants); i++)
      f64(c, constants[i]);
   u32(c, &r->back);
   for (uint32_t i = 0; i < ROPE_AXES; i++)
      u32(c, &r->sections[i]);
   flag(c, &r->interleaved);
   flag(c, &r->axial);
   flag(c, &r->truncate);
   flag(c, &r->has_freq_factors);
   bool factors = r->kind == ROPE_longrope || r->has_freq_factors;
   for (uint32_t i = 0; factors && i < r->width / 2; i++) {
      f64(c, &r->short_factor[i]);
      f64(c, &r->long_factor[i]);
   }
}

static void walk_extent(codec *c, plan_extent *e)
{
   i64(c, &e->k);
   u32(c, &e->above);
   count_within(c, &e->num_factors, countof(e->factor), "an extent has too many factors");
   for (uint32_t i = 0; i < e->num_factors; i++) {
      u32(c, &e->factor[i].sym);
      u32(c, &e->factor[i].div);
      u32(c, &e->most[i]);
   }
}

static void walk_ref(codec *c, plan_ref *r)
{
   u32(c, &r->kind);
   u32(c, &r->index);
   u32(c, &r->index2);
   u64(c, &r->offset);
}

static void walk_launch(codec *c, plan_launch *l)
{
   u32(c, &l->kernel);
   u32(c, &l->phase);
   u32(c, &l->group);
   walk_extent(c, &l->tiles);
   count_within(c, &l->num_refs, KARGS_MAX_PTRS, "a launch has too many pointers");
   count_within(c, &l->num_consts, KARGS_MAX_CONSTS, "a launch has too many constants");
   for (uint32_t i = 0; i < l->num_refs; i++)
      walk_ref(c, &l->refs[i]);
   for (uint32_t i = 0; i < l->num_consts; i++)
      i64(c, &l->consts[i]);
   walk_extent(c, &l->bytes);
   walk_extent(c, &l->flops);
}

static void walk_variant(codec *c, plan_variant *v)
{
   string(c, &v->name);
   i64(c, &v->max_rows);
   i64(c, &v->max_chunks);
   ITEMS(c, &v->num_launches, v->launches, 12);
   for (uint32_t i = 0; i < v->num_launches; i++)
      walk_launch(c, &v->launches[i]);
   ITEMS(c, &v->num_segments, v->segments, 4);
   for (uint32_t i = 0; i < v->num_segments; i++) {
      plan_segment *s = &v->segments[i];
      u32(c, &s->kind);
      u32(c, &s->first_launch);
      u32(c, &s->num_launches);
      string(c, &s->reason);
   }
}

static void walk_weight(codec *c, plan_weight *w)
{
   u32(c, &w->layout);
   u32(c, &w->dtype);
   u64(c, &w->rows);
   u64(c, &w->cols);
   u32(c, &w->stack);
   u32(c, &w->transposed);
   u64(c, &w->offset);
   u64(c, &w->size);
   ITEMS(c, &w->num_sources, w->sources, 3);
   for (uint32_t i = 0; i < w->num_sources; i++) {
      string(c, &w->sources[i].tensor);
      u64(c, &w->sources[i].first_row);
      u64(c, &w->sources[i].num_rows);
   }
}

static void walk_names(codec *c, plan *p)
{
   ITEMS(c, &p->num_kernels, p->kernels, 2);
   for (uint32_t i = 0; i < p->num_kernels; i++) {
      string(c, &p->kernels[i].symbol);
      string(c, &p->kernels[i].family);
   }
   ITEMS(c, &p->num_groups, p->groups, 2);
   for (uint32_t i = 0; i < p->num_groups; i++) {
      string(c, &p->groups[i].name);
      string(c, &p->groups[i].rule);
   }
}

static void walk_plan(codec *c, plan *p)
{
   uint32_t format = PLAN_FORMAT, abi = KARGS_ABI;

   u32(c, &format);
   u32(c, &abi);
   if (format != PLAN_FORMAT || abi != KARGS_ABI)
      decline(c, "the plan is of another version");
   walk_model(c, &p->model);
   string(c, &p->target);
   for (int i = 0; i < SYM_COUNT; i++)
      i64(c, &p->sym_max[i]);
   u64(c, &p->arena_bytes);
   u64(c, &p->weight_bytes);
   walk_extent(c, &p->scratch);
   ITEMS(c, &p->num_cache_groups, p->cache_groups, 7);
   for (uint32_t i = 0; i < p->num_cache_groups; i++)
      walk_cache_group(c, &p->cache_groups[i]);
   ITEMS(c, &p->num_ropes, p->ropes, 82);
   for (uint32_t i = 0; i < p->num_ropes; i++)
      walk_rope(c, &p->ropes[i]);
   walk_names(c, p);
   ITEMS(c, &p->num_weights, p->weights, 9);
   for (uint32_t i = 0; i < p->num_weights; i++)
      walk_weight(c, &p->weights[i]);
   ITEMS(c, &p->num_routes, p->routes, 3);
   for (uint32_t i = 0; i < p->num_routes; i++) {
      u32(c, &p->routes[i].layer);
      u32(c, &p->routes[i].k);
      u32(c, &p->routes[i].experts);
   }
   ITEMS(c, &p->num_variants, p->variants, 5);
   for (uint32_t i = 0; i < p->num_variants; i++)
      walk_variant(c, &p->variants[i]);
}

void plan_encode(arena *a, const plan *p, const uint8_t **out, size_t *out_size)
{
   plan copy = *p;
   codec c = {.writing = true, .a = a, .out = {.a = a}};

   walk_plan(&c, &copy);
   *out = (const uint8_t *)c.out.data;
   *out_size = c.out.len;
}

/* ---- cache groups ---- */

const uint32_t plan_state_rows[] = {
#define STATE(name, paged, window, rows, what) rows,
#include "states.def"
#undef STATE
};

const bool plan_state_paged[] = {
#define STATE(name, paged, window, rows, what) paged,
#include "states.def"
#undef STATE
};

const bool plan_state_entries[] = {
#define STATE(name, paged, window, rows, what) (paged) == 2,
#include "states.def"
#undef STATE
};

uint64_t plan_token_bytes(const plan_cache_group *g)
{
   uint64_t bytes =
      (uint64_t)plan_state_rows[g->kind] * g->heads * g->width * dtype_infos[g->dtype].bytes;

   if (plan_state_entries[g->kind]) /* as a page has them */
      return (bytes * plan_page_rows(g->ratio) + PAGE_TOKENS - 1) / PAGE_TOKENS;
   return bytes;
}

uint64_t plan_page_bytes(const plan_cache_group *g)
{
   uint64_t row = (uint64_t)g->heads * g->width * dtype_infos[g->dtype].bytes;

   if (!plan_state_paged[g->kind])
      return row;
   return plan_state_rows[g->kind] * row * plan_page_rows(g->ratio);
}

bool plan_has_picks(const plan *p)
{
   for (uint32_t i = 0; p->num_variants && i < p->variants[0].num_launches; i++) {
      const plan_launch *l = &p->variants[0].launches[i];

      if (l->num_refs && l->refs[0].kind == PLAN_REF_output &&
          l->refs[0].index == plan_output_picks(p))
         return true;
   }
   return false;
}

/* ---- extents ---- */

int64_t plan_extent_eval(const plan_extent *e, const int64_t *syms)
{
   int64_t v = e->k;

   if (e->above && syms[SYM_C] <= (int64_t)e->above)
      return 0;
   for (uint32_t i = 0; i < e->num_factors; i++) {
      int64_t div = e->factor[i].div, most = e->most[i];
      int64_t n = (syms[e->factor[i].sym] + div - 1) / div;
      v *= most ? MIN(n, most) : n;
   }
   return v;
}

/* ---- reading ---- */

sinter_status plan_decode(arena *a, const uint8_t *bytes, size_t size, uint64_t weight_section,
                          plan **out)
{
   codec c = {.a = a, .bytes = bytes, .size = size};
   plan *p = arena_new(a, plan);
   char where[64];

   walk_plan(&c, p);
   if (!c.why && c.at != size)
      c.why = "bytes follow the plan";
   snprintf(where, sizeof where, "plan: byte %zu", c.at);
   if (!c.why) {
      c.why = plan_check(p, weight_section);
      snprintf(where, sizeof where, "plan of %.40s", p->target);
   }
   if (c.why)
      return base_fail(SINTER_bad_input, where, "compile the model again", "%s", c.why);
   *out = p;
   return SINTER_ok;
}
