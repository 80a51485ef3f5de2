/* dtype.h - the element types of dtypes.def, and their conversion to and from double. */
#ifndef BASE_DTYPE_H
#define BASE_DTYPE_H

#include "base.h"

typedef enum dtype {
#define DTYPE(name, kind, block, bytes, gguf, rel) DT_##name,
#include "dtypes.def"
#undef DTYPE
   DT_COUNT
} dtype;

typedef enum dtype_kind {
   DTYPE_NONE,
   DTYPE_FLOAT,
   DTYPE_INT,
   DTYPE_BLOCK,
   DTYPE_BOOL,
   DTYPE_SCALED
} dtype_kind;

typedef struct dtype_info {
   const char *name;
   dtype_kind kind;
   uint32_t block, bytes;
   int gguf;
   double rel;
} dtype_info;

extern const dtype_info dtype_infos[DT_COUNT];

enum { DTYPE_SCALE_BYTES = 4 }; /* of the f32 scale in front of each block of a SCALED type */

/* The type with that name, DT_none when there is none. */
dtype dtype_from_name(const char *name, size_t len);
dtype dtype_from_gguf(uint32_t type);

/* Bytes of n elements; n must be a multiple of the block. False on overflow or a ragged n. SCALED
 * types: of one row of n elements, any n. */
bool dtype_size(dtype t, uint64_t n, uint64_t *out_bytes);

/* Rounds to the nearest value of a plain type (ties to even; integers saturate). */
double dtype_round(dtype t, double v);

/* The largest size of a quantised value in that type, 0 for types that codes do not have. That of
 * f8e4m3fnuz is 224, though the type holds 240. */
double dtype_code_max(dtype t);

/* Plain types only: n elements to and from double. Stores round to nearest even and saturate. */
void dtype_load(dtype t, const void *src, uint64_t n, double *dst);
void dtype_store(dtype t, void *dst, const double *src, uint64_t n);

uint16_t f16_from_f32(float v);
float f16_to_f32(uint16_t v);
uint16_t bf16_from_f32(float v);
float bf16_to_f32(uint16_t v);

#endif
