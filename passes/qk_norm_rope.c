/* qk_norm_rope.c - norm and rotation of the heads of q and k in one row kernel.
 *
 *    %qn = rmsnorm %q, %wq;  %qr = rope %qn, %cs           kernel {
 *    %kn = rmsnorm %k, %wk;  %kr = rope %kn, %cs    ->       %qn, %qr, %kn, %kr
 *                                                          }
 *
 * Saves three launches and a write and a read of q and k. Declines when only one of q and k has a
 * norm or a rotation, when a norm or a rotated value has a second reader, and rows the target
 * cannot hold. Rival: qk_norm_rope_kv. Kills: pairing the q of one layer with the k of another. */
#include "pass.h"

void pass_qk_norm_rope(pass_run *run)
{
   pass_propose_attn(run, true, false);
}
