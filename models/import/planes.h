/* planes.h - joins the tensors of quantised safetensors checkpoints. */
#ifndef MODEL_PLANES_H
#define MODEL_PLANES_H

#include "config.h"

/* Joins codes and scales by planes.def, as quantization_config says; without one, nothing happens.
 * Call before tensors are named.
 *
 * Errors  UNSUPPORTED for methods, formats and blocks that are not read; BAD_INPUT for a weight
 * whose scales are missing or do not fit. */
SINTER_CHECKED sinter_status source_join_planes(model_source *s);

#endif
