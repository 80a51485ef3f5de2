/* images.c - places of images in a prompt. */
#include "images.h"

#include <stdlib.h>

typedef struct placing {
   const plan *plan;
   const sinter_request_options *o;
   rt_images *to;
   int64_t position, row; /* of the next token, of the next row of features */
   bool axes;             /* the model tells rows and columns of an image apart */
} placing;

static bool has_axes(const plan *p)
{
   return p->num_ropes &&
          p->ropes[0].sections[0] + p->ropes[0].sections[1] + p->ropes[0].sections[2];
}

/* Tokens of an image; 0 for a grid that is none. */
static int64_t tokens_of(const plan *p, const sinter_features *f)
{
   const uint32_t *g = f->grid, m = p->model.vision.merge, most = 1 << 15;

   if (!g[0] || !g[1] || !g[2] || g[0] > most || g[1] > most || g[2] > most || g[1] % m || g[2] % m)
      return 0;
   return (int64_t)g[0] * (g[1] / m) * (g[2] / m);
}

static sinter_status allocate(const plan *p, const sinter_request_options *o, int64_t rows,
                              rt_images **out)
{
   rt_images *images = calloc(1, sizeof *images);
   size_t blocks = ((size_t)o->num_prompt + PAGE_TOKENS - 1) / PAGE_TOKENS;

   *out = NULL;
   if (images) {
      images->num_prompt = o->num_prompt;
      images->features = calloc((size_t)rows * p->model.width, sizeof *images->features);
      images->row_of = calloc(o->num_prompt, sizeof *images->row_of);
      images->at = calloc(o->num_prompt, sizeof *images->at);
      images->media = calloc(blocks, sizeof *images->media);
   }
   if (!images || !images->features || !images->row_of || !images->at || !images->media) {
      rt_images_destroy(images);
      return base_fail(SINTER_out_of_memory, "images", "", "no memory for the images of a request");
   }
   *out = images;
   return SINTER_ok;
}

void rt_images_destroy(rt_images *images)
{
   if (!images)
      return;
   free(images->features);
   free(images->row_of);
   free(images->at);
   free(images->media);
   free(images);
}

/* All blocks that end behind the image's first token depend on it. */
static void name_blocks(placing *c, const sinter_features *f, int64_t first, int64_t rows)
{
   const int64_t blocks = (c->to->num_prompt + PAGE_TOKENS - 1) / PAGE_TOKENS;
   const size_t bytes = (size_t)rows * c->plan->model.width * sizeof(float);
   hash128 *media = c->to->media + first / PAGE_TOKENS;
   hash128 name = hash_bytes(f->grid, sizeof f->grid, *media);

   name = hash_bytes(f->rows, bytes, name);
   for (; media < c->to->media + blocks; media++)
      *media = name;
}

static void place_token(placing *c, int64_t index)
{
   c->to->row_of[index] = -1;
   for (int i = 0; i < ROPE_AXES; i++)
      c->to->at[index][i] = (int32_t)c->position;
   c->position++;
}

/* Rows of an image from index `first` on; returns the index behind them. */
static int64_t place_image(placing *c, const sinter_features *f, int64_t first)
{
   const uint32_t m = c->plan->model.vision.merge;
   const int64_t height = f->grid[1] / m, width = f->grid[2] / m;
   const int64_t n = tokens_of(c->plan, f), end = first + n;

   for (int64_t i = 0; i < n; i++) {
      const int64_t in = i % (height * width);
      const int64_t at[] = {i / (height * width), in / width, in % width};
      for (int k = 0; k < ROPE_AXES; k++)
         c->to->at[first + i][k] = (int32_t)(c->position + (c->axes ? at[k] : i));
      c->to->row_of[first + i] = (int32_t)(c->row + i);
   }
   c->position += c->axes ? MAX(MAX((int64_t)f->grid[0], height), width) : n;
   c->row += n;
   return end;
}

