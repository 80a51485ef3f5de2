/* resize.c - another size by weights over neighbours, and the size that a tower wants. */
#include "image.h"

#include <math.h>
#include <stdlib.h>

enum { BITS = 22 };

/* What each position of a line is made of: `count` elements from `first` on, by weights[position *
 * most]. */
typedef struct kernel {
   uint32_t most;
   uint32_t *first, *count;
   int32_t *weights;
} kernel;

static double cubic(double x)
{
   const double a = -0.5;

   x = fabs(x);
   if (x < 1)
      return ((a + 2) * x - (a + 3)) * x * x + 1;
   return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static void kernel_free(kernel *k)
{
   free(k->first);
   free(k->count);
   free(k->weights);
}

/* Weights of position i, which add up to one. */
static void weigh(kernel *k, uint32_t i, uint32_t from, double ratio, double wide, double *scratch)
{
   double center = (i + 0.5) * ratio, sum = 0;
   double low = floor(center - 2 * wide + 0.5), high = floor(center + 2 * wide + 0.5);
   uint32_t first = low > 0 ? (uint32_t)low : 0, end = (uint32_t)MIN(high, (double)from);

   for (uint32_t j = first; j < end; j++)
      sum += scratch[j - first] = cubic((j - center + 0.5) / wide);
   for (uint32_t j = 0; j < end - first; j++) {
      double w = (sum != 0 ? scratch[j] / sum : scratch[j]) * (1 << BITS);
      k->weights[(size_t)i * k->most + j] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
   }
   k->first[i] = first;
   k->count[i] = end - first;
}

static bool kernel_make(kernel *k, uint32_t from, uint32_t to)
{
   double ratio = (double)from / to, wide = MAX(ratio, 1);

   k->most = (uint32_t)ceil(2 * wide) * 2 + 1;
   k->first = calloc(to, sizeof *k->first);
   k->count = calloc(to, sizeof *k->count);
   k->weights = calloc((size_t)to * k->most, sizeof *k->weights);
   double *scratch = calloc(k->most, sizeof *scratch);
   bool good = k->first && k->count && k->weights && scratch;
   for (uint32_t i = 0; good && i < to; i++)
      weigh(k, i, from, ratio, wide, scratch);
   free(scratch);
   return good;
}

static uint8_t clip(int64_t v)
{
   v >>= BITS;
   return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

/* One line of `to` pixels out of one whose pixels are `step` bytes apart. */
static void resize_line(const kernel *k, const uint8_t *from, size_t step, uint32_t to,
                        uint8_t *out, size_t out_step)
{
   for (uint32_t i = 0; i < to; i++) {
      const int32_t *w = k->weights + (size_t)i * k->most;
      int64_t sum[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
      for (uint32_t j = 0; j < k->count[i]; j++)
         for (int c = 0; c < 3; c++)
            sum[c] += (int64_t)w[j] * from[(k->first[i] + j) * step + (size_t)c];
      for (int c = 0; c < 3; c++)
         out[i * out_step + (size_t)c] = clip(sum[c]);
   }
}

static bool resize(const rt_pixels *from, const kernel *across, const kernel *down,
                   uint8_t *between, rt_pixels *out)
{
   if (!out->rgb || !between)
      return false;
   for (uint32_t y = 0; y < from->height; y++)
      resize_line(across, from->rgb + (size_t)3 * y * from->width, 3, out->width,
                  between + (size_t)3 * y * out->width, 3);
   for (uint32_t x = 0; x < out->width; x++)
      resize_line(down, between + (size_t)3 * x, (size_t)3 * out->width, out->height,
                  out->rgb + (size_t)3 * x, (size_t)3 * out->width);
   return true;
}

sinter_status rt_image_resize(const rt_pixels *from, uint32_t width, uint32_t height,
                              rt_pixels *out)
{
   kernel across = {0}, down = {0};
   uint8_t *between = malloc((size_t)3 * width * from->height);

   *out = (rt_pixels){width, height, malloc((size_t)3 * width * height)};
   bool good = kernel_make(&across, from->width, width) &&
               kernel_make(&down, from->height, height) &&
               resize(from, &across, &down, between, out);
   kernel_free(&across);
   kernel_free(&down);
   free(between);
   if (good)
      return SINTER_ok;
   free(out->rgb);
   *out = (rt_pixels){0};
   return base_fail(SINTER_out_of_memory, "image", "use a smaller image", "no memory to resize it");
}

/* To the nearest multiple, ties to even ones; at least one. */
static double nearest(double side, double factor)
{
   return MAX(rint(side / factor), 1) * factor;
}

sinter_status rt_image_size(const plan_vision *v, uint32_t width, uint32_t height,
                            uint32_t *out_width, uint32_t *out_height)
{
   double factor = (double)v->patch * v->merge, w = width, h = height, most = (double)v->max_pixels,
          least = (double)v->min_pixels;
   double to_w = nearest(w, factor), to_h = nearest(h, factor);

   if (MAX(w, h) > RT_IMAGE_RATIO * MIN(w, h))
      return base_fail(SINTER_bad_input, "image", "crop the image",
                       "one side of %u x %u pixels is more than %d times the other", width, height,
                       RT_IMAGE_RATIO);
   if (to_w * to_h > most) {
      double shrink = sqrt(w * h / most);
      to_h = MAX(floor(h / shrink / factor), 1) * factor;
      to_w = MAX(floor(w / shrink / factor), 1) * factor;
   } else if (to_w * to_h < least) {
      double grow = sqrt(least / (w * h));
      to_h = ceil(h * grow / factor) * factor;
      to_w = ceil(w * grow / factor) * factor;
   }
   *out_width = (uint32_t)to_w;
   *out_height = (uint32_t)to_h;
   return SINTER_ok;
}

/* ---- patches ---- */

/* One channel of the square of pixels at row y, column x. */
static void copy_square(const plan_vision *v, const rt_pixels *from, size_t y, size_t x,
                        uint32_t channel, float *out)
{
   const float mean = (float)v->mean[channel], std = (float)v->std[channel];

   for (uint32_t i = 0; i < v->patch; i++)
      for (uint32_t j = 0; j < v->patch; j++) {
         uint8_t value = from->rgb[3 * ((y + i) * from->width + x + j) + channel];
         *out++ = ((float)value / 255.0f - mean) / std;
      }
}

void rt_image_patches(const plan_vision *v, const rt_pixels *from, float *out)
{
   const uint32_t m = v->merge, square = v->patch * v->patch, wide = from->width / v->patch;
   const uint32_t high = from->height / v->patch;

   for (uint32_t n = 0; n < wide * high; n++) {
      const uint32_t block = n / (m * m), in = n % (m * m);
      const size_t row = block / (wide / m) * m + in / m, col = block % (wide / m) * m + in % m;
      for (uint32_t c = 0; c < v->channels; c++, out += (size_t)v->frames * square)
         for (uint32_t f = 0; f < v->frames; f++)
            copy_square(v, from, row * v->patch, col * v->patch, c, out + (size_t)f * square);
   }
}
