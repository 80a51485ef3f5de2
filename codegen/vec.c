/* vec.c - the vector builder: types, arithmetic, lanes, memory and control over llvm-c/Core.h. */
#include "vec_impl.h"

#include <stdlib.h>

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
   vec_fn *f = calloc(1, sizeof *f);

   if (!f)
      abort();
   f->m = m;
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
   free(f);
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

/* ---- memory ---- */

vec_value vec_at(vec_fn *f, vec_value ptr, vec_value bytes)
{
   return LLVMBuildGEP2(f->b, f->m->types[VEC_i8], ptr, &bytes, 1, "");
}

vec_value vec_at_i(vec_fn *f, vec_value ptr, int64_t bytes)
{
   return bytes ? vec_at(f, ptr, vec_i(f, bytes)) : ptr;
}

vec_value vec_load(vec_fn *f, vec_elem e, uint32_t lanes, vec_value ptr, uint32_t align)
{
   LLVMValueRef v = LLVMBuildLoad2(f->b, vec_type_of(f->m, e, lanes), ptr, "");

   LLVMSetAlignment(v, align);
   return v;
}

void vec_store(vec_fn *f, vec_value v, vec_value ptr, uint32_t align)
{
   LLVMSetAlignment(LLVMBuildStore(f->b, v, ptr), align);
}

vec_value vec_load_f32(vec_fn *f, dtype t, uint32_t lanes, vec_value ptr)
{
   if (t == DT_f32)
      return vec_load(f, VEC_f32, lanes, ptr, 4);
   if (t == DT_f16)
      return vec_fconv(f, vec_load(f, VEC_f16, lanes, ptr, 2), VEC_f32);
   assert(t == DT_bf16);
   vec_value wide = vec_zext(f, vec_load(f, VEC_i16, lanes, ptr, 2), VEC_i32);
   return vec_bits(f, vec_shl_i(f, wide, 16), VEC_f32, lanes);
}

/* f32 to bf16, ties to even, in integers; a NaN keeps its sign and becomes quiet. */
static vec_value to_bf16(vec_fn *f, vec_value v)
{
   uint32_t lanes = vec_width(v);
   vec_value bits = vec_bits(f, v, VEC_i32, lanes);
   vec_value odd = vec_and_i(f, vec_lshr_i(f, bits, 16), 1);
   vec_value up = vec_add(f, bits, vec_add_i(f, odd, 0x7fff));
   vec_value quiet = vec_or(f, bits, vec_int(f, VEC_i32, lanes, 0x400000));
   vec_value is_number = vec_fcmp(f, VEC_eq, v, v);

   return vec_trunc(f, vec_lshr_i(f, vec_select(f, is_number, up, quiet), 16), VEC_i16);
}

void vec_store_f32(vec_fn *f, dtype t, vec_value v, vec_value ptr)
{
   if (t == DT_f32) {
      vec_store(f, v, ptr, 4);
   } else if (t == DT_f16) {
      vec_store(f, vec_fconv(f, v, VEC_f16), ptr, 2);
   } else {
      assert(t == DT_bf16);
      vec_store(f, to_bf16(f, v), ptr, 2);
   }
}

vec_value vec_round_to(vec_fn *f, dtype t, vec_value v)
{
   uint32_t lanes = vec_width(v);

   if (t == DT_f16)
      return vec_fconv(f, vec_fconv(f, v, VEC_f16), VEC_f32);
   if (t != DT_bf16)
      return v;
   vec_value wide = vec_zext(f, to_bf16(f, v), VEC_i32);
   return vec_bits(f, vec_shl_i(f, wide, 16), VEC_f32, lanes);
}

/* i1 lanes: lane index < n. */
static vec_value first_lanes(vec_fn *f, uint32_t lanes, vec_value n)
{
   int64_t index[64];

   for (uint32_t i = 0; i < lanes; i++)
      index[i] = i;
   n = vec_imin(f, vec_imax(f, n, vec_i(f, 0)), vec_i(f, lanes));
   vec_value limit = vec_splat(f, vec_trunc(f, n, VEC_i32), lanes);
   return vec_icmp(f, VEC_lt, vec_ints(f, VEC_i32, lanes, index), limit);
}

vec_value vec_load_first(vec_fn *f, uint32_t lanes, vec_value ptr, vec_value n)
{
   vec_value zero = vec_float(f, lanes, 0);
   LLVMTypeRef types[] = {LLVMTypeOf(zero), LLVMTypeOf(ptr)};
   vec_value args[] = {ptr, first_lanes(f, lanes, n), zero};

   return vec_overloaded(f, "llvm.masked.load", 2, types, 3, args);
}

