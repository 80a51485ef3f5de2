/* harness.h - compiles a function, runs its launches over memory of its own, and compares with the
 * interpreter in f64.
 *
 *    IR text ─┬─▶ passes (or only the finishing ones) ─▶ plan + object ─▶ rt_elf ─▶ launches ─┐
 *             └─▶ ir_eval_run on the same numbers ──────────────────────────────────────────┴▶ compare
 *
 * Tiles of a phase run in reverse order, so that a missing barrier shows. Memory that no kernel may
 * read is NaN. */
#ifndef CONFORM_HARNESS_H
#define CONFORM_HARNESS_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/artifact.h"
#include "base/pack.h"
#include "base/quant.h"
#include "base/simt_abi.h"
#include "codegen/pack_weights.h"
#include "codegen/plan_build.h"
#include "codegen/simt.h"
#include "ir/eval.h"
#include "edges.h"
#include "load.h"
#include "passes/pass.h"

enum {
   HARNESS_MAX_SEQS = 4,
   HARNESS_MAX_RETURNS = 24,
   HARNESS_MAX_STATES = 4,
   HARNESS_ROW = 1 << 17
};

typedef struct harness_options {
   const harness_simt *simt; /* NULL: kernels of a CPU */
   isa_level level;
   bool fuse; /* run the fusions; else every op is a kernel */
   sinter_numerics numerics;
   const char *with;      /* fusions that are forced; NULL none */
   const char *attention; /* as in pass_options */
} harness_options;

/* A compiled function. */
typedef struct harness {
   arena *a;
   ir_func *before, *f; /* as parsed; after the passes */
   pass_layout layout;
   const plan_cache_group *groups[HARNESS_MAX_STATES]; /* by layer */
   cg_plan plan;
   conform_code code;
   const harness_simt *simt;
   void *module; /* of SIMT text */
   model *model;
   uint8_t *weights;
} harness;

/* A step: sequences with stored positions, and new rows for each. */
typedef struct harness_step {
   uint32_t num_seqs;
   int64_t stored[HARNESS_MAX_SEQS], rows[HARNESS_MAX_SEQS];
   int64_t wanted;    /* R: the last rows */
   int64_t tile_rows; /* most rows of an attention tile, 1..ATTN_ROWS; 0: ATTN_ROWS */
   bool hide_last;    /* slot -1 for the last row, page -1 for the last sequence's state */
   bool in_place;     /* states without pages stay where they are */
   int64_t snap[HARNESS_MAX_SEQS]; /* rows after which such a state is kept, too; 0: not */
   const char *variant;            /* "decode" (NULL), "deep", "prefill" */
} harness_step;

/* What a run leaves: bytes of every returned tensor, and pages. */
typedef struct harness_run {
   arena *a;
   void *blocks[HARNESS_MAX_RETURNS + HARNESS_MAX_STATES +
                2]; /* of their exact size, so that address checks see their ends */
   uint32_t num_blocks;
   harness *h;
   harness_step step;
   int64_t sym[SYM_COUNT], context;
   int32_t *ids, *positions, *ends, *seq_of, *rows, *tiles, *slots, *table;
   int32_t *entries[HARNESS_MAX_STATES]; /* slots of groups with an entry for each chunk */
   int32_t runs[HARNESS_MAX_SEQS][2], snap_rows[HARNESS_MAX_SEQS];
   int32_t from[HARNESS_MAX_SEQS], to[HARNESS_MAX_SEQS], snap[HARNESS_MAX_SEQS];
   bool *writes;
   ir_tensor rope[2];
   float *rope_f32[2];
   uint8_t *arena, *scratch, *out[HARNESS_MAX_RETURNS], *state[HARNESS_MAX_STATES];
   uint64_t out_bytes[HARNESS_MAX_RETURNS], state_bytes[HARNESS_MAX_STATES];
   ir_kv kv[HARNESS_MAX_STATES]; /* by layer; updated by the interpreter */
   ir_tensor want[HARNESS_MAX_RETURNS];
} harness_run;

#define HARNESS_OK(expr) cr_assert((expr) == SINTER_ok, "%s", sinter_error())

/* ---- numbers ---- */

