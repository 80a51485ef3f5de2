/* router_topk.c - which experts, and in what order their slots are worked on, in one kernel.
 *
 *    %ids, %w = route %logits         kernel {
 *    %o, %n = permute %ids      ->      %ids, %w, %o, %n
 *                                     }
 *
 * Few rows: one launch does both. Many rows: two launches of one kernel, since rows are routed in
 * parallel and permuted by one. Saves a launch and the read of the ids. Declines ids of more
 * experts than were routed, as a map of replicas makes them. Kills: permuting other ids than those
 * that were routed. */
#include "pass.h"

enum { IDS };

static bool fits(pass_site *s)
{
   const ir_op *route = s->match.cap[IDS]->def, *permute = s->match.ops[1];
   int64_t routed = ir_type_row(&route->operands[0]->type);

   if (ir_attr_i(permute, IR_ATTR_experts, 0) != routed)
      return pass_decline(s, "%lld experts are routed, and slots of %lld put in order",
                          (long long)routed, (long long)ir_attr_i(permute, IR_ATTR_experts, 0));
   return true;
}

void pass_router_topk(pass_run *run)
{
   const ir_pat *pattern = PAT(permute, SUB(route, .as = IDS));
   const pass_rule rules[] = {{pattern, fits, NULL}};

   pass_apply(run, rules, countof(rules));
}
