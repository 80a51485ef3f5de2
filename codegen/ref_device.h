/* ref_device.h - the `ref` device: the interpreter behind the device table. */
#ifndef CG_REF_DEVICE_H
#define CG_REF_DEVICE_H

#include "runtime/device.h"

/* Evaluates the IR text of an artifact's "ref" target in f64, over contiguous states and source
 * rows. */
extern const rt_device_ops cg_ref_device;

#endif
