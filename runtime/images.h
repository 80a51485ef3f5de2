/* images.h - the images of one request: which rows of its prompt are theirs, and where those stand.
 *
 *    prompt   a  b  <image> <image> <image> <image>  c        6 patches x 4 patches, merged 2 x 2
 *    time     0  1  2       2       2       2        4        a token's axes are one
 *    row      0  1  2       2       3       3        4
 *    column   0  1  2       3       2       3        4
 *
 * Behind an image the position goes on at the largest one, so that all later positions are `delta`
 * from their index. */
#ifndef RT_IMAGES_H
#define RT_IMAGES_H

#include "base/hash.h"
#include "base/plan.h"

typedef struct rt_images {
   float *features; /* f32[count][width] */
   int32_t *row_of; /* by index in the prompt: a row of features, -1 for tokens */
   int32_t (*at)[ROPE_AXES];
   int64_t num_prompt, delta;
   hash128 *media; /* by block of the prompt: names the images that begin before its end */
} rt_images;

/* Copies the images of a request; NULL in *out when it has none.
 *
 * Errors  UNSUPPORTED when the model sees none; USAGE when the prompt has no place for one of them,
 * or
 *         places that none fills. */
SINTER_CHECKED sinter_status rt_images_create(const plan *p, const sinter_request_options *o,
                                              rt_images **out);
void rt_images_destroy(rt_images *images);

/* The position of token `index` on each axis; images NULL: a text. */
void rt_images_at(const rt_images *images, int64_t index, int64_t out[ROPE_AXES]);

/* The features of token `index`, NULL where it is a token. */
const float *rt_images_row(const rt_images *images, int64_t index, uint32_t width);

/* Names the images that what block `index` keeps depends on; zero where there are none. */
hash128 rt_images_media(const rt_images *images, int64_t block);

#endif
