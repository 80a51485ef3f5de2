/* partition.c - the order of kernels, and which runs of them are one recorded segment.
 *
 *    classify   join the properties over each kernel: a breaking one makes it eager
 *    close      a kernel that reads a field which only the host holds is eager, too
 *    hoist      order kernels so that recordable ones stand together, where values and states allow
 *    cut        maximal runs of one class; short runs are not worth recording
 *    report     every break: op, property, chain, and what would remove it
 *
 * docs/gpu.md (Graphs) lists what goes wrong without this. Kills: not closing over readers of host
 * fields; moving a reader of a state behind the op that consumes it; leaving an op outside every
 * kernel. */
#include "run.h"

#include <stdlib.h>

typedef struct kernel {
   ir_group *group;
   uint32_t props;
   bool eager;
   const char *why;
   VEC(uint32_t) before, after; /* kernels that must run earlier, later */
   uint32_t waits;
} kernel;

typedef struct graph {
   pass_run *run;
   arena *a;
   kernel *k;
   uint32_t n;
   uint32_t *of;                 /* kernel of an op, by id; UINT32_MAX: none */
   VEC(const ir_group *) broken; /* kernel of each break of the report, from `reported` on */
   size_t reported;
} graph;

static void group_rest(pass_run *run)
{
   ir_op_foreach (run->f, op) {
      if (op->group || pass_is_leaf(op) || ir_is_alias(op) || pass_weight_behind(op->results[0]))
         continue;
      ir_group_make(run->f, "", &op, 1);
      run->changed = true;
   }
}

static void collect(graph *g)
{
   ir_func *f = g->run->f;

   g->k = arena_array(g->a, kernel, f->groups.count + 1);
   g->of = arena_array(g->a, uint32_t, f->num_ops + 1);
   memset(g->of, 0xff, (f->num_ops + 1) * sizeof *g->of);
   ir_op_foreach (f, op) {
      if (!op->group)
         continue;
      if (!g->n || g->k[g->n - 1].group != op->group)
         g->k[g->n++].group = op->group;
      g->of[op->id] = g->n - 1;
      g->k[g->n - 1].props |= pass_props(g->run->options->target, op);
   }
}

/* ---- classify ---- */

static int breaking_prop(uint32_t props)
{
   for (int i = 0; i < IR_PROP_COUNT; i++)
      if (props >> i & 1 && ir_prop_breaks[i])
         return i;
   return -1;
}

static uint32_t recordable_ops(const graph *g, const kernel *k)
{
   uint32_t n = 0;

   for (ir_op *op = k->group->first; op && op->group == k->group; op = op->next)
      n += breaking_prop(pass_props(g->run->options->target, op)) < 0;
   return n;
}

/* The least change: what a fusion pulled into the break can leave it; the break itself goes with
 * another kernel only. */
static const char *remedy_of(const graph *g, const kernel *k, int prop)
{
   const char *other_kernel =
      arena_printf(g->a, "give the target a kernel without %s for this op", ir_prop_names[prop]);
   uint32_t others = recordable_ops(g, k);

   if (!others || !k->group->rule[0])
      return other_kernel;
   return arena_printf(g->a, "--without %s lets %u other ops of its kernel be recorded; or %s",
                       k->group->rule, others, other_kernel);
}

/* op ─ property, and who gives it ─▶ kernel, and who made it */
static const char *chain_of(const graph *g, const kernel *k, const ir_op *op, int prop)
{
   bool by_meaning = ir_op_infos[op->code].props >> prop & 1;

   return arena_printf(
      g->a, "%s is %s by %s > kernel %s (%s%u ops) cannot be recorded", ir_op_infos[op->code].name,
      ir_prop_names[prop], by_meaning ? "its meaning" : "the target's kernel", k->group->name,
      k->group->rule[0] ? arena_printf(g->a, "by %s, ", k->group->rule) : "", k->group->num_ops);
}

