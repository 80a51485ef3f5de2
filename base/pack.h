/* pack.h - packed weight panels: what a kernel reads, and how recipes make them.
 *
 * A panel is PANEL_ROWS output rows x all K, stored as consecutive cells along k, so that one
 * thread consumes one strictly sequential stream. The last panel of N is padded with zero rows.
 * Layout rows are panels.def; the comment on each row draws its cell. */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include "plan.h"

typedef enum panel_layout {
#define PANEL(name, ...) PANEL_##name,
#include "panels.def"
#undef PANEL
   PANEL_COUNT
} panel_layout;

typedef enum panel_kind {
   PANEL_KIND_NONE,
   PANEL_KIND_ROWS,
   PANEL_KIND_FLOAT,
   PANEL_KIND_CODES,
   PANEL_KIND_SCALED,
   PANEL_KIND_TOP
} panel_kind;
typedef enum panel_code { PANEL_CODE_U, PANEL_CODE_S, PANEL_CODE_T, PANEL_CODE_E } panel_code;

enum { TOP_DROP = 2 }; /* low bits of a byte that a TOP panel does not have */

/* One row of panels.def, and what follows from it. */
typedef struct panel_info {
   const char *name;
   dtype dtype; /* that takes this layout, or has this top; DT_none for none and rows */
   panel_kind kind;
   uint32_t low, high, block, sub;
   uint32_t drop; /* bits that codes lack at their low end */
   bool has_min;
   panel_code code;
   int32_t bias;
   uint32_t scales_at;  /* offset of d or of the sub-block scales in a cell */
   uint32_t cell_bytes; /* of 32 k */
   uint32_t
      block_bytes; /* of `block` k: a cell, or 8 cells and the tail, or scales and lines; floats: of one k */
} panel_info;

extern const panel_info panel_infos[PANEL_COUNT];

/* The values of the 16 codes; NULL when codes are values. */
const int8_t *panel_table(const panel_info *p);

/* The layout a weight of this dtype takes, the same for fast and exact; PANEL_none when it has
 * none. */
panel_layout pack_layout_of(dtype t);

/* The layout of the top of such weights; PANEL_none when they have none. */
panel_layout pack_top_of(dtype t);

/* Bytes of one panel of `cols` columns; false when cols does not suit the format or on overflow. */
bool pack_panel_size(panel_layout layout, uint64_t cols, uint64_t *out_bytes);

/* Bytes of a packed [rows, cols] weight; false when cols does not suit the format. Not for `rows`,
 * whose size is dtype_size of the source. */
bool pack_size(panel_layout layout, uint64_t rows, uint64_t cols, uint64_t *out_bytes);

/* Packs panels first .. first+count of the weight whose row r in source format t is row(user, r).
 *
 *   row   called for rows below `rows` only; 16 results are in use at the same time
 *   dst   where panel `first` goes; rows past the end are zero
 *
 * For layout `rows` a panel is 16 source rows, copied (fewer at the end). Thread: any; panels are
 * independent. */
void pack_panels(panel_layout layout, dtype t, uint64_t rows, uint64_t cols, uint64_t first,
                 uint64_t count, const void *(*row)(void *user, uint64_t r), void *user,
                 uint8_t *dst);

/* The inverse, for tests and the interpreter: row r as f32. */
void pack_unpack_row(panel_layout layout, const uint8_t *panels, uint64_t rows, uint64_t cols,
                     uint64_t r, float *dst);

/* Quantised activations, as the int8 kernels read them. For `quant` of x[T,K] with `group`:
 *
 *    result 0, codes    i8[T][K], rne(x / scale), at most 127 in size
 *    result 1, scales   per row, padded to 64 bytes: f32 scale[K/group], f32 dsum[K/32] = scale * sum of 32
 *                       codes, i16 sum16[K/16] = sum of 16 codes, i32 less[K/32] = -128 * sum of 32 codes
 *
 * Row strides in bytes: */
uint64_t pack_codes_stride(uint64_t cols);
uint64_t pack_scales_stride(uint64_t cols, uint64_t group);

/* The activation group a weight type's int8 kernel wants: 32; 0 when it takes float activations
 * only. 256-blocks take scales per 32 too: one scale for 256 would double their error. */
uint32_t pack_quant_group(dtype t);

#endif
