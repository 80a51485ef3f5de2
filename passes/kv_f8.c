/* kv_f8.c - keys, values and latents stored in one byte an element.
 *
 *    %s = state : f32 kv_full[G,d]    ->    %s = state : f8e4m3 kv_full[G,d]
 *
 * Half of the cache that f16 takes, and of what attention reads of it. An 8-bit float is as exact
 * at 100 as at 0.1, and what is larger than the largest, 448, stops there: where the checkpoint has
 * scales they are used (state_f8.c), without them elements are stored as they are. Adds a rounding
 * (ROUND_MORE), so it is off unless asked for. Declines what is stored shorter than f32 already;
 * leaves states of other kinds alone: what a recurrence keeps goes through all later tokens, and
 * what entries are made of is summed. Kills: a recurrent state shortened; a window's keys left as
 * they are; a scale that is not undone, or of another head. */
#include "pass.h"

void pass_kv_f8(pass_run *run)
{
   const uint64_t kinds = 1u << IR_STATE_kv_full | 1u << IR_STATE_kv_window | 1u << IR_STATE_mla;

   pass_states_to_f8(run, kinds);
}
