/* mhc_post_pre.c - hyper-connections from the end of one block to the norm of the next in one
 * kernel.
 *
 *    %z = hc_expand %y, %x, %po, %co          kernel {
 *    %p, %q, %c = hc_mix %z, %fn, %s, %b        %z;  %p, %q, %c
 *    %h = hc_collapse %z, %p            ->      %h
 *    %n = rmsnorm %h, %w                        %n }
 *
 * Across borders of layers, and inside of them: streams are spread and mixed where they are in the
 * cache, a block of columns at a time; whole rows are finished behind it. Saves two launches with
 * the expand, two reads of the streams, the factors %p and the row %h. The first mix of a model has
 * no expand before it. Sums have the order of the single kernels: EXACT. Declines when %p or %h is
 * read elsewhere too, when what is brought together are not the streams that were mixed, and more
 * streams than kernels hold. Kills: the streams before the expand; the mix of another layer; a norm
 * that others read the input of. */
#include "pass.h"

enum { MAX_STREAMS = 8 };

/* The parts around one mix; expand and norm may be NULL. */
typedef struct parts {
   ir_op *expand, *mix, *collapse, *norm;
} parts;

/* The op that brings streams together by this mix. */
static ir_op *collapse_of(ir_op *mix)
{
   for (const ir_use *u = mix->results[0]->uses; u; u = u->next)
      if (u->user->code == IR_OP_hc_collapse && u->operand == 1)
         return u->user;
   return NULL;
}

static bool fits(pass_site *s, const parts *p)
{
   const ir_type *x = &p->mix->operands[0]->type;

   if (!ir_only_user(p->mix->results[0]))
      return pass_decline(s, "what brings the streams together has a second reader");
   if (p->collapse->operands[0] != p->mix->operands[0])
      return pass_decline(s, "other streams are brought together than are mixed");
   if (ir_dim_const(x->dim[1]) > MAX_STREAMS)
      return pass_decline(s, "there are %lld streams, and kernels hold %d",
                          (long long)ir_dim_const(x->dim[1]), MAX_STREAMS);
   return true;
}

/* The norm behind, when nothing else wants what it norms. */
static ir_op *norm_of(const ir_op *collapse)
{
   ir_op *reader = ir_only_user(collapse->results[0]);

   return reader && reader->code == IR_OP_rmsnorm && reader->operands[0] == collapse->results[0]
             ? reader
             : NULL;
}

void pass_mhc_post_pre(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      parts p = {.mix = op};
      pass_site *s;

      if (op->code != IR_OP_hc_mix)
         continue;
      p.collapse = collapse_of(op);
      if (!p.collapse) {
         (void)pass_note_near(run, op, 1, 2, "no hc_collapse reads its first result");
         continue;
      }
      if (!(s = pass_site_open(run, op)) || !fits(s, &p))
         continue;
      p.expand = pass_def(op->operands[0], IR_OP_hc_expand);
      p.norm = norm_of(p.collapse);
      if (p.expand && p.expand->results[0] == op->operands[0])
         pass_own(s, p.expand);
      pass_own(s, op);
      pass_own(s, p.collapse);
      if (p.norm)
         pass_own(s, p.norm);
      pass_propose(s);
   }
}