static inline double harness_weight(const char *name, const ir_type *t, int64_t i)
{
   double z = harness_number(name, (uint64_t)i);

   if (dtype_infos[t->dtype].kind == DTYPE_INT) /* tables of ids: some of them negative */
      return dtype_round(t->dtype, 8 * z);
   if (t->rank > 1)
      z /= sqrt((double)ir_type_row(t));
   return dtype_round(t->dtype, t->rank > 1 ? z : 1 + 0.25 * z);
}

static inline int64_t harness_count(const ir_tensor *t)
{
   int64_t n = 1;

   for (uint32_t i = 0; i < t->rank; i++)
      n *= t->dim[i];
   return n;
}

/* ---- compiling ---- */

/* A tensor as a checkpoint would store it. Blocks (of a scale d, then codes) have codes of any
 * bits. */
static inline model_tensor *harness_tensor(harness *h, const ir_op *op)
{
   const ir_type *t = &op->results[0]->type;
   const dtype_info *info = &dtype_infos[t->dtype];
   model_tensor *to = arena_new(h->a, model_tensor);
   uint16_t d = f16_from_f32(0.003f);
   uint64_t n = 1;

   *to =
      (model_tensor){.name = ir_attr_s(op, IR_ATTR_name, ""), .dtype = t->dtype, .rank = t->rank};
   for (uint32_t i = 0; i < t->rank; i++)
      n *= to->dim[i] = (uint64_t)ir_dim_const(t->dim[i]);
   cr_assert(dtype_size(t->dtype, n, &to->bytes));
   uint8_t *data = arena_alloc_array(h->a, to->bytes, 1);
   for (uint64_t i = 0; i < n && info->kind != DTYPE_BLOCK; i++) {
      double v = harness_weight(to->name, t, (int64_t)i);
      dtype_store(t->dtype, data + i * info->bytes, &v, 1);
   }
   for (uint64_t i = 0; i < to->bytes && info->kind == DTYPE_BLOCK; i++)
      data[i] = (uint8_t)(int)(64 * harness_number(to->name, i));
   for (uint64_t i = 0; i < to->bytes && info->kind == DTYPE_BLOCK; i += info->bytes)
      memcpy(data + i, &d, sizeof d);
   to->data = data;
   return to;
}

/* The packer of the compiler, on the recipes of the plan. */
static inline void harness_pack(harness *h)
{
   const compiler_request request = {.threads = 1};
   uint64_t size = h->layout.weight_bytes;
   uint64_t *sums = arena_array(h->a, uint64_t, artifact_chunks(size) + 1);
   int fd = memfd_create("weights", MFD_CLOEXEC);
   digest root;

   h->model = arena_new(h->a, model);
   *h->model = (model){.a = h->a, .by_name.a = h->a};
   h->weights = aligned_alloc(64, base_align(size + 64, 64));
   ir_op_foreach (h->f, op)
      if (op->code == IR_OP_weight)
         (void)map_set(&h->model->by_name, ir_attr_s(op, IR_ATTR_name, ""), harness_tensor(h, op));
   cr_assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
   HARNESS_OK(cg_pack_weights(&request, h->a, h->model, &h->plan.plan, fd, 0, "test", sums, &root));
   cr_assert_eq(pread(fd, h->weights, size, 0), (ssize_t)size);
   close(fd);
}

/* What kernels that are SIMT text are made for. */
static inline const arch_info *harness_arch(uint32_t warp)
{
   return arch_find(warp == 32 ? "sm_90a" : "gfx950");
}

static inline void harness_load_simt(harness *h, sinter_numerics numerics)
{
   text_buf text = {.a = h->a};
   const uint8_t *object;
   size_t size;

   const cg_machine machine = {harness_arch(h->simt->warp), numerics == SINTER_NUMERICS_fast};
   HARNESS_OK(cg_simt_text(h->a, CG_HOST, machine, "test", h->plan.kernels,
                           h->plan.plan.num_kernels, &text));
   HARNESS_OK(cg_host_object(h->a, text.data, text.len, &object, &size));
   h->module = h->simt->load(object, size);
}

/* Programs of tests/gpu are those of a CPU with kernels of another kind for every case. */
static const harness_simt *harness_stand_in;

