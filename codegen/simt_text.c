/* simt_text.c - a module of SIMT text: our tables as constants, the language, its prelude,
 * kernels. */
#include "simt.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/draw.h"
#include "base/quant.h"
#include "base/simt_abi.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/embed.h"
#include "kernels/cpu/gemm_impl.h"
#include "kernels/cpu/hc.h"
#include "kernels/cpu/moe.h"
#include "simt_files.h"

static const struct {
   const char *name;
   const unsigned char *text;
   const size_t *size;
} files[] = {
#define FILE_ROW(name, id) {name, simt_file_##id, &simt_file_##id##_len},
   SIMT_FILES(FILE_ROW)
#undef FILE_ROW
};

/* Appends text without its #include lines, which stay as empty ones: the module stands alone. */
static void append_lines(text_buf *out, const char *text, size_t size)
{
   for (size_t at = 0; at < size;) {
      const char *line = text + at, *end = memchr(line, '\n', size - at);
      size_t len = end ? (size_t)(end - line) + 1 : size - at;

      if (len > 8 && memcmp(line, "#include", 8) == 0)
         text_append(out, "\n", 1);
      else
         text_append(out, line, len);
      at += len;
   }
}

void cg_simt_include(text_buf *out, const char *name)
{
   for (size_t i = 0; i < countof(files); i++) {
      if (strcmp(files[i].name, name) != 0)
         continue;
      text_printf(out, "#line 1 \"kernels/%s\"\n", name);
      append_lines(out, (const char *)files[i].text, *files[i].size);
      return;
   }
   assert(!"a file of kernels/ that is not in SIMT_FILES");
}

const cg_simt_type *cg_simt_type_of(dtype t)
{
   static const cg_simt_type types[DT_COUNT] = {
      [DT_f32] = {"float", "", ""},
      [DT_f16] = {"simt_u16", "simt_f16", "simt_to_f16"},
      [DT_bf16] = {"simt_u16", "simt_bf16", "simt_to_bf16"},
      [DT_f8e4m3] = {"simt_u8", "simt_f8", "simt_to_f8"},
      [DT_i8] = {"simt_i8", "(float)", ""},
      [DT_i32] = {"simt_i32", "(float)", ""},
   };

   return types[t].name ? &types[t] : NULL;
}

void cg_simt_load(text_buf *out, const char *name, dtype t)
{
   const cg_simt_type *type = cg_simt_type_of(t);

   text_printf(out, "#define %s(base, i) %s(((const %s *)(base))[i])\n", name, type->load,
               type->name);
}

void cg_simt_store(text_buf *out, const char *name, dtype t)
{
   const cg_simt_type *type = cg_simt_type_of(t);

   text_printf(out, "#define %s(base, i, v) ((%s *)(base))[i] = %s(v)\n", name, type->name,
               type->store);
}

static void number(text_buf *out, const char *name, int64_t value)
{
   text_printf(out, "#define %s %lld\n", name, (long long)value);
}

static void write_table(text_buf *out, const char *name, const int8_t *values)
{
   text_printf(out, "SIMT_TABLE signed char %s[16] = {", name);
   for (int i = 0; i < 16; i++)
      text_printf(out, "%s%d", i ? ", " : "", values[i]);
   text_printf(out, "};\n");
}

#define N(name)                                                                                    \
   {                                                                                               \
#name, name                                                                                  \
   }
#define C(name) {"C_" #name, C_##name},
#define SYM(name, what) {"SYM_" #name, SYM_##name},

/* Numbers that our tables own. */
static const struct {
   const char *name;
   int64_t value;
} constants[] = {
   N(SIMT_THREADS),
   {"SIMT_MAX_PTRS", KARGS_MAX_PTRS},
   {"SIMT_MAX_CONSTS", KARGS_MAX_CONSTS},
   N(PAGE_TOKENS),
   N(PANEL_ROWS),
   N(ATTN_CHUNK),
   N(ATTN_ROWS),
#include "base/syms.def"
   GEMM_CONST_LIST(C) /* then those of other families */
   N(E_N),
   N(E_K),
   N(E_PANEL_BYTES),
   N(P_PER_SYM),
   N(P_SYM),
   N(P_SLOTS),
   N(P_EXPERTS),
   N(M_K),
   N(M_WIDTH),
   N(REMAP_K),
   N(REMAP_EXPERTS),
   N(REMAP_MOST),
   N(HC_PER_SYM),
   N(HC_SYM),
   N(HC_FIXED),
   N(HC_ROWS),
   N(HC_BLOCK),
   N(SAMPLE_V),
   N(SAMPLE_CHUNKS),
   N(SAMPLE_CHUNK),
   N(DRAW_host),
   N(DRAW_best),
   N(DRAW_random),
   N(DRAW_WORDS),
   N(ROUTE_none),
   N(ROUTE_softmax),
   N(ROUTE_sigmoid),
   N(ROUTE_sqrt_softplus),
   N(GEMM_whole),
   N(GEMM_part),
   N(GEMM_merge),
   N(ATTENTION_whole),
   N(ATTENTION_part),
   N(ATTENTION_merge),
   N(ATTENTION_expanded),
   {"ATTENTION_PARTS_bf16", 0},
   {"ATTENTION_PARTS_f16", 1},
   {"ATTENTION_PARTS_f8", 2},
   N(PANEL_KIND_FLOAT),
   N(PANEL_KIND_CODES),
   N(PANEL_KIND_SCALED),
   N(PANEL_CODE_U),
   N(PANEL_CODE_S),
   N(PANEL_CODE_T),
   N(PANEL_CODE_E),
};

