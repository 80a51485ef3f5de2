/* simt_layers.c - the parameters of the templates for mixtures and for states that are whole. */
#include "simt.h"

#include "base/simt_abi.h"
#include "kernels/cpu/moe.h"
#include "kernels/cpu/state.h"

/* ---- mixtures ---- */

static void emit_route(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const route_key *k = what;

   (void)a;
   text_printf(out,
               "#define ROUTE_NAME %s\n#define ROUTE_EXPERTS %u\n#define ROUTE_K %u\n"
               "#define ROUTE_GROUPS %u\n#define ROUTE_KEPT %u\n#define ROUTE_TOP %u\n"
               "#define ROUTE_BIAS %d\n#define ROUTE_NORM %d\n#define ROUTE_GIVEN %d\n"
               "#define ROUTE_SCALE %af\n#define ROUTE_SCORE %d\n",
               symbol, k->experts, k->k, k->groups, k->kept, k->group_top, k->bias, k->norm,
               k->given, k->scale, k->score);
   cg_simt_include(out, "moe.cuh");
   cg_simt_include(out, "route.cuh");
}

const cg_simt_kind cg_simt_route = {emit_route, NULL};

/* Permutation, combination and lookup: all are in every module that has one of them. */
static void emit_slots(arena *a, text_buf *out, const char *symbol, const void *what)
{
   (void)a;
   (void)symbol;
   (void)what;
   cg_simt_include(out, "moe.cuh");
}

const cg_simt_kind cg_simt_slots = {emit_slots, NULL};

/* ---- convolution ---- */

static int64_t conv_tiles(const conv_key *k)
{
   int64_t n = 0;

   for (uint32_t i = 0; i < k->num_parts; i++)
      n += ((int64_t)k->parts[i].channels + k->parts[i].block - 1) / k->parts[i].block;
   return n;
}

static void emit_conv(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const conv_key *k = what;

   (void)a;
   text_printf(out,
               "#define CONV_NAME %s\n#define CONV_C %u\n#define CONV_W %u\n#define CONV_PARTS %u\n"
               "#define CONV_SILU %d\n#define CONV_TILES %lld\n",
               symbol, k->channels, k->width, k->num_parts, k->silu, (long long)conv_tiles(k));
   cg_simt_format(out, "CONV_FORMAT", pack_layout_of(k->w));
   text_printf(out, "#define CONV_PART(p, first, channels, block, norm, eps)");
   for (uint32_t i = 0; i < k->num_parts; i++) {
      const conv_part *p = &k->parts[i];
      text_printf(out,
                  " if (p == %u) { first = %u; channels = %u; block = %u; norm = %d; eps = %af; }",
                  i, p->first, p->channels, p->block, p->norm, (float)p->eps);
   }
   text_printf(out, "\n");
   cg_simt_include(out, "state.cuh");
   cg_simt_include(out, "conv.cuh");
}

const cg_simt_kind cg_simt_conv = {emit_conv, NULL};

/* ---- gated delta net ---- */

/* Columns whose state fits the block's memory. */
static uint32_t gdn_columns(const gdn_key *k)
{
   uint32_t most = MIN((uint32_t)SIMT_THREADS, k->dv);

   while (most > 1 && (uint64_t)most * k->dk * 4 > SIMT_MAX_SHARED - 1024)
      most = (most + 1) / 2;
   return most;
}

static void emit_gdn(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const gdn_key *k = what;

   (void)a;
   text_printf(out,
               "#define GDN_NAME %s\n#define GDN_G %u\n#define GDN_H %u\n#define GDN_DK %u\n"
               "#define GDN_DV %u\n#define GDN_SCALE %af\n#define GDN_COLUMNS %u\n"
               "#define GDN_GATES %d\n#define GDN_NORM %d\n#define GDN_EPS %af\n"
               "#define GDN_OFFSET %af\n",
               symbol, k->groups, k->heads, k->dk, k->dv, (float)k->scale, gdn_columns(k), k->gates,
               k->norm, (float)k->eps, (float)k->offset);
   cg_simt_include(out, "state.cuh");
   cg_simt_include(out, "gdn.cuh");
}

/* A tile is a run and a head. */
static void gdn_grid(const arch_info *arch, const void *what, plan_launch *to)
{
   const gdn_key *k = what;

   (void)arch;
   to->tiles = (plan_extent){.k = k->heads, .num_factors = 1, .factor = {{SYM_Q, 1}}};
}

const cg_simt_kind cg_simt_gdn = {emit_gdn, gdn_grid};
