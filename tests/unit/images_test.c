// LINK: runtime base
/* images_test.c - where images stand in a prompt, and what becomes of their pixels. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/image/image.h"
#include "runtime/images.h"
#include "runtime/kv/cache.h"

enum { IMAGE = 90, WIDTH = 2 };

static const rope_spec axes = {.width = 8, .sections = {2, 1, 1}};

static plan model(bool has_axes)
{
   static rope_spec ropes[2];
   plan p = {
      .model = {.vocab = 100, .width = WIDTH, .vision = {.patch = 4, .merge = 2, .token = IMAGE}},
      .num_ropes = 1,
      .ropes = &ropes[has_axes]};

   ropes[0] = ropes[1] = axes;
   memset(ropes[0].sections, 0, sizeof ropes[0].sections);
   return p;
}

static sinter_status place(const plan *p, const int32_t *prompt, uint32_t n,
                           const sinter_features *images, uint32_t count, rt_images **out)
{
   sinter_request_options o = {
      .prompt = prompt, .num_prompt = n, .images = images, .num_images = count};

   return rt_images_create(p, &o, out);
}

static void expect_at(const rt_images *images, int64_t index, int64_t t, int64_t h, int64_t w)
{
   int64_t at[ROPE_AXES];

   rt_images_at(images, index, at);
   cr_assert(at[0] == t && at[1] == h && at[2] == w,
             "token %lld is at %lld %lld %lld, not %lld %lld %lld", (long long)index,
             (long long)at[0], (long long)at[1], (long long)at[2], (long long)t, (long long)h,
             (long long)w);
}

/* Kills: rows and columns exchanged; text behind an image that counts its tokens; the second
 * image's rows taken from the first; frames that do not move on. */
Test(images, positions)
{
   const int32_t prompt[] = {5, IMAGE, IMAGE, IMAGE, IMAGE, IMAGE, IMAGE, 6, IMAGE, IMAGE, 7};
   const float rows[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21, 22, 23};
   const sinter_features images[] = {{rows, {1, 4, 6}}, {rows + 12, {2, 2, 2}}};
   const plan p = model(true);
   rt_images *it;

   cr_assert_eq(place(&p, prompt, 11, images, 2, &it), SINTER_ok, "%s", sinter_error());
   expect_at(it, 0, 0, 0, 0);
   for (int i = 0; i < 6; i++) {
      expect_at(it, 1 + i, 1, 1 + i / 3, 1 + i % 3);
      cr_assert(rt_images_row(it, 1 + i, WIDTH)[1] == rows[2 * i + 1]);
   }
   expect_at(it, 7, 4, 4, 4);
   expect_at(it, 8, 5, 5, 5);
   expect_at(it, 9, 6, 5, 5);
   expect_at(it, 10, 7, 7, 7);
   expect_at(it, 11, 8, 8, 8);
   cr_assert(rt_images_row(it, 9, WIDTH)[0] == 22 && !rt_images_row(it, 7, WIDTH));
   cr_assert_null(rt_images_row(it, 11, WIDTH));
   rt_images_destroy(it);
   expect_at(NULL, 3, 3, 3, 3);
}

/* Kills: axes of a model that has none. */
Test(images, plain_positions)
{
   const int32_t prompt[] = {5, IMAGE, IMAGE, IMAGE, IMAGE, 6};
   const float rows[8] = {0};
   const sinter_features image = {rows, {1, 4, 4}};
   const plan p = model(false);
   rt_images *it;

   cr_assert_eq(place(&p, prompt, 6, &image, 1, &it), SINTER_ok);
   for (int i = 0; i < 7; i++)
      expect_at(it, i, i, i, i);
   rt_images_destroy(it);
}

/* Kills: a block whose name does not tell its image from another, or the same one cut otherwise;
 * text in front that is not shared. */
