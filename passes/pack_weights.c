/* pack_weights.c - how each tensor of the checkpoint becomes bytes a kernel reads.
 *
 *    matrix of matmuls or embed   panels of its format
 *    vector                       its source row as it is
 *
 * One packed copy per tensor, however many ops read it (an embedding that is the head, too). Copies
 * stand in the order in which kernels first read them, so that a step walks forward through the
 * section. Kills: two copies of a tied embedding; overlapping recipes. */
#include "run.h"

#include "base/pack.h"

enum { ALIGN = 64 };

typedef struct packing {
   pass_run *run;
   arena *a;
   map by_name; /* tensor → 1 + index */
   VEC(plan_weight) weights;
   uint64_t end;
} packing;

static bool size_of(const plan_weight *w, uint64_t *out)
{
   if (w->layout != PANEL_rows)
      return pack_size((panel_layout)w->layout, w->rows, w->cols, out);
   uint64_t n;

   return base_mul(w->rows, w->cols, &n) && dtype_size((dtype)w->dtype, n, out);
}

static panel_layout layout_of(const packing *p, const ir_type *t)
{
   if (t->rank < 2 || p->run->options->target->rows_only)
      return PANEL_rows;
   return pack_layout_of(t->dtype);
}

static uint32_t add(packing *p, const ir_op *op)
{
   const ir_type *t = &op->results[0]->type;
   const char *name = ir_attr_s(op, IR_ATTR_name, "");
   plan_weight w = {.layout = layout_of(p, t), .dtype = t->dtype, .rows = 1, .num_sources = 1};

   w.cols = (uint64_t)MAX(ir_type_row(t), 0);
   for (uint32_t i = 0; i + 1 < t->rank; i++)
      w.rows *= (uint64_t)ir_dim_const(t->dim[i]);
   w.offset = base_align(p->end, ALIGN);
   w.sources = arena_new(p->a, plan_source);
   *w.sources = (plan_source){name, 0, w.rows};
   if (w.layout == PANEL_none || !size_of(&w, &w.size) || !base_add(w.offset, w.size, &p->end))
      pass_fail(p->run, SINTER_unsupported, name, "Convert the checkpoint to another format.",
                "no layout for %s of %llu columns", dtype_infos[t->dtype].name,
                (unsigned long long)w.cols);
   *vec_push(p->a, &p->weights) = w;
   return (uint32_t)p->weights.count - 1;
}

static uint32_t index_of(packing *p, const ir_op *op)
{
   const char *name = ir_attr_s(op, IR_ATTR_name, "");
   uintptr_t found = (uintptr_t)map_get(&p->by_name, name);

   if (found)
      return (uint32_t)found - 1;
   uint32_t index = add(p, op);
   (void)map_set(&p->by_name, name, (void *)(uintptr_t)(index + 1));
   return index;
}

static void place(packing *p, const ir_value *v)
{
   if (v->def->code == IR_OP_weight) {
      pass_place *at = &p->run->layout->places[v->id];

      at->index = index_of(p, v->def);
      at->size = p->weights.data[at->index].size;
   }
}

void pass_pack_weights(pass_run *run)
{
   packing p = {.run = run, .a = run->f->a, .by_name.a = run->f->a};
   pass_layout *l = run->layout;

   ir_op_foreach (run->f, op)
      if (op->group)
         for (uint32_t i = 0; i < op->num_operands; i++)
            place(&p, pass_source(op->operands[i]));
   l->weights = p.weights.data;
   l->num_weights = (uint32_t)p.weights.count;
   l->weight_bytes = base_align(p.end, ALIGN);
}
