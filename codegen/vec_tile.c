/* vec_tile.c - tile registers: AMX instructions, or the same in memory.
 *
 * Shapes are the 64 bytes that ldtilecfg reads: palette 1 at byte 0, bytes of a row as u16 from
 * byte 16 on, rows as u8 from byte 48 on, by register.
 *
 * Where the level's row of isa.def needs no AMX (levels of wider machines, executed on narrow ones)
 * every instruction is a local function that does what the operation section of Intel's manual
 * says, on eight kibibytes behind a copy of the shapes:
 *
 *    tiles ─▶ 64 bytes of shapes │ tile 0: 16 rows of 64 bytes │ tile 1 │ …
 *
 * A use that the machine would refuse (no shapes, shapes that do not fit each other) is a trap. */
#include "vec_impl.h"

enum {
   TILES = 8,
   TILE_ROWS = 16,
   ROW_BYTES = 64,
   TILE_BYTES = TILE_ROWS * ROW_BYTES,
   SHAPE_BYTES = 64,
   BYTES_AT = 16, /* u16[TILES] */
   ROWS_AT = 48,  /* u8[TILES] */
};

static bool emulated(const vec_fn *f)
{
   return !(f->m->isa.needs & ISA_amx);
}

/* ---- shapes ---- */

static void clear(vec_fn *f, vec_value ptr, uint32_t bytes)
{
   for (uint32_t at = 0; at < bytes; at += ROW_BYTES)
      vec_store(f, vec_int(f, VEC_i8, ROW_BYTES, 0), vec_at_i(f, ptr, at), 16);
}

vec_value vec_tiles_begin(vec_fn *f, uint32_t num, const vec_tile_shape *shapes)
{
   assert(f->m->isa.amx && num <= TILES && !f->tiles);
   f->tiles = vec_stack(f, SHAPE_BYTES + (emulated(f) ? TILES * TILE_BYTES : 0), 64);
   clear(f, f->tiles, SHAPE_BYTES);
   vec_store(f, vec_int(f, VEC_i8, 1, 1), f->tiles, 1);
   for (uint32_t t = 0; t < num; t++) {
      vec_store(f, vec_int(f, VEC_i16, 1, shapes[t].bytes), vec_at_i(f, f->tiles, BYTES_AT + 2 * t),
                2);
      vec_store(f, vec_trunc(f, shapes[t].rows, VEC_i8), vec_at_i(f, f->tiles, ROWS_AT + t), 1);
   }
   if (!emulated(f))
      vec_intrinsic(f, "llvm.x86.ldtilecfg", 1, &f->tiles);
   return f->tiles;
}

void vec_tiles_use(vec_fn *f, vec_value tiles)
{
   assert(f->m->isa.amx && !f->tiles);
   f->tiles = tiles;
}

void vec_tiles_end(vec_fn *f)
{
   if (emulated(f))
      clear(f, f->tiles, SHAPE_BYTES);
   else
      vec_intrinsic(f, "llvm.x86.tilerelease", 0, NULL);
   f->tiles = NULL;
}

/* ---- in memory ---- */

static void trap_if(vec_fn *f, vec_value cond)
{
   vec_if i = vec_if_begin(f, cond);

   vec_intrinsic(f, "llvm.trap", 0, NULL);
   vec_if_end(f, &i);
}

/* A tile in a function that stands for an instruction. */
typedef struct tile {
   vec_value data, rows, bytes; /* i64 */
} tile;

/* The tile whose number is argument `arg`; argument 0 are the tiles. */
static tile tile_of(vec_fn *f, uint32_t arg)
{
   vec_value tiles = vec_arg(f, 0), number = vec_arg(f, arg);
   vec_value rows = vec_load(f, VEC_i8, 1, vec_at_i(f, vec_at(f, tiles, number), ROWS_AT), 1);
   vec_value at = vec_at_i(f, vec_at(f, tiles, vec_shl_i(f, number, 1)), BYTES_AT);
   vec_value palette = vec_load(f, VEC_i8, 1, tiles, 1);
   tile t = {.rows = vec_zext(f, rows, VEC_i64),
             .bytes = vec_zext(f, vec_load(f, VEC_i16, 1, at, 2), VEC_i64),
             .data = vec_at_i(f, vec_at(f, tiles, vec_mul_i(f, number, TILE_BYTES)), SHAPE_BYTES)};

   trap_if(f, vec_icmp(f, VEC_ne, palette, vec_int(f, VEC_i8, 1, 1)));
   trap_if(f, vec_icmp(f, VEC_eq, t.rows, vec_i(f, 0)));
   trap_if(f, vec_icmp(f, VEC_gt, t.rows, vec_i(f, TILE_ROWS)));
   trap_if(f, vec_icmp(f, VEC_eq, t.bytes, vec_i(f, 0)));
   trap_if(f, vec_icmp(f, VEC_gt, t.bytes, vec_i(f, ROW_BYTES)));
   trap_if(f, vec_icmp(f, VEC_ne, vec_and_i(f, t.bytes, 3), vec_i(f, 0)));
   return t;
}

