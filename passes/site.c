/* site.c - sites: opened in program order, numbered, declined with a reason or carried out. */
#include "run.h"

#include <stdio.h>

static bool is_skipped(const pass_run *run, pass_id id, size_t number)
{
   const pass_options *o = run->options;
   char name[64];

   if (o->allow && !o->allow(o->user, id, (uint32_t)number))
      return true;
   snprintf(name, sizeof name, "%s:%zu", pass_infos[id].name, number);
   return map_get(&run->skip, name) || map_get(&run->skip, pass_infos[id].name);
}

/* Walks open one site an op, or a few: 16 an op is far from any that comes to an end. */
enum { SITES_PER_OP = 16, SITES_AT_LEAST = 1024 };

void pass_begin(pass_run *run, pass_id id)
{
   run->current = id;
   run->most_sites = SITES_AT_LEAST + (size_t)SITES_PER_OP * run->f->num_ops;
}

pass_site *pass_site_open(pass_run *run, const ir_op *root)
{
   pass_entry *entry = &run->report->entry[run->current];
   arena *a = run->f->a;
   pass_site *s;

   if (entry->sites.count == run->most_sites) {
      pass_fail(run, SINTER_failed, run->f->name,
                "This is a defect of the pass, which finds sites in what it made itself; skip it "
                "with --without.",
                "pass %s does not come to an end: more than %zu sites, at %s",
                pass_infos[run->current].name, run->most_sites, pass_label(a, root));
      return NULL;
   }
   s = arena_new(a, pass_site);

   s->run = run;
   s->f = run->f;
   s->target = run->options->target;
   s->pass = run->current;
   s->number = (uint32_t)entry->sites.count;
   s->at = pass_label(a, root);
   s->forced = run->mode[run->current] == PASS_FORCED;
   *vec_push(a, &entry->sites) = s;
   entry->matched++;
   if (is_skipped(run, s->pass, s->number))
      (void)pass_decline(s, "skipped by request");
   else if (pass_is_refused(run, s->number))
      (void)pass_decline(s, "it adds a rounding (ROUND_MORE): only --with %s asks for that",
                         pass_infos[s->pass].name);
   else
      return s;
   return NULL;
}

void pass_own(pass_site *s, ir_op *op)
{
   *vec_push(s->f->a, &s->own) = op;
}

void pass_host(pass_site *s, ir_op *op)
{
   *vec_push(s->f->a, &s->host) = op;
}

void pass_own_views(pass_site *s, ir_value *v)
{
   for (; ir_is_alias(v->def); v = v->def->operands[0]) {
      bool known = false;

      for (size_t i = 0; i < s->own.count; i++)
         known |= s->own.data[i] == v->def;
      if (!known)
         pass_own(s, v->def);
   }
}

bool pass_decline(pass_site *s, const char *fmt, ...)
{
   char text[256];
   va_list args;

   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   s->verdict = PASS_DECLINED;
   s->reason = arena_strdup(s->f->a, text);
   return false;
}

void pass_fired(pass_site *s)
{
   s->verdict = PASS_FIRED;
   s->run->report->entry[s->pass].fired++;
   s->run->changed = true;
   if (s->run->watch)
      pass_trial_fired(s);
   if (s->run->options->site_hook)
      s->run->options->site_hook(s->run->options->user, s, s->f);
}

void pass_propose(pass_site *s)
{
   s->gain_ns = pass_gain(s);
   if (s->gain_ns <= 0 && !s->forced) {
      (void)pass_decline(s, "costs more than it saves, by %.0f ns", -s->gain_ns);
      return;
   }
   *vec_push(s->f->a, &s->run->proposals) = s;
}

/* ---- grouping ---- */

typedef VEC(ir_op *) op_list;

static void add_once(arena *a, op_list *list, ir_op *op)
{
   for (size_t i = 0; i < list->count; i++)
      if (list->data[i] == op)
         return;
   *vec_push(a, list) = op;
}

/* An op that is in a kernel already brings the whole kernel. */
static void add_whole(arena *a, op_list *list, const ir_func *f, ir_op *op)
{
   if (!op->group) {
      add_once(a, list, op);
      return;
   }
   for (ir_op *m = ir_group_first(f, op->group); m && m->group == op->group; m = m->next)
      add_once(a, list, m);
}

static const char *rule_of(const pass_site *s)
{
   const char *rule = pass_infos[s->pass].name;

   if (!s->extends)
      return rule;
   for (size_t i = 0; i < s->host.count; i++)
      if (s->host.data[i]->group && s->host.data[i]->group->rule[0])
         return s->host.data[i]->group->rule;
   return rule;
}

/* A value that never leaves its kernel is not rounded on the way: it lives in registers, as f32. */
static void widen_inside(ir_func *f, const ir_group *g)
{
   for (ir_op *op = g->first; op && op->group == g; op = op->next)
      for (uint32_t i = 0; i < op->num_results; i++) {
         ir_value *v = op->results[i];
         const dtype_info *t = &dtype_infos[v->type.dtype];

         if (t->kind == DTYPE_FLOAT && t->bytes < 4 && v->type.state == IR_STATE_none &&
             op->code != IR_OP_cast && op->code != IR_OP_quant && pass_is_internal(v, g))
            ir_retype(f, v, DT_f32);
      }
}

bool pass_group_now(pass_site *s)
{
   arena *a = s->f->a;
   op_list ops = {0};

   if (s->ready && !s->ready(s))
      return false;
   for (size_t i = 0; i < s->host.count; i++)
      add_whole(a, &ops, s->f, s->host.data[i]);
   for (size_t i = 0; i < s->own.count; i++)
      add_whole(a, &ops, s->f, s->own.data[i]);
   if (!ir_can_group(s->f, ops.data, (uint32_t)ops.count))
      return pass_decline(s, "something between its parts would have to run inside the kernel");
   widen_inside(s->f, ir_group_make(s->f, rule_of(s), ops.data, (uint32_t)ops.count));
   pass_fired(s);
   return true;
}

/* ---- rules ---- */

static void claim_match(pass_site *s)
{
   for (uint32_t i = 0; i < s->match.num_ops; i++)
      pass_own(s, s->match.ops[i]);
}

static void apply_one(pass_run *run, const pass_rule *rule, uint32_t number, ir_op *op,
                      const ir_match *m)
{
   pass_site *s = pass_site_open(run, op);

   if (!s)
      return;
   s->match = *m;
   s->rule = number;
   if (rule->fits && !rule->fits(s)) {
      assert(s->reason);
      return;
   }
   if (pass_infos[run->current].phase == PASS_FUSE) {
      claim_match(s);
      pass_propose(s);
      return;
   }
   rule->build(s);
   pass_fired(s);
}

void pass_apply(pass_run *run, const pass_rule *rules, size_t num_rules)
{
   ir_op_foreach_safe (run->f, op) {
      for (size_t r = 0; r < num_rules; r++) {
         ir_match m = {0};

         if (pass_match(run, rules[r].pattern, op, &m)) {
            apply_one(run, &rules[r], (uint32_t)r, op, &m);
            break;
         }
      }
   }
}
