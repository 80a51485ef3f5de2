/* dev_gpu.h - the devices cuda and hip, and the mock ones: drivers of vendors behind the device
 * table. */
#ifndef RT_DEV_GPU_H
#define RT_DEV_GPU_H

#include "device.h"

extern const rt_device_ops rt_cuda_device, rt_hip_device, rt_mock_cuda_device, rt_mock_hip_device;

#endif