static vec_value row_of(vec_fn *f, const tile *t, vec_value r)
{
   return vec_at(f, t->data, vec_mul_i(f, r, ROW_BYTES));
}

/* Rows of a tile, four bytes at a time, from memory or to it. */
static void move(vec_fn *f, const tile *t, vec_value ptr, vec_value stride, bool to_memory)
{
   vec_loop r = vec_loop_begin(f, vec_i(f, 0), t->rows, 1, 0, NULL);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), t->bytes, 4, 0, NULL);
   vec_value here = vec_at(f, row_of(f, t, r.i), c.i);
   vec_value there = vec_at(f, vec_at(f, ptr, vec_mul(f, r.i, stride)), c.i);

   vec_store(f, vec_load(f, VEC_i32, 1, to_memory ? here : there, 1), to_memory ? there : here, 1);
   vec_loop_end(f, &c, NULL);
   vec_loop_end(f, &r, NULL);
}

static void emit_load(vec_fn *f)
{
   tile t = tile_of(f, 1);

   clear(f, t.data, TILE_BYTES);
   move(f, &t, vec_arg(f, 2), vec_arg(f, 3), false);
}

static void emit_store(vec_fn *f)
{
   tile t = tile_of(f, 1);

   move(f, &t, vec_arg(f, 2), vec_arg(f, 3), true);
}

static void emit_zero(vec_fn *f)
{
   clear(f, tile_of(f, 1).data, TILE_BYTES);
}

/* One row of a product: what is added for a's element group k, over the 16 columns. */
typedef void add_products(vec_fn *f, vec_value a, vec_value b, const vec_value *in, vec_value *out);

static vec_value signed_byte(vec_fn *f, vec_value fours, uint32_t j)
{
   return vec_ashr_i(f, vec_shl_i(f, fours, 24 - 8 * j), 24);
}

/* i32: one accumulator, four products each. */
static void add_unsigned(vec_fn *f, vec_value a, vec_value b, const vec_value *in, vec_value *out)
{
   out[0] = in[0];
   for (uint32_t j = 0; j < 4; j++) {
      vec_value ub = vec_and_i(f, vec_lshr_i(f, b, 8 * j), 255);
      out[0] = vec_add(f, out[0], vec_mul(f, signed_byte(f, a, j), ub));
   }
}

static void add_signed(vec_fn *f, vec_value a, vec_value b, const vec_value *in, vec_value *out)
{
   out[0] = in[0];
   for (uint32_t j = 0; j < 4; j++)
      out[0] = vec_add(f, out[0], vec_mul(f, signed_byte(f, a, j), signed_byte(f, b, j)));
}

/* Denormal numbers to zeros of their sign. */
static vec_value flushed(vec_fn *f, vec_value v)
{
   uint32_t n = vec_width(v);
   vec_value sign = vec_and_i(f, vec_bits(f, v, VEC_i32, n), INT32_MIN);
   vec_value small = vec_fcmp(f, VEC_lt, vec_fabs(f, v), vec_float(f, n, 0x1p-126));

   return vec_select(f, small, vec_bits(f, sign, VEC_f32, n), v);
}

/* Half `which` of pairs of bf16, widened. */
static vec_value half_of(vec_fn *f, vec_value pairs, uint32_t which)
{
   vec_value v = which ? vec_and_i(f, pairs, -65536) : vec_shl_i(f, pairs, 16);

   return flushed(f, vec_bits(f, v, VEC_f32, vec_width(pairs)));
}

/* f32: even and odd elements of a row have a sum each. */
static void add_pairs(vec_fn *f, vec_value a, vec_value b, const vec_value *in, vec_value *out)
{
   for (uint32_t j = 0; j < 2; j++)
      out[j] = flushed(f, vec_fma(f, half_of(f, a, j), half_of(f, b, j), in[j]));
}

static vec_value load_row(vec_fn *f, const tile *t, vec_value r, vec_elem e)
{
   return vec_load(f, e, ROW_BYTES / 4, row_of(f, t, r), 16);
}

