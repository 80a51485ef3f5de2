/* attention.c - attention.def as data, and the geometry of the kernel on matrix instructions. */
#include "attention.h"

#include <stdio.h>

#include "kargs.h"
#include "pack.h"
#include "simt_abi.h"

typedef enum place { ON_CPU, ON_GPU, ON_MATRIX, ON_MATRIX_F8 } place;

typedef struct backend_info {
   const char *name, *what;
   place on;
   uint32_t ops_and_takes, kv, multiple, widest;
   enum { NUMERICS_ANY, NUMERICS_FAST, NUMERICS_ASKED } numerics;
} backend_info;

#define A(name) ATTENTION_##name
#define T(name) (1u << DT_##name)
static const backend_info infos[] = {
#define ATTENTION(name, on, ops, kv, multiple, widest, takes, numerics, what)                      \
   {#name, what, ON_##on, (ops) | (takes), kv, multiple, widest, NUMERICS_##numerics},
#include "attention.def"
#undef ATTENTION
};
#undef A
#undef T

_Static_assert(DT_COUNT <= 32, "types are a set of bits");

static const char names[] = "auto"
#define ATTENTION(name, ...) ", " #name
#include "attention.def"
#undef ATTENTION
   ;

const char *attention_name(attention_backend b)
{
   return infos[b].name;
}

bool attention_takes(attention_backend b, uint32_t ops)
{
   return (infos[b].ops_and_takes & ops) != 0;
}

/* The row of that name; ATTENTION_BACKENDS when there is none. */
static attention_backend find(const char *name, size_t len)
{
   for (int i = 0; i < ATTENTION_BACKENDS; i++)
      if (strlen(infos[i].name) == len && memcmp(infos[i].name, name, len) == 0)
         return (attention_backend)i;
   return ATTENTION_BACKENDS;
}

sinter_status attention_read(const char *text, attention_backend *out, bool *out_strict)
{
   size_t len = text ? strlen(text) : 0;
   char remedy[128];

   *out = ATTENTION_BACKENDS;
   *out_strict = len && text[len - 1] == '!';
   if (!len || strcmp(text, "auto") == 0)
      return SINTER_ok;
   *out = find(text, len - *out_strict);
   if (*out != ATTENTION_BACKENDS)
      return SINTER_ok;
   snprintf(remedy, sizeof remedy, "use one of %s; with a ! behind it for no other", names);
   return base_fail(SINTER_usage, "--attention", remedy,
                    "there is no attention kernel named '%.40s'", text);
}

/* ---- the kernel on matrix instructions (kernels/attention_mma.cuh has the same) ---- */

enum { STAGES = 4, SIDE = 16, PAD = 16, WIDE_VALUE = 256, EXPANDED_AT_ONCE = 32 };

static bool is_matrix(attention_backend b)
{
   return infos[b].on == ON_MATRIX || infos[b].on == ON_MATRIX_F8;
}

uint32_t attention_parts(attention_backend b, const attention_query *q)
{
   if (!is_matrix(b))
      return 0;
   return infos[b].on == ON_MATRIX_F8 ? 1 : q->kv == DT_bf16 ? 3 : 2;
}

/* As many as the rows of a tile fill, 16 at most; of wide values sums of more leave the registers.
 * Layouts of columns go by the warp. */
uint32_t attention_columns(attention_backend b, const attention_query *q)
{
   if (!is_matrix(b))
      return 0;
   uint32_t unit = q->arch->warp == 32 ? 8 : 16, all = ATTN_ROWS * (q->heads / q->groups);

   return q->value > WIDE_VALUE ? unit : MIN((all + unit - 1) / unit * unit, 16u);
}

/* Of kernels/attention_expand.cuh: a chunk's keys and values, a tile's queries and weights, then
 * floats. */
static uint64_t expanded_shared(const attention_query *q)
{
   uint64_t warps = SIMT_THREADS / q->arch->warp, key = q->width + PAD, chunk = ATTN_CHUNK + PAD;

   return (ATTN_CHUNK + SIDE) * key + (q->value + SIDE) * chunk +
          4 * (2 * ATTN_CHUNK + 2 * warps * EXPANDED_AT_ONCE + (2 * warps + 2) * SIDE);
}

uint64_t attention_shared(attention_backend b, const attention_query *q)
{
   if (q->wants & ATTENTION_EXPANDED)
      return expanded_shared(q);
   bool f8 = infos[b].on == ON_MATRIX_F8;
   uint64_t columns = attention_columns(b, q), warps = SIMT_THREADS / q->arch->warp;
   uint64_t parts = attention_parts(b, q), bytes = f8 ? 1 : 2, depth = f8 ? 32 : 16;
   uint64_t slice = depth * (SIDE * dtype_infos[q->kv].bytes + PAD);

   return warps * STAGES * slice +
          parts * columns * ((q->width + ATTN_CHUNK) * bytes + 2 * (uint64_t)PAD) +
          columns * 4 * (2 * warps + 8);
}

/* ---- what is refused ---- */

static const char *wrong_place(arena *a, const backend_info *b, const attention_query *q)
{
   if (b->on == ON_CPU && q->arch)
      return arena_printf(a, "is for a CPU, not for %s", q->arch->name);
   if (b->on != ON_CPU && !q->arch)
      return "is for GPUs";
   if (b->on != ON_GPU && b->on != ON_CPU && !q->arch->matrix)
      return arena_printf(a, "there are no kernels for matrix units of %s", q->arch->name);
   if (b->on == ON_MATRIX_F8 && (q->arch->fp8 != ARCH_FP8_OCP || q->arch->warp != 64))
      return arena_printf(a, "there is no kernel for bytes in the matrix units of %s",
                          q->arch->name);
   return NULL;
}

static const char *wrong_form(arena *a, uint32_t lacks)
{
   static const struct {
      uint32_t bit;
      const char *what;
   } words[] = {{ATTENTION_KV, "keys and values in pages"},
                {ATTENTION_LATENT, "latent rows"},
                {ATTENTION_EXPANDED, "latents expanded to keys and values (mla_expand)"},
                {ATTENTION_WINDOW, "windows"},
                {ATTENTION_SINKS, "sinks"},
                {ATTENTION_CAP, "soft caps"},
                {ATTENTION_QUANT, "a result that is quantised in its kernel (attn_quant)"}};

   for (size_t i = 0; i < countof(words); i++)
      if (lacks & words[i].bit)
         return arena_printf(a, "has no kernel for %s", words[i].what);
   return NULL;
}

/* Matrices go into the instruction as they are stored, 16 outputs and 32 elements of a latent at a
 * time. */
static const char *wrong_matrices(arena *a, const attention_query *q)
{
   const dtype stored[] = {q->keys, q->values};

   if ((q->width - q->rotated) % SIDE || q->rotated % SIDE || q->rank % 32)
      return arena_printf(a, "keys of %u and %u of latents of %u are no multiples of 16, 16 and 32",
                          q->width - q->rotated, q->rotated, q->rank);
   if (q->value > WIDE_VALUE)
      return arena_printf(a, "values of %u are wider than %u", q->value, WIDE_VALUE);
   for (size_t i = 0; i < countof(stored); i++) {
      const panel_info *p = &panel_infos[pack_layout_of(stored[i])];
      if (stored[i] == DT_f32 || stored[i] == DT_f16 || p->has_min || p->kind < PANEL_KIND_FLOAT)
         return arena_printf(a, "has no kernel for matrices of %s", dtype_infos[stored[i]].name);
   }
   return NULL;
}

static const char *wrong_shape(arena *a, attention_backend backend, const attention_query *q)
{
   const backend_info *b = &infos[backend];

   if (!(b->kv >> q->kv & 1))
      return arena_printf(a, "has no kernel for a cache of %s", dtype_infos[q->kv].name);
   if (!q->groups || !q->heads || q->heads % q->groups)
      return arena_printf(a, "%u heads cannot share %u", q->heads, q->groups);
   if (q->width % b->multiple || q->value % MIN(b->multiple, 16u))
      return arena_printf(a, "heads of %u and %u are no multiples of %u", q->width, q->value,
                          b->multiple);
   if (q->width > b->widest)
      return arena_printf(a, "heads of %u are wider than %u", q->width, b->widest);
   const char *why =
      is_matrix(backend) && (q->wants & ATTENTION_EXPANDED) ? wrong_matrices(a, q) : NULL;
   if (why)
      return why;
   if (is_matrix(backend) && attention_shared(backend, q) > arch_block_shared(q->arch))
      return arena_printf(a, "a block would need %llu bytes of shared memory, of %llu",
                          (unsigned long long)attention_shared(backend, q),
                          (unsigned long long)arch_block_shared(q->arch));
   return NULL;
}

const char *attention_refuses(arena *a, attention_backend backend, const attention_query *q)
{
   const backend_info *b = &infos[backend];
   const char *why = wrong_place(a, b, q);

   why = why ? why : wrong_form(a, q->wants & ~b->ops_and_takes);
   if (!why && b->numerics != NUMERICS_ANY && !q->fast)
      why = "sums in parts: `exact` promises plain f32";
   why = why ? why : wrong_shape(a, backend, q);
   if (!why && b->numerics == NUMERICS_ASKED && !q->asked)
      why = arena_printf(a, "rounds queries and weights: only with --attention %s", b->name);
   return why;
}
