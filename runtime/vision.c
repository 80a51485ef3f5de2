/* vision.c - images in, rows beside embeddings out: steps of the tower's plan over whole frames.
 *
 *    images ─ frames, small ones first ─▶ batch: as many as fit a step
 *    batch  ─ rows of patches, positions, tiles, pages ─▶ device ─▶ features ─▶ where the image wants them
 *
 * A frame is a sequence of its own: what stands beside it in a step, and where, has no effect on
 * its bits. A step is as long as its rows: the graphs of a GPU have buckets of powers of two, whose
 * blocks past the rows and tiles that are there return. */
#include "vision.h"

#include <math.h>
#include <stdlib.h>

#include "artifact.h"
#include "meta.h"

enum { DEFAULT_ROWS = 4096 };

/* One frame of an image. */
typedef struct frame {
   const float *pixels;
   float *features;
   uint32_t height, width; /* in patches */
} frame;

struct sinter_vision {
   const plan *plan;
   const rt_device_ops *ops;
   rt_device *device;
   rt_limits limits;
   rt_meta meta;
   int32_t *pages; /* block tables */
};

/* ---- life ---- */

static sinter_status decide(sinter_vision *v, const sinter_engine_options *o)
{
   const plan *p = v->plan;
   uint32_t merge = p->model.vision.merge;
   const plan_vision *how = &p->model.vision;
   int64_t most = p->sym_max[SYM_T];
   int64_t largest = (int64_t)(how->max_pixels / how->patch / how->patch);
   int64_t rows = o->step_tokens ? o->step_tokens : MAX(largest, DEFAULT_ROWS);

   v->limits = (rt_limits){.max_rows = MIN(rows, most),
                           .max_sequences = p->sym_max[SYM_S],
                           .threads = o->threads,
                           .share_threads = o->share_threads,
                           .tower = true};
   v->limits.max_wanted = MAX(v->limits.max_rows / (merge * merge), 1);
   v->limits.max_positions = (int64_t)base_align((uint64_t)v->limits.max_rows, PAGE_TOKENS);
   for (uint32_t g = 0; g < p->num_cache_groups; g++)
      v->limits.pages[g] = v->limits.max_positions / PAGE_TOKENS + v->limits.max_sequences;
   if (p->num_ropes != 1 || !p->ropes[0].axial)
      return base_fail(SINTER_bad_input, p->target, "compile the model again",
                       "the plan of the vision tower has no table of rows and columns");
   return SINTER_ok;
}

/* All pages, of devices that take memory for them as they are used: every step uses them from the
 * first one on. */
static sinter_status take_pages(sinter_vision *v)
{
   for (uint32_t g = 0; g < v->plan->num_cache_groups && v->ops->grow; g++)
      if (v->ops->grow(v->device, g, v->limits.pages[g]) < v->limits.pages[g])
         return base_fail(SINTER_out_of_memory, "vision",
                          "allow fewer rows a step, or smaller images",
                          "no memory on the device for the tower's keys and values");
   return SINTER_ok;
}

static sinter_status build(sinter_vision *v, const rt_artifact *artifact,
                           const sinter_engine_options *o)
{
   SINTER_TRY(decide(v, o));
   SINTER_TRY(rt_meta_init(&v->meta, v->plan, &v->limits));
   size_t pages = (size_t)(v->limits.max_sequences * v->meta.step.block.sym[SYM_B]);
   v->pages = calloc(pages, sizeof *v->pages);
   if (!v->pages)
      return base_fail(SINTER_out_of_memory, "vision", "", "no memory for block tables");
   for (uint32_t g = 0; g < v->plan->num_cache_groups; g++)
      v->meta.step.meta[RT_META_block_table][g] = v->pages;
   SINTER_TRY(v->ops->open(artifact, &v->limits, &v->meta.step, &v->device));
   return take_pages(v);
}

sinter_status sinter_vision_create(sinter_artifact *a, const sinter_engine_options *options,
                                   sinter_vision **out)
{
   const rt_artifact *artifact = rt_artifact_of(a);
   sinter_engine_options o;
   const rt_device_ops *ops;
   uint32_t target;

   *out = NULL;
   rt_take_options(&o, sizeof o, options);
   SINTER_TRY(rt_device_find(o.device, &ops));
   SINTER_TRY(rt_artifact_target(artifact, ops->name, true, &target));
   sinter_vision *v = calloc(1, sizeof *v);
   if (!v)
      return base_fail(SINTER_out_of_memory, "vision", "", "no memory for the tower");
   v->ops = ops;
   v->plan = rt_artifact_plan(artifact, target);
   sinter_status status = build(v, artifact, &o);
   if (status != SINTER_ok) {
      sinter_vision_destroy(v);
      return status;
   }
   *out = v;
   return SINTER_ok;
}

