/* gemm_impl.h - what the files of the GEMM family share: reading panels, and the dot products.
 *
 * A dot product is a local function of the module, one per (layout, family, rows):
 *
 *    void dot(w, x, s, out, number, from, k, all, x_stride, s_stride, ahead)
 *       w       one panel, at column `from`
 *       x, s    activations (int8: codes), scales (int8): row 0, from column 0
 *       number  i64[rows]: which row of x and s each row is
 *       out     f32[rows][16], 64-byte aligned; the sum continues from what is there
 *       from, k columns from .. from+k of `all`, whole blocks; strides in bytes
 *       ahead   bytes behind what is read that are fetched meanwhile: of each cell all or, by the
 *               family, half
 *
 * The kernel calls it for as many rows as dot_most_log says, and for fewer by halves down to 1; a
 * row's bits are the same in all, and however K is cut. */
#ifndef KERNEL_GEMM_IMPL_H
#define KERNEL_GEMM_IMPL_H

#include "gemm.h"

enum {
   CELL_K = 32,
   LINE_BYTES = 64,
   MAX_LOG = 3,
   MAX_ROWS = 1 << MAX_LOG,
   NORM_LOG = 2, /* of the most rows that are normed at a time */
   MAX_HALVES = 2,
   MAX_GROUPS = 4,
   PANEL_SIGNED = 128,
   /* bytes that a panel is fetched ahead of being read: what a core reads in 300 ns at 27 GB/s */
   PANEL_AHEAD = 8192
};

typedef struct gemm_step_info {
   const char *name;
   bool has_operand, has_number;
} gemm_step_info;
extern const gemm_step_info gemm_step_infos[GEMM_STEP_COUNT];

/* Constants of a launch; kernels of other targets take them by these names, too. */
/* clang-format off */
#define GEMM_CONST_LIST(C) \
   C(ROWS_PER_SYM) /* rows (grouped: slots) = C_ROWS_PER_SYM * sym[C_SYM] + C_ROWS */ \
   C(SYM) C(ROWS) C(N) C(K) \
   C(COLUMN_TILES) /* of a head */ \
   C(PANELS)       /* of a tile */ \
   C(X_STRIDE) C(S_STRIDE) C(PANEL_BYTES) C(PANEL_BYTES2) C(HEADS) \
   C(X_HEAD) C(W_HEAD) C(W_HEAD2) /* bytes between heads of a row of x, and between weights of heads or experts */ \
   C(Y_STRIDE)      /* outputs of a row */ \
   C(Y_SCALES)      /* quant: bytes between rows of scales */ \
   C(EXPERTS)       /* grouped */ \
   C(SLOTS_PER_ROW) /* of x */ \
   C(SLOTS_PER_TOKEN)
/* clang-format on */
enum gemm_const {
#define C(name) C_##name,
   GEMM_CONST_LIST(C)
#undef C
      GEMM_CONSTS,
   C_SEARCH = C_X_HEAD /* grouped: steps that find a tile's slot; 0: a tile is for all experts */
};

/* A panel's codes, read line by line. `halves` registers of `lanes` 32-bit lanes hold 16 rows. */
typedef struct panel_reader {
   vec_fn *f;
   const panel_info *p;
   uint32_t lanes, halves;
   uint32_t groups; /* groups of 4 k in one unit */
   uint32_t lines;  /* low lines in one unit */
} panel_reader;

/* One unit: groups[g][h] are the stored codes, bytes of rows h*lanes.. x 4 k. */
typedef struct panel_unit {
   vec_value group[MAX_GROUPS][MAX_HALVES];
} panel_unit;

panel_reader panel_reader_of(vec_fn *f, const panel_info *p);

/* The high bits that a span of units starting at group `first` reads: registers that
 * panel_read_unit consumes and shifts along. Unused (NULL) for layouts without them. */
void panel_read_high(const panel_reader *r, vec_value cell, uint32_t first, vec_value *out_high);

/* Reads the unit whose low lines start at `line`. high is updated for the next unit. With
 * as_values, table indices become values, and stay indices otherwise. */
panel_unit panel_read_unit(const panel_reader *r, vec_value line, vec_value *high);

/* Stored codes as unsigned bytes: values of signed and table codes with PANEL_SIGNED added. */
vec_value panel_unsigned(const panel_reader *r, vec_value codes);

/* Stored codes as values: signed ones, but for codes U. */
vec_value panel_values(const panel_reader *r, vec_value codes);

