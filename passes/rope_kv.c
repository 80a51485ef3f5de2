/* rope_kv.c - rotation of q and k and the cache write in one row kernel.
 *
 *    %qr = rope %q, %cs                        kernel {
 *    %kr = rope %k, %cs                  ->      %qr, %kr, %s1
 *    %s1 = kv_write %s0, %kr, %v               }
 *
 * Saves two launches, and the rotated k goes straight into its page. Declines when only one of q
 * and k is rotated, when a rotated value has a second reader, and rows the target cannot hold.
 * Rivals: qk_norm_rope, qk_norm_rope_kv. Kills: claiming the write of another layer. */
#include "pass.h"

void pass_rope_kv(pass_run *run)
{
   pass_propose_attn(run, false, true);
}
