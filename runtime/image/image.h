/* image.h - image files in memory, as pixels, and as the rows of patches that a vision tower reads.
 *
 *    bytes ─decode─▶ RGB, 8 bits ─resize─▶ whole squares of patches ─patches─▶ f32 rows, normalised */
#ifndef RT_IMAGE_H
#define RT_IMAGE_H

#include "base/plan.h"

enum {
   RT_IMAGE_BYTES = 64 << 20, /* of a file */
   RT_IMAGE_SIDE = 1 << 14,   /* in pixels */
   RT_IMAGE_PIXELS = 1 << 26, /* of all */
   RT_IMAGE_RATIO = 200,      /* of the longer side to the shorter one */
};

/* rgb u8[height][width][3], from malloc. */
typedef struct rt_pixels {
   uint32_t width, height;
   uint8_t *rgb;
} rt_pixels;

/* Decodes a PNG, JPEG or WebP file; transparency is dropped, and a photograph turned as its
 * orientation says. Sizes are checked before anything is decoded. Errors BAD_INPUT for what is none
 * of these, damaged or too large; NO_DEVICE naming the library that is not there. */
SINTER_CHECKED sinter_status rt_image_decode(const uint8_t *bytes, size_t size, rt_pixels *out);

/* How an Exif block of a JPEG file says that its pixels are turned: 1 .. 8, 1 when it does not. */
uint32_t rt_image_orientation(const uint8_t *bytes, size_t size);

/* The pixels in another size: bicubic (a = -0.5), widened where it shrinks, first across, then
 * down, in integers with 22 bits behind the point. Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_image_resize(const rt_pixels *from, uint32_t width, uint32_t height,
                                             rt_pixels *out);

/* Sides in pixels of what an image is resized to: multiples of a merged square, the nearest ones
 * unless the area would leave min_pixels .. max_pixels. Errors BAD_INPUT for sides that differ too
 * much. */
SINTER_CHECKED sinter_status rt_image_size(const plan_vision *v, uint32_t width, uint32_t height,
                                           uint32_t *out_width, uint32_t *out_height);

/* Rows of patches, in the order of sinter_image, of pixels whose sides are such multiples:
 * (value / 255 - mean) / std, the one frame in all frames of a patch. out has height * width /
 * patch^2 rows. */
void rt_image_patches(const plan_vision *v, const rt_pixels *from, float *out);

#endif
