// LINK: runtime base
/* Any bytes as an image file: declined, or pixels that become patches. Sizes are kept small by the
 * bounds. */
#include <stdlib.h>

#include "runtime/image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   const plan_vision v = {.patch = 14,
                          .frames = 2,
                          .channels = 3,
                          .merge = 2,
                          .min_pixels = 56 * 56,
                          .max_pixels = 112 * 112,
                          .mean = {0.5, 0.5, 0.5},
                          .std = {0.5, 0.5, 0.5}};
   rt_pixels p, resized;
   uint32_t width, height;

   (void)rt_image_orientation(data, size);
   if (rt_image_decode(data, size, &p) != SINTER_ok)
      return 0;
   if (rt_image_size(&v, p.width, p.height, &width, &height) == SINTER_ok &&
       rt_image_resize(&p, width, height, &resized) == SINTER_ok) {
      float *out =
         malloc((size_t)(width / 14) * (height / 14) * plan_patch_width(&v) * sizeof *out);
      if (out)
         rt_image_patches(&v, &resized, out);
      free(out);
      free(resized.rgb);
   }
   free(p.rgb);
   return 0;
}