void sinter_vision_destroy(sinter_vision *v)
{
   if (!v)
      return;
   if (v->device)
      v->ops->close(v->device);
   rt_meta_deinit(&v->meta);
   free(v->pages);
   free(v);
}

/* ---- one step ---- */

static uint32_t rows_of(const frame *f)
{
   return f->height * f->width;
}

/* Row and column of patch i of a frame: squares of merge x merge one after the other. */
static void place_of(const plan_vision *how, const frame *f, uint32_t i, uint32_t *row,
                     uint32_t *col)
{
   uint32_t m = how->merge, square = i / (m * m), in = i % (m * m);

   *row = square / (f->width / m) * m + in / m;
   *col = square % (f->width / m) * m + in % m;
}

/* Where i of n lies between the ends of a table of `side` positions. */
static double spread(uint32_t i, uint32_t n, uint32_t side)
{
   return n > 1 ? (double)i * (side - 1) / (n - 1) : 0;
}

/* The four learned positions around a patch, and their weights. */
static void fill_corners(const plan_vision *how, const frame *f, uint32_t row, uint32_t col,
                         int32_t ids[4], float weights[4])
{
   uint32_t side = how->table;
   double y = spread(row, f->height, side), x = spread(col, f->width, side);
   uint32_t top = (uint32_t)y, left = (uint32_t)x;

   for (uint32_t k = 0; k < 4; k++) {
      uint32_t down = k / 2, right = k % 2;
      double by_row = down ? y - top : 1 - (y - top), by_col = right ? x - left : 1 - (x - left);
      ids[k] = (int32_t)(MIN(top + down, side - 1) * side + MIN(left + right, side - 1));
      weights[k] = (float)(by_row * by_col);
   }
}

static void fill_places(sinter_vision *v, const frame *f, int64_t t)
{
   const plan_vision *how = &v->plan->model.vision;
   void *(*meta)[8] = v->meta.step.meta;
   uint32_t width = v->plan->ropes[0].width;

   for (uint32_t i = 0; i < rows_of(f); i++, t++) {
      uint32_t row, col;
      place_of(how, f, i, &row, &col);
      rt_rope_fill(v->meta.ropes[0], (int64_t[]){0, row, col},
                   (float *)meta[RT_META_rope][0] + t * width);
      if (how->table)
         fill_corners(how, f, row, col, (int32_t *)meta[RT_META_corners][0] + 4 * t,
                      (float *)meta[RT_META_corner_weights][0] + 4 * t);
   }
}

/* Sequence s of the step: the frame's rows from t on, its keys in pages from `page` on. */
static void fill_sequence(sinter_vision *v, const frame *f, int64_t t, uint32_t s, int64_t page)
{
   void *(*meta)[8] = v->meta.step.meta;
   uint32_t n = rows_of(f);

   for (uint32_t i = 0; i < n; i++) {
      ((int32_t *)meta[RT_META_positions][0])[t + i] = (int32_t)i;
      ((int32_t *)meta[RT_META_ends][0])[t + i] = (int32_t)n - 1;
      ((int32_t *)meta[RT_META_seq_of][0])[t + i] = (int32_t)s;
      for (uint32_t g = 0; g < v->plan->num_cache_groups; g++)
         ((int32_t *)meta[RT_META_slots][g])[t + i] = (int32_t)(page * PAGE_TOKENS + i);
   }
   for (uint32_t k = 0; k * PAGE_TOKENS < n; k++)
      v->pages[s * v->meta.step.block.sym[SYM_B] + k] = (int32_t)(page + k);
   v->meta.stored[s] = 0;
}

static int64_t fill_tiles(sinter_vision *v, int64_t t, uint32_t n, int64_t at)
{
   int32_t(*tiles)[2] = v->meta.step.meta[RT_META_tiles][0];

   for (uint32_t i = 0; i < n; i += ATTN_ROWS, at++) {
      tiles[at][0] = (int32_t)(t + i);
      tiles[at][1] = (int32_t)MIN((uint32_t)ATTN_ROWS, n - i);
   }
   return at;
}

