/* vec_memory.c - loads, stores, stack, loops and branches of the vector builder. */
#include "vec_impl.h"

#include <math.h>

/* ---- memory ---- */

vec_value vec_at(vec_fn *f, vec_value ptr, vec_value bytes)
{
   return LLVMBuildGEP2(f->b, f->m->types[VEC_i8], ptr, &bytes, 1, "");
}

vec_value vec_distance(vec_fn *f, vec_value from, vec_value to)
{
   LLVMTypeRef i64 = f->m->types[VEC_i64];

   return LLVMBuildSub(f->b, LLVMBuildPtrToInt(f->b, to, i64, ""),
                       LLVMBuildPtrToInt(f->b, from, i64, ""), "");
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

/* Bias of the exponent of a float of one byte. */
static int f8_bias(dtype t)
{
   return t == DT_f8e4m3fnuz ? 8 : 7;
}

/* The bits below the sign, moved to those of an f32, are that f32 times a power of two. */
static vec_value from_f8(vec_fn *f, dtype t, vec_value code)
{
   uint32_t lanes = vec_width(code);
   vec_value wide = vec_zext(f, code, VEC_i32), size = vec_and_i(f, wide, 0x7f);
   vec_value v = vec_bits(f, vec_shl_i(f, size, 20), VEC_f32, lanes);
   bool fnuz = t == DT_f8e4m3fnuz;
   vec_value nan =
      vec_icmp(f, VEC_eq, fnuz ? wide : size, vec_int(f, VEC_i32, lanes, fnuz ? 0x80 : 0x7f));

   v = vec_fmul(f, v, vec_float(f, lanes, ldexp(1, 127 - f8_bias(t))));
   vec_value sign = vec_shl_i(f, vec_and_i(f, wide, 0x80), 24);
   v = vec_bits(f, vec_or(f, vec_bits(f, v, VEC_i32, lanes), sign), VEC_f32, lanes);
   return vec_select(f, nan, vec_float(f, lanes, NAN), v);
}

/* f32 to a float of one byte, ties to even, saturating. Sizes below the smallest normal number are
 * multiples of the smallest one. */
static vec_value to_f8(vec_fn *f, dtype t, vec_value v)
{
   uint32_t lanes = vec_width(v);
   int bias = f8_bias(t);
   bool fnuz = t == DT_f8e4m3fnuz;
   vec_value is_number = vec_fcmp(f, VEC_eq, v, v), zero = vec_int(f, VEC_i32, lanes, 0);
   vec_value size = vec_select(f, is_number, vec_fabs(f, v), vec_float(f, lanes, 0));

   size = vec_fmin(f, size, vec_float(f, lanes, fnuz ? 240 : 448));
   vec_value bits = vec_bits(f, size, VEC_i32, lanes);
   vec_value odd = vec_and_i(f, vec_lshr_i(f, bits, 20), 1);
   vec_value normal = vec_lshr_i(f, vec_add(f, bits, vec_add_i(f, odd, 0x7ffff)), 20);
   vec_value unit = vec_float(f, lanes, ldexp(1, bias + 2));
   vec_value small = vec_ftoi(f, vec_round(f, vec_fmul(f, size, unit)));
   vec_value is_small = vec_fcmp(f, VEC_lt, size, vec_float(f, lanes, ldexp(1, 1 - bias)));
   small = vec_select(f, is_small, small, zero); /* the other lanes' are out of range */
   vec_value code = vec_select(f, is_small, small, vec_add_i(f, normal, -(127 - bias) * 8));
   vec_value sign = vec_and_i(f, vec_lshr_i(f, vec_bits(f, v, VEC_i32, lanes), 24), 0x80);
   if (fnuz)
      sign = vec_select(f, vec_icmp(f, VEC_eq, code, zero), zero, sign);
   vec_value nan = vec_or(f, sign, vec_int(f, VEC_i32, lanes, 0x7f));
   if (fnuz)
      nan = vec_int(f, VEC_i32, lanes, 0x80);
   return vec_trunc(f, vec_select(f, is_number, vec_or(f, code, sign), nan), VEC_i8);
}

static bool is_f8(dtype t)
{
   return t == DT_f8e4m3 || t == DT_f8e4m3fnuz;
}

vec_value vec_load_f32(vec_fn *f, dtype t, uint32_t lanes, vec_value ptr)
{
   if (t == DT_f32)
      return vec_load(f, VEC_f32, lanes, ptr, 4);
   if (t == DT_f16)
      return vec_fconv(f, vec_load(f, VEC_f16, lanes, ptr, 2), VEC_f32);
   if (is_f8(t))
      return from_f8(f, t, vec_load(f, VEC_i8, lanes, ptr, 1));
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
   } else if (is_f8(t)) {
      vec_store(f, to_f8(f, t, v), ptr, 1);
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
   if (is_f8(t))
      return from_f8(f, t, to_f8(f, t, v));
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
