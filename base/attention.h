/* attention.h - attention.def as data: what an attention asks for, and whether a kernel can do
 * it. */
#ifndef BASE_ATTENTION_H
#define BASE_ATTENTION_H

#include "arch.h"
#include "arena.h"
#include "dtype.h"

typedef enum attention_backend {
#define ATTENTION(name, ...) ATTENTION_BACKEND_##name,
#include "attention.def"
#undef ATTENTION
   ATTENTION_BACKENDS
} attention_backend;

enum {
   /* ops */
   ATTENTION_KV = 1,
   ATTENTION_LATENT = 2,
   ATTENTION_EXPANDED = 4,
   /* takes */
   ATTENTION_WINDOW = 8,
   ATTENTION_SINKS = 16,
   ATTENTION_CAP = 32,
   ATTENTION_QUANT = 64
};

/* What one attention asks for. */
typedef struct attention_query {
   const arch_info *arch; /* NULL: a CPU */
   bool fast, asked;      /* numerics; this kernel was asked for by name */
   uint32_t wants;        /* one op, and what has to be taken */
   dtype kv;
   uint32_t heads, groups, width, value; /* H, G, elements of a key, of a value */
   /* expanded: elements of a latent, and of a key those that a row holds as they are; how the
    * matrices are stored */
   uint32_t rank, rotated;
   dtype keys, values;
} attention_query;

const char *attention_name(attention_backend b);

/* Reads what is asked for: a name, with a ! behind it for no other (*out_strict).
 * ATTENTION_BACKENDS for NULL, "" and "auto". Errors USAGE with the names there are. */
SINTER_CHECKED sinter_status attention_read(const char *text, attention_backend *out,
                                            bool *out_strict);

/* Whether it takes one of these ops. */
bool attention_takes(attention_backend b, uint32_t ops);

/* NULL when the kernel can do it, else the reason, in a. */
const char *attention_refuses(arena *a, attention_backend b, const attention_query *q);

/* Products of the matrix instructions for one of the meaning's: the parts that queries and weights
 * are split into (0: plain). */
uint32_t attention_parts(attention_backend b, const attention_query *q);

/* Row-heads of a block of a kernel on matrix instructions (0: it is none), and its bytes of shared
 * memory. */
uint32_t attention_columns(attention_backend b, const attention_query *q);
uint64_t attention_shared(attention_backend b, const attention_query *q);

#endif
