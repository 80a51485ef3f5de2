/* qk_norm_rope_kv.c - norm, rotation and cache write in one row kernel.
 *
 *    %qn = rmsnorm %q, %wq;  %qr = rope %qn, %cs           kernel {
 *    %kn = rmsnorm %k, %wk;  %kr = rope %kn, %cs    ->       %qn, %qr, %kn, %kr, %s1
 *    %s1 = kv_write %s0, %kr, %v                           }
 *
 * Saves four launches, and normed and rotated k has no memory of its own. Declines as qk_norm_rope
 * does. Rivals: qk_norm_rope, rope_kv. Kills: leaving the write out while its k has become a value
 * of the kernel. */
#include "pass.h"

void pass_qk_norm_rope_kv(pass_run *run)
{
   pass_propose_attn(run, true, true);
}
