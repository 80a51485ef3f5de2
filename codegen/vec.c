/* vec.c - the vector builder: types, functions, arithmetic and lanes over llvm-c/Core.h. */
#include "vec_impl.h"

/* ---- types ---- */

LLVMTypeRef vec_type_of(const vec_module *m, vec_elem e, uint32_t lanes)
{
   LLVMTypeRef t = m->types[e];

   return lanes > 1 ? LLVMVectorType(t, lanes) : t;
}

uint32_t vec_width(vec_value a)
{
   LLVMTypeRef t = LLVMTypeOf(a);

   return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetVectorSize(t) : 1;
}

/* The type of `a` with elements e. */
static LLVMTypeRef like(vec_fn *f, vec_value a, vec_elem e)
{
   return vec_type_of(f->m, e, vec_width(a));
}

/* ---- functions ---- */

static vec_fn *begin(vec_module *m, const char *name, LLVMTypeRef type)
{
   vec_fn *f = m->open;

   while (f->m && f < m->open + VEC_MAX_OPEN - 1)
      f++;
   assert(!f->m && "too many functions were begun and not ended");
   *f = (vec_fn){.m = m};
   f->fn = LLVMAddFunction(m->mod, name, type);
   f->entry = LLVMAppendBasicBlockInContext(m->ctx, f->fn, "entry");
   f->b = LLVMCreateBuilderInContext(m->ctx);
   LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(m->ctx, f->fn, "body");
   LLVMPositionBuilderAtEnd(f->b, body);
   return f;
}

static void add_attribute(vec_fn *f, LLVMAttributeIndex at, const char *name)
{
   unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));

   LLVMAddAttributeAtIndex(f->fn, at, LLVMCreateEnumAttribute(f->m->ctx, kind, 0));
}

static vec_fn *begin_function(vec_module *m, const char *name, uint32_t n, const vec_elem *args)
{
   LLVMTypeRef types[VEC_MAX_ARGS];

   assert(n <= VEC_MAX_ARGS);
   for (uint32_t i = 0; i < n; i++)
      types[i] = m->types[args[i]];
   vec_fn *f = begin(m, name, LLVMFunctionType(LLVMVoidTypeInContext(m->ctx), types, n, false));
   add_attribute(f, LLVMAttributeFunctionIndex, "nounwind");
   return f;
}

vec_fn *vec_kernel(vec_module *m, const char *name)
{
   static const vec_elem args[] = {VEC_ptr, VEC_i32};
   assert(!LLVMGetNamedFunction(m->mod, name));
   vec_fn *f = begin_function(m, name, 2, args);

   f->kargs = LLVMGetParam(f->fn, 0);
   f->tile = LLVMBuildZExt(f->b, LLVMGetParam(f->fn, 1), m->types[VEC_i64], "");
   return f;
}

vec_fn *vec_local(vec_module *m, const char *name, uint32_t num_args, const vec_elem *args)
{
   if (LLVMGetNamedFunction(m->mod, name))
      return NULL;
   vec_fn *f = begin_function(m, name, num_args, args);

   LLVMSetLinkage(f->fn, LLVMInternalLinkage);
   add_attribute(f, LLVMAttributeFunctionIndex, "noinline");
   for (uint32_t i = 0; i < num_args; i++)
      if (args[i] == VEC_ptr)
         add_attribute(f, i + 1, "noalias");
   return f;
}

vec_value vec_arg(vec_fn *f, uint32_t i)
{
   return LLVMGetParam(f->fn, i);
}

void vec_end(vec_fn *f)
{
   LLVMBuildRetVoid(f->b);
   LLVMPositionBuilderAtEnd(f->b, f->entry);
   LLVMBuildBr(f->b, LLVMGetNextBasicBlock(f->entry));
   LLVMDisposeBuilder(f->b);
   f->m = NULL;
}

void vec_call(vec_fn *f, const char *local, uint32_t num_args, const vec_value *args)
{
   LLVMValueRef fn = LLVMGetNamedFunction(f->m->mod, local);
   LLVMValueRef list[VEC_MAX_ARGS];

   assert(fn && num_args <= VEC_MAX_ARGS);
   memcpy(list, args, num_args * sizeof *list);
   LLVMBuildCall2(f->b, LLVMGlobalGetValueType(fn), fn, list, num_args, "");
}

const vec_isa *vec_fn_isa(const vec_fn *f)
{
   return &f->m->isa;
}

uint32_t vec_lanes(const vec_fn *f)
{
   return f->m->isa.lanes;
}

/* ---- a kernel's arguments ---- */

vec_value vec_tile(vec_fn *f)
{
   return f->tile;
}

vec_value vec_karg_ptr(vec_fn *f, uint32_t i)
{
   assert(i < KARGS_MAX_PTRS);
   return vec_load(f, VEC_ptr, 1, vec_at_i(f, f->kargs, offsetof(sinter_kargs, ptr) + 8 * i), 8);
}

