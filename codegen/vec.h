/* vec.h - a small vector builder over the LLVM C API: what every CPU kernel of ours is written
 * with.
 *
 *    vec_module ──▶ kernels  void k(const sinter_kargs *, unsigned tile)   exported, in the object
 *         │    └──▶ locals   void f(args…)              called by kernels of the same module
 *         └──────▶ vec_module_object: one relocatable ELF object without external symbols
 *
 * A kernel is a C function that calls these builders in order. Rules that make the code fast
 * (measured):
 *    - no optimisation pipeline runs; write the instructions you want, in the order you want them;
 *    - keep hot loops as real loops (vec_loop) with few accumulators, instead of unrolling by hand:
 *      unrolled integer sums get reassociated into spills;
 *    - values that live across a hot inner loop belong in vec_stack memory, not in loop variables.
 *
 * Rule that keeps the bits fixed: no fast-math and no contraction is ever emitted; a fused
 * multiply-add is vec_fma.
 *
 * Values are LLVM values. Integer operations act on integers or vectors of them, f-operations on
 * floats or vectors. Offsets and counts are i64. A vector is `lanes` elements; lanes 1 is a scalar.
 */
#ifndef CG_VEC_H
#define CG_VEC_H

#include "base/base.h"
#include "base/dtype.h"
#include "base/isa.h"
#include "base/kargs.h"

typedef struct LLVMOpaqueValue *vec_value;
typedef struct LLVMOpaqueType *vec_type;

/* What a kernel may assume of the machine: a row of isa.def. */
typedef isa_info vec_isa;

typedef enum vec_elem {
   VEC_i1,
   VEC_i8,
   VEC_i16,
   VEC_i32,
   VEC_i64,
   VEC_f16,
   VEC_bf16,
   VEC_f32,
   VEC_f64,
   VEC_ptr
} vec_elem;

enum { VEC_MAX_VARS = 24, VEC_MAX_ARGS = 16 };

/* ---- modules ---- */

typedef struct vec_module vec_module;

/* A module and an LLVM context of its own, so that threads can build modules at the same time.
 * Fails with UNSUPPORTED when LLVM does not know the cpu. */
SINTER_CHECKED sinter_status vec_module_create(const vec_isa *isa, vec_module **out);
void vec_module_destroy(vec_module *m);

const vec_isa *vec_module_isa(const vec_module *m);

/* Whether a kernel or local of that name was begun. */
bool vec_module_has(const vec_module *m, const char *name);

/* Debug mode: the object checks every access with LLVM's address sanitizer. It then has external
 * symbols, so only a JIT linker inside of a sanitized process can load it, not the runtime. */
void vec_module_sanitize(vec_module *m);

/* Verifies the module and emits a relocatable object; *out is freed with free(). */
SINTER_CHECKED sinter_status vec_module_object(vec_module *m, uint8_t **out, size_t *out_size);

/* The module as LLVM text, for dumps; free with vec_text_free. */
char *vec_module_text(vec_module *m);
void vec_text_free(char *text);

/* ---- functions ---- */

/* One function under construction. The builder inserts at the current end of the function. */
typedef struct vec_fn vec_fn;

/* Begins an exported kernel; its name must be new in the module. */
vec_fn *vec_kernel(vec_module *m, const char *name);

/* Begins an internal function without result; arguments by vec_arg. NULL when the module already
 * has it: locals are shared by the kernels of a module. Pointer arguments do not alias each other.
 */
vec_fn *vec_local(vec_module *m, const char *name, uint32_t num_args, const vec_elem *args);
vec_value vec_arg(vec_fn *f, uint32_t i);

/* Ends the function with a return; f is gone. At most four functions of a module are open. */
void vec_end(vec_fn *f);

void vec_call(vec_fn *f, const char *local, uint32_t num_args, const vec_value *args);

const vec_isa *vec_fn_isa(const vec_fn *f);
uint32_t vec_lanes(const vec_fn *f); /* f32 lanes of the isa */

/* ---- a kernel's arguments ---- */

