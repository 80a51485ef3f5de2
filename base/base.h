/* base.h - what every file uses: fixed-width types, status, small helpers. */
#ifndef SINTER_BASE_H
#define SINTER_BASE_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sinter.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

static inline uint64_t base_align(uint64_t n, uint64_t to)
{
   return (n + to - 1) / to * to;
}

/* Checked arithmetic for sizes from files: false on overflow. */
#define base_mul(a, b, out) (!__builtin_mul_overflow(a, b, out))
#define base_add(a, b, out) (!__builtin_add_overflow(a, b, out))

/* Records a failure of this thread and returns `status`. Allocates nothing.
 *
 *   where    file, offset, op or key, e.g. "model.gguf: offset 1234"; "" when there is none
 *   remedy   what the user can do, one sentence; "": what remedies.def has for the status
 *   fmt      what happened, one sentence without a full stop */
SINTER_CHECKED sinter_status base_fail(sinter_status status, const char *where, const char *remedy,
                                       const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Adds "in <frame>" to the recorded failure; used by SINTER_TRY_IN. */
void base_fail_frame(const char *frame);

/* Returns from the calling function when expr fails. */
#define SINTER_TRY(expr)                                                                           \
   do {                                                                                            \
      sinter_status try_status_ = (expr);                                                          \
      if (try_status_ != SINTER_ok)                                                                \
         return try_status_;                                                                       \
   } while (0)

#define SINTER_TRY_IN(frame, expr)                                                                 \
   do {                                                                                            \
      sinter_status try_status_ = (expr);                                                          \
      if (try_status_ != SINTER_ok) {                                                              \
         base_fail_frame(frame);                                                                   \
         return try_status_;                                                                       \
      }                                                                                            \
   } while (0)

#endif
