/* pack_weights.c - how each tensor of the checkpoint becomes bytes a kernel reads.
 *
 *    matrix of matmuls or embed   panels of its format
 *    matrices of head_matmul      panels of each, one after the other; slices and transposes of the
 *                                 tensor are carried out here
 *    matrix of head_argmax        the same, and behind all others the top of it
 *    vector                       its source row as it is; so are tables of lookup, remap and compress
 *
 * One packed copy per tensor and view, however many ops read it (an embedding that is the head,
 * too). Copies stand in the order of the checkpoint's graph, which is about the one in which
 * kernels read them, whatever was fused: builds of a model that differ in fusions share one file of
 * weights; only head_argmax adds to it. Kills: two copies of a tied embedding; overlapping recipes;
 * the rows of another head; an order that a fusion changes. */
#include "run.h"

#include <stdlib.h>

#include "base/pack.h"

enum { ALIGN = 64 };

/* The part of a tensor that a value is: `stack` times `rows` rows from row `first` of each `pitch`
 * rows on. */
typedef struct view {
   const ir_op *weight;
   uint64_t stack, pitch, first, rows;
   bool transposed;
} view;

/* A value that a kernel reads, and what it is; or of which it reads the top. */
typedef struct reading {
   ir_value *value;
   view view;
   bool top;
} reading;

typedef struct packing {
   pass_run *run;
   arena *a;
   VEC(reading) readings;
   VEC(plan_weight) weights;
   uint64_t end;
} packing;

static void refuse(packing *p, const ir_value *v, const char *why)
{
   pass_fail(p->run, SINTER_unsupported, pass_label(p->a, v->def), "report the model",
             "a view of a weight cannot be packed: %s", why);
}

static uint64_t extent(const ir_type *t, uint32_t i)
{
   return (uint64_t)ir_dim_const(t->dim[i]);
}

/* Views from the weight to v: a reshape into matrices, a slice of their rows, a transpose. */
static view view_of(packing *p, const ir_value *v)
{
   const ir_op *op = v->def;
   view w = {.stack = 1};

   if (op->code == IR_OP_transpose) {
      w.transposed = true;
      op = op->operands[0]->def;
   }
   if (op->code == IR_OP_slice) {
      const ir_type *t = &op->results[0]->type;
      if (t->rank < 2 || ir_attr_i(op, IR_ATTR_axis, 0) + 2 != (int64_t)t->rank)
         refuse(p, v, "rows are sliced only");
      w.first = (uint64_t)ir_attr_i(op, IR_ATTR_start, 0);
      w.rows = (uint64_t)ir_attr_i(op, IR_ATTR_size, 0);
      op = op->operands[0]->def;
   }
   const ir_type *t = &op->results[0]->type;
   w.weight = pass_weight_behind(op->results[0]);
   w.pitch = t->rank > 1 ? extent(t, t->rank - 2) : 1;
   w.rows = w.rows ? w.rows : w.pitch;
   for (uint32_t i = 0; i + 2 < t->rank; i++)
      w.stack *= extent(t, i);
   if (op->code == IR_OP_reshape)
      op = op->operands[0]->def;
   if (op->code != IR_OP_weight)
      refuse(p, v, "it is no slice and transpose of a reshape");
   else if (ir_type_row(&op->results[0]->type) != ir_type_row(t))
      refuse(p, v, "a row is cut");
   return w;
}

static bool size_of(const plan_weight *w, uint64_t *out)
{
   uint64_t n;

   if (w->layout == PANEL_rows)
      return dtype_size((dtype)w->dtype, w->cols, &n) && base_mul(n, w->rows, out);
   return pack_size((panel_layout)w->layout, w->rows / w->stack, w->cols, &n) &&
          base_mul(n, w->stack, out);
}

/* Tables whose rows are read as they are. */
static bool is_read_as_rows(const ir_value *v)
{
   for (const ir_use *u = v->uses; u; u = u->next)
      if (u->user->code != IR_OP_lookup && u->user->code != IR_OP_compress &&
          u->user->code != IR_OP_remap)
         return false;
   return v->uses != NULL;
}

static panel_layout layout_of(const packing *p, const ir_value *v, bool top)
{
   if (top)
      return pack_top_of(v->type.dtype);
   if (v->type.rank < 2 || p->run->options->target->rows_only || is_read_as_rows(v))
      return PANEL_rows;
   return pack_layout_of(v->type.dtype);
}

/* Weights that are one matrix stay one strip of rows. */
static void add_sources(packing *p, const view *v, plan_weight *w)
{
   const char *name = ir_attr_s(v->weight, IR_ATTR_name, "");

   w->num_sources =
      v->rows == v->pitch && (w->stack == 1 || !w->transposed) ? 1 : (uint32_t)v->stack;
   w->sources = arena_array(p->a, plan_source, w->num_sources);
   for (uint32_t i = 0; i < w->num_sources; i++)
      w->sources[i] = (plan_source){name, i * v->pitch + v->first, v->rows};
   if (w->num_sources == 1)
      w->sources[0].num_rows = w->transposed ? v->rows : w->rows;
}

