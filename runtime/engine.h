/* engine.h - an engine over any plan and device, for the public API and for tests. */
#ifndef RT_ENGINE_H
#define RT_ENGINE_H

#include "base/hash.h"
#include "device.h"

typedef struct rt_engine_setup {
   const plan *plan;
   const rt_device_ops *ops;
   const rt_artifact *artifact; /* given to ops->open */
   hash128 fingerprint;         /* of everything that the content of a KV page depends on */
} rt_engine_setup;

/* As sinter_engine_create; options->device is not looked at. */
SINTER_CHECKED sinter_status rt_engine_create(const rt_engine_setup *setup,
                                              const sinter_engine_options *options,
                                              sinter_engine **out);

#endif
