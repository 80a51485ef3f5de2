/* gather.c - rows of a stored matrix in another order, as a tensor of its own.
 *
 *    q|k|v|z of head 0, of head 1, …   ─▶   q of all heads;  k of all heads;  …
 *
 * Nothing is copied: the new tensor says where each run of its rows begins. */
#include "family.h"

/* Elements in place of rows: a bias is small and is widened all the same. */
static void gather_vector(model *m, const model_tensor *from, uint64_t part, const uint64_t *first,
                          uint64_t count, model_tensor *to)
{
   double *d = arena_alloc_array(m->a, part, sizeof *d);
   float *f = arena_alloc_array(m->a, part * count, sizeof *f);
   uint32_t bytes = dtype_infos[from->dtype].bytes;

   for (uint64_t i = 0; i < count; i++) {
      dtype_load(from->dtype, from->data + first[i] * bytes, part, d);
      for (uint64_t k = 0; k < part; k++)
         f[i * part + k] = (float)d[k];
   }
   to->layout = (model_layout){0};
   to->dtype = DT_f32;
   to->data = (const uint8_t *)f;
   to->bytes = part * count * sizeof *f;
}

static void misfit(model_build *m, const model_tensor *t, uint64_t rows)
{
   if (m->status == SINTER_ok)
      m->status = base_fail(SINTER_bad_input, m->m->path,
                            "fetch the checkpoint again: its tensors contradict its configuration",
                            "the tensor '%.120s' does not have %llu rows", t->source_name,
                            (unsigned long long)rows);
}

void model_gather(model_build *m, const char *from, uint64_t rows, const char *name, uint64_t part,
                  const uint64_t *first, uint64_t count)
{
   model_tensor *t = map_get(&m->m->by_name, from);

   if (!t)
      return; /* missed when the new one is used */
   if (t->rank < 1 || t->rank > 2 || t->dim[0] != rows ||
       (t->rank == 1 && dtype_infos[t->dtype].kind != DTYPE_FLOAT)) {
      misfit(m, t, rows);
      return;
   }
   model_tensor *to = arena_copy(m->m->a, t, sizeof *t);
   to->name = name;
   to->layout.stored = rows;
   to->layout.runs = first;
   to->layout.run = part;
   to->dim[0] = part * count;
   if (t->rank == 1)
      gather_vector(m->m, t, part, first, count, to);
   t->read = true;
   (void)map_set(&m->m->by_name, name, to);
}
