/* prelude_cuda.h - simt.h as CUDA C++ for NVRTC: no headers of the toolkit are needed. */
#ifndef SIMT_PRELUDE_H
#define SIMT_PRELUDE_H

#define SIMT_WARP 32
#define SIMT_FN static __device__ __forceinline__
#define SIMT_TABLE static __device__ __constant__ const
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_LOOP _Pragma("unroll 1")
#define SIMT_OFFSET(type, field) __INTADDR__(&((type *)0)->field)
#define SIMT_ASSERT(condition) static_assert(condition, "layout")

#define SIMT_KERNEL(name)                                                                          \
   extern "C" __global__ void __launch_bounds__(SIMT_THREADS)                                      \
      name(const __grid_constant__ simt_args simt_given)
/* As many blocks as registers are enough for. */
#define SIMT_WIDE_KERNEL(name, registers)                                                          \
   extern "C" __global__ void __launch_bounds__(SIMT_THREADS,                                      \
                                                SIMT_REGISTERS / SIMT_THREADS / (registers))       \
      name(const __grid_constant__ simt_args simt_given)
#define SIMT_BEGIN(a)                                                                              \
   const simt_args *a = &simt_given;                                                               \
   if (simt_tile() >= simt_tiles(a))                                                               \
   return
#define SIMT_SHARED(type, s)                                                                       \
   __shared__ type simt_shared_;                                                                   \
   type *s = &simt_shared_

SIMT_FN int simt_thread(void)
{
   return (int)threadIdx.x;
}

SIMT_FN long long simt_tile(void)
{
   return blockIdx.x;
}

SIMT_FN void simt_sync(void)
{
   __syncthreads();
}

SIMT_FN void simt_sync_warp(void)
{
   __syncwarp();
}

SIMT_FN float simt_shfl_xor(float v, int mask)
{
   return __shfl_xor_sync(0xffffffffu, v, mask);
}

SIMT_FN float simt_fma(float a, float b, float c)
{
   return __fmaf_rn(a, b, c);
}

SIMT_FN float simt_sqrt(float v)
{
   return __fsqrt_rn(v);
}

SIMT_FN float simt_rint(float v)
{
   return rintf(v);
}

SIMT_FN unsigned simt_bits(float v)
{
   return __float_as_uint(v);
}

SIMT_FN float simt_float(unsigned v)
{
   return __uint_as_float(v);
}

SIMT_FN float simt_f16(unsigned short v)
{
   float f;

   asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
   return f;
}

SIMT_FN unsigned short simt_to_f16(float v)
{
   unsigned short h;

   asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
   return h;
}

SIMT_FN int simt_dot4(unsigned a, unsigned b, int c)
{
   int sum;

   asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
   return sum;
}

/* ---- matrix instructions and asynchronous copies: sm_80 and later ---- */

#define SIMT_HAS_MMA 1
#define SIMT_EMULATES_MMA 0

SIMT_FN void simt_mma(float *c, const unsigned *a, const unsigned *b)
{
   asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

SIMT_FN void simt_mma_f16(float *c, const unsigned *a, const unsigned *b)
{
   asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

SIMT_FN void simt_mma_i8(int *c, const unsigned *a, const unsigned *b)
{
   asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, "
                "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Copies to shared memory that end when they are waited for; zeros when there is nothing to
 * copy. */
SIMT_FN void simt_copy16(void *to, const void *from, int there)
{
   asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)),
      "l"(from), "r"(there ? 16 : 0)
      : "memory");
}

SIMT_FN void simt_copy4(void *to, const void *from, int there)
{
   asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)),
      "l"(from), "r"(there ? 4 : 0)
      : "memory");
}

SIMT_FN void simt_copy_end(void)
{
   asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most `left` of the thread's groups of copies are under way. */
#define simt_copy_wait(left) asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory")

#endif
