/* draw.h - how the token of a row of logits is picked, as numbers: what the sampler works with
 * (runtime/sampler.h), and a row of the field `picks` of meta.def. kernels/sample.cuh spells it
 * again. */
#ifndef BASE_DRAW_H
#define BASE_DRAW_H

#include "base.h"

typedef enum draw_how {
   DRAW_host, /* not by a kernel */
   DRAW_best,
   DRAW_random,
} draw_how;

typedef struct draw {
   uint32_t how;    /* a draw_how */
   uint32_t k;      /* of the best; 0: all */
   float inverse;   /* of the temperature */
   float least;     /* of (logit - largest) * inverse; -inf: any */
   uint64_t p;      /* top-p in units of 2^-64; 0: all */
   uint64_t random; /* in units of 2^-64 */
} draw;

enum { DRAW_WORDS = 8 }; /* of 32 bits */
_Static_assert(sizeof(draw) == 4 * DRAW_WORDS, "a row of the field");

#endif