static void report(graph *g, const kernel *k, const ir_op *op, int prop, const char *chain,
                   const char *remedy)
{
   *vec_push(g->a, &g->broken) = k->group;
   *vec_push(g->a, &g->run->report->breaks) =
      (pass_break){pass_label(g->a, op), ir_prop_names[prop], chain, remedy};
}

static void classify(graph *g)
{
   const pass_target *t = g->run->options->target;

   for (uint32_t i = 0; i < g->n; i++) {
      kernel *k = &g->k[i];

      if (breaking_prop(k->props) < 0)
         continue;
      k->eager = true;
      for (ir_op *op = k->group->first; op && op->group == k->group; op = op->next) {
         int prop = breaking_prop(pass_props(t, op));

         if (prop < 0)
            continue;
         const char *chain = arena_printf(g->a, "%s: %s is %s", k->group->name,
                                          ir_op_infos[op->code].name, ir_prop_names[prop]);
         if (!k->why)
            k->why = chain;
         report(g, k, op, prop, chain_of(g, k, op, prop), remedy_of(g, k, prop));
      }
   }
}

/* ---- order constraints ---- */

static void edge(graph *g, uint32_t from, uint32_t to)
{
   if (from == UINT32_MAX || to == UINT32_MAX || from == to)
      return;
   *vec_push(g->a, &g->k[from].after) = to;
   *vec_push(g->a, &g->k[to].before) = from;
}

/* Values; and for a consumed state: all its other readers come first. */
static void connect(graph *g)
{
   ir_op_foreach (g->run->f, op) {
      if (!op->group)
         continue;
      for (uint32_t i = 0; i < op->num_operands; i++)
         edge(g, g->of[pass_source(op->operands[i])->def->id], g->of[op->id]);
      if (!(ir_op_infos[op->code].props & IR_MUTATES))
         continue;
      for (const ir_use *u = op->operands[0]->uses; u; u = u->next)
         if (u->user != op)
            edge(g, g->of[u->user->id], g->of[op->id]);
   }
}

/* ---- close over host fields ---- */

static uint32_t host_fields(const graph *g, const kernel *k)
{
   uint32_t fields = 0;

   for (ir_op *op = k->group->first; op && op->group == k->group; op = op->next) {
      fields |= ir_op_infos[op->code].reads;
      for (uint32_t i = 0; i < op->num_operands; i++) {
         const ir_op *def = pass_source(op->operands[i])->def;

         if (def->code == IR_OP_meta)
            fields |= 1u << ir_attr_i(def, IR_ATTR_field, 0);
      }
   }
   return fields & g->run->options->target->host_meta;
}

/* What reads a field that only the host holds cannot be replayed. Results of kernels are in planned
 * memory, so the closure ends with the kernels that read the field themselves. */
static void close_over(graph *g)
{
   for (uint32_t i = 0; i < g->n; i++) {
      kernel *k = &g->k[i];
      uint32_t fields = host_fields(g, k);

      if (!fields)
         continue;
      const char *field = ir_meta_infos[__builtin_ctz(fields)].name;
      const char *chain =
         arena_printf(g->a, "%s: reads %s, which only the host holds", k->group->name, field);

      k->eager = true;
      k->why = k->why ? k->why : chain;
      report(g, k, k->group->first, IR_PROPBIT_READS_META, chain,
             arena_printf(g->a, "keep %s on the device", field));
   }
}

/* ---- hoist and sink ---- */

/* Takes ready kernels of one class in program order until none is ready, then of the other. Without
 * a break the order stays as it is. */
static void schedule(graph *g, uint32_t *order)
{
   uint8_t *done = arena_array(g->a, uint8_t, g->n + 1);
   uint32_t count = 0;
   bool eager = false;

   for (uint32_t i = 0; i < g->n; i++)
      g->k[i].waits = (uint32_t)g->k[i].before.count;
   while (count < g->n) {
      for (uint32_t i = 0; i < g->n; i++) {
         if (done[i] || g->k[i].waits || g->k[i].eager != eager)
            continue;
         done[i] = 1;
         order[count++] = i;
         for (size_t e = 0; e < g->k[i].after.count; e++)
            g->k[g->k[i].after.data[e]].waits--;
      }
      eager = !eager;
   }
}

