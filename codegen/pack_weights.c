/* pack_weights.c - recipes cut into units of about a MiB, which threads take one after the other.
 *
 *    unit = panels [first, first + count) of one weight ─ pack_panels ─▶ buffer ─ pwrite ─▶ file
 *
 * Afterwards threads take MiB after MiB of the file for its checksums. Neither the units' order nor
 * the number of threads shows in the bytes. */
#include "pack_weights.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/artifact.h"
#include "base/pack.h"
#include "base/quant.h"

enum { MAX_WORKERS = 64 };

/* Rows of a packed weight, and where each comes from. */
typedef struct strip {
   uint64_t first_row, end_row; /* of the packed weight */
   const model_tensor *tensor;
   uint64_t skip; /* row of the tensor that first_row is */
} strip;

typedef struct rows {
   const strip *strips;
   uint32_t num_strips;
   uint64_t row_bytes;
} rows;

/* Rows of one matrix of a stack: of the strips, or of its transpose, built in `turned`. */
typedef struct matrix {
   const rows *rows;
   uint64_t first_row; /* of the strips */
   uint64_t turned_row, turned_bytes;
   uint8_t *turned;  /* NULL: not transposed */
   uint8_t *scratch; /* PANEL_ROWS rows of the strips, for those that have to be put together */
} matrix;

typedef struct unit {
   const plan_weight *w;
   const rows *rows;
   uint64_t number;        /* matrix of the stack */
   uint64_t first, count;  /* its panels; rows for PANEL_rows */
   uint64_t offset, bytes; /* in the weight section */
} unit;

typedef struct job {
   const compiler_request *request;
   arena *a;
   int fd;
   uint64_t base, size, buffer_bytes, done;
   VEC(unit) units;
   uint64_t *sums;
   digest *leaves;
   uint64_t num_items;
   int (*item)(struct job *j, uint64_t i, uint8_t *buffer); /* 0 or errno */
   atomic_uint_fast64_t next;
   atomic_uint_fast64_t finished; /* bytes */
   atomic_int error;
   sinter_stage stage;
} job;

/* ---- recipes to units ---- */

static const void *strip_row(const matrix *m, uint64_t r)
{
   const rows *s = m->rows;
   uint32_t low = 0, high = s->num_strips;

   while (low + 1 < high) {
      uint32_t mid = (low + high) / 2;
      *(s->strips[mid].first_row <= r ? &low : &high) = mid;
   }
   return model_tensor_row(s->strips[low].tensor,
                           s->strips[low].skip + r - s->strips[low].first_row,
                           m->scratch + r % PANEL_ROWS * s->row_bytes);
}

static const void *row_of(void *user, uint64_t r)
{
   const matrix *m = user;

   if (m->turned)
      return m->turned + (r - m->turned_row) * m->turned_bytes;
   return strip_row(m, m->first_row + r);
}

static sinter_status fit_source(const model *m, const plan_weight *w, const plan_source *s,
                                uint64_t row_bytes, const model_tensor **out)
{
   const model_tensor *t = map_get(&m->by_name, s->tensor);
   uint64_t end;

   if (!t)
      return base_fail(SINTER_failed, s->tensor, "",
                       "a weight recipe names no tensor of the model");
   if ((uint32_t)t->dtype != w->dtype || !base_add(s->first_row, s->num_rows, &end) ||
       end > model_tensor_rows(t) || model_tensor_row_bytes(t) != row_bytes)
      return base_fail(SINTER_failed, s->tensor, "", "a weight recipe does not fit its tensor");
   *out = t;
   return SINTER_ok;
}

static sinter_status find_rows(job *j, const model *m, const plan_weight *w, rows *out)
{
   strip *strips = arena_array(j->a, strip, w->num_sources);
   uint64_t at = 0;

   *out = (rows){.strips = strips, .num_strips = w->num_sources};
   if (!dtype_size((dtype)w->dtype, w->transposed ? w->rows / w->stack : w->cols, &out->row_bytes))
      return base_fail(SINTER_failed, "pack_weights", "",
                       "a weight's columns do not suit its type");
   for (uint32_t i = 0; i < w->num_sources; i++) {
      strips[i].first_row = at;
      strips[i].end_row = at += w->sources[i].num_rows;
      strips[i].skip = w->sources[i].first_row;
      SINTER_TRY(fit_source(m, w, &w->sources[i], out->row_bytes, &strips[i].tensor));
   }
   return SINTER_ok;
}

/* What one step of a unit is: a panel, or a row that is only copied; and how many there are in a
 * matrix. */
