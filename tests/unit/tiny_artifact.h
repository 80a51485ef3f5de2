/* tiny_artifact.h - a model of two tensors with a plan that uses every kind of pointer, and a
 * compiler that writes it.
 *
 * The compiler stands in for the real library: its weights depend on the bytes of the model file
 * only. */
#ifndef TINY_ARTIFACT_H
#define TINY_ARTIFACT_H

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/pack.h"
#include "codegen/artifact_write.h"
#include "tiny_elf.h"

enum { TINY_COLS = 64, TINY_VOCAB = 40 };

typedef struct tiny {
   arena *a;
   model m;
   model_tensor tensors[2];
   plan p;
   tiny_elf code;
} tiny;

static inline uint8_t *tiny_noise(arena *a, uint64_t bytes, uint64_t seed)
{
   uint8_t *p = arena_alloc(a, bytes);

   for (uint64_t i = 0; i < bytes; i++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      p[i] = (uint8_t)(seed >> 56);
   }
   return p;
}

static inline void tiny_tensor(tiny *t, uint32_t i, const char *name, dtype type, uint64_t rows,
                               uint64_t seed)
{
   model_tensor *x = &t->tensors[i];

   *x = (model_tensor){
      .name = name, .source_name = name, .dtype = type, .rank = 2, .dim = {rows, TINY_COLS}};
   dtype_size(type, rows * TINY_COLS, &x->bytes);
   x->data = tiny_noise(t->a, x->bytes, seed + i);
   map_set(&t->m.by_name, name, x);
}

static inline void tiny_weight(tiny *t, uint32_t i, panel_layout layout)
{
   plan_weight *w = &t->p.weights[i];
   const model_tensor *x = &t->tensors[i];

   *w = (plan_weight){.layout = layout,
                      .dtype = x->dtype,
                      .rows = x->dim[0],
                      .cols = TINY_COLS,
                      .stack = 1,
                      .offset = base_align(t->p.weight_bytes, 64),
                      .num_sources = 1,
                      .sources = arena_new(t->a, plan_source)};
   *w->sources = (plan_source){x->name, 0, x->dim[0]};
   if (layout == PANEL_rows)
      w->size = x->bytes;
   else
      pack_size(layout, w->rows, w->cols, &w->size);
   t->p.weight_bytes = w->offset + w->size;
}

static inline plan_extent tiny_extent(int64_t k, uint32_t sym_id, uint32_t div)
{
   return (plan_extent){.k = k, .num_factors = 1, .factor = {{sym_id, div}}};
}

static inline void tiny_variant(tiny *t, plan_variant *v, const char *name, int64_t max_rows)
{
   static const plan_ref refs[] = {
      {PLAN_REF_arena, 0, 0, 128},
      {PLAN_REF_weight, 0, 0, 64},
      {PLAN_REF_state, 0, 1, 0},
      {PLAN_REF_meta, 7, 0, 0},
      {PLAN_REF_scratch, 0, 0, 64 * 4 - 64},
      {PLAN_REF_output, 0, 0, 0},
   };

   *v = (plan_variant){.name = name, .max_rows = max_rows, .num_launches = 2, .num_segments = 2};
   v->launches = arena_array(t->a, plan_launch, 2);
   v->segments = arena_array(t->a, plan_segment, 2);
   for (uint32_t i = 0; i < 2; i++) {
      plan_launch *l = &v->launches[i];
      *l = (plan_launch){.kernel = i,
                         .phase = i,
                         .num_refs = countof(refs),
                         .num_consts = 2,
                         .consts = {-5, 1 << 20}};
      l->tiles = tiny_extent(3, SYM_T, 4);
      l->bytes = tiny_extent(1000, SYM_C, 1);
      l->bytes.most[0] = 3 * i;
      l->flops = tiny_extent(2000, SYM_S, 2);
      memcpy(l->refs, refs, sizeof refs);
      v->segments[i] = (plan_segment){i, i, 1, i ? "HOST_SYNC of sample" : ""};
   }
}

