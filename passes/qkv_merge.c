/* qkv_merge.c - one launch for the projections that feed an attention.
 *
 *    %q = matmul %x, %wq          kernel {
 *    %k = matmul %x, %wk    ->      %q, %k, %v of one input
 *    %v = matmul %x, %wv          }
 *
 * Saves two launches and two reads of %x; the parts keep their own weights and formats. Of a latent
 * attention these are the projections to the latents of q, and of k and v. Declines
 * when fewer than two of the three read the same input (for int8: the same codes, so the same
 * quantisation group). Kills: merging matmuls of different inputs. */
#include "pass.h"

static bool same_input(const ir_op *a, const ir_op *b)
{
   if (a->code != b->code)
      return false;
   for (uint32_t i = 0; i + 1 < a->num_operands; i++)
      if (a->operands[i] != b->operands[i])
         return false;
   return true;
}

/* Claims the largest set of parts with one input; the first one on a tie. */
static bool claim(pass_site *s, ir_op *const *parts, size_t n)
{
   uint32_t best = 0, most = 0;

   for (uint32_t i = 0; i < n; i++) {
      uint32_t count = 0;

      for (uint32_t j = 0; j < n; j++)
         count += same_input(parts[i], parts[j]);
      if (count > most) {
         most = count;
         best = i;
      }
   }
   if (most < 2)
      return pass_decline(s, "the projections read different inputs");
   if (most > s->target->max_parts)
      return pass_decline(s, "the target's kernels have at most %u parts", s->target->max_parts);
   for (size_t j = 0; j < n; j++)
      if (same_input(parts[best], parts[j]))
         pass_own(s, parts[j]);
   return true;
}

static size_t add_part(ir_op **out, size_t n, ir_op *part)
{
   for (size_t k = 0; k < n; k++)
      if (out[k] == part)
         return n; /* v may be k */
   if (part)
      out[n++] = part;
   return n;
}

/* The projections around a cache write: three, or those down to the latents. */
static size_t collect(ir_op *write, ir_op **out, const ir_op **out_root)
{
   pass_attn p;
   pass_mla m;
   size_t n = 0;

   if (write->code == IR_OP_kv_write && pass_attn_of(write, &p)) {
      *out_root = p.attention;
      n = add_part(out, n, p.q_matmul);
      n = add_part(out, n, p.k_matmul);
      return add_part(out, n, p.v_matmul);
   }
   if (write->code == IR_OP_mla_write && pass_mla_of(write, &m)) {
      *out_root = m.attention;
      n = add_part(out, n, m.q_down ? m.q_down : m.q_up);
      return add_part(out, n, m.kv_down);
   }
   return 0;
}

void pass_qkv_merge(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_op *parts[3];
      const ir_op *root = NULL;
      size_t n = collect(op, parts, &root);
      pass_site *s;

      if (n >= 2 && (s = pass_site_open(run, root)) && claim(s, parts, n))
         pass_propose(s);
   }
}
