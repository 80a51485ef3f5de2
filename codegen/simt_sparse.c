/* simt_sparse.c - the parameters of the templates for compressed attention and for
 * hyper-connections. */
#include "simt.h"

#include "base/simt_abi.h"
#include "kernels/cpu/hc.h"
#include "kernels/cpu/sparse.h"

/* ---- entries ---- */

static void emit_compress(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const compress_key *k = what;

   (void)a;
   text_printf(out,
               "#define COMPRESS_NAME %s\n#define COMPRESS_WIDTH %u\n#define COMPRESS_START %u\n"
               "#define COMPRESS_D %u\n#define COMPRESS_RATIO %u\n#define COMPRESS_OVERLAP %d\n",
               symbol, k->width, k->start, k->d, k->ratio, k->overlap);
   cg_simt_load(out, "COMPRESS_LOAD", k->kv);
   cg_simt_include(out, "state_rows.cuh");
   cg_simt_include(out, "compress.cuh");
}

/* A tile is a row and as many channels as there are threads. */
static void compress_grid(const arch_info *arch, const void *what, plan_launch *to)
{
   const compress_key *k = what;

   (void)arch;
   to->tiles.k = (k->d + SIMT_THREADS - 1) / SIMT_THREADS;
}

const cg_simt_kind cg_simt_compress = {emit_compress, compress_grid};

/* ---- choice ---- */

static void emit_index(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const index_key *k = what;

   (void)a;
   text_printf(out,
               "#define INDEX_NAME %s\n#define INDEX_SELECT %d\n#define INDEX_H %u\n"
               "#define INDEX_D %u\n#define INDEX_RATIO %u\n#define INDEX_K %u\n",
               symbol, k->select, k->heads, k->d, k->ratio, k->k);
   cg_simt_load(out, "INDEX_LOAD", k->kv);
   cg_simt_include(out, "state_rows.cuh");
   cg_simt_include(out, "indexer.cuh");
}

const cg_simt_kind cg_simt_index = {emit_index, NULL};

/* ---- attention ---- */

enum { MAX_HEADS = 4, MAX_EACH = 16 }; /* of a block: heads, elements of o of a thread */

static uint32_t sparse_block(const sparse_key *k)
{
   uint32_t n = MIN((uint32_t)MAX_HEADS, k->heads);

   while (n > 1 && (k->heads % n || n * k->d > MAX_EACH * SIMT_THREADS))
      n--;
   return n;
}

static void emit_sparse(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const sparse_key *k = what;

   (void)a;
   text_printf(out,
               "#define SPARSE_NAME %s\n#define SPARSE_H %u\n#define SPARSE_D %u\n"
               "#define SPARSE_BLOCK %u\n#define SPARSE_WINDOW %lldll\n#define SPARSE_SCALE %af\n"
               "#define SPARSE_RATIO %u\n#define SPARSE_CHOSEN %d\n#define SPARSE_K %u\n"
               "#define SPARSE_MIXED %d\n",
               symbol, k->heads, k->d, sparse_block(k), (long long)k->window, (float)k->scale,
               k->ratio, k->chosen, k->k, k->ratio && k->entry != k->kv);
   cg_simt_load(out, "SPARSE_LOAD_Q", k->q);
   cg_simt_load(out, "SPARSE_LOAD_KV", k->kv);
   cg_simt_load(out, "SPARSE_LOAD_ENTRY", k->entry);
   cg_simt_store(out, "SPARSE_STORE", k->y);
   cg_simt_include(out, "state_rows.cuh");
   cg_simt_include(out, "attention_fold.cuh");
   cg_simt_include(out, "sparse.cuh");
}

/* A tile is a row and a block of heads. */
static void sparse_grid(const arch_info *arch, const void *what, plan_launch *to)
{
   const sparse_key *k = what;

   (void)arch;
   to->tiles.k = k->heads / sparse_block(k);
}

const cg_simt_kind cg_simt_sparse = {emit_sparse, sparse_grid};

/* ---- hyper-connections ---- */

static void emit_hc(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const hc_key *k = what;

   (void)a;
   text_printf(
      out,
      "#define HC_NAME %s\n#define HC_N %u\n#define HC_D %u\n#define HC_EXPAND %d\n"
      "#define HC_MIX %d\n#define HC_FINISH %d\n#define HC_COLLAPSE %d\n#define HC_NORM %d\n"
      "#define HC_EPS %af\n#define HC_OFFSET %af\n#define HC_ITERS %u\n"
      "#define HC_NORM_EPS %af\n#define HC_NORM_OFFSET %af\n",
      symbol, k->streams, k->width, k->expand, k->mix, k->finish, k->collapse, k->norm,
      (float)k->eps, (float)k->offset, k->iters, (float)k->norm_eps, (float)k->norm_offset);
   cg_simt_include(out, "hc.cuh");
}

const cg_simt_kind cg_simt_hc = {emit_hc, NULL};
