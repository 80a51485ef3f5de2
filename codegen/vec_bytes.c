/* vec_bytes.c - byte products and look-ups: the x86 instructions behind the integer kernels.
 *
 * A level may have wider registers in its row of isa.def than the instructions it needs: then the
 * same meaning is put together from narrower or plain ones. That is how wide levels are tested on
 * narrow machines; no real level pays for it. */
#include "vec_impl.h"

typedef vec_value pair_op(vec_fn *f, vec_value a, vec_value b);

static bool has(const vec_fn *f, uint32_t feature)
{
   return (f->m->isa.needs & feature) != 0;
}

/* The intrinsic for vectors of that many bytes. */
static const char *by_bytes(uint32_t bytes, const char *b16, const char *b32, const char *b64)
{
   return bytes == 16 ? b16 : bytes == 32 ? b32 : b64;
}

/* op on the lower and the upper halves. */
static vec_value in_halves(vec_fn *f, pair_op *op, vec_value a, vec_value b)
{
   uint32_t na = vec_width(a) / 2, nb = vec_width(b) / 2;
   vec_value low = op(f, vec_part(f, a, 0, na), vec_part(f, b, 0, nb));
   vec_value high = op(f, vec_part(f, a, na, na), vec_part(f, b, nb, nb));
   uint32_t lanes = 2 * vec_width(low);
   int mask[64];

   for (uint32_t i = 0; i < lanes; i++)
      mask[i] = (int)i;
   return vec_shuffle(f, low, high, lanes, mask);
}

static bool too_wide(const vec_fn *f, uint32_t bytes)
{
   return bytes > 32 && !has(f, ISA_avx512);
}

vec_value vec_maddubs(vec_fn *f, vec_value u8, vec_value s8)
{
   if (too_wide(f, vec_width(u8)))
      return in_halves(f, vec_maddubs, u8, s8);
   const char *name = by_bytes(vec_width(u8), "llvm.x86.ssse3.pmadd.ub.sw.128",
                               "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx512.pmaddubs.w.512");
   return vec_intrinsic(f, name, 2, (vec_value[]){u8, s8});
}

vec_value vec_maddwd(vec_fn *f, vec_value a16, vec_value b16)
{
   if (too_wide(f, 2 * vec_width(a16)))
      return in_halves(f, vec_maddwd, a16, b16);
   const char *name = by_bytes(2 * vec_width(a16), "llvm.x86.sse2.pmadd.wd",
                               "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512");
   return vec_intrinsic(f, name, 2, (vec_value[]){a16, b16});
}

vec_value vec_sign_of(vec_fn *f, vec_value x, vec_value w)
{
   uint32_t bytes = vec_width(w);
   vec_value zero = vec_int(f, VEC_i8, bytes, 0);

   if (bytes <= 32)
      return vec_intrinsic(f, bytes == 16 ? "llvm.x86.ssse3.psign.b.128" : "llvm.x86.avx2.psign.b",
                           2, (vec_value[]){x, w});
   return vec_select(f, vec_icmp(f, VEC_lt, w, zero), vec_sub(f, zero, x), x);
}

static vec_value wide_maddwd(vec_fn *f, vec_value a16, vec_value b16)
{
   return vec_width(a16) > 16 ? in_halves(f, wide_maddwd, a16, b16) : vec_maddwd(f, a16, b16);
}

/* dpbusd from 16-bit products. */
static vec_value four_products(vec_fn *f, vec_value acc, vec_value u8, vec_value s8)
{
   uint32_t lanes = vec_width(acc);
   vec_value pairs = wide_maddwd(f, vec_zext(f, u8, VEC_i16), vec_sext(f, s8, VEC_i16));

   for (int j = 0; j < 2; j++) {
      int mask[16];
      for (uint32_t i = 0; i < lanes; i++)
         mask[i] = (int)(2 * i) + j;
      acc = vec_add(f, acc, vec_shuffle(f, pairs, NULL, lanes, mask));
   }
   return acc;
}

vec_value vec_dpbusd(vec_fn *f, vec_value acc, vec_value u8, vec_value s8)
{
   const char *name = by_bytes(vec_width(u8), "llvm.x86.avx512.vpdpbusd.128",
                               "llvm.x86.avx512.vpdpbusd.256", "llvm.x86.avx512.vpdpbusd.512");

   if (!has(f, ISA_avxvnni | ISA_avx512vnni))
      return four_products(f, acc, u8, s8);
   return vec_intrinsic(f, name, 3, (vec_value[]){acc, u8, s8});
}

/* table already repeated to the width of idx. */
static vec_value pick_bytes(vec_fn *f, vec_value table, vec_value idx)
{
   uint32_t bytes = vec_width(idx);
   const char *name = by_bytes(bytes, "llvm.x86.ssse3.pshuf.b.128", "llvm.x86.avx2.pshuf.b",
                               "llvm.x86.avx512.pshuf.b.512");

   if (too_wide(f, bytes))
      return in_halves(f, pick_bytes, table, idx);
   return vec_intrinsic(f, name, 2, (vec_value[]){table, idx});
}

vec_value vec_lookup(vec_fn *f, vec_value table, vec_value idx)
{
   uint32_t bytes = vec_width(idx);
   int mask[64];

   for (uint32_t i = 0; i < bytes; i++)
      mask[i] = (int)(i % 16);
   return pick_bytes(f, vec_shuffle(f, table, NULL, bytes, mask), idx);
}
