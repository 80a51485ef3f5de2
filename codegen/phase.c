/* phase.c - which launches may run at the same time. */
#include "lower.h"

static bool overlaps(const cg_touch *a, const cg_touch *b)
{
   return a->kind == b->kind && a->index == b->index && a->index2 == b->index2 && a->from < b->to &&
          b->from < a->to;
}

/* Whether b must wait for a. */
static bool conflicts(const cg_launch *a, const cg_launch *b)
{
   for (uint32_t i = 0; i < a->num_touches; i++)
      for (uint32_t k = 0; k < b->num_touches; k++)
         if ((a->touches[i].written || b->touches[k].written) &&
             overlaps(&a->touches[i], &b->touches[k]))
            return true;
   return false;
}

void cg_number_phases(cg_launches *launches)
{
   uint32_t phase = 0;
   size_t first = 0; /* of the current phase */

   for (size_t i = 0; i < launches->list.count; i++) {
      for (size_t k = first; k < i; k++) {
         if (!conflicts(&launches->list.data[k], &launches->list.data[i]))
            continue;
         phase++;
         first = i;
         break;
      }
      launches->list.data[i].launch.phase = phase;
   }
}
