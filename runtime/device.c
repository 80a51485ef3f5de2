/* device.c - devices by name. */
#include "device.h"

#include "compile.h"
#include "dev_gpu.h"

static sinter_status find_in_runtime(const rt_device_ops *ops, const rt_device_ops **out)
{
   *out = ops;
   return SINTER_ok;
}

static sinter_status find_in_compiler(const char *name, const rt_device_ops **out)
{
   const compiler_api *api;

   SINTER_TRY(rt_compiler_open(&api));
   *out = api->ref_device;
   if (!*out)
      return base_fail(SINTER_no_device, name, "build the compiler library with it",
                       "the compiler library has no interpreter");
   return SINTER_ok;
}

static sinter_status no_name(const char *name)
{
   return base_fail(SINTER_usage, name, "use one of"
#define DEVICE(id, text, home, target, what) " " text
#include "base/devices.def"
#undef DEVICE
                    ,
                    "there is no device of this name");
}

#define FIND_runtime(id, name) find_in_runtime(&rt_##id##_device, out)
#define FIND_compiler(id, name) find_in_compiler(name, out)

sinter_status rt_device_find(const char *name, const rt_device_ops **out)
{
   if (!name)
      name = "cpu";
#define DEVICE(id, text, home, target, what)                                                       \
   if (strcmp(name, text) == 0)                                                                    \
      return FIND_##home(id, text);
#include "base/devices.def"
#undef DEVICE
   return no_name(name);
}

const char *sinter_device_target(const char *device)
{
#define DEVICE(id, text, home, target, what)                                                       \
   if (strcmp(device ? device : "cpu", text) == 0)                                                 \
      return target;
#include "base/devices.def"
#undef DEVICE
   (void)no_name(device);
   return NULL;
}
