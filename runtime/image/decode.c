/* decode.c - image files by Debian's libraries, which are opened when the first image comes. */
#include "image.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

/* As in png.h, version 1 of the simplified interface. */
typedef struct png_image {
   void *opaque;
   uint32_t version, width, height, format, flags, colormap_entries, warning_or_error;
   char message[64];
} png_image;

enum { PNG_VERSION = 1, PNG_RGBA = 3 };
/* As in turbojpeg.h. */
enum { JPEG_RGB = 0, JPEG_ACCURATE = 4096 };

static struct {
#define LIBRARY(id, file, package)
#define IMAGE_CALL(id, result, name, arguments) result(*name) arguments;
#include "image_api.def"
#undef LIBRARY
#undef IMAGE_CALL
} api;

typedef enum library {
#define LIBRARY(id, file, package) LIBRARY_##id,
#define IMAGE_CALL(id, result, name, arguments)
#include "image_api.def"
#undef LIBRARY
#undef IMAGE_CALL
   LIBRARY_COUNT
} library;

static const struct {
   const char *file, *package;
} libraries[] = {
#define LIBRARY(id, file, package) {file, package},
#define IMAGE_CALL(id, result, name, arguments)
#include "image_api.def"
#undef LIBRARY
#undef IMAGE_CALL
};

/* ---- libraries ---- */

static bool is_open[LIBRARY_COUNT];

static void find(void *handle, library l, library of, const char *name, void *out)
{
   void *address = l == of && is_open[l] ? dlsym(handle, name) : NULL;

   if (l != of)
      return;
   memcpy(out, &address, sizeof address);
   is_open[l] = is_open[l] && address;
}

static void open_library(library l)
{
   void *handle = dlopen(libraries[l].file, RTLD_NOW | RTLD_LOCAL);

   is_open[l] = handle != NULL;
#define LIBRARY(id, file, package)
#define IMAGE_CALL(id, result, name, arguments) find(handle, l, LIBRARY_##id, #name, &api.name);
#include "image_api.def"
#undef LIBRARY
#undef IMAGE_CALL
}

static void open_all(void)
{
   for (int l = 0; l < LIBRARY_COUNT; l++)
      open_library((library)l);
}

static sinter_status need(library l)
{
   static pthread_once_t once = PTHREAD_ONCE_INIT;

   pthread_once(&once, open_all);
   return is_open[l] ? SINTER_ok
                     : base_fail(SINTER_no_device, libraries[l].file,
                                 "run ./setup again, or install the package that holds it",
                                 "the library that decodes this image is not there (%s)",
                                 libraries[l].package);
}

/* ---- formats ---- */

static sinter_status damaged(const char *format)
{
   return base_fail(SINTER_bad_input, format, "save the image again", "the image is damaged");
}

/* Takes sizes that a header names, and room for their pixels of `channels` bytes. */
static sinter_status make_room(int64_t width, int64_t height, uint32_t channels, rt_pixels *out)
{
   if (width < 1 || height < 1 || width > RT_IMAGE_SIDE || height > RT_IMAGE_SIDE ||
       width * height > RT_IMAGE_PIXELS)
      return base_fail(
         SINTER_bad_input, "image", "use a smaller image",
         "an image of %lld x %lld pixels is not taken: at most %d a side, %d together",
         (long long)width, (long long)height, RT_IMAGE_SIDE, RT_IMAGE_PIXELS);
   *out = (rt_pixels){(uint32_t)width, (uint32_t)height,
                      malloc((size_t)width * (size_t)height * channels)};
   return out->rgb ? SINTER_ok
                   : base_fail(SINTER_out_of_memory, "image", "use a smaller image",
                               "no memory for its pixels");
}

static void drop_alpha(rt_pixels *p)
{
   size_t n = (size_t)p->width * p->height;

   for (size_t i = 0; i < n; i++)
      memmove(p->rgb + 3 * i, p->rgb + 4 * i, 3);
}

static sinter_status decode_png(const uint8_t *bytes, size_t size, rt_pixels *out)
{
   png_image image = {.version = PNG_VERSION};

   SINTER_TRY(need(LIBRARY_png));
   if (!api.png_image_begin_read_from_memory(&image, bytes, size))
      return damaged("PNG");
   sinter_status status = make_room(image.width, image.height, 4, out);
   if (status != SINTER_ok) {
      api.png_image_free(&image);
      return status;
   }
   image.format = PNG_RGBA;
   if (!api.png_image_finish_read(&image, NULL, out->rgb, 0, NULL))
      return damaged("PNG");
   drop_alpha(out);
   return SINTER_ok;
}