#undef N
#undef C
#undef SYM

static void write_constants(text_buf *out, const cg_machine *machine)
{
   const arch_info *arch = machine->arch;

   number(out, "SIMT_MATRIX", machine->matrix);
   number(out, "SIMT_ARCH_WARP", arch->warp);
   number(out, "SIMT_BLOCK_SHARED", (int64_t)arch_block_shared(arch));
   number(out, "SIMT_REGISTERS", arch->registers);
   number(out, "GEMM_TILE_ROWS", arch->rows);
   number(out, "GEMM_TILE_COLUMNS", arch->columns);
   number(out, "GEMM_STAGES", arch->stages);
   number(out, "ATTN_AHEAD", arch->ahead);
   for (size_t i = 0; i < countof(constants); i++)
      number(out, constants[i].name, constants[i].value);
   text_printf(out, "#define SIMT_PASTE_(a, b) a##b\n#define SIMT_PASTE(a, b) SIMT_PASTE_(a, b)\n");
}

static void write_asserts(text_buf *out)
{
#define SAME(field)                                                                                \
   text_printf(out, "SIMT_ASSERT(SIMT_OFFSET(simt_args, " #field ") == %zu);\n",                   \
               offsetof(simt_args, field))
   text_printf(out, "SIMT_ASSERT(sizeof(simt_args) == %zu);\n", sizeof(simt_args));
   SAME(tiles);
   SAME(num_factors);
   SAME(factor);
#undef SAME
   text_printf(out, "SIMT_ASSERT(SIMT_OFFSET(simt_args, ptr) == %zu);\n",
               offsetof(sinter_kargs, ptr));
   text_printf(out, "SIMT_ASSERT(SIMT_OFFSET(simt_args, konst) == %zu);\n",
               offsetof(sinter_kargs, konst));
}

static void write_language(text_buf *out, cg_dialect dialect, const cg_machine *machine)
{
   static const char *const preludes[] = {
      [CG_CUDA] = "prelude_cuda.h", [CG_HIP] = "prelude_hip.h", [CG_HOST] = "prelude_host.h"};

   write_constants(out, machine);
   if (dialect == CG_HOST)
      cg_simt_include(out, "simt_host.h");
   /* The prelude's kernels take simt_args, which simt.h declares behind SIMT_FN. */
   cg_simt_include(out, preludes[dialect]);
   cg_simt_include(out, "simt.h");
   write_asserts(out);
   write_table(out, "simt_iq4_values", quant_iq4_values);
   write_table(out, "simt_e2m1_values", quant_e2m1_values);
   cg_simt_include(out, "weights.cuh");
}

static sinter_status no_form(const char *target, const char *family, const char *symbol)
{
   return base_fail(SINTER_unsupported, symbol,
                    "use --device cpu: docs/gpu.md lists the families that have one",
                    "there is no %s kernel for target %s", family, target);
}

/* A symbol as an identifier: numbers in names of kernels have signs. */
static const char *identifier(arena *a, const char *symbol)
{
   char *out = arena_strdup(a, symbol);

   for (char *c = out; *c; c++)
      *c = *c == '-' ? 'm' : *c == '+' || *c == '.' ? '_' : *c;
   return out;
}

sinter_status cg_simt_launch(arena *a, const char *target, const arch_info *arch, cg_launch *launch)
{
   const cg_simt_kind *kind = launch->kernel.simt;

   if (!kind)
      return no_form(target, launch->kernel.family, launch->kernel.symbol);
   launch->kernel.symbol = identifier(a, launch->kernel.symbol);
   if (kind->grid)
      kind->grid(arch, launch->kernel.what, &launch->launch);
   return SINTER_ok;
}

sinter_status cg_simt_text(arena *a, cg_dialect dialect, cg_machine machine, const char *target,
                           const cg_kernel *kernels, uint32_t num_kernels, text_buf *out)
{
   write_language(out, dialect, &machine);
   for (uint32_t i = 0; i < num_kernels; i++) {
      if (!kernels[i].simt)
         return no_form(target, kernels[i].family, kernels[i].symbol);
      text_printf(out, "#line 1 \"%s\"\n", kernels[i].symbol);
      kernels[i].simt->emit(a, out, kernels[i].symbol, kernels[i].what);
   }
   return SINTER_ok;
}

sinter_status cg_simt_substitute(arena *a, const char *target, text_buf *text)
{
   const char *dir = getenv("SINTER_KERNELS"), *path;
   size_t got = 1;

   if (!dir || !*dir)
      return SINTER_ok;
   path = arena_printf(a, "%s/%s.simt", dir, target);
   FILE *f = fopen(path, "rb");
   if (!f)
      return SINTER_ok;
   *text = (text_buf){.a = a};
   while (got) {
      char block[4096];
      got = fread(block, 1, sizeof block, f);
      text_append(text, block, got);
   }
   bool failed = ferror(f);
   fclose(f);
   return failed ? base_fail(SINTER_io, path, "write the text again", "it cannot be read")
                 : SINTER_ok;
}