/* A layer of a test has one state. */
static inline void harness_find_groups(harness *h)
{
   ir_op_foreach (h->f, op) {
      int64_t layer = op->code == IR_OP_state ? ir_attr_i(op, IR_ATTR_layer, 0) : -1;
      if (layer < 0)
         continue;
      cr_assert(layer < HARNESS_MAX_STATES);
      h->groups[layer] = &h->layout.cache_groups[h->layout.places[op->results[0]->id].index];
   }
}

static inline harness *harness_compile(const char *text, harness_options o)
{
   o.simt = o.simt ? o.simt : harness_stand_in;
   pass_target target =
      pass_target_arch(o.simt ? harness_arch(o.simt->warp)->name : isa_infos[o.level].name);
   pass_options options = {
      .target = &target, .numerics = o.numerics, .with = o.with, .attention = o.attention};
   pass_report *report;
   ir_module module = {0};
   model m = {.info = {.name = "conform", .vocab = 64}};
   arena *a;

   HARNESS_OK(arena_create(&a));
   harness *h = arena_new(a, harness);
   h->a = a;
   report = arena_new(a, pass_report);
   HARNESS_OK(ir_parse(a, text, strlen(text), "test", &module));
   h->before = module.funcs.data[0];
   h->f = ir_func_clone(a, h->before);
   if (o.fuse)
      HARNESS_OK(pass_run_all(h->f, &options, report));
   HARNESS_OK(pass_finish(h->f, &options, report, &h->layout));
   harness_find_groups(h);
   const isa_info isa = conform_isa(o.level);
   HARNESS_OK(cg_plan_build(a, &m, &(cg_form){h->f, &h->layout, target.arch}, NULL, "cpu:test",
                            &isa, o.numerics, &h->plan));
   h->simt = o.simt;
   if (o.simt)
      harness_load_simt(h, o.numerics);
   else
      h->code = conform_load(a, &isa, h->plan.kernels, h->plan.plan.num_kernels);
   harness_pack(h);
   return h;
}

static inline void harness_free(harness *h)
{
   if (h->simt)
      h->simt->unload(h->module);
   conform_unload(&h->code);
   free(h->weights);
   arena_destroy(h->a);
}

/* ---- inputs ---- */

static inline void harness_shape(const harness_run *r, const ir_type *t, ir_tensor *out)
{
   out->rank = t->rank;
   for (uint32_t i = 0; i < t->rank; i++)
      out->dim[i] = ir_dim_eval(t->dim[i], r->sym);
   out->data = arena_array(r->a, double, (size_t)harness_count(out) + 1);
}

static inline double harness_param(const ir_type *t, const char *name, int64_t i)
{
   if (strcmp(name, "edges") == 0)
      return harness_edge(t, i);
   if (strcmp(name, "negative") == 0) /* exp of it is still a float */
      return harness_negative(t, i, 60);
   if (strcmp(name, "very negative") == 0)
      return harness_negative(t, i, 200);
   return dtype_round(t->dtype, 2 * harness_number(name, (uint64_t)i));
}

static inline sinter_status harness_get_rows(void *user, const char *name, const ir_type *t,
                                             int64_t first, int64_t count, double *out)
{
   const harness_run *r = user;
   const model_tensor *from = map_get(&r->h->model->by_name, name);
   int64_t n = ir_type_row(t);
   float *wide = arena_array(r->a, float, (size_t)(count * n));
   uint64_t bytes;

   cr_assert(dtype_size(t->dtype, (uint64_t)n, &bytes));
   quant_to_f32(t->dtype, from->data + (uint64_t)first * bytes, (uint64_t)(count * n), wide);
   for (int64_t i = 0; i < count * n; i++)
      out[i] = wide[i];
   return SINTER_ok;
}

static inline sinter_status harness_get_weight(void *user, const char *name, const ir_type *t,
                                               ir_tensor *out)
{
   harness_shape(user, t, out);
   return harness_get_rows(user, name, t, 0, harness_count(out) / ir_type_row(t), out->data);
}

static inline sinter_status harness_get_param(void *user, const char *name, const ir_type *t,
                                              ir_tensor *out)
{
   harness_shape(user, t, out);
   for (int64_t i = 0; i < harness_count(out); i++)
      out->data[i] = harness_param(t, name, i);
   return SINTER_ok;
}

static inline ir_kv *harness_get_state(void *user, int64_t layer, const ir_type *t)
{
   (void)t;
   return &((harness_run *)user)->kv[layer];
}

