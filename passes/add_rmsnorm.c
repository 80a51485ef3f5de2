/* add_rmsnorm.c - the residual add in the kernel of the norm behind it.
 *
 *    %h = add %x, %r              kernel {
 *    %n = rmsnorm %h, %w    ->      %h, %n
 *                                 }
 *
 * Saves a launch and one read of %h, which stays the residual. Declines rows that one kernel cannot
 * hold. Rival: epilogue, which saves more when %x comes out of a matmul. Kills: grouping the norm
 * with the add of another row shape. */
#include "pass.h"

enum { X, R, H, W };

static bool fits(pass_site *s)
{
   const ir_value *h = s->match.cap[H];
   int64_t row = ir_type_row(&h->type);

   if (row < 0)
      return pass_decline(s, "the length of a row is not known when compiling");
   if (row > s->target->row_limit)
      return pass_decline(s, "a row of %lld elements exceeds the target's %lld", (long long)row,
                          (long long)s->target->row_limit);
   return true;
}

void pass_add_rmsnorm(pass_run *run)
{
   const ir_pat *pattern = PAT(rmsnorm, SUB(add, ANY(X), ANY(R), .as = H), ANY(W));
   const pass_rule rules[] = {{pattern, fits, NULL}};

   pass_apply(run, rules, countof(rules));
}