vec_value vec_karg_const(vec_fn *f, uint32_t i)
{
   assert(i < KARGS_MAX_CONSTS);
   return vec_load(f, VEC_i64, 1, vec_at_i(f, f->kargs, offsetof(sinter_kargs, konst) + 8 * i), 8);
}

vec_value vec_sym_at(vec_fn *f, vec_value index)
{
   vec_value step = vec_load(f, VEC_ptr, 1, vec_at_i(f, f->kargs, offsetof(sinter_kargs, step)), 8);
   vec_value at = vec_at_i(f, step, offsetof(sinter_step_block, sym));

   return vec_load(f, VEC_i64, 1, vec_at(f, at, vec_mul_i(f, index, 8)), 8);
}

vec_value vec_sym(vec_fn *f, sym s)
{
   return vec_sym_at(f, vec_i(f, s));
}

/* ---- constants ---- */

vec_value vec_i(vec_fn *f, int64_t v)
{
   return LLVMConstInt(f->m->types[VEC_i64], (uint64_t)v, true);
}

vec_value vec_ints(vec_fn *f, vec_elem e, uint32_t lanes, const int64_t *v)
{
   LLVMValueRef list[64];

   assert(lanes <= countof(list));
   for (uint32_t i = 0; i < lanes; i++)
      list[i] = LLVMConstInt(f->m->types[e], (uint64_t)v[i], true);
   return lanes > 1 ? LLVMConstVector(list, lanes) : list[0];
}

vec_value vec_int(vec_fn *f, vec_elem e, uint32_t lanes, int64_t v)
{
   int64_t list[64];

   assert(lanes <= countof(list));
   for (uint32_t i = 0; i < lanes; i++)
      list[i] = v;
   return vec_ints(f, e, lanes, list);
}

vec_value vec_float(vec_fn *f, uint32_t lanes, double v)
{
   LLVMValueRef list[64];

   assert(lanes <= countof(list));
   for (uint32_t i = 0; i < lanes; i++)
      list[i] = LLVMConstReal(f->m->types[VEC_f32], v);
   return lanes > 1 ? LLVMConstVector(list, lanes) : list[0];
}

vec_value vec_poison(vec_fn *f, vec_elem e, uint32_t lanes)
{
   return LLVMGetPoison(vec_type_of(f->m, e, lanes));
}

/* ---- arithmetic ---- */

#define VEC_OP(name, code)                                                                         \
   vec_value vec_##name(vec_fn *f, vec_value a, vec_value b)                                       \
   {                                                                                               \
      return LLVMBuild##code(f->b, a, b, "");                                                      \
   }
VEC_BINARY_OPS(VEC_OP)
#undef VEC_OP

/* The constant b in a's type. */
static vec_value same_int(vec_value a, int64_t b)
{
   LLVMTypeRef t = LLVMTypeOf(a);
   LLVMValueRef list[64];
   uint32_t lanes = vec_width(a);

   if (lanes == 1)
      return LLVMConstInt(t, (uint64_t)b, true);
   assert(lanes <= countof(list));
   for (uint32_t i = 0; i < lanes; i++)
      list[i] = LLVMConstInt(LLVMGetElementType(t), (uint64_t)b, true);
   return LLVMConstVector(list, lanes);
}

#define VEC_WITH_CONST(name)                                                                       \
   vec_value vec_##name##_i(vec_fn *f, vec_value a, int64_t b)                                     \
   {                                                                                               \
      return vec_##name(f, a, same_int(a, b));                                                     \
   }
VEC_WITH_CONST(add)
VEC_WITH_CONST(mul)
VEC_WITH_CONST(and)
VEC_WITH_CONST(shl)
VEC_WITH_CONST(lshr)
VEC_WITH_CONST(ashr)
#undef VEC_WITH_CONST

vec_value vec_fneg(vec_fn *f, vec_value a)
{
   return LLVMBuildFNeg(f->b, a, "");
}

static const LLVMIntPredicate int_preds[] = {
   [VEC_eq] = LLVMIntEQ,  [VEC_ne] = LLVMIntNE,  [VEC_lt] = LLVMIntSLT,
   [VEC_le] = LLVMIntSLE, [VEC_gt] = LLVMIntSGT, [VEC_ge] = LLVMIntSGE,
};
static const LLVMRealPredicate float_preds[] = {
   [VEC_eq] = LLVMRealOEQ, [VEC_ne] = LLVMRealONE, [VEC_lt] = LLVMRealOLT,
   [VEC_le] = LLVMRealOLE, [VEC_gt] = LLVMRealOGT, [VEC_ge] = LLVMRealOGE,
};

vec_value vec_icmp(vec_fn *f, vec_pred p, vec_value a, vec_value b)
{
   return LLVMBuildICmp(f->b, int_preds[p], a, b, "");
}

vec_value vec_fcmp(vec_fn *f, vec_pred p, vec_value a, vec_value b)
{
   return LLVMBuildFCmp(f->b, float_preds[p], a, b, "");
}

vec_value vec_select(vec_fn *f, vec_value cond, vec_value yes, vec_value no)
{
   return LLVMBuildSelect(f->b, cond, yes, no, "");
}

