/* replay.h - runs a layout the way a device does and watches who wrote each byte of the arena last.
 */
#ifndef TEST_REPLAY_H
#define TEST_REPLAY_H

#include "passes/pass.h"

#include <criterion/criterion.h>

typedef struct memory {
   const pass_layout *l;
   uint32_t *owner; /* value id + 1 for each 64 bytes of the arena */
} memory;

static void expect_owned(const memory *m, const ir_value *v)
{
   const pass_place *p = &m->l->places[v->id];

   while (p->kind == PASS_PLACE_alias) {
      v = p->alias;
      p = &m->l->places[v->id];
   }
   if (p->kind != PASS_PLACE_arena)
      return;
   for (uint64_t b = p->offset / 64; b < (p->offset + p->size) / 64; b++)
      cr_assert_eq(m->owner[b], v->id + 1, "%%%s was overwritten before it was read",
                   v->name ? v->name : "?");
}

/* Walks the kernels as a device runs them and keeps who wrote each byte last: independent of how
 * lives were computed. */
static void replay(arena *a, const pass_layout *l)
{
   memory m = {l, arena_array(a, uint32_t, l->arena_bytes / 64 + 1)};

   for (uint32_t k = 0; k < l->num_kernels; k++) {
      const ir_group *g = l->kernels[k];

      for (const ir_op *op = g->first; op && op->group == g; op = op->next)
         for (uint32_t i = 0; i < op->num_operands; i++)
            if (pass_source(op->operands[i])->def->group != g)
               expect_owned(&m, op->operands[i]);
      for (const ir_op *op = g->first; op && op->group == g; op = op->next)
         for (uint32_t i = 0; i < op->num_results; i++) {
            const ir_value *v = op->results[i];
            const pass_place *p = &l->places[v->id];

            cr_assert(p->kind != PASS_PLACE_kernel || pass_is_internal(v, g));
            if (p->kind != PASS_PLACE_arena)
               continue;
            cr_assert_leq(p->offset + p->size, l->arena_bytes);
            for (uint64_t b = p->offset / 64; b < (p->offset + p->size) / 64; b++)
               m.owner[b] = v->id + 1;
         }
   }
}

#endif
