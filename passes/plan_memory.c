/* plan_memory.c - a place for every value.
 *
 *    inside one kernel           no memory
 *    weight, state, metadata     where the runtime has them
 *    view                        its source; of a weight: a copy of its own, made when packing
 *    returned                    the step's output
 *    all others                  one arena, from the kernel that writes it to its last reader
 *
 * Sizes are those at the ends of the symbols' ranges, and rows keep their stride, so that a smaller
 * step uses a prefix. Two values share bytes only when their lives do not touch, over the whole
 * list of kernels, eager ones too: boundary values stay put between segments. In place: a pointwise
 * kernel over an operand that dies in it, a matmul's kernel over the residual it adds last. Each
 * element is read before it is written, by the same tile.
 *
 * Kills: freeing an operand before its kernel has ended; taking a row op (which reads a row twice)
 * for pointwise; the size at another row count. */
#include "run.h"

#include "base/pack.h"

#include <stdlib.h>

enum { ALIGN = 64 };

typedef struct life {
   ir_value *v;
   uint32_t from, to; /* kernels */
   uint64_t size;
   struct life *over; /* in place of this one */
} life;

typedef struct hole {
   uint64_t offset, size;
} hole;

typedef struct plan_state {
   pass_run *run;
   arena *a;
   pass_layout *l;
   uint32_t *order; /* kernel number of a group, by group id */
   life **of;       /* by value id */
   VEC(life *) lives;
   VEC(hole) holes; /* free, ascending, never adjacent */
   uint64_t end;    /* of the arena so far */
   int64_t syms[SYM_COUNT];
} plan_state;

static bool value_bytes(const plan_state *p, const ir_value *v, uint64_t *out)
{
   const ir_op *op = v->def;
   const ir_type *t = &v->type;
   bool packed = op->code == IR_OP_quant && pass_quant_is_packed(op);
   uint64_t n = 1;

   for (uint32_t i = 0; i < t->rank; i++) {
      int64_t d = ir_dim_eval(t->dim[i], p->syms);

      /* Codes for int8 kernels, and their scales, are rows with a stride of their own. */
      if (packed && i + 1 == t->rank)
         d = 1;
      if (d < 0 || !base_mul(n, (uint64_t)d, &n))
         return false;
   }
   if (!packed)
      return dtype_size(t->dtype, n, out);
   uint64_t cols = (uint64_t)ir_type_row(&op->operands[0]->type);
   uint64_t stride = v->result
                        ? pack_scales_stride(cols, (uint64_t)ir_attr_i(op, IR_ATTR_group, 32))
                        : pack_codes_stride(cols);
   return base_mul(n, stride, out);
}

/* ---- places that are given ---- */

static uint32_t cache_group(plan_state *p, const ir_op *op)
{
   pass_layout *l = p->l;
   const ir_type *t = &op->results[0]->type;
   plan_cache_group g = {.kind = (uint32_t)t->state - 1, /* row of states.def */
                         .heads = (uint32_t)ir_dim_const(t->dim[0]),
                         .width = (uint32_t)ir_state_width(t),
                         .window = ir_attr_i(op, IR_ATTR_window, 0),
                         .ratio = (uint32_t)ir_attr_i(op, IR_ATTR_ratio, 0),
                         .dtype = t->dtype};

   for (uint32_t i = 0; i < l->num_cache_groups; i++) {
      const plan_cache_group *h = &l->cache_groups[i];

      if (h->kind == g.kind && h->heads == g.heads && h->width == g.width &&
          h->window == g.window && h->ratio == g.ratio && h->dtype == g.dtype)
         return i;
   }
   l->cache_groups[l->num_cache_groups] = g;
   return l->num_cache_groups++;
}

static void place_leaf(plan_state *p, const ir_op *op)
{
   pass_place *at = &p->l->places[op->results[0]->id];

   switch (op->code) {
   case IR_OP_weight:
      at->kind = PASS_PLACE_weight; /* pack_weights numbers them */
      break;
   case IR_OP_meta:
      at->kind = PASS_PLACE_meta;
      at->index = (uint32_t)ir_attr_i(op, IR_ATTR_field, 0);
      at->index2 = (uint32_t)ir_attr_i(op, IR_ATTR_index, 0);
      break;
   case IR_OP_state:
      at->kind = PASS_PLACE_state;
      at->index = cache_group(p, op);
      at->index2 = p->l->cache_groups[at->index].num_layers++;
      break;
   default: /* param: its bytes are there from the start */ break;
   }
}

static void place_states_and_views(plan_state *p)
{
   uint32_t num_states = 0;

   ir_op_foreach (p->run->f, op)
      num_states += op->code == IR_OP_state;
   p->l->cache_groups = arena_array(p->a, plan_cache_group, num_states + 1);
   ir_op_foreach (p->run->f, op) {
      if (pass_is_leaf(op))
         place_leaf(p, op);
      if (!pass_is_leaf(op) && pass_weight_behind(op->results[0]))
         p->l->places[op->results[0]->id].kind = PASS_PLACE_weight;
      else if (ir_is_alias(op))
         p->l->places[op->results[0]->id] =
            (pass_place){.kind = PASS_PLACE_alias, .alias = pass_source(op->results[0])};
      if (op->num_results && !pass_is_leaf(op) && op->results[0]->type.state != IR_STATE_none)
         p->l->places[op->results[0]->id] = p->l->places[op->operands[0]->id];
   }
}