vec_value vec_fmin(vec_fn *f, vec_value a, vec_value b)
{
   return vec_select(f, vec_fcmp(f, VEC_lt, a, b), a, b);
}

vec_value vec_fmax(vec_fn *f, vec_value a, vec_value b)
{
   return vec_select(f, vec_fcmp(f, VEC_gt, a, b), a, b);
}

vec_value vec_imin(vec_fn *f, vec_value a, vec_value b)
{
   return vec_select(f, vec_icmp(f, VEC_lt, a, b), a, b);
}

vec_value vec_imax(vec_fn *f, vec_value a, vec_value b)
{
   return vec_select(f, vec_icmp(f, VEC_gt, a, b), a, b);
}

/* Without a sign, floats are ordered as their bits are, infinity and NaN above all numbers. */
vec_value vec_size_max(vec_fn *f, vec_value a, vec_value b)
{
   uint32_t n = vec_width(a);
   vec_value most = vec_imax(f, vec_bits(f, a, VEC_i32, n), vec_bits(f, b, VEC_i32, n));

   return vec_bits(f, most, VEC_f32, n);
}

/* ---- conversions ---- */

vec_value vec_sext(vec_fn *f, vec_value a, vec_elem to)
{
   return LLVMBuildSExt(f->b, a, like(f, a, to), "");
}

vec_value vec_zext(vec_fn *f, vec_value a, vec_elem to)
{
   return LLVMBuildZExt(f->b, a, like(f, a, to), "");
}

vec_value vec_trunc(vec_fn *f, vec_value a, vec_elem to)
{
   return LLVMBuildTrunc(f->b, a, like(f, a, to), "");
}

vec_value vec_itof(vec_fn *f, vec_value a)
{
   return LLVMBuildSIToFP(f->b, a, like(f, a, VEC_f32), "");
}

vec_value vec_ftoi(vec_fn *f, vec_value a)
{
   return LLVMBuildFPToSI(f->b, a, like(f, a, VEC_i32), "");
}

vec_value vec_bits(vec_fn *f, vec_value a, vec_elem e, uint32_t lanes)
{
   return LLVMBuildBitCast(f->b, a, vec_type_of(f->m, e, lanes), "");
}

vec_value vec_fconv(vec_fn *f, vec_value a, vec_elem to)
{
   return LLVMBuildFPCast(f->b, a, like(f, a, to), "");
}

/* ---- lanes ---- */

vec_value vec_shuffle(vec_fn *f, vec_value a, vec_value b, uint32_t lanes, const int *mask)
{
   LLVMTypeRef i32 = f->m->types[VEC_i32];
   LLVMValueRef list[64];

   assert(lanes <= countof(list));
   for (uint32_t i = 0; i < lanes; i++)
      list[i] = mask[i] < 0 ? LLVMGetPoison(i32) : LLVMConstInt(i32, (uint64_t)mask[i], false);
   if (!b)
      b = LLVMGetPoison(LLVMTypeOf(a));
   return LLVMBuildShuffleVector(f->b, a, b, LLVMConstVector(list, lanes), "");
}

vec_value vec_splat(vec_fn *f, vec_value scalar, uint32_t lanes)
{
   static const int zeros[64];

   if (lanes == 1)
      return scalar;
   LLVMValueRef one = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(scalar), lanes));
   return vec_shuffle(f, vec_insert(f, one, scalar, 0), NULL, lanes, zeros);
}

vec_value vec_part(vec_fn *f, vec_value a, uint32_t first, uint32_t lanes)
{
   int mask[64];

   if (lanes == 1)
      return vec_extract(f, a, first);
   for (uint32_t i = 0; i < lanes; i++)
      mask[i] = (int)(first + i);
   return vec_shuffle(f, a, NULL, lanes, mask);
}

vec_value vec_extract(vec_fn *f, vec_value a, uint32_t lane)
{
   return LLVMBuildExtractElement(f->b, a, LLVMConstInt(f->m->types[VEC_i32], lane, false), "");
}

vec_value vec_insert(vec_fn *f, vec_value a, vec_value scalar, uint32_t lane)
{
   LLVMValueRef at = LLVMConstInt(f->m->types[VEC_i32], lane, false);

   return LLVMBuildInsertElement(f->b, a, scalar, at, "");
}

/* Folds the upper half onto the lower one until one lane is left. */
static vec_value fold(vec_fn *f, vec_value a, vec_value (*op)(vec_fn *, vec_value, vec_value))
{
   for (uint32_t n = vec_width(a) / 2; n >= 1; n /= 2)
      a = op(f, vec_part(f, a, 0, n), vec_part(f, a, n, n));
   return a;
}

vec_value vec_fsum(vec_fn *f, vec_value a)
{
   return fold(f, a, vec_fadd);
}

vec_value vec_fmax_all(vec_fn *f, vec_value a)
{
   return fold(f, a, vec_fmax);
}

vec_value vec_size_max_all(vec_fn *f, vec_value a)
{
   return fold(f, a, vec_size_max);
}
