/* pack_weights.h - runs a plan's weight recipes into a file. */
#ifndef CG_PACK_WEIGHTS_H
#define CG_PACK_WEIGHTS_H

#include "base/compiler_api.h"
#include "base/hash.h"
#include "models/model.h"

/* Packs every weight of p into fd from byte `base` on, with request->threads threads, then reads
 * the bytes back for their checksums: sums[artifact_chunks(p->weight_bytes)] of XXH3-64, and the
 * tree digest of artifact.h. Memory: one buffer of about a MiB a thread, and the mapped checkpoint.
 * where names the file in errors. Errors BAD_INPUT when a recipe does not fit its tensors, IO. */
SINTER_CHECKED sinter_status cg_pack_weights(const compiler_request *request, arena *a,
                                             const model *m, const plan *p, int fd, uint64_t base,
                                             const char *where, uint64_t *sums, digest *out);

#endif
