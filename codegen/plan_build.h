/* plan_build.h - a grouped function with places, as a plan and the kernels that it launches. */
#ifndef CG_PLAN_BUILD_H
#define CG_PLAN_BUILD_H

#include "lower.h"
#include "models/model.h"

enum { CG_DECODE_ROWS = 16 }; /* up to here, attention is parallel over the context */

typedef struct cg_plan {
   plan plan;
   cg_kernel *kernels; /* plan.num_kernels of them, in order of first use */
} cg_plan;

/* A grouped function with its layout. */
typedef struct cg_form {
   const ir_func *f;
   const pass_layout *layout;
   const arch_info *arch; /* kernels are SIMT text for it; NULL: for a CPU */
} cg_form;

/* Lowers every group of a form for every variant. `prompts` is the form of the prefill variant,
 * NULL: as all others; its layout shares the weights of `form`. isa NULL: a target without kernels
 * (ref): no variants. */
SINTER_CHECKED sinter_status cg_plan_build(arena *a, const model *m, const cg_form *form,
                                           const cg_form *prompts, const char *target,
                                           const isa_info *isa, sinter_numerics numerics,
                                           cg_plan *out);

#endif
