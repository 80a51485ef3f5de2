/* vision.h - what the parts of the runtime that know images share. */
#ifndef RT_VISION_H
#define RT_VISION_H

#include "base/plan.h"

/* Takes the part of an option struct that the caller knows; the rest stays zero. */
void rt_take_options(void *out, size_t size, const void *options);

#endif
