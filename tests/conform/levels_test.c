// LINK: codegen runtime base
/* The code of every level of isa.def: it is made of the instructions that its row promises, and
 * tiles in memory do what Intel's manual says of the instructions. */
#include "gemm_case.h"
#include "kernels/cpu/embed.h"

#include <elf.h>
#include <llvm-c/Disassembler.h>
#include <signal.h>
#include <stdio.h>

/* ---- instructions ---- */

enum { MAX_TEXT = 4 << 20 };

/* The disassembly of an object's code. */
static char *disassembled(const isa_info *isa, const uint8_t *object)
{
   const Elf64_Ehdr *head = (const void *)object;
   const Elf64_Shdr *s = (const void *)(object + head->e_shoff);
   char *out = malloc(MAX_TEXT), line[256];
   size_t n = 0;

   LLVMInitializeX86Disassembler();
   LLVMDisasmContextRef d = LLVMCreateDisasmCPUFeatures("x86_64-unknown-linux-gnu", isa->cpu,
                                                        isa->features, NULL, 0, NULL, NULL);
   cr_assert(d);
   for (uint32_t i = 0; i < head->e_shnum; i++) {
      uint8_t *at = (uint8_t *)(uintptr_t)(object + s[i].sh_offset);
      uint64_t left = s[i].sh_flags & SHF_EXECINSTR ? s[i].sh_size : 0, pc = 0;
      while (left) {
         size_t used = LLVMDisasmInstruction(d, at, left, pc, line, sizeof line);
         cr_assert(used, "%s: bytes that are no instruction of the level", isa->name);
         cr_assert(n + strlen(line) + 2 < MAX_TEXT);
         n += (size_t)snprintf(out + n, MAX_TEXT - n, "%s\n", line);
         at += used;
         pc += used;
         left -= used;
      }
   }
   LLVMDisasmDispose(d);
   return out;
}

static char *code_of(const isa_info *isa)
{
   static const dtype types[] = {DT_q5_0, DT_q8_0, DT_q4_k, DT_q6_k, DT_iq4_xs, DT_bf16};
   vec_module *m = module_of(isa);
   uint8_t *object;
   size_t size;

   for (size_t i = 0; i < countof(types); i++) {
      gemm_key key = {.w = pack_layout_of(types[i]), .int8 = types[i] != DT_bf16};
      embed_key embed = {key.w, 1, false};
      for (int form = 0; form < 2; form++) {
         key.parts = gemm_wants_parts(&key, isa);
         if (key.parts)
            gemm_split_emit(m);
         gemm_emit(m, &key);
         key.int8 = false;
      }
      embed_emit(m, &embed);
   }
   cr_assert(vec_module_object(m, &object, &size) == SINTER_ok, "%s: %s", isa->name,
             sinter_error());
   vec_module_destroy(m);
   char *text = disassembled(isa, object);
   free(object);
   return text;
}

/* Kills: an intrinsic, a register width or a type that exists in one level only; a level that runs
 * another one's instructions; a use of tiles that is not given up. */
Test(levels, instructions)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++) {
      const isa_info *isa = &isa_infos[i];
      char *text = code_of(isa);
      const struct {
         const char *word;
         bool wanted;
      } words[] = {
         {"vfmadd", true},         {"%zmm", isa->lanes == 16}, {"vpdpbusd", isa->vnni},
         {"tdpbsud", isa->amx},    {"tdpbf16ps", isa->amx},    {"ldtilecfg", isa->amx},
         {"tdpbssd", isa->amx},    {"tilerelease", isa->amx},  {"tileloadd", isa->amx},
         {"tilestored", isa->amx},
      };
      for (size_t k = 0; k < countof(words); k++)
         cr_assert((strstr(text, words[k].word) != NULL) == words[k].wanted, "%s: %s", isa->name,
                   words[k].word);
      free(text);
   }
}

/* ---- tiles ---- */

enum { ROWS = 7, GROUPS = 5, COLUMNS = 9 };

typedef struct instruction {
   const char *name;
   void (*emit)(vec_fn *f, uint32_t dst, uint32_t a, uint32_t b);
   bool floats, is_signed;
} instruction;

static const instruction instructions[] = {{"tdpbsud", vec_tile_dpbsud, false, false},
                                           {"tdpbssd", vec_tile_dpbssd, false, true},
                                           {"tdpbf16ps", vec_tile_dpbf16, true, false}};

/* dst += a b for shapes that fill no register: rows at strides of their own, dst first. */
static sinter_kernel *product_kernel(LLVMOrcLLJITRef jit, const isa_info *isa,
                                     const instruction *in)
{
   vec_module *m = module_of(isa);
   vec_fn *f = vec_kernel(m, "product");
   vec_value dst = vec_karg_ptr(f, 0), stride = vec_i(f, 80);
   vec_tile_shape shapes[] = {{vec_karg_const(f, 0), 4 * COLUMNS},
                              {vec_karg_const(f, 0), 4 * GROUPS},
                              {vec_karg_const(f, 1), 4 * COLUMNS}};

   vec_tiles_begin(f, 3, shapes);
   vec_tile_load(f, 0, dst, stride);
   vec_tile_load(f, 1, vec_karg_ptr(f, 1), stride);
   vec_tile_load(f, 2, vec_karg_ptr(f, 2), stride);
   in->emit(f, 0, 1, 2);
   vec_tile_store(f, 0, dst, stride);
   vec_tile_zero(f, 0);
   vec_tile_store(f, 0, vec_karg_ptr(f, 3), stride);
   vec_tiles_end(f);
   vec_end(f);
   sinter_kernel *kernel = jit_kernel(jit, m, "product");
   vec_module_destroy(m);
   return kernel;
}