Test(images, names_of_blocks)
{
   int32_t prompt[64] = {0};
   float rows[2][16] = {{1, 2, 3}, {1, 2, 4}};
   const sinter_features a = {rows[0], {1, 4, 8}}, b = {rows[1], {1, 4, 8}},
                         turned = {rows[0], {1, 8, 4}};
   const plan p = model(true);
   rt_images *x, *y, *z;

   for (int i = 20; i < 28; i++)
      prompt[i] = IMAGE;
   cr_assert_eq(place(&p, prompt, 64, &a, 1, &x), SINTER_ok);
   cr_assert_eq(place(&p, prompt, 64, &b, 1, &y), SINTER_ok);
   cr_assert_eq(place(&p, prompt, 64, &turned, 1, &z), SINTER_ok);
   const hash128 none = rt_images_media(NULL, 1), front = rt_images_media(x, 0);
   cr_assert(!none.lo && !none.hi && !front.lo && !front.hi);
   for (int64_t block = 1; block < 6; block++) {
      const hash128 n = rt_images_media(x, block), m = rt_images_media(y, block);
      const hash128 o = rt_images_media(z, block);
      cr_assert((n.lo != m.lo || n.hi != m.hi) && (n.lo != o.lo || n.hi != o.hi) && (n.lo || n.hi));
   }
   rt_images_destroy(x);
   rt_images_destroy(y);
   rt_images_destroy(z);
}

/* Kills: a prompt with too few, too many or scattered places; a grid that is none; a model without
 * a tower. */
Test(images, refusals)
{
   const int32_t prompt[] = {5, IMAGE, IMAGE, IMAGE, 6, IMAGE};
   const float rows[64] = {0};
   static const struct {
      uint32_t grid[3], count;
      sinter_status status;
   } cases[] = {{{1, 4, 4}, 1, SINTER_usage},       {{1, 2, 4}, 1, SINTER_usage},
                {{1, 2, 6}, 1, SINTER_usage},       {{1, 2, 2}, 2, SINTER_usage},
                {{0, 2, 6}, 1, SINTER_usage},       {{1, 3, 6}, 1, SINTER_usage},
                {{1, 2, 1u << 31}, 1, SINTER_usage}};
   plan p = model(true);
   rt_images *it;

   for (size_t i = 0; i < countof(cases); i++) {
      sinter_features images[2] = {{.rows = rows}, {.rows = rows}};
      for (int k = 0; k < 2; k++)
         memcpy(images[k].grid, cases[i].grid, sizeof images[k].grid);
      cr_expect_eq(place(&p, prompt, 6, images, cases[i].count, &it), cases[i].status, "case %zu",
                   i);
      cr_expect_null(it);
   }
   p.model.vision.patch = 0;
   cr_assert_eq(place(&p, prompt, 6, &(sinter_features){rows, {1, 2, 6}}, 1, &it),
                SINTER_unsupported);
   cr_assert_eq(place(&p, prompt, 6, NULL, 0, &it), SINTER_ok);
   cr_assert_null(it);
}

/* ---- pixels ---- */

static const plan_vision tower = {.patch = 14,
                                  .frames = 2,
                                  .channels = 3,
                                  .merge = 2,
                                  .min_pixels = 56 * 56,
                                  .max_pixels = 28 * 28 * 1280,
                                  .mean = {0.5, 0.25, 0},
                                  .std = {0.5, 1, 2}};

/* Sizes by the reference's rule. Kills: rounding away from zero at ties; an area out of bounds;
 * sides exchanged. */
Test(pixels, sizes)
{
   static const uint32_t cases[][4] = {
      {28, 28, 56, 56},        {640, 480, 644, 476},   {70, 98, 56, 112}, {1, 150, 28, 140},
      {4000, 3000, 1148, 840}, {1280, 720, 1288, 728}, {200, 1, 196, 28},
   };
   uint32_t w, h;

   for (size_t i = 0; i < countof(cases); i++) {
      cr_assert_eq(rt_image_size(&tower, cases[i][0], cases[i][1], &w, &h), SINTER_ok);
      cr_expect(w == cases[i][2] && h == cases[i][3], "%u x %u becomes %u x %u, not %u x %u",
                cases[i][0], cases[i][1], w, h, cases[i][2], cases[i][3]);
   }
   cr_assert_eq(rt_image_size(&tower, 201, 1, &w, &h), SINTER_bad_input);
}

