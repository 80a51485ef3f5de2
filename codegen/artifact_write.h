/* artifact_write.h - puts what a compile made into an artifact file. */
#ifndef CG_ARTIFACT_WRITE_H
#define CG_ARTIFACT_WRITE_H

#include "base/compiler_api.h"
#include "models/model.h"

/* What one target adds. The plan's weights are the recipes. */
typedef struct cg_artifact_target {
   const model *m; /* whose tensors its weights are: the model, or its vision tower */
   const plan *plan;
   const uint8_t *code; /* relocatable ELF; NULL for targets without code */
   size_t code_size;
   const char *ir, *explain; /* IR text after the passes (unfused for ref), JSON; NULL: left out */
} cg_artifact_target;

/* Writes the artifact of model m to request->out_path, with its weights inside, or in
 * request->weights_dir under the name of their digest. Packs from the mapped checkpoint with
 * request->threads threads through small buffers, reports STAGE_pack and STAGE_write, and has all
 * bytes on the disk when it returns. The bytes depend on the arguments request->key_json, m and
 * targets only. Errors IO (disk full names the file); nothing is left behind then. */
SINTER_CHECKED sinter_status cg_artifact_write(const compiler_request *request, const model *m,
                                               const cg_artifact_target *targets,
                                               uint32_t num_targets, const char *llvm_version);

#endif
