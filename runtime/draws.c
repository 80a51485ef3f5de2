/* draws.c - a phase of the pool over the rows that are picked from; a thread takes any sampler that
 * is free, as many as there are threads. */
#include "draws.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "sampler.h"

struct rt_draws {
   uint32_t vocab, num_samplers;
   rt_sampler **samplers;
   _Atomic bool *taken;
   uint32_t *rows; /* a tile's row */
   const rt_drawn_rows *run;
};

void rt_draws_destroy(rt_draws *d)
{
   if (!d)
      return;
   for (uint32_t i = 0; d->samplers && i < d->num_samplers; i++)
      rt_sampler_destroy(d->samplers[i]);
   free(d->samplers);
   free(d->taken);
   free(d->rows);
   free(d);
}

static sinter_status make_samplers(rt_draws *d, uint32_t max_rows)
{
   d->samplers = calloc(d->num_samplers, sizeof *d->samplers);
   d->taken = calloc(d->num_samplers, sizeof *d->taken);
   d->rows = calloc(MAX(max_rows, 1u), sizeof *d->rows);
   if (!d->samplers || !d->taken || !d->rows)
      return base_fail(SINTER_out_of_memory, "sampler", "", "no memory for %u rows", max_rows);
   for (uint32_t i = 0; i < d->num_samplers; i++)
      SINTER_TRY(rt_sampler_create(d->vocab, &d->samplers[i]));
   return SINTER_ok;
}

sinter_status rt_draws_create(uint32_t vocab, uint32_t threads, uint32_t max_rows, rt_draws **out)
{
   rt_draws *d = calloc(1, sizeof *d);

   *out = NULL;
   if (!d)
      return base_fail(SINTER_out_of_memory, "sampler", "", "no memory for the samplers");
   d->vocab = vocab;
   d->num_samplers = MAX(threads, 1u);
   sinter_status status = make_samplers(d, max_rows);
   if (status != SINTER_ok) {
      rt_draws_destroy(d);
      return status;
   }
   *out = d;
   return SINTER_ok;
}

/* There is a free one for each thread. */
static uint32_t take_sampler(rt_draws *d)
{
   uint32_t i = 0;

   while (atomic_exchange_explicit(&d->taken[i], true, memory_order_acquire))
      i = (i + 1) % d->num_samplers;
   return i;
}

static void pick_row(const sinter_kargs *k, unsigned tile)
{
   rt_draws *d = k->ptr[0];
   const rt_drawn_rows *run = d->run;
   const uint32_t row = d->rows[tile], i = take_sampler(d);
   const float *logits = run->logits + (size_t)row * d->vocab;

   if (run->how[row].how == DRAW_host)
      run->pick.fn(run->pick.user, d->samplers[i], logits, row);
   else
      run->ids[row] = rt_sample_draw(d->samplers[i], logits, &run->how[row]);
   atomic_store_explicit(&d->taken[i], false, memory_order_release);
}

void rt_draws_run(rt_draws *d, rt_pool *pool, const rt_drawn_rows *rows)
{
   const sinter_kargs args = {.num_ptrs = 1, .ptr = {d}};
   rt_task task = {.kernel = pick_row, .args = &args};

   for (uint32_t i = 0; i < rows->count; i++) {
      const draw_how how = rows->how[i].how;

      if (how == DRAW_host ? rows->pick.fn != NULL : how >= rows->first)
         d->rows[task.tiles++] = i;
   }
   if (!task.tiles)
      return;
   d->run = rows;
   rt_pool_run(pool, &(rt_phase){.tasks = &task, .tiles = task.tiles}, 1);
}