static inline void tiny_tables(tiny *t)
{
   plan *p = &t->p;

   p->num_cache_groups = p->num_ropes = p->num_groups = 1;
   p->num_kernels = p->num_variants = 2;
   p->cache_groups = arena_new(t->a, plan_cache_group);
   *p->cache_groups = (plan_cache_group){.heads = 2, .width = 16, .dtype = DT_f16, .num_layers = 2};
   p->ropes = arena_new(t->a, rope_spec);
   *p->ropes = (rope_spec){.width = 16, .base = 10000, .factor = 1, .attention_factor = 1};
   p->kernels = arena_array(t->a, plan_kernel, 2);
   p->kernels[0] = (plan_kernel){"answer", "region"};
   p->kernels[1] = (plan_kernel){"twice", "gemm"};
   p->groups = arena_new(t->a, plan_group);
   *p->groups = (plan_group){"k0", "pointwise"};
   p->variants = arena_array(t->a, plan_variant, 2);
   tiny_variant(t, &p->variants[0], "decode", 1);
   tiny_variant(t, &p->variants[1], "prefill", 4);
}

/* rows of the matrix; seed of the weights. Free with arena_destroy(t->a). */
static inline void tiny_make(tiny *t, uint64_t rows, uint64_t seed)
{
   memset(t, 0, sizeof *t);
   if (arena_create(&t->a) != SINTER_ok)
      abort();
   t->m.a = t->m.by_name.a = t->a;
   t->m.vocab_blob = (const uint8_t *)"vocabulary";
   t->m.vocab_size = 10;
   t->m.chat_template = "{{ messages }}";
   t->m.num_tensors = 2;
   t->m.tensors = t->tensors;
   tiny_tensor(t, 0, "blk.0.ffn_up.weight", DT_q4_0, rows, seed);
   tiny_tensor(t, 1, "output_norm.weight", DT_f32, 1, seed);
   t->p = (plan){.target = "cpu:x86-64-v3", .arena_bytes = 4096};
   t->p.model = (plan_model){.name = "tiny",
                             .family = "llama",
                             .vocab = TINY_VOCAB,
                             .layers = 2,
                             .width = TINY_COLS,
                             .trained_context = 128,
                             .bos = 1,
                             .num_eos = 1,
                             .eos = {2}};
   t->p.sym_max[SYM_T] = t->p.sym_max[SYM_A] = 4;
   t->p.sym_max[SYM_R] = t->p.sym_max[SYM_S] = 2;
   t->p.scratch = tiny_extent(64, SYM_T, 1);
   t->p.num_weights = 2;
   t->p.weights = arena_array(t->a, plan_weight, 2);
   tiny_weight(t, 0, pack_layout_of(DT_q4_0));
   tiny_weight(t, 1, PANEL_rows);
   tiny_tables(t);
   tiny_elf_make(&t->code);
}

/* Writes it with one target, or with two that share their weights. */
static inline sinter_status tiny_write(const tiny *t, const compiler_request *request,
                                       uint32_t num_targets)
{
   plan second = t->p;
   const cg_artifact_target targets[] = {
      {&t->m, &t->p, (const uint8_t *)&t->code, sizeof t->code, "func @main() {}\n",
       "{\"fusions\":[]}"},
      {&t->m, &second, NULL, 0, "func @main() {}\n", NULL},
   };

   second.target = "ref";
   return cg_artifact_write(request, &t->m, targets, num_targets, "22.1.8");
}

/* The stand-in compiler: the first line of the model file is its number of rows, the rest its seed.
 */
static inline sinter_status tiny_compile(const compiler_request *request)
{
   char text[64] = "";
   FILE *f = fopen(request->model, "r");
   tiny t;

   if (!f)
      return base_fail(SINTER_not_found, request->model, "", "no such model");
   size_t len = fread(text, 1, sizeof text - 1, f);
   fclose(f);
   tiny_make(&t, strtoull(text, NULL, 10), hash64_bytes(text, len));
   sinter_status status = tiny_write(&t, request, 1);
   arena_destroy(t.a);
   return status;
}

static inline sinter_status tiny_explain(const compiler_request *request, char **out_json)
{
   (void)request;
   *out_json = strdup("{\"fusions\":[]}");
   return SINTER_ok;
}

static inline void tiny_release(char *json)
{
   free(json);
}

static sinter_status tiny_check(const compiler_request *request)
{
   (void)request;
   return SINTER_ok;
}

static const compiler_api tiny_compiler = {
   .abi = COMPILER_ABI,
   .llvm_version = "22.1.8",
   .check = tiny_check,
   .compile = tiny_compile,
   .explain = tiny_explain,
   .release = tiny_release,
};

#endif
