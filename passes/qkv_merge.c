/* qkv_merge.c - one launch for the projections that feed an attention.
 *
 *    %q = matmul %x, %wq          kernel {
 *    %k = matmul %x, %wk    ->      %q, %k, %v of one input
 *    %v = matmul %x, %wv          }
 *
 * Saves two launches and two reads of %x; the parts keep their own weights and formats. Declines
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

static size_t collect(const pass_attn *p, ir_op **out)
{
   ir_op *const found[] = {p->q_matmul, p->k_matmul, p->v_matmul};
   size_t n = 0;

   for (size_t i = 0; i < countof(found); i++) {
      bool again = false;

      for (size_t k = 0; k < n; k++)
         again |= out[k] == found[i]; /* v may be k */
      if (found[i] && !again)
         out[n++] = found[i];
   }
   return n;
}

void pass_qkv_merge(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_op *parts[3];
      pass_attn p;
      pass_site *s;

      if (op->code != IR_OP_kv_write || !pass_attn_of(op, &p))
         continue;
      size_t n = collect(&p, parts);
      if (n < 2)
         (void)pass_note_near(run, p.attention, (uint32_t)n, 3,
                              "fewer than two of q, k and v come out of matmuls of their own");
      if (n >= 2 && (s = pass_site_open(run, p.attention)) && claim(s, parts, n))
         pass_propose(s);
   }
}
