/* prelude_hip.h - simt.h as HIP C++ for clang or hiprtc: no headers of the toolkit are needed. */
#ifndef SIMT_PRELUDE_H
#define SIMT_PRELUDE_H

#define SIMT_WARP SIMT_ARCH_WARP /* 64 on gfx9, 32 on gfx10 and later */
#define SIMT_FN static __attribute__((device, always_inline)) inline
#define SIMT_TABLE static __attribute__((device, constant)) const
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_OFFSET(type, field) __builtin_offsetof(type, field)
#define SIMT_ASSERT(condition) static_assert(condition, "layout")

#define SIMT_KERNEL(name)                                                                          \
   extern "C"                                                                                      \
      __attribute__((global, amdgpu_flat_work_group_size(SIMT_THREADS, SIMT_THREADS))) void        \
      name(const simt_args simt_given)
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

/* Matrix instructions of AMD have other shapes, one for each family: not used yet. */
#define SIMT_HAS_MMA 0
#define SIMT_EMULATES_MMA 0

#endif