static uint32_t add(packing *p, const reading *r)
{
   const ir_type *t = &r->value->type;
   const view *v = &r->view;
   plan_weight w = {
      .layout = layout_of(p, r->value, r->top), .rows = 1, .transposed = v->transposed};

   w.dtype = v->weight->results[0]->type.dtype;
   w.cols = (uint64_t)MAX(ir_type_row(t), 0);
   for (uint32_t i = 0; i + 1 < t->rank; i++)
      w.rows *= extent(t, i);
   w.stack = w.layout == PANEL_rows ? 1 : (uint32_t)v->stack;
   add_sources(p, v, &w);
   w.offset = base_align(p->end, ALIGN);
   if (w.layout == PANEL_none || !size_of(&w, &w.size) || !base_add(w.offset, w.size, &p->end))
      pass_fail(p->run, SINTER_unsupported, w.sources[0].tensor,
                "Convert the checkpoint to another format.", "no layout for %s of %llu columns",
                dtype_infos[t->dtype].name, (unsigned long long)w.cols);
   *vec_push(p->a, &p->weights) = w;
   return (uint32_t)p->weights.count - 1;
}

static uint32_t index_of(packing *p, const reading *r)
{
   const view *v = &r->view;
   const char *key =
      arena_printf(p->a, "%s %llu %llu %llu %d %d", ir_attr_s(v->weight, IR_ATTR_name, ""),
                   (unsigned long long)v->stack, (unsigned long long)v->first,
                   (unsigned long long)v->rows, v->transposed, r->top);
   uintptr_t found = (uintptr_t)map_get(&p->run->layout->views, key);

   if (found)
      return (uint32_t)found - 1;
   uint32_t index = add(p, r);
   (void)map_set(&p->run->layout->views, key, (void *)(uintptr_t)(index + 1));
   return index;
}

/* The interpreter carries views out itself: it gets the tensor. */
static void collect(packing *p, ir_value *v)
{
   v = pass_weight_behind(v) ? v : pass_source(v);
   const ir_op *weight = pass_weight_behind(v);

   if (!weight)
      return;
   if (p->run->options->target->rows_only)
      v = weight->results[0];
   *vec_push(p->a, &p->readings) = (reading){v, view_of(p, v), false};
}

/* Of a weight that is packed as it is, too: the kernel falls back on it. */
static void collect_tops(packing *p)
{
   ir_op_foreach (p->run->f, op) {
      if (!pass_reads_top(op->group))
         continue;
      ir_value *w = pass_weight_of(op);
      *vec_push(p->a, &p->readings) = (reading){w, view_of(p, w), true};
   }
}

/* By the tensor's place in the graph, then by what of it is read: never by who reads it. Tops come
 * last: without them all others lie where they do. */
static int in_graph_order(const void *a, const void *b)
{
   const reading *of_a = a, *of_b = b;
   const view *x = &of_a->view, *y = &of_b->view;
   const uint64_t of_x[] = {of_a->top, x->weight->id, x->first, x->rows, x->stack, x->transposed};
   const uint64_t of_y[] = {of_b->top, y->weight->id, y->first, y->rows, y->stack, y->transposed};

   for (size_t i = 0; i < countof(of_x); i++)
      if (of_x[i] != of_y[i])
         return of_x[i] < of_y[i] ? -1 : 1;
   return 0;
}

static void place_all(packing *p)
{
   if (p->readings.count)
      qsort(p->readings.data, p->readings.count, sizeof *p->readings.data, in_graph_order);
   for (size_t i = 0; i < p->readings.count && p->run->status == SINTER_ok; i++) {
      const reading *r = &p->readings.data[i];
      pass_place *at = &p->run->layout->places[r->value->id];

      if (r->top) {
         at->index2 = index_of(p, r) + 1;
         continue;
      }
      at->index = index_of(p, r);
      at->size = p->weights.data[at->index].size;
   }
}

/* Starts with the weights of another form of the function. */
static void share(packing *p)
{
   const pass_layout *from = p->run->options->shares;

   if (!from)
      return;
   p->run->layout->views = from->views;
   for (uint32_t i = 0; i < from->num_weights; i++)
      *vec_push(p->a, &p->weights) = from->weights[i];
   p->end = from->weight_bytes;
}

void pass_pack_weights(pass_run *run)
{
   packing p = {.run = run, .a = run->f->a};
   pass_layout *l = run->layout;

   l->views.a = run->f->a;
   share(&p);
   ir_op_foreach (run->f, op)
      if (op->group)
         for (uint32_t i = 0; i < op->num_operands; i++)
            collect(&p, op->operands[i]);
   collect_tops(&p);
   place_all(&p);
   l->weights = p.weights.data;
   l->num_weights = (uint32_t)p.weights.count;
   l->weight_bytes = base_align(p.end, ALIGN);
}