/* Returned tensors are outputs, numbered without the states. */
static void place_outputs(plan_state *p)
{
   ir_func *f = p->run->f;
   uint32_t n = 0;

   for (size_t i = 0; i < f->returns.count; i++) {
      ir_value *v = pass_source(f->returns.data[i]);

      if (v->type.state != IR_STATE_none)
         continue;
      pass_place *at = &p->l->places[v->id];
      if (pass_is_leaf(v->def) || at->kind == PASS_PLACE_output)
         pass_fail(p->run, SINTER_unsupported, f->name, "Return a value of its own.",
                   "%s is returned %s", pass_label(p->a, v->def),
                   pass_is_leaf(v->def) ? "as it came in" : "twice");
      *at = (pass_place){.kind = PASS_PLACE_output, .index = n++};
      if (!value_bytes(p, v, &at->size))
         pass_fail(p->run, SINTER_unsupported, f->name, "Lower the ranges of the symbols.",
                   "the size of %s overflows", pass_label(p->a, v->def));
   }
}

/* ---- lives ---- */

typedef struct last_read {
   const plan_state *p;
   uint32_t to;
} last_read;

static void see_reader(void *user, ir_op *reader)
{
   last_read *l = user;

   if (reader && reader->group)
      l->to = MAX(l->to, l->p->order[reader->group->id]);
}

static void add_life(plan_state *p, ir_value *v, uint32_t from)
{
   last_read last = {p, from};
   life *l = arena_new(p->a, life);

   pass_readers(v, see_reader, &last);
   *l = (life){.v = v, .from = from, .to = last.to};
   if (!value_bytes(p, v, &l->size))
      pass_fail(p->run, SINTER_unsupported, p->run->f->name, "Lower the ranges of the symbols.",
                "the size of %s overflows", pass_label(p->a, v->def));
   l->size = base_align(MAX(l->size, 1), ALIGN);
   p->of[v->id] = l;
   *vec_push(p->a, &p->lives) = l;
}

static void collect_lives(plan_state *p)
{
   /* Lives start in ascending order; an input is there from the start. */
   ir_op_foreach (p->run->f, op)
      if (op->code == IR_OP_param)
         add_life(p, op->results[0], 0);
   ir_op_foreach (p->run->f, op) {
      if (!op->group)
         continue;
      for (uint32_t i = 0; i < op->num_results; i++) {
         ir_value *v = op->results[i];

         if (v->type.state != IR_STATE_none || p->l->places[v->id].kind == PASS_PLACE_output)
            continue;
         /* the permutation of a router's kernel reads ids from memory */
         if (v->uses && op->code != IR_OP_route && pass_is_internal(v, op->group))
            p->l->places[v->id].kind = PASS_PLACE_kernel;
         else
            add_life(p, v, p->order[op->group->id]);
      }
   }
}

/* ---- in place ---- */

static bool is_pointwise(const ir_group *g)
{
   for (const ir_op *op = g->first; op && op->group == g; op = op->next)
      if (!(ir_op_infos[op->code].props & IR_POINTWISE))
         return false;
   return true;
}

static bool has_matmul(const ir_group *g)
{
   bool found = false;

   for (const ir_op *op = g->first; op && op->group == g; op = op->next) {
      if (op->code == IR_OP_combine) /* its sum is in the result before the residual is read */
         return false;
      found |= pass_is_matmul(op);
   }
   return found;
}

static bool may_overwrite(const plan_state *p, const life *result, const ir_value *v)
{
   const life *l = ir_is_alias(v->def) ? NULL : p->of[v->id];

   return l && v->def->group != result->v->def->group && v->def->code != IR_OP_param &&
          l->to == result->from && ir_type_equal(&v->type, &result->v->type);
}

/* The operand from outside whose bytes the only result of a pointwise kernel may take. */
static life *dying_operand(const plan_state *p, const life *result)
{
   const ir_group *g = result->v->def->group;

   for (const ir_op *op = g->first; op && op->group == g; op = op->next)
      for (uint32_t i = 0; i < op->num_operands; i++)
         if (may_overwrite(p, result, op->operands[i]))
            return p->of[op->operands[i]->id];
   return NULL;
}

/* The residual that a matmul's kernel adds last: each tile reads just the elements that it writes.
 * Nothing else in the kernel may read it, as the matmuls do, whole rows at a time. */
static life *dying_residual(const plan_state *p, const life *result)
{
   const ir_op *last = result->v->def;
   life *found = NULL;
   uint32_t readers = 0;

   if (last->code != IR_OP_add)
      return NULL;
   for (uint32_t i = 0; i < last->num_operands; i++)
      if (may_overwrite(p, result, last->operands[i]))
         found = p->of[last->operands[i]->id];
   for (const ir_op *op = last->group->first; op && op->group == last->group; op = op->next)
      for (uint32_t i = 0; found && i < op->num_operands; i++)
         readers += pass_source(op->operands[i]) == found->v;
   return readers == 1 ? found : NULL;
}