static float bf16_at(const uint8_t *p)
{
   uint16_t half;
   float v;

   memcpy(&half, p, 2);
   uint32_t bits = (uint32_t)half << 16;
   memcpy(&v, &bits, 4);
   return v;
}

static float flush(float v)
{
   return fabsf(v) < 0x1p-126f ? copysignf(0, v) : v;
}

/* Element [m][n] of the product after one instruction, by the manual's operation section. */
static uint32_t meaning(const uint8_t *d, const uint8_t *a, const uint8_t *b, const instruction *in)
{
   float sums[2] = {0, 0}, to;
   uint32_t out;

   memcpy(&out, d, 4);
   for (int k = 0; k < GROUPS; k++)
      for (int j = 0; j < 4 && !in->floats; j++) {
         uint8_t w = b[80 * k + j];
         out += (uint32_t)((int8_t)a[4 * k + j] * (in->is_signed ? (int8_t)w : (int)w));
      }
   if (!in->floats)
      return out;
   for (int k = 0; k < GROUPS; k++)
      for (int j = 0; j < 2; j++)
         sums[j] = flush(
            fmaf(flush(bf16_at(a + 4 * k + 2 * j)), flush(bf16_at(b + 80 * k + 2 * j)), sums[j]));
   memcpy(&to, d, 4);
   to = flush(flush(to) + flush(sums[0] + sums[1]));
   memcpy(&out, &to, 4);
   return out;
}

static void check_products(const isa_info *isa, const instruction *in)
{
   static uint8_t d[16 * 80], a[16 * 80], b[16 * 80], z[16 * 80], want[16 * 80];
   LLVMOrcLLJITRef jit = jit_create();
   sinter_kernel *kernel = product_kernel(jit, isa, in);
   sinter_kargs args = {.ptr = {d, a, b, z}, .konst = {ROWS, GROUPS}};

   for (int round = 0; round < 200; round++) {
      uint8_t *all[] = {d, a, b, z};
      for (size_t i = 0; i < countof(all); i++)
         for (size_t k = 0; k < sizeof d; k++)
            all[i][k] = (uint8_t)rnd();
      /* Floats of usual and of tiny size, so that denormal numbers occur; no NaNs. */
      for (size_t i = 0; i < 3 && in->floats; i++)
         for (size_t k = 0; k < sizeof d; k += 2) {
            float v = uniform() * (round % 2 ? 1 : 0x1p-63f) * (rnd() % 8 ? 1 : 0x1p-64f);
            memcpy(all[i] + k, (uint8_t *)&v + 2, 2);
         }
      memcpy(want, d, sizeof d);
      for (int r = 0; r < ROWS; r++)
         for (int n = 0; n < COLUMNS; n++) {
            uint32_t v = meaning(d + 80 * r + 4 * n, a + 80 * r, b + 4 * n, in);
            memcpy(want + 80 * r + 4 * n, &v, 4);
         }
      kernel(&args, 0);
      cr_assert(memcmp(d, want, sizeof d) == 0, "%s, %s, round %d", isa->name, in->name, round);
      for (int r = 0; r < ROWS; r++)
         for (int n = 0; n < 4 * COLUMNS; n++)
            cr_assert(z[80 * r + n] == 0);
   }
   LLVMOrcDisposeLLJIT(jit);
}

/* Kills: signs of the two factors swapped; a row or column too many; stores outside of the shape;
 * denormal numbers kept; even and odd elements in one sum; a fused sum that is rounded twice. The
 * same test of the instructions themselves, where a machine has them. */
Test(levels, tiles)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++) {
      const isa_info emulated = conform_emulated((isa_level)i);
      for (size_t k = 0; k < countof(instructions) && isa_infos[i].amx; k++) {
         check_products(&emulated, &instructions[k]);
         if (isa_runs((isa_level)i))
            check_products(&isa_infos[i], &instructions[k]);
      }
   }
}

/* Kills: an emulation that accepts what the machine refuses. */
Test(levels, shapes_that_do_not_fit_trap, .signal = SIGILL)
{
   static uint8_t bytes[4][16 * 80];
   const isa_info emulated = conform_emulated(ISA_LEVEL_v4_amx);
   sinter_kargs args = {.ptr = {bytes[0], bytes[1], bytes[2], bytes[3]},
                        .konst = {ROWS, GROUPS + 1}};

   product_kernel(jit_create(), &emulated, &instructions[0])(&args, 0);
}
