/* latent_f8.c - latent rows stored in one byte an element.
 *
 *    %s = state : f32 mla[1,r+n]    ->    %s = state : f8e4m3 mla[1,r+n]
 *
 * A quarter of the cache, and of what attention reads of it. Rows are stored as they are, unless
 * the checkpoint has a scale (state_f8.c): latents are normed and keys rotated, far from the type's
 * largest value, 448, at which larger ones stop. Adds a rounding (ROUND_MORE), so it is off unless
 * asked for. Declines states of other kinds by leaving them alone, and latents that are stored
 * shorter than f32 already. Kills: keys and values per head shortened, too. */
#include "pass.h"

void pass_latent_f8(pass_run *run)
{
   pass_states_to_f8(run, 1u << IR_STATE_mla);
}