static rt_pixels ramp(uint32_t w, uint32_t h)
{
   rt_pixels p = {w, h, malloc((size_t)3 * w * h)};

   for (uint32_t i = 0; i < w * h; i++) {
      p.rgb[3 * i] = (uint8_t)(2 * (i % w));
      p.rgb[3 * i + 1] = (uint8_t)(3 * (i / w));
      p.rgb[3 * i + 2] = 77;
   }
   return p;
}

/* The cubic keeps ramps but at the edges, and what is flat. Kills: a center off by half a pixel;
 * axes exchanged; weights that do not add up; a channel read for another. */
Test(pixels, resize)
{
   rt_pixels from = ramp(100, 60), to;

   cr_assert_eq(rt_image_resize(&from, 50, 20, &to), SINTER_ok);
   for (uint32_t y = 2; y < 18; y++)
      for (uint32_t x = 2; x < 48; x++) {
         const uint8_t *p = to.rgb + 3 * (y * 50 + x);
         cr_assert(fabs(p[0] - (4 * x + 1.0)) <= 1 && fabs(p[1] - (9 * y + 3.0)) <= 1 &&
                   p[2] == 77);
      }
   free(to.rgb);
   cr_assert_eq(rt_image_resize(&from, 100, 60, &to), SINTER_ok);
   cr_assert_eq(memcmp(from.rgb, to.rgb, 3 * 100 * 60), 0);
   free(to.rgb);
   cr_assert_eq(rt_image_resize(&from, 200, 60, &to), SINTER_ok);
   cr_assert(fabs(to.rgb[3 * (200 * 30 + 101)] - 100.5) <= 1);
   free(to.rgb);
   free(from.rgb);
}

/* Kills: another order of rows, channels or frames; a mean of another channel. */
Test(pixels, patches)
{
   const plan_vision v = {.patch = 2,
                          .frames = 2,
                          .channels = 3,
                          .merge = 2,
                          .mean = {0.5, 0.25, 0},
                          .std = {0.5, 1, 2}};
   rt_pixels p = ramp(8, 4);
   float out[8 * 24];

   rt_image_patches(&v, &p, out);
   for (uint32_t n = 0; n < 8; n++) { /* two squares side by side */
      const uint32_t row = n % 4 / 2, col = n / 4 * 2 + n % 2;
      for (uint32_t i = 0; i < 24; i++) {
         const uint32_t c = i / 8, y = 2 * row + i % 4 / 2, x = 2 * col + i % 2;
         const float want =
            ((float)p.rgb[3 * (8 * y + x) + c] / 255.0f - (float)v.mean[c]) / (float)v.std[c];
         cr_assert(out[24 * n + i] == want, "patch %u [%u]", n, i);
      }
   }
   free(p.rgb);
}

/* A file of tests/data/images. */
static rt_pixels decoded(const char *name)
{
   char path[512];
   uint8_t bytes[8192];
   rt_pixels p = {.rgb = NULL};

   snprintf(path, sizeof path, "%s/data/images/%s", TEST_ROOT, name);
   FILE *f = fopen(path, "rb");
   cr_assert(f, "%s", path);
   size_t n = fread(bytes, 1, sizeof bytes, f);
   fclose(f);
   cr_assert(n > 0 && n < sizeof bytes);
   cr_assert(rt_image_decode(bytes, n, &p) == SINTER_ok, "%s: %s", name, sinter_error());
   return p;
}

/* Kills: a decoder that is never called right: channels exchanged, rows of another length, a
 * photograph that is not turned. The files were written by Pillow from one picture; of the JPEG
 * file, whose losses are a few levels on a smooth picture, Pillow reads back values within 4 of
 * it. */
