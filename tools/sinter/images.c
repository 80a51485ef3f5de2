/* images.c - images of a command line, from files or rows of patches to features. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int bad_grid(const options *o)
{
   return cli_usage_error("--grid is frames, rows and columns of patches, e.g. 1,4,6, not '%s'",
                          o->grid ? o->grid : "");
}

static int read_grid(const options *o, sinter_image *out)
{
   int32_t *grid = NULL;
   size_t count = 0;
   bool good = o->grid && cli_ids(o->grid, &grid, &count) && count == 3;

   for (size_t i = 0; good && i < 3; i++) {
      out->grid[i] = (uint32_t)grid[i];
      good = grid[i] >= 1 && grid[i] <= 1 << 15;
   }
   free(grid);
   return good ? 0 : bad_grid(o);
}

static int take_pixels(const options *o, const session *s, sinter_image *image)
{
   size_t rows, cols;
   float *pixels;
   int code = npy_read(o->pixels, &rows, &cols, &pixels);

   if (code)
      return code;
   image->pixels = pixels;
   size_t wanted = (size_t)image->grid[0] * image->grid[1] * image->grid[2];
   if (rows != wanted || cols != s->info.patch_width)
      return cli_fail(3, o->pixels, "the file that belongs to --grid",
                      "there are %zu rows of %zu numbers, not %zu of %u", rows, cols, wanted,
                      s->info.patch_width);
   return 0;
}

static void *room(size_t count, size_t size)
{
   void *p = calloc(count ? count : 1, size);

   if (!p)
      exit(6);
   return p;
}

static int read_npy(const options *o, const session *s, cli_images *out)
{
   out->count = 1;
   out->images = room(1, sizeof *out->images);
   int code = read_grid(o, out->images);
   return code ? code : take_pixels(o, s, out->images);
}

/* The file of that name; the name ends at `len`. */
static int read_file(const session *s, const char *name, size_t len, sinter_image *out)
{
   char path[4096];
   buffer bytes = {0};

   snprintf(path, sizeof path, "%.*s", (int)len, name);
   FILE *f = fopen(path, "rb");
   bool good = f && buffer_read(&bytes, f);
   if (f)
      fclose(f);
   if (!good)
      return cli_fail(3, path, "the path of an image", "the image cannot be read: %s",
                      strerror(errno));
   sinter_status status = sinter_image_read(s->artifact, bytes.data, bytes.len, out);
   buffer_free(&bytes);
   return status == SINTER_ok ? 0 : cli_error(status);
}

static int read_files(const options *o, const session *s, cli_images *out)
{
   size_t most = 1;

   for (const char *p = o->image; *p; p++)
      most += *p == ',';
   out->images = room(most, sizeof *out->images);
   for (const char *p = o->image;;) {
      size_t len = strcspn(p, ",");
      int code = read_file(s, p, len, &out->images[out->count++]);
      if (code || !p[len])
         return code;
      p += len + 1;
   }
}

int cli_images_read(const options *o, const session *s, cli_images *out)
{
   *out = (cli_images){0};
   if (!o->pixels && !o->grid && !o->image)
      return 0;
   if (o->image ? o->pixels || o->grid : !o->pixels)
      return cli_usage_error(o->image ? "give --image or --pixels, not both"
                                      : "--grid belongs to --pixels");
   if (!s->info.patch_width)
      return cli_fail(1, o->args[0], "text, or a model with a vision tower",
                      "this model sees no images");
   return o->image ? read_files(o, s, out) : read_npy(o, s, out);
}

/* Patches of the largest frame: what a step has to hold. */
static uint32_t largest(const cli_images *images)
{
   uint32_t most = 1;

   for (uint32_t i = 0; i < images->count; i++) {
      const uint32_t *g = images->images[i].grid;
      most = g[1] * g[2] > most ? g[1] * g[2] : most;
   }
   return most;
}