/* Whether n tokens from `first` on stand for an image. */
static bool has_room(const placing *c, int64_t first, int64_t n)
{
   if (n > c->o->num_prompt - first)
      return false;
   for (int64_t i = first; i < first + n; i++)
      if (c->o->prompt[i] != c->plan->model.vision.token)
         return false;
   return true;
}

static sinter_status place_all(placing *c)
{
   uint32_t image = 0;

   for (int64_t i = 0; i < c->o->num_prompt;) {
      if (c->o->prompt[i] != c->plan->model.vision.token) {
         place_token(c, i++);
         continue;
      }
      const sinter_features *f = image < c->o->num_images ? &c->o->images[image] : NULL;
      const int64_t n = f ? tokens_of(c->plan, f) : 0;
      if (!f || !has_room(c, i, n))
         return base_fail(SINTER_usage, "prompt",
                          "give an image token for each row of its features",
                          f ? "image %u has %lld rows, more than tokens at %lld of the prompt"
                            : "there are tokens for more than %u images (%lld, token %lld)",
                          image, (long long)n, (long long)i);
      name_blocks(c, f, i, n);
      i = place_image(c, f, i);
      image++;
   }
   c->to->delta = c->position - c->o->num_prompt;
   return image == c->o->num_images
             ? SINTER_ok
             : base_fail(SINTER_usage, "prompt", "give an image token for each row of its features",
                         "the prompt has places for %u of %u images", image, c->o->num_images);
}

static sinter_status count_rows(const plan *p, const sinter_request_options *o, int64_t *out)
{
   for (uint32_t i = 0; i < o->num_images; i++) {
      const int64_t n = tokens_of(p, &o->images[i]);
      if (!n || n > o->num_prompt)
         return base_fail(SINTER_usage, "images", "give the grid that the image was encoded with",
                          "the grid of image %u does not suit the prompt", i);
      *out += n;
   }
   return *out <= o->num_prompt
             ? SINTER_ok
             : base_fail(SINTER_usage, "images", "give an image token for each row of features",
                         "%lld rows of features are more than the prompt has tokens",
                         (long long)*out);
}

static void copy_features(const plan *p, const sinter_request_options *o, float *to)
{
   for (uint32_t i = 0; i < o->num_images; i++) {
      const size_t n = (size_t)tokens_of(p, &o->images[i]) * p->model.width;
      memcpy(to, o->images[i].rows, n * sizeof *to);
      to += n;
   }
}

sinter_status rt_images_create(const plan *p, const sinter_request_options *o, rt_images **out)
{
   int64_t rows = 0;

   *out = NULL;
   if (!o->num_images)
      return SINTER_ok;
   if (!p->model.vision.patch)
      return base_fail(SINTER_unsupported, "images", "take text, or a model with a vision tower",
                       "this model sees no images");
   SINTER_TRY(count_rows(p, o, &rows));
   SINTER_TRY(allocate(p, o, rows, out));
   copy_features(p, o, (*out)->features);
   placing c = {.plan = p, .o = o, .to = *out, .axes = has_axes(p)};
   sinter_status status = place_all(&c);
   if (status != SINTER_ok) {
      rt_images_destroy(*out);
      *out = NULL;
   }
   return status;
}

void rt_images_at(const rt_images *images, int64_t index, int64_t out[ROPE_AXES])
{
   for (int i = 0; i < ROPE_AXES; i++)
      out[i] = !images                      ? index
               : index < images->num_prompt ? images->at[index][i]
                                            : index + images->delta;
}

const float *rt_images_row(const rt_images *images, int64_t index, uint32_t width)
{
   const bool is_image = images && index < images->num_prompt && images->row_of[index] >= 0;

   return is_image ? images->features + (size_t)images->row_of[index] * width : NULL;
}

hash128 rt_images_media(const rt_images *images, int64_t block)
{
   const int64_t last = images ? (images->num_prompt - 1) / PAGE_TOKENS : 0;

   return images ? images->media[MIN(block, last)] : (hash128){0};
}
