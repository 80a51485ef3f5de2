/* graph.c - nodes and edges of a function, with repeated layers folded.
 *
 *    ops      a b c  a b c  a b c  d        signature: op, attributes without names and numbers of
 *    folded   a b c  (x 3)         d        layers, types, and how far back each operand stands
 *
 * The stretch that saves most ops is folded first, then what is left of it and right of it. */
#include "graph.h"

enum { MIN_SAVED = 8, MAX_OPS = 1 << 16 };

typedef struct folder {
   arena *a;
   uint64_t *sig;    /* by position in program order, leaves left out */
   int32_t *fold_of; /* fold, -1 none */
   uint32_t *node;   /* position within the fold's first turn: drawn in its stead */
   opt_graph *g;
   map seen; /* edges */
} folder;

static uint64_t mix(uint64_t h, uint64_t v)
{
   h = (h ^ v) * 0x9e3779b97f4a7c15u;
   return h ^ h >> 29;
}

static uint64_t mix_text(uint64_t h, const char *s)
{
   for (; *s; s++)
      h = mix(h, (uint8_t)*s);
   return h;
}

static bool names_a_layer(ir_attr_key key)
{
   return key == IR_ATTR_layer || key == IR_ATTR_name || key == IR_ATTR_index;
}

static uint64_t mix_type(uint64_t h, const ir_type *t)
{
   h = mix(mix(h, t->dtype), (uint64_t)t->state << 8 | t->rank);
   for (uint32_t i = 0; i < t->rank; i++)
      h = mix(h, ir_dim_is_const(t->dim[i]) ? (uint64_t)ir_dim_const(t->dim[i]) : 1u << 31);
   return h;
}

static uint64_t signature(const ir_op *op, const uint32_t *position)
{
   uint64_t h = mix(0, op->code);

   for (uint32_t i = 0; i < op->num_attrs; i++) {
      const ir_attr *at = &op->attrs[i];

      if (names_a_layer(at->key))
         continue;
      h = mix(h, at->key);
      h = ir_attr_infos[at->key].kind == IR_KIND_STR ? mix_text(h, at->s) : mix(h, (uint64_t)at->i);
   }
   for (uint32_t i = 0; i < op->num_results; i++)
      h = mix_type(h, &op->results[i]->type);
   for (uint32_t i = 0; i < op->num_operands; i++) {
      const ir_value *v = op->operands[i];

      h = mix_type(h, &v->type);
      if (v->def->num_operands)
         h = mix(h, position[op->id] - position[v->def->id]);
   }
   return mix_text(h, op->group ? op->group->rule : "-");
}

/* ---- folding ---- */

typedef struct stretch {
   uint32_t at, period, turns, saved;
} stretch;

/* A run of L equal signatures at distance p is L/p turns after the first. The longest period wins
 * nothing: of equal savings the shorter one is taken. */
static stretch best_stretch(const folder *x, uint32_t from, uint32_t to)
{
   stretch best = {0};

   for (uint32_t p = 1; 2 * p <= to - from; p++) {
      uint32_t run = 0;

      for (uint32_t i = from; i + p <= to; i++) {
         if (i + p < to && x->sig[i] == x->sig[i + p]) {
            run++;
            continue;
         }
         if (run >= p && run / p * p > best.saved)
            best = (stretch){i - run, p, run / p + 1, run / p * p};
         run = 0;
      }
   }
   return best;
}

static void fold(folder *x, uint32_t from, uint32_t to)
{
   stretch s = {0};

   if (from < to)
      s = best_stretch(x, from, to);
   if (s.saved < MIN_SAVED)
      return;
   int32_t number = (int32_t)x->g->folds.count;

   *vec_push(x->a, &x->g->folds) = (opt_fold){s.turns, s.period};
   for (uint32_t i = 0; i < s.period * s.turns; i++) {
      x->fold_of[s.at + i] = number;
      x->node[s.at + i] = s.at + i % s.period;
   }
   fold(x, from, s.at);
   fold(x, s.at + s.period * s.turns, to);
}

/* ---- nodes and edges ---- */

static const char *detail_of(arena *a, const ir_op *op)
{
   text_buf t = {.a = a};

   ir_print_type(&t, &op->results[0]->type);
   for (uint32_t i = 0; i < op->num_operands; i++) {
      const ir_op *leaf = op->operands[i]->def;

      if (leaf->num_operands)
         continue;
      text_printf(&t, "\n%s ", ir_attr_s(leaf, IR_ATTR_name, ir_op_infos[leaf->code].name));
      ir_print_type(&t, &leaf->results[0]->type);
   }
   return t.data;
}

static int32_t kernel_of(arena *a, opt_graph *g, const ir_op *op)
{
   if (!op->group)
      return -1;
   for (size_t i = g->kernels.count; i-- > 0;)
      if (g->kernels.data[i] == op->group->name)
         return (int32_t)i;
   *vec_push(a, &g->kernels) = op->group->name;
   return (int32_t)g->kernels.count - 1;
}

/* All turns of a fold have the same edges: each is drawn once. */
static void add_edge(folder *x, uint32_t from, uint32_t to, bool carried)
{
   const uint32_t key[2] = {from, to};

   if (map_get_n(&x->seen, (const char *)key, sizeof key))
      return;
   (void)map_set_n(&x->seen, arena_copy(x->a, key, sizeof key), sizeof key, x);
   *vec_push(x->a, &x->g->edges) = (opt_edge){from, to, carried};
}

static void add_edges(folder *x, const ir_op *op, uint32_t at, const uint32_t *position,
                      const uint32_t *drawn)
{
   for (uint32_t i = 0; i < op->num_operands; i++) {
      const ir_op *def = op->operands[i]->def;

      if (!def->num_operands)
         continue;
      uint32_t from = x->node[position[def->id]], to = x->node[at];

      add_edge(x, drawn[from], drawn[to], from >= to);
   }
}

opt_graph *opt_graph_make(arena *a, const ir_func *f)
{
   opt_graph *g = arena_new(a, opt_graph);
   uint32_t *position = arena_array(a, uint32_t, f->num_ops + 1), n = 0;
   uint32_t *drawn = arena_array(a, uint32_t, f->num_ops + 1);
   folder x = {.a = a, .g = g, .seen = {.a = a}};

   g->name = f->name;
   x.sig = arena_array(a, uint64_t, f->num_ops + 1);
   x.fold_of = arena_array(a, int32_t, f->num_ops + 1);
   x.node = arena_array(a, uint32_t, f->num_ops + 1);
   ir_op_foreach (f, op)
      if (op->num_operands) {
         position[op->id] = n;
         x.fold_of[n] = -1;
         x.node[n] = n;
         x.sig[n++] = signature(op, position);
      }
   if (n <= MAX_OPS)
      fold(&x, 0, n);
   ir_op_foreach (f, op) {
      uint32_t at = position[op->id];

      if (!op->num_operands || x.node[at] != at)
         continue;
      drawn[at] = (uint32_t)g->nodes.count;
      *vec_push(a, &g->nodes) = (opt_node){
         op,
         arena_printf(a, "%s = %s", pass_label(a, op), ir_op_infos[op->code].name),
         detail_of(a, op),
         kernel_of(a, g, op),
         x.fold_of[at],
      };
   }
   ir_op_foreach (f, op)
      if (op->num_operands)
         add_edges(&x, op, position[op->id], position, drawn);
   return g;
}
