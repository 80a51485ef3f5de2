/* api.c - from the bytes of an image file to the image that a tower encodes. */
#include "image.h"

#include <stdlib.h>

#include "runtime/artifact.h"

static sinter_status cut(const plan_vision *v, const rt_pixels *p, sinter_image *out)
{
   size_t rows = (size_t)(p->width / v->patch) * (p->height / v->patch);
   float *pixels = malloc(rows * plan_patch_width(v) * sizeof *pixels);

   if (!pixels)
      return base_fail(SINTER_out_of_memory, "image", "use a smaller image",
                       "no memory for its patches");
   rt_image_patches(v, p, pixels);
   *out = (sinter_image){pixels, {1, p->height / v->patch, p->width / v->patch}};
   return SINTER_ok;
}

static sinter_status fit(const plan_vision *v, const rt_pixels *p, sinter_image *out)
{
   uint32_t width, height;
   rt_pixels resized;

   SINTER_TRY(rt_image_size(v, p->width, p->height, &width, &height));
   if (width == p->width && height == p->height)
      return cut(v, p, out);
   SINTER_TRY(rt_image_resize(p, width, height, &resized));
   sinter_status status = cut(v, &resized, out);
   free(resized.rgb);
   return status;
}

sinter_status sinter_image_read(const sinter_artifact *a, const void *bytes, size_t size,
                                sinter_image *out)
{
   const plan_vision *v = &rt_artifact_plan(rt_artifact_of(a), 0)->model.vision;
   rt_pixels p;

   *out = (sinter_image){0};
   if (!v->patch)
      return base_fail(SINTER_unsupported, "image", "take text, or a model with a vision tower",
                       "this model sees no images");
   SINTER_TRY(rt_image_decode(bytes, size, &p));
   sinter_status status = fit(v, &p, out);
   free(p.rgb);
   return status;
}

void sinter_image_free(sinter_image *image)
{
   free((void *)(uintptr_t)image->pixels);
   *image = (sinter_image){0};
}