static bool grain(const plan_weight *w, const rows *r, uint64_t *out_bytes, uint64_t *out_count)
{
   bool copied = w->layout == PANEL_rows;
   uint64_t each = w->rows / w->stack;

   *out_count = copied ? each : (each + PANEL_ROWS - 1) / PANEL_ROWS;
   *out_bytes = r->row_bytes;
   if (!copied && !pack_size((panel_layout)w->layout, PANEL_ROWS, w->cols, out_bytes))
      return false;
   return *out_bytes * *out_count * w->stack == w->size && (!copied || !w->transposed);
}

/* The type of a transposed matrix: blocks do not survive it. */
static dtype turned_dtype(const plan_weight *w)
{
   return dtype_infos[w->dtype].kind == DTYPE_FLOAT ? (dtype)w->dtype : DT_f32;
}

/* Memory that a unit of `count` panels needs for rows of the transpose. */
static uint64_t turned_bytes(const plan_weight *w, uint64_t count)
{
   return w->transposed ? count * PANEL_ROWS * w->cols * dtype_infos[turned_dtype(w)].bytes : 0;
}

static sinter_status cut_weight(job *j, const model *m, const plan_weight *w)
{
   rows *r = arena_new(j->a, rows);
   uint64_t bytes, total;

   SINTER_TRY(find_rows(j, m, w, r));
   if (!grain(w, r, &bytes, &total))
      return base_fail(SINTER_failed, "pack_weights", "", "a weight is not as large as its layout");
   uint64_t step = MAX(ARTIFACT_CHUNK / MAX(bytes, 1u), 1u);
   for (uint64_t m_of = 0; m_of < w->stack; m_of++)
      for (uint64_t first = 0; first < total; first += step) {
         uint64_t count = MIN(step, total - first), at = (m_of * total + first) * bytes;
         *vec_push(j->a, &j->units) =
            (unit){w, r, m_of, first, count, w->offset + at, count * bytes};
         j->buffer_bytes = MAX(j->buffer_bytes,
                               count * bytes + turned_bytes(w, count) + PANEL_ROWS * r->row_bytes);
      }
   return SINTER_ok;
}

/* ---- items ---- */

static int write_all(int fd, const uint8_t *data, uint64_t size, uint64_t at)
{
   while (size) {
      ssize_t n = pwrite(fd, data, size, (off_t)at);
      if (n < 0 && errno == EINTR)
         continue;
      if (n <= 0)
         return n ? errno : EIO;
      data += n;
      at += (uint64_t)n;
      size -= (uint64_t)n;
   }
   return 0;
}

static int read_all(int fd, uint8_t *data, uint64_t size, uint64_t at)
{
   while (size) {
      ssize_t n = pread(fd, data, size, (off_t)at);
      if (n < 0 && errno == EINTR)
         continue;
      if (n <= 0)
         return n ? errno : EIO;
      data += n;
      at += (uint64_t)n;
      size -= (uint64_t)n;
   }
   return 0;
}

enum { PART = 256 }; /* elements that are widened at a time: whole blocks */

/* One row of the source becomes one column, of `size` bytes an element. */
static void turn_row(const unit *u, const matrix *m, uint64_t k, uint64_t count, uint8_t *out)
{
   const dtype_info *from = &dtype_infos[u->w->dtype];
   uint32_t size = dtype_infos[turned_dtype(u->w)].bytes;
   const uint8_t *src = strip_row(m, m->first_row + k);
   uint64_t end = m->turned_row + count;
   float part[PART];

   for (uint64_t at = m->turned_row / PART * PART; at < end; at += PART) {
      uint64_t n = MIN((uint64_t)PART, u->w->rows / u->w->stack - at);
      const uint8_t *values = src + at / from->block * from->bytes;
      if (from->kind != DTYPE_FLOAT) {
         quant_to_f32((dtype)u->w->dtype, values, n, part);
         values = (const uint8_t *)part;
      }
      for (uint64_t r = MAX(at, m->turned_row); r < MIN(at + n, end); r++)
         memcpy(out + (r - m->turned_row) * m->turned_bytes + k * size, values + (r - at) * size,
                size);
   }
}

/* The rows of the transpose that the unit packs. */
static void turn(const unit *u, matrix *m, uint8_t *out)
{
   uint64_t each = u->w->rows / u->w->stack;

   m->turned_row = u->first * PANEL_ROWS;
   m->turned_bytes = u->w->cols * dtype_infos[turned_dtype(u->w)].bytes;
   for (uint64_t k = 0; k < u->w->cols; k++)
      turn_row(u, m, k, MIN(u->count * PANEL_ROWS, each - m->turned_row), out);
   m->turned = out;
}