/* f16[lanes] at ptr as f32. */
vec_value panel_read_halfs(const panel_reader *r, vec_value ptr, uint32_t half);

/* Prefetches what lies `ahead` bytes after ptr .. ptr + bytes. */
void panel_prefetch(vec_fn *f, vec_value ptr, vec_value ahead, uint32_t bytes);

/* Which panels a dot product reads. */
typedef enum dot_family {
   DOT_float,         /* as packed, f32 activations */
   DOT_int8,          /* as packed, int8 activations */
   DOT_int8_half,     /* the same, fetches half */
   DOT_int8_unpacked, /* as unpack_int8 leaves them; fetches half */
   DOT_amx,           /* a value a byte, by AMX: 16 rows at once */
   DOT_two,           /* as packed: one row with panels of two matrices, each step of k with both */
} dot_family;

/* The most rows of a call are 1 << this: 8 sums in registers, of 16 outputs or of half of them. */
static inline uint32_t dot_most_log(const isa_info *isa)
{
   return isa->lanes == PANEL_ROWS ? MAX_LOG : MAX_LOG - 1;
}

/* Ensures the dot product is in the module and returns its name in out; rows: of a call. */
void dot_emit(vec_module *m, panel_layout w, dot_family family, uint32_t rows,
              char out[GEMM_SYMBOL_MAX]);
void dot_emit_int8(vec_fn *f, panel_layout w, dot_family family, uint32_t rows);
void dot_emit_float(vec_fn *f, panel_layout w, dot_family family, uint32_t rows);

/* Bytes of each cell that an int8 call fetches: all, or half. Of two calls whose rows pass over one
 * panel the second fetches what lies so far behind, and memory has the time of both. */
uint32_t dot_fetched(panel_layout w, dot_family family);

/* Sets the AMX tiles of a kernel. The result is DOT_set of a dot product. */
vec_value amx_begin(vec_fn *f);

/* A cell's products by AMX: i32[spans][16][16] at `to`. */
typedef struct amx_cell {
   uint32_t spans;
   bool is_signed;               /* values of w */
   vec_value x, x_stride, w, to; /* 32 k of the first row; lines; where to */
} amx_cell;
void amx_emit_cell(vec_fn *f, const amx_cell *c);

/* Ensures the function is in the module and returns its name in out. For `void dot(w, x, out, k,
 * x_stride, rows)`: all k of a bf16 panel with rows of parts (gemm.h); out f32[rows][16]. */
void amx_emit_parts(vec_module *m, char out[GEMM_SYMBOL_MAX]);

/* Rows that are normed at a time; 0: one is longer than the stack. */
uint32_t gemm_norm_rows(uint64_t k);

/* k times a number of rows, div of them at a time. */
plan_extent gemm_row_extent(int64_t k, gemm_rows rows, uint32_t div);

/* The same for `void unpack(w, out, k)`: k columns of a panel of codes as a form that is cheaper to
 * read, for many rows; their bits do not change. Float: f32[k][16], a float panel. Int8: the same
 * layout with a byte a code, or a value. */
void unpack_emit_float(vec_module *m, panel_layout w, char out[GEMM_SYMBOL_MAX]);
void unpack_emit_int8(vec_module *m, panel_layout w, bool as_values, char out[GEMM_SYMBOL_MAX]);

/* The layout that unpack_emit_int8 makes. */
panel_info panel_unpacked_info(panel_layout w);

/* Row r of the call: its address in x or s. */
vec_value dot_row(vec_fn *f, uint32_t r, uint32_t base, uint32_t stride);

typedef enum dot_arg {
   DOT_w,
   DOT_x,
   DOT_s,
   DOT_out,
   DOT_number,
   DOT_from,
   DOT_k,
   DOT_all,
   DOT_x_stride,
   DOT_s_stride,
   DOT_ahead,
   DOT_ARGS,
   DOT_w2 = DOT_ARGS, /* DOT_two only */
   DOT_out2,
   DOT_TWO_ARGS,
   DOT_products = DOT_ARGS, /* DOT_amx only: two cells' products; what amx_begin returned */
   DOT_set,
   DOT_AMX_ARGS,
   DOT_MAX_ARGS = DOT_AMX_ARGS
} dot_arg;

/* Whether DOT_two has a form for that layout. */
bool dot_has_two(panel_layout w);

#endif