static void find_in_place(plan_state *p)
{
   uint32_t *results = arena_array(p->a, uint32_t, p->l->num_kernels + 1);

   for (size_t i = 0; i < p->lives.count; i++)
      results[p->lives.data[i]->from] += p->lives.data[i]->v->def->group != NULL;
   for (size_t i = 0; i < p->lives.count; i++) {
      life *l = p->lives.data[i];

      if (!l->v->def->group || results[l->from] != 1)
         continue;
      l->over = is_pointwise(l->v->def->group) ? dying_operand(p, l)
                : has_matmul(l->v->def->group) ? dying_residual(p, l)
                                               : NULL;
   }
}

/* ---- offsets ---- */

static uint64_t take(plan_state *p, uint64_t size)
{
   size_t best = p->holes.count;

   for (size_t i = 0; i < p->holes.count; i++)
      if (p->holes.data[i].size >= size &&
          (best == p->holes.count || p->holes.data[i].size < p->holes.data[best].size))
         best = i;
   if (best == p->holes.count) {
      /* The last hole may touch the end: grow it. */
      if (best && p->holes.data[best - 1].offset + p->holes.data[best - 1].size == p->end) {
         p->end = p->holes.data[best - 1].offset;
         p->holes.count--;
      }
      p->end += size;
      return p->end - size;
   }
   hole *h = &p->holes.data[best];
   uint64_t offset = h->offset;

   h->offset += size;
   h->size -= size;
   if (!h->size) {
      memmove(h, h + 1, (p->holes.count - best - 1) * sizeof *h);
      p->holes.count--;
   }
   return offset;
}

static void give_back(plan_state *p, uint64_t offset, uint64_t size)
{
   size_t i = 0;

   while (i < p->holes.count && p->holes.data[i].offset < offset)
      i++;
   (void)vec_push(p->a, &p->holes);
   memmove(&p->holes.data[i + 1], &p->holes.data[i], (p->holes.count - 1 - i) * sizeof(hole));
   p->holes.data[i] = (hole){offset, size};
   if (i + 1 < p->holes.count && offset + size == p->holes.data[i + 1].offset) {
      p->holes.data[i].size += p->holes.data[i + 1].size;
      memmove(&p->holes.data[i + 1], &p->holes.data[i + 2],
              (p->holes.count - i - 2) * sizeof(hole));
      p->holes.count--;
   }
   if (i && p->holes.data[i - 1].offset + p->holes.data[i - 1].size == offset) {
      p->holes.data[i - 1].size += p->holes.data[i].size;
      memmove(&p->holes.data[i], &p->holes.data[i + 1], (p->holes.count - i - 1) * sizeof(hole));
      p->holes.count--;
   }
}

static int by_end(const void *a, const void *b)
{
   const life *x = *(life *const *)a, *y = *(life *const *)b;

   if (x->to != y->to)
      return x->to < y->to ? -1 : 1;
   return x->v->id < y->v->id ? -1 : 1;
}

/* Lives start in kernel order; before one starts, those that ended in an earlier kernel give their
 * bytes back. */
static void assign(plan_state *p)
{
   size_t n = p->lives.count, ended = 0;
   life **ends = arena_array(p->a, life *, n + 1);
   bool *taken_over = arena_array(p->a, bool, p->run->f->num_values + 1);

   if (n)
      memcpy(ends, p->lives.data, n * sizeof *ends);
   qsort(ends, n, sizeof *ends, by_end);
   for (size_t i = 0; i < n; i++) {
      life *l = p->lives.data[i];
      pass_place *at = &p->l->places[l->v->id];

      for (; ended < n && ends[ended]->to < l->from; ended++) {
         const life *e = ends[ended];

         if (!taken_over[e->v->id])
            give_back(p, p->l->places[e->v->id].offset, p->l->places[e->v->id].size);
      }
      *at = (pass_place){.kind = PASS_PLACE_arena, .size = l->size};
      if (l->over) {
         at->offset = p->l->places[l->over->v->id].offset;
         taken_over[l->over->v->id] = true;
      } else {
         at->offset = take(p, l->size);
      }
   }
   p->l->arena_bytes = p->end;
}

void pass_plan_memory(pass_run *run)
{
   ir_func *f = run->f;
   plan_state p = {.run = run, .a = f->a, .l = run->layout};

   p.l->places = arena_array(p.a, pass_place, f->num_values + 1);
   p.order = arena_array(p.a, uint32_t, f->groups.count + 1);
   p.of = arena_array(p.a, life *, f->num_values + 1);
   for (uint32_t i = 0; i < p.l->num_kernels; i++)
      p.order[p.l->kernels[i]->id] = i;
   for (int i = 0; i < SYM_COUNT; i++)
      p.syms[i] = f->range[i].used ? f->range[i].max : 0;
   place_states_and_views(&p);
   place_outputs(&p);
   collect_lives(&p);
   find_in_place(&p);
   if (run->status == SINTER_ok)
      assign(&p);
}