static int pack_unit(job *j, uint64_t i, uint8_t *buffer)
{
   const unit *u = &j->units.data[i];
   uint64_t each = u->w->rows / u->w->stack;
   matrix m = {.rows = u->rows, .first_row = u->number * (u->w->transposed ? u->w->cols : each)};

   m.scratch = buffer + u->bytes + turned_bytes(u->w, u->count);
   if (u->w->layout == PANEL_rows) {
      for (uint64_t r = 0; r < u->count; r++)
         memcpy(buffer + r * u->rows->row_bytes, row_of(&m, u->first + r), u->rows->row_bytes);
   } else {
      if (u->w->transposed)
         turn(u, &m, buffer + u->bytes);
      pack_panels((panel_layout)u->w->layout, (dtype)u->w->dtype, each, u->w->cols, u->first,
                  u->count, row_of, &m, buffer);
   }
   atomic_fetch_add(&j->finished, u->bytes);
   return write_all(j->fd, buffer, u->bytes, j->base + u->offset);
}

static int hash_chunk(job *j, uint64_t i, uint8_t *buffer)
{
   uint64_t at = i * ARTIFACT_CHUNK, size = MIN(j->size - at, (uint64_t)ARTIFACT_CHUNK);
   int error = read_all(j->fd, buffer, size, j->base + at);

   if (error)
      return error;
   j->sums[i] = hash64_bytes(buffer, size);
   j->leaves[i] = artifact_leaf(buffer, size);
   atomic_fetch_add(&j->finished, size);
   return 0;
}

/* ---- threads ---- */

static void take_items(job *j, bool reports)
{
   uint8_t *buffer = malloc(j->buffer_bytes);
   const compiler_request *q = j->request;

   if (!buffer) {
      atomic_store(&j->error, ENOMEM);
      return;
   }
   for (;;) {
      uint64_t i = atomic_fetch_add(&j->next, 1);
      if (i >= j->num_items || atomic_load(&j->error))
         break;
      int error = j->item(j, i, buffer);
      if (error)
         atomic_store(&j->error, error);
      if (reports && q->progress)
         q->progress(q->user, j->stage, atomic_load(&j->finished), j->size, "weights");
   }
   free(buffer);
}

static void *worker(void *user)
{
   take_items(user, false);
   return NULL;
}

static int run_items(job *j, uint64_t num_items, int (*item)(job *, uint64_t, uint8_t *))
{
   pthread_t threads[MAX_WORKERS];
   long cores = sysconf(_SC_NPROCESSORS_ONLN);
   uint64_t want = j->request->threads ? j->request->threads : (uint64_t)MAX(cores, 1);
   uint64_t count = 0;

   want = MIN(MIN(want, num_items), (uint64_t)MAX_WORKERS);
   j->num_items = num_items;
   j->item = item;
   atomic_init(&j->next, 0);
   atomic_init(&j->finished, 0);
   while (count + 1 < want && pthread_create(&threads[count], NULL, worker, j) == 0)
      count++;
   take_items(j, true);
   while (count)
      pthread_join(threads[--count], NULL);
   return atomic_load(&j->error);
}

sinter_status cg_pack_weights(const compiler_request *request, arena *a, const model *m,
                              const plan *p, int fd, uint64_t base, const char *where,
                              uint64_t *sums, digest *out)
{
   uint64_t chunks = artifact_chunks(p->weight_bytes);
   job j = {
      .request = request, .a = a, .fd = fd, .base = base, .size = p->weight_bytes, .sums = sums};

   j.buffer_bytes = ARTIFACT_CHUNK;
   j.leaves = arena_array(a, digest, chunks);
   atomic_init(&j.error, 0);
   for (uint32_t i = 0; i < p->num_weights; i++)
      SINTER_TRY(cut_weight(&j, m, &p->weights[i]));
   j.stage = SINTER_STAGE_pack;
   int error = run_items(&j, j.units.count, pack_unit);
   j.stage = SINTER_STAGE_write;
   if (!error)
      error = run_items(&j, chunks, hash_chunk);
   if (error)
      return base_fail(
         error == ENOMEM ? SINTER_out_of_memory : SINTER_io, where,
         error == ENOSPC || error == EFBIG ? "free some space, e.g. with `sinter cache gc`" : "",
         "packed weights cannot be written: %s", strerror(error));
   *out = artifact_root(j.leaves, chunks);
   return SINTER_ok;
}
