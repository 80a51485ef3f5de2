/* golden_parts.h - parts of the golden-file runner that golden.c calls. */
#ifndef PASS_GOLDEN_PARTS_H
#define PASS_GOLDEN_PARTS_H

#include "golden.h"

/* Appends the text of a case with its CHECK and CHECK-NEXT lines replaced by ones that `printed`
 * meets; sentences and all other directives stay where they are. */
void pass_golden_rewrite(text_buf *out, const char *text, size_t len, const char *printed);

/* The same function in another shape: what a pass must not depend on. */
typedef enum pass_variant { PASS_VARIANT_eps, PASS_VARIANT_width, PASS_VARIANT_COUNT } pass_variant;
extern const char *const pass_variant_names[PASS_VARIANT_COUNT];

/* A variant of f: every eps another number, or every width of at least 8 one larger. NULL when f
 * has nothing to vary, or is not valid in that shape. */
ir_func *pass_golden_variant(arena *a, const ir_func *f, pass_variant v);

#endif