vec_value vec_tile(vec_fn *f);                    /* i64 */
vec_value vec_karg_ptr(vec_fn *f, uint32_t i);    /* kargs.ptr[i] */
vec_value vec_karg_const(vec_fn *f, uint32_t i);  /* kargs.konst[i], i64 */
vec_value vec_sym(vec_fn *f, sym s);              /* value of a symbol in this step, i64 */
vec_value vec_sym_at(vec_fn *f, vec_value index); /* the same, symbol number known at run time */

/* ---- constants ---- */

vec_value vec_i(vec_fn *f, int64_t v);                                       /* i64 */
vec_value vec_int(vec_fn *f, vec_elem e, uint32_t lanes, int64_t v);         /* all lanes v */
vec_value vec_ints(vec_fn *f, vec_elem e, uint32_t lanes, const int64_t *v); /* lane i is v[i] */
vec_value vec_float(vec_fn *f, uint32_t lanes, double v);                    /* f32, all lanes v */
vec_value vec_poison(vec_fn *f, vec_elem e, uint32_t lanes);

/* ---- arithmetic ---- */

/* VEC_OP(name): vec_value vec_<name>(f, a, b). Division and remainder are signed. */
/* clang-format off */
#define VEC_BINARY_OPS(OP) \
   OP(add, Add) OP(sub, Sub) OP(mul, Mul) OP(div, SDiv) OP(rem, SRem) \
   OP(and, And) OP(or, Or) OP(xor, Xor) OP(shl, Shl) OP(lshr, LShr) OP(ashr, AShr) \
   OP(fadd, FAdd) OP(fsub, FSub) OP(fmul, FMul) OP(fdiv, FDiv)
/* clang-format on */
#define VEC_OP(name, code) vec_value vec_##name(vec_fn *f, vec_value a, vec_value b);
VEC_BINARY_OPS(VEC_OP)
#undef VEC_OP

/* a op constant, for integers of any lanes. */
vec_value vec_add_i(vec_fn *f, vec_value a, int64_t b);
vec_value vec_mul_i(vec_fn *f, vec_value a, int64_t b);
vec_value vec_and_i(vec_fn *f, vec_value a, int64_t b);
vec_value vec_shl_i(vec_fn *f, vec_value a, int64_t b);
vec_value vec_lshr_i(vec_fn *f, vec_value a, int64_t b);
vec_value vec_ashr_i(vec_fn *f, vec_value a, int64_t b);

vec_value vec_fma(vec_fn *f, vec_value a, vec_value b, vec_value c); /* a * b + c, one rounding */
vec_value vec_fneg(vec_fn *f, vec_value a);
vec_value vec_fabs(vec_fn *f, vec_value a);
vec_value vec_sqrt(vec_fn *f, vec_value a);
vec_value vec_round(vec_fn *f, vec_value a); /* to nearest, ties to even */
/* a < b ? a : b and a > b ? a : b: b when either is NaN (one instruction each). */
vec_value vec_fmin(vec_fn *f, vec_value a, vec_value b);
vec_value vec_fmax(vec_fn *f, vec_value a, vec_value b);
/* Of values without a sign, one instruction too: NaN when either is. */
vec_value vec_size_max(vec_fn *f, vec_value a, vec_value b);
vec_value vec_imin(vec_fn *f, vec_value a, vec_value b); /* signed */
vec_value vec_imax(vec_fn *f, vec_value a, vec_value b);

typedef enum vec_pred { VEC_eq, VEC_ne, VEC_lt, VEC_le, VEC_gt, VEC_ge } vec_pred;
vec_value vec_icmp(vec_fn *f, vec_pred p, vec_value a, vec_value b); /* signed */
vec_value vec_fcmp(vec_fn *f, vec_pred p, vec_value a, vec_value b); /* ordered: false with NaN */
vec_value vec_select(vec_fn *f, vec_value cond, vec_value yes, vec_value no);

/* f32 functions of our own (no library): exp within 2 ulp, tanh within 4, erf within 3e-7 absolute.
 * exp is 0 below -86.9 and infinite above 88.7; NaN stays NaN. */
