/* stack.c - matrices of experts that a checkpoint stores one by one, as one tensor.
 *
 *    experts.0.w1 [N,K], experts.1.w1, …   ─▶   ffn_gate_exps [E,N,K], parts[e] where each begins
 *
 * Nothing is copied, and a graph, plan or recipe is as large for 256 experts as for one. */
#include "source.h"

enum { MAX_EXPERTS = 1 << 16 };

struct source_stack {
   const char *name;
   VEC(model_tensor *) parts; /* by expert; NULL: not seen */
};

sinter_status source_stack_add(model_source *s, source_stacks *stacks, model_tensor *t, long expert)
{
   source_stack *k = map_get(&stacks->by_name, t->name);

   if (expert >= MAX_EXPERTS)
      return base_fail(SINTER_bad_input, s->path, "convert the checkpoint again",
                       "'%.120s' has a number that no expert has", t->source_name);
   if (!k) {
      k = arena_new(s->a, source_stack);
      k->name = t->name;
      map_set(&stacks->by_name, k->name, k);
      *vec_push(s->a, &stacks->list) = k;
   }
   while (k->parts.count <= (size_t)expert)
      *vec_push(s->a, &k->parts) = NULL;
   if (k->parts.data[expert])
      return source_twice(s, t->source_name);
   k->parts.data[expert] = t;
   return SINTER_ok;
}

/* What t has unlike the first expert; NULL: nothing. */
static const char *difference(arena *a, const model_tensor *t, const model_tensor *first)
{
   const model_layout *x = &t->layout, *y = &first->layout;

   if (t->rank != first->rank || t->rank > 3 ||
       memcmp(t->dim, first->dim, t->rank * sizeof *t->dim) != 0)
      return "another shape";
   if (t->dtype != first->dtype || x->kind != y->kind)
      return arena_printf(a, "the type %s, not %s", dtype_infos[t->dtype].name,
                          dtype_infos[first->dtype].name);
   if (x->scale_type != y->scale_type)
      return arena_printf(a, "scales of the type %s, not %s", dtype_infos[x->scale_type].name,
                          dtype_infos[y->scale_type].name);
   if (x->block_rows != y->block_rows || x->block_cols != y->block_cols)
      return arena_printf(a, "a scale for %llu x %llu elements, not %llu x %llu",
                          (unsigned long long)x->block_rows, (unsigned long long)x->block_cols,
                          (unsigned long long)y->block_rows, (unsigned long long)y->block_cols);
   return NULL;
}

static sinter_status check_parts(const model_source *s, const source_stack *k)
{
   for (size_t e = 0; e < k->parts.count; e++) {
      const model_tensor *t = k->parts.data[e], *first = k->parts.data[0];

      if (!t)
         return base_fail(SINTER_bad_input, s->path, "fetch the checkpoint again",
                          "expert %zu of '%.120s' is missing", e, k->name);
      const char *unlike = difference(s->a, t, first);
      if (unlike)
         return base_fail(
            SINTER_bad_input, s->path, "take a checkpoint whose experts have one shape and type",
            "'%.120s' has %s as '%.120s'", t->source_name, unlike, first->source_name);
   }
   return SINTER_ok;
}

static void join(model_source *s, const source_stack *k)
{
   const uint8_t **parts = arena_array(s->a, const uint8_t *, k->parts.count);
   const uint8_t **scales = arena_array(s->a, const uint8_t *, k->parts.count);
   float *divisors = arena_array(s->a, float, k->parts.count);
   model_tensor *t = k->parts.data[0];

   for (size_t e = 0; e < k->parts.count; e++) {
      model_tensor *part = k->parts.data[e];
      parts[e] = part->data;
      scales[e] = part->layout.scales;
      divisors[e] = part->layout.divisors ? part->layout.divisors[0] : 1;
      part->name = part->source_name;
      part->read = e > 0;
   }
   t->name = k->name;
   memmove(t->dim + 1, t->dim, t->rank * sizeof *t->dim);
   t->dim[0] = k->parts.count;
   t->rank++;
   t->bytes *= k->parts.count;
   t->parts = parts;
   t->layout.scale_parts = scales;
   t->layout.divisors = divisors;
}

sinter_status source_stack_all(model_source *s, source_stacks *stacks, map *by_name)
{
   for (size_t i = 0; i < stacks->list.count; i++) {
      source_stack *k = stacks->list.data[i];
      SINTER_TRY(check_parts(s, k));
      join(s, k);
      if (map_set(by_name, k->name, k->parts.data[0]))
         return source_twice(s, k->name);
   }
   return SINTER_ok;
}