/* d[m] = finish(d[m], sums over k of a[m][k] and b[k]). */
static void emit_product(vec_fn *f, add_products *add)
{
   bool floats = add == add_pairs;
   tile d = tile_of(f, 1), a = tile_of(f, 2), b = tile_of(f, 3);
   vec_elem e = floats ? VEC_f32 : VEC_i32;
   uint32_t n = floats ? 2 : 1;
   vec_value zero = floats ? vec_float(f, ROW_BYTES / 4, 0) : vec_int(f, VEC_i32, ROW_BYTES / 4, 0);
   vec_value groups = vec_lshr_i(f, a.bytes, 2), next[2];

   trap_if(f, vec_icmp(f, VEC_ne, d.rows, a.rows));
   trap_if(f, vec_icmp(f, VEC_ne, d.bytes, b.bytes));
   trap_if(f, vec_icmp(f, VEC_ne, groups, b.rows));
   vec_loop m = vec_loop_begin(f, vec_i(f, 0), d.rows, 1, 0, NULL);
   vec_value to = load_row(f, &d, m.i, e);
   vec_loop k = vec_loop_begin(f, vec_i(f, 0), groups, 1, n, (vec_value[]){zero, zero});
   vec_value at = vec_at(f, row_of(f, &a, m.i), vec_shl_i(f, k.i, 2));
   vec_value four = vec_splat(f, vec_load(f, VEC_i32, 1, at, 4), ROW_BYTES / 4);
   add(f, four, load_row(f, &b, k.i, VEC_i32), k.var, next);
   vec_loop_end(f, &k, next);
   if (floats) {
      vec_value sum = flushed(f, vec_fadd(f, k.var[0], k.var[1]));
      to = flushed(f, vec_fadd(f, flushed(f, to), sum));
   } else {
      to = vec_add(f, to, k.var[0]);
   }
   vec_store(f, to, row_of(f, &d, m.i), 16);
   vec_loop_end(f, &m, NULL);
}

static void emit_dpbsud(vec_fn *f)
{
   emit_product(f, add_unsigned);
}

static void emit_dpbssd(vec_fn *f)
{
   emit_product(f, add_signed);
}

static void emit_dpbf16(vec_fn *f)
{
   emit_product(f, add_pairs);
}

/* Makes the function that stands for an instruction, once a module. */
static void stand_in(vec_module *m, const char *name, void (*emit)(vec_fn *f), uint32_t num_args,
                     const vec_elem *args)
{
   vec_fn *f = vec_local(m, name, num_args, args);

   if (!f)
      return;
   emit(f);
   vec_end(f);
}

/* ---- instructions ---- */

static vec_value number(vec_fn *f, uint32_t t)
{
   return vec_int(f, VEC_i8, 1, t);
}

static void tile_move(vec_fn *f, const char *instruction, const char *name, void (*emit)(vec_fn *f),
                      uint32_t t, vec_value ptr, vec_value stride)
{
   static const vec_elem args[] = {VEC_ptr, VEC_i64, VEC_ptr, VEC_i64};

   if (!emulated(f)) {
      vec_intrinsic(f, instruction, 3, (vec_value[]){number(f, t), ptr, stride});
      return;
   }
   stand_in(f->m, name, emit, countof(args), args);
   vec_call(f, name, countof(args), (vec_value[]){f->tiles, vec_i(f, t), ptr, stride});
}

void vec_tile_load(vec_fn *f, uint32_t t, vec_value ptr, vec_value stride)
{
   tile_move(f, "llvm.x86.tileloadd64", "tile_load", emit_load, t, ptr, stride);
}

void vec_tile_store(vec_fn *f, uint32_t t, vec_value ptr, vec_value stride)
{
   tile_move(f, "llvm.x86.tilestored64", "tile_store", emit_store, t, ptr, stride);
}

void vec_tile_zero(vec_fn *f, uint32_t t)
{
   static const vec_elem args[] = {VEC_ptr, VEC_i64};

   if (!emulated(f)) {
      vec_intrinsic(f, "llvm.x86.tilezero", 1, (vec_value[]){number(f, t)});
      return;
   }
   stand_in(f->m, "tile_zero", emit_zero, countof(args), args);
   vec_call(f, "tile_zero", countof(args), (vec_value[]){f->tiles, vec_i(f, t)});
}

static void tile_product(vec_fn *f, const char *instruction, const char *name,
                         void (*emit)(vec_fn *f), uint32_t dst, uint32_t a, uint32_t b)
{
   static const vec_elem args[] = {VEC_ptr, VEC_i64, VEC_i64, VEC_i64};

   if (!emulated(f)) {
      vec_intrinsic(f, instruction, 3, (vec_value[]){number(f, dst), number(f, a), number(f, b)});
      return;
   }
   stand_in(f->m, name, emit, countof(args), args);
   vec_call(f, name, countof(args),
            (vec_value[]){f->tiles, vec_i(f, dst), vec_i(f, a), vec_i(f, b)});
}

void vec_tile_dpbsud(vec_fn *f, uint32_t dst, uint32_t a, uint32_t b)
{
   tile_product(f, "llvm.x86.tdpbsud", "tile_dpbsud", emit_dpbsud, dst, a, b);
}

void vec_tile_dpbssd(vec_fn *f, uint32_t dst, uint32_t a, uint32_t b)
{
   tile_product(f, "llvm.x86.tdpbssd", "tile_dpbssd", emit_dpbssd, dst, a, b);
}

void vec_tile_dpbf16(vec_fn *f, uint32_t dst, uint32_t a, uint32_t b)
{
   tile_product(f, "llvm.x86.tdpbf16ps", "tile_dpbf16", emit_dpbf16, dst, a, b);
}
