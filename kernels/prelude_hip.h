/* prelude_hip.h - simt.h as HIP C++ for clang or hiprtc: no headers of the toolkit are needed. */
#ifndef SIMT_PRELUDE_H
#define SIMT_PRELUDE_H

#define SIMT_WARP SIMT_ARCH_WARP /* 64 on gfx9, 32 on gfx10 and later */
#define SIMT_FN static __attribute__((device, always_inline)) inline
#define SIMT_TABLE static __attribute__((device, constant)) const
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_LOOP _Pragma("unroll 1")
#define SIMT_OFFSET(type, field) __builtin_offsetof(type, field)
#define SIMT_ASSERT(condition) static_assert(condition, "layout")

#define SIMT_KERNEL(name)                                                                          \
   extern "C"                                                                                      \
      __attribute__((global, amdgpu_flat_work_group_size(SIMT_THREADS, SIMT_THREADS))) void        \
      name(const simt_args simt_given)
#define SIMT_WIDE_KERNEL(name, registers) SIMT_KERNEL(name)
#define SIMT_BEGIN(a)                                                                              \
   const simt_args *a = &simt_given;                                                               \
   if (simt_tile() >= simt_tiles(a))                                                               \
   return
#define SIMT_SHARED(type, s)                                                                       \
   static __attribute__((shared)) type simt_shared_;                                               \
   type *s = &simt_shared_

SIMT_FN int simt_thread(void)
{
   return (int)__builtin_amdgcn_workitem_id_x();
}

SIMT_FN long long simt_tile(void)
{
   return (long long)(unsigned)__builtin_amdgcn_workgroup_id_x();
}

SIMT_FN void simt_sync(void)
{
   __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
   __builtin_amdgcn_s_barrier();
   __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

SIMT_FN void simt_sync_warp(void)
{
   __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
   __builtin_amdgcn_wave_barrier();
   __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}

SIMT_FN float simt_shfl_xor(float v, int mask)
{
   int from = simt_thread() % SIMT_WARP ^ mask;

   return __builtin_bit_cast(float,
                             __builtin_amdgcn_ds_bpermute(4 * from, __builtin_bit_cast(int, v)));
}

SIMT_FN float simt_fma(float a, float b, float c)
{
   return __builtin_fmaf(a, b, c);
}

SIMT_FN float simt_sqrt(float v)
{
   return __builtin_sqrtf(v);
}

SIMT_FN float simt_rint(float v)
{
   return __builtin_rintf(v);
}

SIMT_FN unsigned simt_bits(float v)
{
   return __builtin_bit_cast(unsigned, v);
}

SIMT_FN float simt_float(unsigned v)
{
   return __builtin_bit_cast(float, v);
}

SIMT_FN float simt_f16(unsigned short v)
{
   return (float)__builtin_bit_cast(_Float16, v);
}

SIMT_FN unsigned short simt_to_f16(float v)
{
   return __builtin_bit_cast(unsigned short, (_Float16)v);
}

SIMT_FN int simt_dot4(unsigned a, unsigned b, int c)
{
#if defined(__gfx1100__) || defined(__gfx1201__)
   return __builtin_amdgcn_sudot4(true, (int)a, true, (int)b, c, false);
#else
   return __builtin_amdgcn_sdot4((int)a, (int)b, c, false);
#endif
}

/* ---- matrix instructions: CDNA 2 and later ---- */

#if defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx950__)
#define SIMT_HAS_MMA 1

typedef short simt_short4 __attribute__((ext_vector_type(4)));
typedef float simt_float4 __attribute__((ext_vector_type(4)));

SIMT_FN void simt_mma(float *c, const unsigned *a, const unsigned *b)
{
   const unsigned long long va = (unsigned long long)a[1] << 32 | a[0];
   const unsigned long long vb = (unsigned long long)b[1] << 32 | b[0];
   simt_float4 sum = {c[0], c[1], c[2], c[3]};

   sum = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(
      __builtin_bit_cast(simt_short4, va), __builtin_bit_cast(simt_short4, vb), sum, 0, 0, 0);
   c[0] = sum[0];
   c[1] = sum[1];
   c[2] = sum[2];
   c[3] = sum[3];
}

typedef _Float16 simt_half4 __attribute__((ext_vector_type(4)));

SIMT_FN void simt_mma_f16(float *c, const unsigned *a, const unsigned *b)
{
   const unsigned long long va = (unsigned long long)a[1] << 32 | a[0];
   const unsigned long long vb = (unsigned long long)b[1] << 32 | b[0];
   simt_float4 sum = {c[0], c[1], c[2], c[3]};

   sum = __builtin_amdgcn_mfma_f32_16x16x16f16(__builtin_bit_cast(simt_half4, va),
                                               __builtin_bit_cast(simt_half4, vb), sum, 0, 0, 0);
   c[0] = sum[0];
   c[1] = sum[1];
   c[2] = sum[2];
   c[3] = sum[3];
}

typedef int simt_int4 __attribute__((ext_vector_type(4)));

SIMT_FN void simt_mma_i8(int *c, const unsigned *a, const unsigned *b)
{
   simt_int4 sum = {c[0], c[1], c[2], c[3]};

#if defined(__gfx90a__)
   sum = __builtin_amdgcn_mfma_i32_16x16x16i8((int)a[0], (int)b[0], sum, 0, 0, 0);
   sum = __builtin_amdgcn_mfma_i32_16x16x16i8((int)a[1], (int)b[1], sum, 0, 0, 0);
#else
   const long va = (long)((unsigned long long)a[1] << 32 | a[0]);
   const long vb = (long)((unsigned long long)b[1] << 32 | b[0]);

   sum = __builtin_amdgcn_mfma_i32_16x16x32_i8(va, vb, sum, 0, 0, 0);
#endif
   c[0] = sum[0];
   c[1] = sum[1];
   c[2] = sum[2];
   c[3] = sum[3];
}

#if defined(__gfx950__)
SIMT_FN void simt_mma_f8(float *c, const unsigned *a, const unsigned *b)
{
   const long va = (long)((unsigned long long)a[1] << 32 | a[0]);
   const long vb = (long)((unsigned long long)b[1] << 32 | b[0]);
   simt_float4 sum = {c[0], c[1], c[2], c[3]};

   sum = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(va, vb, sum, 0, 0, 0);
   c[0] = sum[0];
   c[1] = sum[1];
   c[2] = sum[2];
   c[3] = sum[3];
}
#endif
#else
#define SIMT_HAS_MMA 0
#endif
#define SIMT_EMULATES_MMA 0

/* Copies to shared memory go through registers, and are made at once. */
SIMT_FN void simt_copy16(void *to, const void *from, int there)
{
   typedef float four __attribute__((ext_vector_type(4)));

   *(four *)to = there ? *(const four *)from : (four)(0.0f);
}

SIMT_FN void simt_copy4(void *to, const void *from, int there)
{
   *(float *)to = there ? *(const float *)from : 0.0f;
}

SIMT_FN void simt_copy_end(void)
{
}

SIMT_FN void simt_copy_wait(int left)
{
   (void)left;
}

#endif
