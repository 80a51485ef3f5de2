/* vec_impl.h - what the files of the vector builder share. */
#ifndef CG_VEC_IMPL_H
#define CG_VEC_IMPL_H

#include "vec.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

struct vec_fn {
   vec_module *m; /* NULL: not in use */
   LLVMValueRef fn, kargs, tile;
   LLVMBasicBlockRef entry; /* holds stack allocations, jumps to the body */
   LLVMBuilderRef b;
   LLVMValueRef tiles; /* shapes of the tile registers, and their stand-ins; NULL: not in use */
};

/* Functions of one module that are under construction at the same time. */
enum { VEC_MAX_OPEN = 4 };

struct vec_module {
   vec_isa isa;
   LLVMContextRef ctx;
   LLVMModuleRef mod;
   LLVMTargetMachineRef machine;
   LLVMTypeRef types[VEC_ptr + 1];
   vec_fn open[VEC_MAX_OPEN];
   bool sanitize;
};

LLVMTypeRef vec_type_of(const vec_module *m, vec_elem e, uint32_t lanes);

/* Calls an overloaded intrinsic at the given types. */
vec_value vec_overloaded(vec_fn *f, const char *name, uint32_t num_types, LLVMTypeRef *types,
                         uint32_t n, const vec_value *args);

#endif
