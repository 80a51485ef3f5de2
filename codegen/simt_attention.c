/* simt_attention.c - the parameters of the templates of attention, from its key: plain, on matrix
 * instructions, or over latents that are expanded there. */
#include "base/simt_abi.h"
#include "kernels/cpu/attention.h"
#include "simt.h"

/* Heads that one block takes: few enough for its memory and registers. */
static uint32_t attention_block(const attention_key *k)
{
   uint32_t most = MIN(k->heads / k->groups, 8u);

   while (most > 1 && (uint64_t)most * (k->width + ATTN_CHUNK) * 4 + 2048 > SIMT_MAX_SHARED)
      most--;
   return most;
}

static void emit_attention(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const attention_key *k = what;
   const bool quant = k->quant && k->form != ATTENTION_part;

   (void)a;
   text_printf(out,
               "#define ATTN_NAME %s\n#define ATTN_FORM %d\n#define ATTN_H %u\n#define ATTN_G "
               "%u\n#define ATTN_D %u\n"
               "#define ATTN_V %u\n#define ATTN_Q %u\n"
               "#define ATTN_WINDOW %lldll\n#define ATTN_SCALE %af\n#define ATTN_CAPPED %d\n"
               "#define ATTN_CAP %af\n#define ATTN_SINKS %d\n#define ATTN_LATENT %d\n"
               "#define ATTN_KV_BYTES %u\n#define ATTN_QUANT %d\n#define ATTN_IN %d\n",
               symbol, k->form == ATTENTION_row ? ATTENTION_whole : k->form, k->heads, k->groups,
               k->width, k->value, k->latent ? k->value : k->width, (long long)k->window, k->scale,
               k->cap != 0, k->cap, k->sinks, k->latent, dtype_infos[k->kv].bytes, quant,
               1 + quant);
   cg_simt_load(out, "ATTN_LOAD_Q", k->q);
   cg_simt_store(out, "ATTN_STORE", k->y);
   cg_simt_include(out, "attention_fold.cuh");
   if (quant) {
      cg_simt_include(out, "quant.cuh");
      cg_simt_include(out, "attention_quant.cuh");
   }
   if (k->columns) {
      text_printf(out, "#define ATTN_COLS %u\n#define ATTN_KV_CODES %d\n#define ATTN_KIND %s\n",
                  k->columns, k->kv == DT_f8e4m3,
                  k->bytes           ? "ATTENTION_PARTS_f8"
                  : k->kv == DT_bf16 ? "ATTENTION_PARTS_bf16"
                                     : "ATTENTION_PARTS_f16");
      cg_simt_include(out, "fragments.cuh");
      cg_simt_include(out, "attention_columns.cuh");
      cg_simt_include(out, "attention_mma_load.cuh");
      cg_simt_include(out, "attention_mma_product.cuh");
      cg_simt_include(out, "attention_mma.cuh");
   } else {
      text_printf(out, "#define ATTN_BLOCK %u\n", attention_block(k));
      cg_simt_load(out, "ATTN_LOAD_KV", k->kv);
      cg_simt_include(out, "attention.cuh");
   }
   cg_simt_include(out, "attention_end.cuh");
}

/* Blocks of a row and kv head; on matrix instructions of a row tile and kv head. */
static int64_t attention_blocks(const attention_key *k)
{
   uint32_t per = k->heads / k->groups, block = k->columns ? k->columns : attention_block(k);

   per *= k->columns ? ATTN_ROWS : 1;
   return (int64_t)k->groups * ((per + block - 1) / block);
}

uint64_t cg_simt_attention_scratch(const attention_key *k, int64_t max_rows)
{
   uint64_t block = k->columns ? k->columns : attention_block(k);
   uint64_t entry = block * (k->value + 2) * sizeof(float);

   return entry * (uint64_t)attention_blocks(k) * (uint64_t)max_rows;
}

/* Of parts a block each chunk; of merged columns one each. */
static void attention_grid(const arch_info *arch, const void *what, plan_launch *to)
{
   const attention_key *k = what;
   int64_t each = k->columns && k->form == ATTENTION_merge ? k->columns : 1;

   (void)arch;
   to->tiles = (plan_extent){.k = attention_blocks(k) * each,
                             .num_factors = 1,
                             .factor = {{k->columns ? SYM_A : SYM_T, 1}, {SYM_C, 1}}};
   if (k->form == ATTENTION_part)
      to->tiles.num_factors = 2;
}

const cg_simt_kind cg_simt_attention = {emit_attention, attention_grid};

/* ---- latents that are expanded ---- */

/* Parts of bf16 that hold an element exactly. */
static int latent_parts(dtype kv)
{
   return kv == DT_f32 ? 3 : kv == DT_f16 ? 2 : 1;
}

static void emit_expanded(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const attention_key *k = what;
   uint64_t key_panel = 0, value_panel = 0;

   (void)a;
   (void)pack_panel_size(k->keys, k->rank, &key_panel);
   (void)pack_panel_size(k->values, k->rank, &value_panel);
   text_printf(
      out,
      "#define EXPAND_NAME %s\n#define EXPAND_FORM %d\n#define EXPAND_H %u\n#define EXPAND_A %u\n"
      "#define EXPAND_N %u\n#define EXPAND_V %u\n#define EXPAND_R %u\n#define EXPAND_SCALE %af\n"
      "#define EXPAND_SHARED %llu\n#define EXPAND_KEY_PANEL %llull\n"
      "#define EXPAND_VALUE_PANEL %llull\n#define EXPAND_KV_BYTES %u\n#define EXPAND_PARTS %d\n",
      symbol, k->form, k->heads, k->width - k->rotated, k->rotated, k->value, k->rank, k->scale,
      (unsigned long long)k->shared, (unsigned long long)key_panel, (unsigned long long)value_panel,
      dtype_infos[k->kv].bytes, latent_parts(k->kv));
   cg_simt_format(out, "EXPAND_KEYS", k->keys);
   cg_simt_format(out, "EXPAND_VALUES", k->values);
   cg_simt_load(out, "EXPAND_LOAD_Q", k->q);
   cg_simt_load(out, "EXPAND_LOAD_KV", k->kv);
   cg_simt_store(out, "EXPAND_STORE", k->y);
   cg_simt_include(out, "attention_fold.cuh");
   cg_simt_include(out, "fragments.cuh");
   cg_simt_include(out, "attention_columns.cuh");
   cg_simt_include(out, "gemm_mma_weights.cuh");
   cg_simt_include(out, "attention_expand.cuh");
}

/* A block each head and chunk, through which the step's runs pass one by one; merged, each row and
 * head. */
static void expanded_grid(const arch_info *arch, const void *what, plan_launch *to)
{
   const attention_key *k = what;

   (void)arch;
   to->tiles = (plan_extent){.k = k->heads,
                             .num_factors = 1,
                             .factor = {{k->form == ATTENTION_expanded_merge ? SYM_T : SYM_C, 1}}};
}

uint64_t cg_simt_expanded_scratch(const attention_key *k, int64_t max_rows)
{
   return (uint64_t)max_rows * k->heads * (k->value + 2) * sizeof(float);
}

static const cg_simt_kind cg_simt_expanded = {emit_expanded, expanded_grid};

const cg_simt_kind *cg_simt_attention_of(const attention_key *key)
{
   if (key->form >= ATTENTION_expanded)
      return key->bytes ? &cg_simt_expanded : NULL;
   return !(key->quant && key->bytes) && cg_simt_type_of(key->kv) ? &cg_simt_attention : NULL;
}