static void fill(sinter_vision *v, const frame *frames, uint32_t count)
{
   const plan_vision *how = &v->plan->model.vision;
   const uint32_t width = plan_patch_width(how), square = how->merge * how->merge;
   int32_t *rows = v->meta.step.meta[RT_META_rows][0];
   int64_t *syms = v->meta.step.block.sym, t = 0, tiles = 0, page = 0, longest = 1;

   for (uint32_t s = 0; s < count; s++) {
      const frame *f = &frames[s];
      const uint32_t n = rows_of(f);

      memcpy((float *)v->meta.step.meta[RT_META_patches][0] + t * width, f->pixels,
             (size_t)n * width * sizeof(float));
      fill_places(v, f, t);
      fill_sequence(v, f, t, s, page);
      tiles = fill_tiles(v, t, n, tiles);
      page += (n + PAGE_TOKENS - 1) / PAGE_TOKENS;
      longest = MAX(longest, (int64_t)n);
      t += n;
   }
   for (int64_t r = 0; r < t / square; r++)
      rows[r] = (int32_t)(r * square);
   syms[SYM_T] = t;
   syms[SYM_R] = t / square;
   syms[SYM_A] = tiles;
   syms[SYM_Q] = count;
   syms[SYM_C] = (longest + ATTN_CHUNK - 1) / ATTN_CHUNK;
}

static sinter_status run(sinter_vision *v, const frame *frames, uint32_t count)
{
   const plan_vision *how = &v->plan->model.vision;
   const float *from;

   fill(v, frames, count);
   SINTER_TRY(v->ops->run(v->device, &from));
   for (uint32_t s = 0; s < count; s++) {
      size_t n = (size_t)rows_of(&frames[s]) / (how->merge * how->merge) * v->plan->model.vocab;
      memcpy(frames[s].features, from, n * sizeof *from);
      from += n;
   }
   return SINTER_ok;
}

/* ---- packing ---- */

static int by_size(const void *a, const void *b)
{
   const frame *x = a, *y = b;

   if (rows_of(x) != rows_of(y))
      return rows_of(x) < rows_of(y) ? -1 : 1;
   return x->features < y->features ? -1 : x->features > y->features;
}

/* As many frames from the first on as fit a step. */
static uint32_t batch_of(const sinter_vision *v, const frame *frames, uint32_t count)
{
   int64_t rows = 0;
   uint32_t n = 0;

   while (n < count && n < v->limits.max_sequences &&
          rows + rows_of(&frames[n]) <= v->limits.max_rows)
      rows += rows_of(&frames[n++]);
   return n;
}

static sinter_status check(const sinter_vision *v, const sinter_image *image)
{
   const uint32_t *g = image->grid, m = v->plan->model.vision.merge, most = 1 << 15;

   if (!g[0] || !g[1] || !g[2] || g[0] > most || g[1] > most || g[2] > most || g[1] % m || g[2] % m)
      return base_fail(SINTER_usage, "grid", "give frames, rows and columns of patches",
                       "a grid of %u x %u x %u has no whole squares of %u x %u patches", g[0], g[1],
                       g[2], m, m);
   if ((int64_t)g[1] * g[2] > v->limits.max_rows)
      return base_fail(SINTER_exhausted, "grid", "use a smaller image",
                       "a frame of %u x %u patches does not fit a step of %lld", g[1], g[2],
                       (long long)v->limits.max_rows);
   return SINTER_ok;
}

static sinter_status run_all(sinter_vision *v, frame *frames, uint32_t count)
{
   qsort(frames, count, sizeof *frames, by_size);
   for (uint32_t done = 0, n; done < count; done += n) {
      n = batch_of(v, frames + done, count - done);
      SINTER_TRY(run(v, frames + done, n));
   }
   return SINTER_ok;
}

static uint32_t add_frames(const sinter_vision *v, const sinter_image *image, float **features,
                           frame *out)
{
   const plan_vision *how = &v->plan->model.vision;
   size_t rows = (size_t)image->grid[1] * image->grid[2];

   for (uint32_t t = 0; t < image->grid[0]; t++) {
      out[t] = (frame){.pixels = image->pixels + t * rows * plan_patch_width(how),
                       .features = *features,
                       .height = image->grid[1],
                       .width = image->grid[2]};
      *features += rows / (how->merge * how->merge) * v->plan->model.vocab;
   }
   return image->grid[0];
}

sinter_status sinter_vision_encode(sinter_vision *v, const sinter_image *images, uint32_t count,
                                   float *features)
{
   uint32_t total = 0, n = 0;

   for (uint32_t i = 0; i < count; i++) {
      SINTER_TRY(check(v, &images[i]));
      total += images[i].grid[0];
   }
   frame *frames = calloc(MAX(total, 1u), sizeof *frames);
   if (!frames)
      return base_fail(SINTER_out_of_memory, "vision", "", "no memory for the images");
   for (uint32_t i = 0; i < count; i++)
      n += add_frames(v, &images[i], &features, frames + n);
   sinter_status status = run_all(v, frames, n);
   free(frames);
   return status;
}
