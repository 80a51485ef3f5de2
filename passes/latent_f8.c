/* latent_f8.c - latent rows stored in one byte an element.
 *
 *    %s = state : f32 mla[1,r+n]    ->    %s = state : f8e4m3 mla[1,r+n]
 *
 * A quarter of the cache, and of what attention reads of it. Rows are stored as they are, with scale
 * one: latents are normed and keys rotated, far from the type's largest value, 448, at which larger
 * ones stop. Adds a rounding (ROUND_MORE), so it is off unless asked for. Declines states of other
 * kinds by leaving them alone, and latents that are stored shorter than f32 already. Kills: keys and
 * values per head shortened, too. */
#include "pass.h"

static bool fits(pass_site *s, const ir_type *t)
{
   if (t->dtype != DT_f32)
      return pass_decline(s, "it is stored in %s already", dtype_infos[t->dtype].name);
   return true;
}

void pass_latent_f8(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      pass_site *s;

      if (op->code != IR_OP_state || op->results[0]->type.state != IR_STATE_mla)
         continue;
      if (!(s = pass_site_open(run, op)) || !fits(s, &op->results[0]->type))
         continue;
      ir_retype(s->f, op->results[0], DT_f8e4m3);
      pass_fired(s);
   }
}