/* Pages of states without pages: 1 + s before the step, then those after it, then snapshots. */
static inline void harness_run_of(harness_run *r, uint32_t s, int64_t first)
{
   int32_t n = (int32_t)r->step.num_seqs;
   bool hidden = r->step.hide_last && s + 1 == r->step.num_seqs;

   r->runs[s][0] = (int32_t)first;
   r->runs[s][1] = (int32_t)r->step.rows[s];
   r->snap_rows[s] = (int32_t)r->step.snap[s];
   r->from[s] = r->step.stored[s] ? 1 + (int32_t)s : -1;
   r->to[s] = hidden ? -1 : r->step.in_place ? 1 + (int32_t)s : 1 + n + (int32_t)s;
   r->snap[s] = r->step.snap[s] ? 1 + 2 * n + (int32_t)s : -1;
}

/* The cache group of a layer's state. */
static inline const plan_cache_group *harness_group(const harness *h, int64_t layer)
{
   cr_assert(layer >= 0 && layer < HARNESS_MAX_STATES && h->groups[layer],
             "no state has layer %lld", (long long)layer);
   return h->groups[layer];
}

/* Page that holds a position. */
static inline int64_t harness_page_of(const harness_run *r, uint32_t seq, int64_t position)
{
   return 1 + seq + position / PAGE_TOKENS * r->step.num_seqs;
}

static inline void harness_entries(harness_run *r)
{
   for (uint32_t g = 0; g < r->h->layout.num_cache_groups; g++) {
      const uint32_t ratio = r->h->layout.cache_groups[g].ratio;
      r->entries[g] = arena_array(r->a, int32_t, (size_t)r->sym[SYM_T] + 1);
      for (int64_t t = 0; t < r->sym[SYM_T] && ratio; t++) {
         int64_t page = harness_page_of(r, (uint32_t)r->seq_of[t], r->positions[t]);
         r->entries[g][t] =
            r->writes[t] ? (int32_t)plan_entry_slot(ratio, page, r->positions[t]) : -1;
      }
   }
}

/* Rows, tiles, slots and tables. Sequence s has page p at number 1 + s + p * num_seqs: never in
 * order. */
static inline void harness_rows(harness_run *r)
{
   const harness_step *s = &r->step;
   int64_t t = 0, most = s->tile_rows ? s->tile_rows : ATTN_ROWS, *tiles = &r->sym[SYM_A];

   for (uint32_t q = 0; q < s->num_seqs; q++) {
      harness_run_of(r, q, t);
      for (int64_t i = 0; i < s->rows[q]; i++, t++) {
         int64_t pos = s->stored[q] + i, page = harness_page_of(r, q, pos);
         r->ids[t] = (int32_t)(7 * t + 3) % 64;
         r->positions[t] = (int32_t)pos;
         r->ends[t] = (int32_t)(s->stored[q] + s->rows[q] - 1);
         r->seq_of[t] = (int32_t)q;
         r->writes[t] = !(s->hide_last && t + 1 == r->sym[SYM_T]);
         r->slots[t] = r->writes[t] ? (int32_t)(page * PAGE_TOKENS + pos % PAGE_TOKENS) : -1;
         if (i % most == 0) {
            r->tiles[2 * *tiles] = (int32_t)t;
            r->tiles[2 * *tiles + 1] = (int32_t)MIN(most, s->rows[q] - i);
            ++*tiles;
         }
      }
      for (int64_t p = 0; p < r->sym[SYM_B]; p++)
         r->table[q * r->sym[SYM_B] + p] =
            p * PAGE_TOKENS < s->stored[q] + s->rows[q] ? (int32_t)(1 + q + p * s->num_seqs) : -1;
   }
   for (int64_t i = 0; i < r->sym[SYM_R]; i++)
      r->rows[i] = (int32_t)(r->sym[SYM_T] - r->sym[SYM_R] + i);
}

static inline void harness_rope(harness_run *r, const ir_op *op)
{
   int64_t index = ir_attr_i(op, IR_ATTR_index, 0);
   ir_tensor *t = &r->rope[index];

   harness_shape(r, &op->results[0]->type, t);
   r->rope_f32[index] = arena_array(r->a, float, (size_t)harness_count(t) + 1);
   for (int64_t i = 0, n = t->dim[1]; i < harness_count(t); i++) {
      double angle = 3 * harness_number("rope", (uint64_t)(i / n * n + i % (n / 2)));
      t->data[i] = (float)(i % n < n / 2 ? cos(angle) : sin(angle));
      r->rope_f32[index][i] = (float)t->data[i];
   }
}

