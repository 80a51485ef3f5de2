/* simt.h - kernels as SIMT text: the language of kernels/simt.h, for CUDA, HIP and the host.
 *
 *    launch of a family ─grid─▶ tiles of the GPU kernel, the same pointers and constants
 *    kernel of a family ─emit─▶ its text: a template of kernels/ with its parameters in front, or,
 *                               for row kernels, statements generated from the group
 *    all kernels        ─cg_simt_text─▶ one text ─cg_simt_objects─▶ an object a kernel */
#ifndef CG_SIMT_H
#define CG_SIMT_H

#include "base/arch.h"
#include "base/arena.h"
#include "base/compiler_api.h"
#include "lower.h"

/* Of sample.cuh: constants of its launches; logits that a block looks at first. */
enum { SAMPLE_V, SAMPLE_CHUNKS, SAMPLE_CONSTS };
enum { SAMPLE_CHUNK = 4096 };

/* How a family is emitted and launched where kernels are SIMT text. */
struct cg_simt_kind {
   /* what: the family's key. */
   void (*emit)(arena *a, text_buf *out, const char *symbol, const void *what);
   /* Tiles of a launch that was made for a CPU; NULL: the same ones. */
   void (*grid)(const arch_info *arch, const void *what, plan_launch *launch);
};

/* The text that is put in front of everything else gives the words their meaning. */
typedef enum cg_dialect { CG_CUDA, CG_HIP, CG_HOST } cg_dialect;

/* What kernels are made for. */
typedef struct cg_machine {
   const arch_info *arch;
   bool matrix; /* products may use its matrix instructions */
} cg_machine;

/* The language, then every kernel behind a line that names it. Equal inputs, equal text. Errors
 * UNSUPPORTED naming family and target when a kernel has no SIMT form. */
SINTER_CHECKED sinter_status cg_simt_text(arena *a, cg_dialect dialect, cg_machine machine,
                                          const char *target, const cg_kernel *kernels,
                                          uint32_t num_kernels, text_buf *out);

/* $SINTER_KERNELS/<target>.simt in the place of the text, when it is there. Its digest is part of
 * the cache key (runtime/key.c). */
SINTER_CHECKED sinter_status cg_simt_substitute(arena *a, const char *target, text_buf *text);

/* Fails unless the kernel has a SIMT form; then sets the launch's tiles, and makes its symbol one
 * of C. */
SINTER_CHECKED sinter_status cg_simt_launch(arena *a, const char *target, const arch_info *arch,
                                            cg_launch *launch);

/* Appends the text of a file of kernels/, with a line directive. */
void cg_simt_include(text_buf *out, const char *name);

/* How elements of a type are spelled, and turned into a float and back; NULL: kernels have no such
 * memory. */
typedef struct cg_simt_type {
   const char *name, *load, *store;
} cg_simt_type;

const cg_simt_type *cg_simt_type_of(dtype t);

/* Defines `name`(base, i): element i of an array of floats of that type. */
void cg_simt_load(text_buf *out, const char *name, dtype t);
/* Defines `name`(base, i, v), which stores it. */
void cg_simt_store(text_buf *out, const char *name, dtype t);

/* Defines `name` as the simt_format of a row of panels.def. */
void cg_simt_format(text_buf *out, const char *name, panel_layout layout);

/* ---- where the text is compiled ---- */

typedef struct cg_simt_request {
   const compiler_request
      *compile; /* threads, progress; which compilers there are, and where objects are kept */
   cg_dialect dialect;
   const arch_info *arch;
   const char *target;
} cg_simt_request;

/* The code section of a target: the text cut into modules, one a kernel, each compiled or taken
 * from where it is kept. */
SINTER_CHECKED sinter_status cg_simt_objects(arena *a, const cg_simt_request *q,
                                             const text_buf *text, const cg_kernel *kernels,
                                             uint32_t num_kernels, const uint8_t **out,
                                             size_t *out_size);

/* The text of a module as a code object: a cubin, an AMD code object, or for the mock devices a
 * shared object by the system's C compiler. What the compiler says goes to
 * $SINTER_DUMP/<dump>.resources. Any thread. Errors NO_DEVICE when the compiler is not here. */
SINTER_CHECKED sinter_status cg_simt_object(arena *a, cg_dialect dialect, const arch_info *arch,
                                            const char *dump, const char *text, size_t size,
                                            const uint8_t **out, size_t *out_size);

/* One of the three, by dialect. */
SINTER_CHECKED sinter_status cg_host_object(arena *a, const char *text, size_t size,
                                            const uint8_t **out, size_t *out_size);
SINTER_CHECKED sinter_status cg_cuda_object(arena *a, const arch_info *arch, const char *dump,
                                            const char *text, const uint8_t **out,
                                            size_t *out_size);
SINTER_CHECKED sinter_status cg_hip_object(arena *a, const arch_info *arch, const char *dump,
                                           const char *text, size_t size, const uint8_t **out,
                                           size_t *out_size);

#endif