void vec_store_first(vec_fn *f, vec_value v, vec_value ptr, vec_value n)
{
   LLVMTypeRef types[] = {LLVMTypeOf(v), LLVMTypeOf(ptr)};
   vec_value args[] = {v, ptr, first_lanes(f, vec_width(v), n)};

   vec_overloaded(f, "llvm.masked.store", 2, types, 3, args);
}

vec_value vec_stack(vec_fn *f, uint64_t bytes, uint32_t align)
{
   LLVMBasicBlockRef here = LLVMGetInsertBlock(f->b);

   LLVMPositionBuilderAtEnd(f->b, f->entry);
   LLVMTypeRef type = LLVMArrayType2(f->m->types[VEC_i8], bytes);
   LLVMValueRef v = LLVMBuildAlloca(f->b, type, "");
   LLVMSetAlignment(v, align);
   LLVMPositionBuilderAtEnd(f->b, here);
   return v;
}

/* ---- control ---- */

static LLVMBasicBlockRef block(vec_fn *f)
{
   return LLVMAppendBasicBlockInContext(f->m->ctx, f->fn, "");
}

vec_loop vec_loop_begin(vec_fn *f, vec_value from, vec_value to, int64_t step, uint32_t n,
                        const vec_value *init)
{
   vec_loop l = {.head = block(f), .to = to, .step = step, .n = n};
   LLVMBasicBlockRef before = LLVMGetInsertBlock(f->b);

   assert(n <= VEC_MAX_VARS);
   l.at_end = LLVMIsAConstantInt(from) && LLVMIsAConstantInt(to) &&
              LLVMConstIntGetSExtValue(from) < LLVMConstIntGetSExtValue(to);
   LLVMBuildBr(f->b, l.head);
   LLVMPositionBuilderAtEnd(f->b, l.head);
   l.i = LLVMBuildPhi(f->b, f->m->types[VEC_i64], "");
   LLVMAddIncoming(l.i, &from, &before, 1);
   for (uint32_t k = 0; k < n; k++) {
      vec_value first = init[k];
      l.var[k] = LLVMBuildPhi(f->b, LLVMTypeOf(first), "");
      LLVMAddIncoming(l.var[k], &first, &before, 1);
   }
   l.exit = block(f);
   if (!l.at_end) {
      LLVMBasicBlockRef body = block(f);
      LLVMBuildCondBr(f->b, vec_icmp(f, VEC_lt, l.i, to), body, l.exit);
      LLVMPositionBuilderAtEnd(f->b, body);
   }
   return l;
}

void vec_loop_end(vec_fn *f, vec_loop *l, const vec_value *next)
{
   vec_value following = vec_add_i(f, l->i, l->step);
   LLVMBasicBlockRef last = LLVMGetInsertBlock(f->b);

   if (l->at_end)
      LLVMBuildCondBr(f->b, vec_icmp(f, VEC_lt, following, l->to), l->head, l->exit);
   else
      LLVMBuildBr(f->b, l->head);
   LLVMAddIncoming(l->i, &following, &last, 1);
   for (uint32_t k = 0; k < l->n; k++) {
      vec_value v = next[k];
      LLVMAddIncoming(l->var[k], &v, &last, 1);
      if (l->at_end)
         l->var[k] = v;
   }
   LLVMMoveBasicBlockAfter(l->exit, last);
   LLVMPositionBuilderAtEnd(f->b, l->exit);
}

vec_if vec_if_begin(vec_fn *f, vec_value cond)
{
   vec_if i = {.no = block(f)};
   LLVMBasicBlockRef yes = block(f);

   LLVMBuildCondBr(f->b, cond, yes, i.no);
   LLVMPositionBuilderAtEnd(f->b, yes);
   return i;
}

void vec_if_else(vec_fn *f, vec_if *i)
{
   i->join = block(f);
   LLVMBuildBr(f->b, i->join);
   LLVMMoveBasicBlockAfter(i->no, LLVMGetInsertBlock(f->b));
   LLVMPositionBuilderAtEnd(f->b, i->no);
}

void vec_if_end(vec_fn *f, vec_if *i)
{
   LLVMBasicBlockRef join = i->join ? i->join : i->no;

   LLVMBuildBr(f->b, join);
   LLVMMoveBasicBlockAfter(join, LLVMGetInsertBlock(f->b));
   LLVMPositionBuilderAtEnd(f->b, join);
}

void vec_return_if(vec_fn *f, vec_value cond)
{
   vec_if i = vec_if_begin(f, cond);

   LLVMBuildRetVoid(f->b);
   LLVMPositionBuilderAtEnd(f->b, i.no);
}