/* Address of k (or v) element in the pages of a state; of entries pos is the entry's number. */
static inline uint8_t *harness_page(const harness_run *r, int64_t layer, uint32_t seq, int64_t pos,
                                    int64_t g, int64_t i, bool v)
{
   const plan_cache_group *c = harness_group(r->h, layer);
   const ir_kv *kv = &r->kv[layer];
   int64_t last = c->ratio ? (pos + 1) * c->ratio - 1 : pos;
   uint64_t e = dtype_infos[c->dtype].bytes, page = (uint64_t)harness_page_of(r, seq, last);
   int64_t slot = c->ratio ? plan_entry_slot(c->ratio, (int64_t)page, last)
                           : (int64_t)page * PAGE_TOKENS + pos % PAGE_TOKENS;
   if (!kv->v) /* rows by slot */
      return r->state[layer] + (uint64_t)(slot * kv->width + i) * e;
   uint64_t half = (uint64_t)kv->width * PAGE_TOKENS,
            at = (page * (uint64_t)kv->heads + (uint64_t)g) * 2 * half;

   at += v ? half + (uint64_t)(pos % PAGE_TOKENS * kv->width + i)
           : (uint64_t)(i * PAGE_TOKENS + pos % PAGE_TOKENS);
   return r->state[layer] + at * e;
}

/* Memory of NaNs. Kernels may load whole vectors past the end of what holds activations: slack. */
static inline uint8_t *harness_block(harness_run *r, uint64_t bytes, uint64_t slack)
{
   uint8_t *block = malloc(MAX(bytes + slack, 1));

   cr_assert(block && r->num_blocks < countof(r->blocks));
   r->blocks[r->num_blocks++] = block;
   memset(block, 0xff, bytes + slack);
   return block;
}

/* Address of page `page` of a state without pages. */
static inline float *harness_slot(const harness_run *r, int64_t layer, int32_t page)
{
   const ir_kv *kv = &r->kv[layer];

   return (float *)(void *)r->state[layer] + (int64_t)page * kv->heads * kv->width;
}

static inline void harness_unpaged(harness_run *r, int64_t layer, const ir_type *t)
{
   ir_kv *kv = &r->kv[layer];
   int64_t n = ir_dim_const(t->dim[0]) * ir_state_width(t);

   *kv = (ir_kv){ir_dim_const(t->dim[0]), ir_state_width(t), 1, r->step.num_seqs, NULL, NULL};
   r->state_bytes[layer] = (uint64_t)((2 + 3 * r->step.num_seqs) * n) * sizeof(float);
   r->state[layer] = harness_block(r, r->state_bytes[layer], 0);
   kv->k = arena_array(r->a, double *, kv->num_seqs);
   for (uint32_t s = 0; s < kv->num_seqs; s++) {
      kv->k[s] = arena_array(r->a, double, (size_t)n);
      for (int64_t j = 0; j < n && r->step.stored[s]; j++) {
         kv->k[s][j] = (float)harness_number("state", (uint64_t)(j + 7919 * s));
         harness_slot(r, layer, 1 + (int32_t)s)[j] = (float)kv->k[s][j];
      }
   }
}

static inline bool harness_is_written(const ir_op *state)
{
   for (const ir_use *u = state->results[0]->uses; u; u = u->next)
      if (ir_op_infos[u->user->code].props & IR_MUTATES)
         return true;
   return false;
}

/* Bytes from an element of a head to the next: keys stand transposed in their pages. */
static inline int64_t harness_stride(const ir_kv *kv, dtype e, bool v)
{
   return dtype_infos[e].bytes * (kv->v && !v ? PAGE_TOKENS : 1);
}