vec_value vec_exp(vec_fn *f, vec_value x);
vec_value vec_tanh(vec_fn *f, vec_value x);
vec_value vec_erf(vec_fn *f, vec_value x);
vec_value vec_sigmoid(vec_fn *f, vec_value x);
vec_value vec_softplus(vec_fn *f, vec_value x); /* log(1 + exp(x)), within 4 ulp */
vec_value vec_decay(vec_fn *f, vec_value x, vec_value a, vec_value b); /* op decay */
vec_value vec_silu(vec_fn *f, vec_value x);
vec_value vec_gelu(vec_fn *f, vec_value x);
vec_value vec_gelu_tanh(vec_fn *f, vec_value x);
vec_value vec_softcap(vec_fn *f, vec_value x, double cap);

/* ---- conversions ---- */

vec_value vec_sext(vec_fn *f, vec_value a, vec_elem to);
vec_value vec_zext(vec_fn *f, vec_value a, vec_elem to);
vec_value vec_trunc(vec_fn *f, vec_value a, vec_elem to);
vec_value vec_itof(vec_fn *f, vec_value a); /* signed i32 to f32 */
vec_value vec_ftoi(vec_fn *f, vec_value a); /* f32 to i32, towards zero; must be in range */
vec_value vec_bits(vec_fn *f, vec_value a, vec_elem e, uint32_t lanes); /* bitcast */
vec_value vec_order(vec_fn *f, vec_value a); /* f32 to i32 of the same order; -0 is 0 */
vec_value vec_fconv(vec_fn *f, vec_value a,
                    vec_elem to); /* between f16, f32, f64; rounds to nearest even */

uint32_t vec_width(vec_value a); /* lanes of a value */

/* ---- lanes ---- */

vec_value vec_splat(vec_fn *f, vec_value scalar, uint32_t lanes);
/* Lane i of the result is lane mask[i] of a ++ b; b may be NULL; mask[i] < 0: anything. */
vec_value vec_shuffle(vec_fn *f, vec_value a, vec_value b, uint32_t lanes, const int *mask);
vec_value vec_part(vec_fn *f, vec_value a, uint32_t first, uint32_t lanes); /* consecutive lanes */
vec_value vec_extract(vec_fn *f, vec_value a, uint32_t lane);
vec_value vec_insert(vec_fn *f, vec_value a, vec_value scalar, uint32_t lane);
/* Over all lanes, halves first (a[i] + a[i + n/2] …): the same order for every caller. */
vec_value vec_fsum(vec_fn *f, vec_value a);
vec_value vec_fmax_all(vec_fn *f, vec_value a);
vec_value vec_size_max_all(vec_fn *f, vec_value a);

/* ---- memory ---- */

vec_value vec_at(vec_fn *f, vec_value ptr, vec_value bytes); /* ptr + bytes (i64) */
vec_value vec_at_i(vec_fn *f, vec_value ptr, int64_t bytes);
vec_value vec_distance(vec_fn *f, vec_value from, vec_value to); /* bytes (i64) between pointers */
vec_value vec_load(vec_fn *f, vec_elem e, uint32_t lanes, vec_value ptr, uint32_t align);
void vec_store(vec_fn *f, vec_value v, vec_value ptr, uint32_t align);
/* Elements of a plain float type of dtypes.def, widened to f32 / rounded from f32; naturally
 * aligned. */
vec_value vec_load_f32(vec_fn *f, dtype t, uint32_t lanes, vec_value ptr);
void vec_store_f32(vec_fn *f, dtype t, vec_value v, vec_value ptr);
/* f32 rounded to the nearest value of a float type of at most 32 bits. */
vec_value vec_round_to(vec_fn *f, dtype t, vec_value v);
/* f32 only: the first n lanes (i64 n, may exceed the lanes or be <= 0), others 0 / untouched. */
vec_value vec_load_first(vec_fn *f, uint32_t lanes, vec_value ptr, vec_value n);
void vec_store_first(vec_fn *f, vec_value v, vec_value ptr, vec_value n);
/* Stack memory, allocated at entry; at most 64 KiB a function in all. */
vec_value vec_stack(vec_fn *f, uint64_t bytes, uint32_t align);
void vec_prefetch(vec_fn *f, vec_value ptr); /* for reading, into all cache levels */

/* ---- intrinsics ---- */

/* Calls an LLVM intrinsic by full name; arguments are bitcast to the parameter types of this LLVM.
 */
