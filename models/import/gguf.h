/* gguf.h - a GGUF file, read without trusting it.
 *
 *    header │ keys │ tensor table │ padding │ tensor data
 *
 * The file is mapped; every count, length and offset is checked against the real size before it is
 * used. Limits: keys 64 KiB, strings 16 MiB, arrays 4 Mi items and never nested, rank 4, alignment
 * a power of two 8 … 64 KiB. */
#ifndef MODEL_GGUF_H
#define MODEL_GGUF_H

#include "base/arena.h"
#include "base/dtype.h"
#include "base/map.h"

typedef enum gguf_type {
#define GGUF_TYPE(name, id, bytes) GGUF_##name = id,
#include "gguf_types.def"
#undef GGUF_TYPE
} gguf_type;

typedef struct gguf_string {
   const char *data; /* mapped, no NUL at the end */
   uint64_t len;
} gguf_string;

typedef struct gguf_value {
   gguf_type type; /* of each item; a scalar has one */
   bool is_array;
   uint64_t count;
   const uint8_t *data; /* little-endian numbers, unaligned; strings as u64 length and bytes */
} gguf_value;

typedef struct gguf_key {
   const char *name; /* NUL-terminated, without NUL inside */
   gguf_value value;
   bool read; /* somebody took it into account */
} gguf_key;

typedef struct gguf_tensor {
   const char *name;
   dtype dtype;
   uint32_t rank;
   uint64_t dim[4]; /* as stored: dim[0] is the innermost */
   const uint8_t *data;
   uint64_t bytes, file_offset;
} gguf_tensor;

typedef struct gguf_file {
   const char *where; /* what to call it in errors */
   uint32_t version;
   uint64_t alignment;
   uint64_t num_keys, num_tensors;
   gguf_key *keys;
   gguf_tensor *tensors;
   map by_key, by_name;
} gguf_file;

/* Reads the tables of a mapped file of `size` bytes, which stays mapped while the result is used.
 *
 * Errors  BAD_INPUT with the byte offset; UNSUPPORTED for versions and tensor types that exist but
 * are not ours. */
SINTER_CHECKED sinter_status gguf_read(arena *a, const uint8_t *bytes, uint64_t size,
                                       const char *where, gguf_file **out);

/* The value of a key, NULL when absent; marks it as read. */
const gguf_value *gguf_find(gguf_file *g, const char *name);

/* Item i of a numeric value (or bool), false when it is of another kind or does not fit. */
bool gguf_int(const gguf_value *v, uint64_t i, int64_t *out);
bool gguf_float(const gguf_value *v, uint64_t i, double *out);

/* All strings of a string value in one array (count entries), NULL when it holds no strings. */
const gguf_string *gguf_strings(arena *a, const gguf_value *v);

#endif