/* The stored positions of a sequence, random, in the state and in its pages. */
static inline void harness_fill(harness_run *r, int64_t layer, uint32_t s, int64_t stored, bool v)
{
   const ir_kv *kv = &r->kv[layer];
   dtype e = (dtype)harness_group(r->h, layer)->dtype, round = e == DT_f32 ? DT_f16 : e;
   int64_t stride = harness_stride(kv, e, v), seed = v ? 104729 * s : 7919 * s;
   double *to = v ? kv->v[s] : kv->k[s];

   for (int64_t pos = 0; pos < stored; pos++)
      for (int64_t g = 0; g < kv->heads; g++) {
         uint8_t *at = harness_page(r, layer, s, pos, g, 0, v);
         for (int64_t i = 0; i < kv->width; i++) {
            int64_t j = (pos * kv->heads + g) * kv->width + i;
            double z = harness_number(v ? "v" : "k", (uint64_t)(j + seed));
            to[j] = dtype_round(round, v ? z : 2 * z);
            dtype_store(e, at + i * stride, &to[j], 1);
         }
      }
}

static inline void harness_state(harness_run *r, const ir_op *op)
{
   if (!ir_state_infos[op->results[0]->type.state].paged) {
      harness_unpaged(r, ir_attr_i(op, IR_ATTR_layer, 0), &op->results[0]->type);
      return;
   }
   int64_t layer = ir_attr_i(op, IR_ATTR_layer, 0), pages = 2 + r->sym[SYM_B] * r->step.num_seqs;
   const ir_type *t = &op->results[0]->type;
   ir_kv *kv = &r->kv[layer];
   const plan_cache_group *c = harness_group(r->h, layer);

   *kv = (ir_kv){
      ir_dim_const(t->dim[0]), ir_state_width(t), r->context + 1, r->step.num_seqs, NULL, NULL};
   r->state_bytes[layer] = (uint64_t)pages * plan_page_bytes(c);
   r->state[layer] = harness_block(r, r->state_bytes[layer], 0);
   kv->k = arena_array(r->a, double *, kv->num_seqs);
   if (ir_state_infos[t->state].rows == 2)
      kv->v = arena_array(r->a, double *, kv->num_seqs);
   for (uint32_t s = 0; s < kv->num_seqs; s++) {
      int64_t n = kv->heads * kv->width;
      kv->k[s] = arena_array(r->a, double, (size_t)(kv->capacity * n));
      if (kv->v)
         kv->v[s] = arena_array(r->a, double, (size_t)(kv->capacity * n));
      int64_t stored = r->step.stored[s];
      if (c->ratio) /* of the step's chunks, too, where nobody makes entries */
         stored = (stored + (harness_is_written(op) ? 0 : r->step.rows[s])) / c->ratio;
      harness_fill(r, layer, s, stored, false);
      if (kv->v)
         harness_fill(r, layer, s, stored, true);
   }
}

static inline harness_run *harness_setup(harness *h, harness_step step)
{
   arena *a;

   HARNESS_OK(arena_create(&a));
   harness_run *r = arena_new(a, harness_run);
   *r = (harness_run){.a = a, .h = h, .step = step};
   for (uint32_t q = 0; q < step.num_seqs; q++) {
      r->sym[SYM_T] += step.rows[q];
      r->context = MAX(r->context, step.stored[q] + step.rows[q]);
   }
   r->sym[SYM_R] = MIN(step.wanted, r->sym[SYM_T]);
   r->sym[SYM_S] = r->sym[SYM_Q] = step.num_seqs;
   r->sym[SYM_C] = (r->context + ATTN_CHUNK - 1) / ATTN_CHUNK;
   r->sym[SYM_B] = r->context / PAGE_TOKENS + 2;
   int32_t **arrays[] = {&r->ids, &r->positions, &r->ends, &r->seq_of, &r->rows, &r->slots};
   for (size_t i = 0; i < countof(arrays); i++)
      *arrays[i] = arena_array(a, int32_t, (size_t)r->sym[SYM_T] + 1);
   r->tiles = arena_array(a, int32_t, 2 * (size_t)r->sym[SYM_T] + 2);
   r->table = arena_array(a, int32_t, (size_t)(r->sym[SYM_B] * step.num_seqs));
   r->writes = arena_array(a, bool, (size_t)r->sym[SYM_T] + 1);
   harness_rows(r);
   harness_entries(r);
   ir_op_foreach (h->before, op) {
      if (op->code == IR_OP_meta && ir_attr_i(op, IR_ATTR_field, 0) == IR_META_rope)
         harness_rope(r, op);
      if (op->code == IR_OP_state)
         harness_state(r, op);
   }
   return r;
}

#include "harness_run.h"

#endif