vec_value vec_intrinsic(vec_fn *f, const char *name, uint32_t n, const vec_value *args);
/* The same for an intrinsic that is overloaded on the type of `like` only, by its base name. */
vec_value vec_intrinsic_like(vec_fn *f, const char *name, vec_value like, uint32_t n,
                             const vec_value *args);
/* u8 x s8 pairs summed into i16 with saturation; i16 pairs into i32. Byte vectors of any register
 * width of the isa. */
vec_value vec_maddubs(vec_fn *f, vec_value u8, vec_value s8);
vec_value vec_maddwd(vec_fn *f, vec_value a16, vec_value b16);
/* Bytes x with the sign of w: x, -x, and anything where w = 0. */
vec_value vec_sign_of(vec_fn *f, vec_value x, vec_value w);
/* acc i32[n] + u8[4n] x s8[4n] summed by fours; only when isa->vnni. */
vec_value vec_dpbusd(vec_fn *f, vec_value acc, vec_value u8, vec_value s8);
/* Bytes of table[16] picked by idx (0..15), within each 16 bytes. */
vec_value vec_lookup(vec_fn *f, vec_value table, vec_value idx);

/* ---- tiles (only when isa->amx) ----
 * Eight registers of up to 16 rows x 64 bytes, by number. A function sets the shapes it uses first
 * and gives the tiles up before it returns: it expects nothing of its thread and leaves nothing. To
 * set them takes some 300 cycles, so locals that it calls use them under the shapes it has set. */
typedef struct vec_tile_shape {
   vec_value rows; /* i64, 1..16 */
   uint32_t bytes; /* of a row, 4..64, a multiple of 4 */
} vec_tile_shape;

/* Returns what a local is given for vec_tiles_use. */
vec_value vec_tiles_begin(vec_fn *f, uint32_t num, const vec_tile_shape *shapes);
void vec_tiles_end(vec_fn *f);
/* From here on tiles have the shapes that the caller of this local has set. */
void vec_tiles_use(vec_fn *f, vec_value tiles);
void vec_tile_zero(vec_fn *f, uint32_t t);
/* Row r lies at ptr + r * stride (i64). */
void vec_tile_load(vec_fn *f, uint32_t t, vec_value ptr, vec_value stride);
void vec_tile_store(vec_fn *f, uint32_t t, vec_value ptr, vec_value stride);
/* dst i32[m][n] += sum over k of a s8[m][k][4] x b [k][n][4] of u8, or s8. */
void vec_tile_dpbsud(vec_fn *f, uint32_t dst, uint32_t a, uint32_t b);
void vec_tile_dpbssd(vec_fn *f, uint32_t dst, uint32_t a, uint32_t b);
/* dst f32[m][n] += sum over k of a bf16[m][k][2] x b bf16[k][n][2]: fused, even and odd elements
 * summed apart; denormal numbers are zeros. */
void vec_tile_dpbf16(vec_fn *f, uint32_t dst, uint32_t a, uint32_t b);

/* ---- control ---- */

/* for (i = from; i < to; i += step) with loop variables (phis):
 *
 *    vec_loop l = vec_loop_begin(f, from, to, step, n, init);
 *       … uses l.i and l.var[k] …
 *    vec_loop_end(f, &l, next);       afterwards l.var[k] are the final values
 *
 * from, to i64. When from and to are constants and from < to, the loop is tested at its end. */
typedef struct vec_loop {
   vec_value i, var[VEC_MAX_VARS];
   struct LLVMOpaqueBasicBlock *head, *exit;
   vec_value to;
   int64_t step;
   uint32_t n;
   bool at_end;
} vec_loop;

vec_loop vec_loop_begin(vec_fn *f, vec_value from, vec_value to, int64_t step, uint32_t n,
                        const vec_value *init);
void vec_loop_end(vec_fn *f, vec_loop *l, const vec_value *next);

/* if (cond) { … } else { … }: vec_if_else is optional. Values leave through memory or vec_select.
 */
typedef struct vec_if {
   struct LLVMOpaqueBasicBlock *no, *join;
} vec_if;

vec_if vec_if_begin(vec_fn *f, vec_value cond);
void vec_if_else(vec_fn *f, vec_if *i);
void vec_if_end(vec_fn *f, vec_if *i);

/* Leaves the kernel when cond holds. */
void vec_return_if(vec_fn *f, vec_value cond);

#endif