static void move_all(graph *g, const uint32_t *order)
{
   ir_func *f = g->run->f;
   kernel *sorted = arena_array(g->a, kernel, g->n + 1);

   /* Leaves and views first need no care: leaves go to the front, a view follows its source when it
    * is moved. */
   for (uint32_t i = 0; i < g->n; i++) {
      kernel *k = &g->k[order[i]];
      ir_op *const first = k->group->first, *op = first;

      sorted[i] = *k;
      for (uint32_t m = k->group->num_ops; m; m--) {
         ir_op *next = op->next;

         ir_move_before(f, op, NULL);
         op = next;
      }
      k->group->first = first; /* moving ops one by one loses it */
   }
   memcpy(g->k, sorted, g->n * sizeof *sorted);
}

/* A view stands behind its source: what is no kernel goes where its operands allow. */
static void move_views(graph *g)
{
   ir_func *f = g->run->f;

   ir_op_foreach_safe (f, op) {
      if (!ir_is_alias(op) || op->group)
         continue;
      ir_op *source = op->operands[0]->def, *at = source->next;

      while (at && at->group && at->group == source->group)
         at = at->next;
      if (at != op && ir_precedes(op, source))
         ir_move_before(f, op, at);
   }
}

static void reorder(graph *g)
{
   uint32_t *order = arena_array(g->a, uint32_t, g->n + 1);
   bool moved = false;

   if (!g->run->report->breaks.count)
      return;
   schedule(g, order);
   for (uint32_t i = 0; i < g->n; i++)
      moved |= order[i] != i;
   if (!moved)
      return;
   move_all(g, order);
   move_views(g);
   g->run->changed = true;
}

/* ---- cut ---- */

static void cut(graph *g)
{
   pass_layout *l = g->run->layout;
   uint32_t min = g->run->options->target->min_segment;

   l->kernels = arena_array(g->a, ir_group *, g->n + 1);
   l->segments = arena_array(g->a, pass_segment, g->n + 1);
   l->num_kernels = g->n;
   for (uint32_t i = 0, end; i < g->n; i = end) {
      pass_segment *s = &l->segments[l->num_segments++];

      for (end = i; end < g->n && g->k[end].eager == g->k[i].eager; end++)
         l->kernels[end] = g->k[end].group;
      *s = (pass_segment){i, end - i, PLAN_SEGMENT_recorded, ""};
      if (g->k[i].eager)
         *s = (pass_segment){i, end - i, PLAN_SEGMENT_eager, g->k[i].why};
      else if (end - i < min)
         *s = (pass_segment){i, end - i, PLAN_SEGMENT_eager, "too short to be worth recording"};
   }
}

/* The end of each chain: which recorded runs the break stands between. */
static void tell_cuts(graph *g)
{
   const pass_layout *l = g->run->layout;
   uint32_t *of = arena_array(g->a, uint32_t, g->run->f->groups.count + 1);

   for (uint32_t i = 0; i < l->num_segments; i++)
      for (uint32_t k = 0; k < l->segments[i].num_kernels; k++)
         of[l->kernels[l->segments[i].first_kernel + k]->id] = i;
   for (size_t i = 0; i < g->broken.count; i++) {
      pass_break *b = &g->run->report->breaks.data[g->reported + i];
      uint32_t at = of[g->broken.data[i]->id];

      b->chain = arena_printf(g->a, "%s > segment %u, between %u and %u recorded kernels", b->chain,
                              at, at ? l->segments[at - 1].num_kernels : 0,
                              at + 1 < l->num_segments ? l->segments[at + 1].num_kernels : 0);
   }
}

void pass_partition(pass_run *run)
{
   graph g = {.run = run, .a = run->f->a, .reported = run->report->breaks.count};

   group_rest(run);
   collect(&g);
   classify(&g);
   connect(&g);
   close_over(&g);
   reorder(&g);
   cut(&g);
   tell_cuts(&g);
}