Test(pixels, files)
{
   rt_pixels png = decoded("photo.png"), webp = decoded("photo.webp"), jpeg = decoded("photo.jpg"),
             turned = decoded("turned.jpg");

   cr_assert(png.width == 23 && png.height == 17);
   cr_assert(webp.width == 23 && webp.height == 17);
   cr_assert(memcmp(png.rgb, webp.rgb, 3 * 23 * 17) == 0);
   cr_assert(jpeg.width == 23 && jpeg.height == 17);
   cr_assert(turned.width == 17 && turned.height == 23);
   for (int y = 0; y < 17; y++)
      for (int x = 0; x < 23; x++)
         for (int c = 0; c < 3; c++) {
            const int at = 3 * (23 * y + x) + c;
            const int want = MIN(c == 0 ? 11 * x : c == 1 ? 15 * y : 5 * x + 7 * y, 255);
            cr_assert_eq(png.rgb[at], want);
            cr_assert(abs(jpeg.rgb[at] - want) <= 4, "%d, not %d", jpeg.rgb[at], want);
            /* 6: what is shown as the right column is stored as the first row */
            cr_assert_eq(turned.rgb[3 * (17 * x + 16 - y) + c], jpeg.rgb[at]);
         }
   free(png.rgb);
   free(webp.rgb);
   free(jpeg.rgb);
   free(turned.rgb);
}

/* Kills: another kernel or rounding than Pillow's bicubic, which the checkpoints were trained
 * behind. */
Test(pixels, resize_as_recorded)
{
   static const struct {
      const char *name;
      uint32_t width, height;
   } files[] = {{"noise_40x30.png", 40, 30}, {"noise_9x7.png", 9, 7}, {"noise_23x5.png", 23, 5}};
   rt_pixels from = decoded("noise.png");

   for (size_t i = 0; i < countof(files); i++) {
      rt_pixels want = decoded(files[i].name), got;
      cr_assert(rt_image_resize(&from, files[i].width, files[i].height, &got) == SINTER_ok);
      cr_assert(want.width == files[i].width && want.height == files[i].height);
      for (uint32_t j = 0; j < 3 * want.width * want.height; j++)
         cr_assert_eq(got.rgb[j], want.rgb[j], "%s [%u]: %d, not %d", files[i].name, j, got.rgb[j],
                      want.rgb[j]);
      free(want.rgb);
      free(got.rgb);
   }
   free(from.rgb);
}

/* Kills: an offset read past the file; the byte order of the other camera; a value that is no
 * orientation. */
Test(pixels, orientation)
{
   static const uint8_t little[] = {
      0xff, 0xd8, 0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0,    0,
      1,    0,    0x12, 1,    3, 0,  1,   0,   0,   0,   6, 0, 0,   0,   0,  0, 0, 0, 0xff, 0xda};
   static const uint8_t big[] = {0xff, 0xd8, 0xff, 0xe0, 0, 4,    1,   2,   0xff, 0xe1, 0, 34,
                                 'E',  'x',  'i',  'f',  0, 0,    'M', 'M', 0,    42,   0, 0,
                                 0,    8,    0,    1,    1, 0x12, 0,   3,   0,    0,    0, 1,
                                 0,    8,    0,    0,    0, 0,    0,   0,   0xff, 0xda};
   uint8_t odd[sizeof little];

   cr_assert_eq(rt_image_orientation(little, sizeof little), 6);
   cr_assert_eq(rt_image_orientation(big, sizeof big), 8);
   for (size_t n = 0; n < sizeof little; n++) {
      uint8_t *part = malloc(n + 1); /* of its exact size, so that address checks see the end */
      memcpy(part, little, n);
      const uint32_t got = rt_image_orientation(part, n);
      cr_assert(got == 1 || got == 6);
      free(part);
   }
   memcpy(odd, little, sizeof odd);
   odd[30] = 9;
   cr_assert_eq(rt_image_orientation(odd, sizeof odd), 1);
}

/* Kills: a size that is believed before it is checked; bytes taken for a format by a part of its
 * name. */
Test(pixels, hostile)
{
   static const uint8_t huge_png[] =
      "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0";
   static const uint8_t riff[] = "RIFF\x10\0\0\0WAVEfmt ";
   rt_pixels p;

   cr_assert_neq(rt_image_decode(huge_png, sizeof huge_png - 1, &p), SINTER_ok);
   cr_assert_null(p.rgb);
   cr_assert_eq(rt_image_decode(riff, sizeof riff - 1, &p), SINTER_bad_input);
   cr_assert_eq(rt_image_decode((const uint8_t *)"", 0, &p), SINTER_bad_input);
}