static void lay_out(const session *s, cli_images *images)
{
   uint32_t square = s->info.merge * s->info.merge;

   images->tokens = 0;
   for (uint32_t i = 0; i < images->count; i++) {
      const uint32_t *g = images->images[i].grid;
      images->tokens += (size_t)g[0] * (g[1] * g[2] / square);
   }
   images->features = room(images->count, sizeof *images->features);
   float *rows = images->rows = room(images->tokens * s->info.width, sizeof *rows);
   for (uint32_t i = 0; i < images->count; i++) {
      const uint32_t *g = images->images[i].grid;
      images->features[i].rows = rows;
      memcpy(images->features[i].grid, g, sizeof images->features[i].grid);
      rows += (size_t)g[0] * (g[1] * g[2] / square) * s->info.width;
   }
}

int cli_vision(const options *o, session *s, uint32_t patches, bool share_threads)
{
   sinter_engine_options e = SINTER_INIT(sinter_engine_options);

   e.device = o->device;
   e.threads = (uint32_t)cli_int(o->threads, 0);
   e.step_tokens = patches;
   e.share_threads = share_threads;
   sinter_status status = sinter_vision_create(s->artifact, &e, &s->vision);
   return status == SINTER_ok ? 0 : cli_error(status);
}

sinter_status cli_images_run(session *s, cli_images *images)
{
   lay_out(s, images);
   return sinter_vision_encode(s->vision, images->images, images->count, images->rows);
}

int cli_images_encode(const options *o, session *s, cli_images *images)
{
   int code = images->count ? cli_vision(o, s, largest(images), false) : 0;

   if (code || !images->count)
      return code;
   sinter_status status = cli_images_run(s, images);
   return status == SINTER_ok ? 0 : cli_error(status);
}

static uint32_t tokens_of(const session *s, const sinter_image *image)
{
   return image->grid[0] * (image->grid[1] * image->grid[2] / (s->info.merge * s->info.merge));
}

/* Appends the tokens of an image; around: with those that begin and end one. */
static size_t put_image(const session *s, const sinter_image *image, bool around, int32_t *to)
{
   size_t n = 0;

   if (around && s->info.image_before >= 0)
      to[n++] = s->info.image_before;
   for (uint32_t i = 0; i < tokens_of(s, image); i++)
      to[n++] = s->info.image_token;
   if (around && s->info.image_after >= 0)
      to[n++] = s->info.image_after;
   return n;
}

void cli_images_expand(const session *s, const cli_images *images, bool in_front, int32_t **ids,
                       size_t *count)
{
   size_t places = 0, n = 0;
   uint32_t next = 0;

   for (size_t i = 0; i < *count; i++)
      places += (*ids)[i] == s->info.image_token;
   if (!images->count || (places ? places != images->count : !in_front))
      return;
   int32_t *to = room(*count + images->tokens + 2 * (size_t)images->count, sizeof *to);
   for (; !places && next < images->count; next++)
      n += put_image(s, &images->images[next], true, to + n);
   for (size_t i = 0; i < *count; i++) {
      if ((*ids)[i] == s->info.image_token)
         n += put_image(s, &images->images[next++], false, to + n);
      else
         to[n++] = (*ids)[i];
   }
   free(*ids);
   *ids = to;
   *count = n;
}

void cli_images_free(cli_images *images)
{
   for (uint32_t i = 0; i < images->count; i++)
      sinter_image_free(&images->images[i]);
   free(images->images);
   free(images->features);
   free(images->rows);
   *images = (cli_images){0};
}

int cmd_encode(const options *o)
{
   session s;
   cli_images images;

   if ((!o->image && (!o->pixels || !o->grid)) || !o->output)
      return cli_usage_error(
         "'sinter encode' needs --pixels P.npy and --grid t,h,w, or --image FILE, "
         "and -o O.npy");
   int code = cli_open(o, &s);
   if (!code)
      code = cli_images_read(o, &s, &images);
   if (!code)
      code = cli_images_encode(o, &s, &images);
   if (code)
      return code;
   size_t n = images.tokens * s.info.width;
   FILE *f = fopen(o->output, "wb");
   bool good = f && npy_header(f, images.tokens, s.info.width) &&
               fwrite(images.rows, sizeof *images.rows, n, f) == n;
   if (!f || fclose(f) != 0 || !good)
      return cli_fail(1, o->output, "free some space, or another file with -o",
                      "the features cannot be written: %s", strerror(errno));
   cli_images_free(&images);
   cli_close(&s);
   return 0;
}
