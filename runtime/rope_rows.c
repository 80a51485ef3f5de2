/* rope_rows.c - a row per position, and the last prompt's table. */
#include "rope_rows.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/hash.h"

typedef struct table {
   int64_t length; /* -1: none */
   double inv_freq[ROPE_MAX_WIDTH / 2], scale;
   uint64_t id;
} table;

struct rt_rope {
   const rope_spec *spec;
   bool by_length;
   int64_t max_positions;
   size_t bytes;
   float *rows;      /* of generated tokens, and of all when the table is one */
   uint8_t *is_done; /* by position */
   float row[ROPE_MAX_WIDTH];
   table prompt, generated;
};

sinter_status rt_rope_create(const rope_spec *spec, int64_t max_positions, rt_rope **out)
{
   rt_rope *r = calloc(1, sizeof *r);

   *out = NULL;
   if (r) {
      r->spec = spec;
      r->by_length = rope_depends_on_length(spec);
      r->max_positions = max_positions;
      r->prompt.length = r->generated.length = -1;
      r->bytes = (size_t)max_positions * spec->width * sizeof *r->rows;
      r->rows = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (r->rows == MAP_FAILED)
         r->rows = NULL;
      r->is_done = calloc((size_t)max_positions, 1);
   }
   if (!r || !r->rows || !r->is_done) {
      rt_rope_destroy(r);
      return base_fail(SINTER_out_of_memory, "rotary tables", "use a smaller KV pool",
                       "no memory for %lld positions", (long long)max_positions);
   }
   *out = r;
   return SINTER_ok;
}

void rt_rope_destroy(rt_rope *r)
{
   if (!r)
      return;
   if (r->rows)
      munmap(r->rows, r->bytes);
   free(r->is_done);
   free(r);
}

static void fill_table(const rt_rope *r, table *t, int64_t length)
{
   if (t->length == length)
      return;
   rope_inv_freq(r->spec, (double)length, t->inv_freq, &t->scale);
   t->length = length;
   t->id = hash64_bytes(t->inv_freq, r->spec->width / 2 * sizeof *t->inv_freq) ^
           hash64_bytes(&t->scale, sizeof t->scale);
}

static const table *table_of(rt_rope *r, int64_t num_prompt, int64_t position)
{
   table *t = position < num_prompt ? &r->prompt : &r->generated;

   if (!r->by_length)
      fill_table(r, t = &r->prompt, 1);
   else
      fill_table(r, t, position < num_prompt ? num_prompt : position + 1);
   return t;
}

static void fill_row(const rt_rope *r, const table *t, const int64_t at[ROPE_AXES], float *row)
{
   uint32_t n = r->spec->width / 2;

   for (uint32_t i = 0; i < n; i++) {
      double angle = (double)at[rope_axis(r->spec, i)] * t->inv_freq[i];
      row[i] = (float)(cos(angle) * t->scale);
      row[n + i] = (float)(sin(angle) * t->scale);
   }
}

static void fill_text_row(const rt_rope *r, const table *t, int64_t position, float *row)
{
   const int64_t at[ROPE_AXES] = {position, position, position};

   fill_row(r, t, at, row);
}

void rt_rope_fill(rt_rope *r, const int64_t at[ROPE_AXES], float *row)
{
   fill_row(r, table_of(r, 0, 0), at, row);
}

/* The position whose angle turns a row. */
static int64_t turned_at(const rt_rope *r, int64_t position)
{
   return MAX(position - (int64_t)r->spec->back, 0);
}

const float *rt_rope_row(rt_rope *r, int64_t num_prompt, int64_t position)
{
   position = turned_at(r, position);
   float *row = r->rows + (size_t)position * r->spec->width;

   if (r->by_length && position < num_prompt) {
      fill_text_row(r, table_of(r, num_prompt, position), position, r->row);
      return r->row;
   }
   if (!r->is_done[position]) {
      fill_text_row(r, table_of(r, num_prompt, position), position, row);
      r->is_done[position] = true;
   }
   return row;
}

uint64_t rt_rope_id(rt_rope *r, int64_t num_prompt, int64_t position)
{
   return r->by_length ? table_of(r, num_prompt, turned_at(r, position))->id : 0;
}