static sinter_status decompress(void *handle, const uint8_t *bytes, size_t size, rt_pixels *out)
{
   int width, height, subsampling, colours;

   if (api.tjDecompressHeader3(handle, bytes, size, &width, &height, &subsampling, &colours) != 0)
      return damaged("JPEG");
   SINTER_TRY(make_room(width, height, 3, out));
   return api.tjDecompress2(handle, bytes, size, out->rgb, width, 0, height, JPEG_RGB,
                            JPEG_ACCURATE) == 0
             ? SINTER_ok
             : damaged("JPEG");
}

static sinter_status decode_jpeg(const uint8_t *bytes, size_t size, rt_pixels *out)
{
   SINTER_TRY(need(LIBRARY_jpeg));
   void *handle = api.tjInitDecompress();
   if (!handle)
      return base_fail(SINTER_out_of_memory, "JPEG", "", "no memory for the decoder");
   sinter_status status = decompress(handle, bytes, size, out);
   (void)api.tjDestroy(handle);
   return status;
}

static sinter_status decode_webp(const uint8_t *bytes, size_t size, rt_pixels *out)
{
   int width, height;

   SINTER_TRY(need(LIBRARY_webp));
   if (!api.WebPGetInfo(bytes, size, &width, &height))
      return damaged("WebP");
   SINTER_TRY(make_room(width, height, 3, out));
   size_t room = 3 * (size_t)width * (size_t)height;
   return api.WebPDecodeRGBInto(bytes, size, out->rgb, room, 3 * width) ? SINTER_ok
                                                                        : damaged("WebP");
}

/* ---- orientation ---- */

/* Where the pixel at row y, column x of a picture of that orientation comes from. */
static size_t turned_from(const rt_pixels *p, uint32_t orientation, uint32_t y, uint32_t x)
{
   uint32_t w = p->width - 1, h = p->height - 1;

   switch (orientation) {
   case 2: x = w - x; break;
   case 3: x = w - x, y = h - y; break;
   case 4: y = h - y; break;
   case 5: return (size_t)x * p->width + y;
   case 6: return (size_t)(h - x) * p->width + y;
   case 7: return (size_t)(h - x) * p->width + (w - y);
   case 8: return (size_t)x * p->width + (w - y);
   default: break;
   }
   return (size_t)y * p->width + x;
}

static sinter_status turn(rt_pixels *p, uint32_t orientation)
{
   bool swaps = orientation >= 5;
   rt_pixels out;

   if (orientation == 1)
      return SINTER_ok;
   SINTER_TRY(make_room(swaps ? p->height : p->width, swaps ? p->width : p->height, 3, &out));
   for (uint32_t y = 0; y < out.height; y++)
      for (uint32_t x = 0; x < out.width; x++)
         memcpy(out.rgb + 3 * ((size_t)y * out.width + x),
                p->rgb + 3 * turned_from(p, orientation, y, x), 3);
   free(p->rgb);
   *p = out;
   return SINTER_ok;
}

/* ---- the whole ---- */

static bool begins(const uint8_t *bytes, size_t size, size_t at, const char *with, size_t n)
{
   return size >= at + n && memcmp(bytes + at, with, n) == 0;
}

static sinter_status decode(const uint8_t *bytes, size_t size, rt_pixels *out)
{
   if (begins(bytes, size, 0, "\x89PNG\r\n\x1a\n", 8))
      return decode_png(bytes, size, out);
   if (begins(bytes, size, 0, "\xff\xd8\xff", 3)) {
      SINTER_TRY(decode_jpeg(bytes, size, out));
      return turn(out, rt_image_orientation(bytes, size));
   }
   if (begins(bytes, size, 0, "RIFF", 4) && begins(bytes, size, 8, "WEBP", 4))
      return decode_webp(bytes, size, out);
   return base_fail(SINTER_bad_input, "image", "use a PNG, JPEG or WebP file",
                    "the bytes are none of these");
}

sinter_status rt_image_decode(const uint8_t *bytes, size_t size, rt_pixels *out)
{
   *out = (rt_pixels){0};
   if (size > RT_IMAGE_BYTES)
      return base_fail(SINTER_bad_input, "image", "use a smaller file",
                       "a file of %zu bytes is not taken: at most %d", size, RT_IMAGE_BYTES);
   sinter_status status = decode(bytes, size, out);
   if (status != SINTER_ok) {
      free(out->rgb);
      *out = (rt_pixels){0};
   }
   return status;
}
