/* graph.h - a function as something to draw: nodes, edges, and equal layers folded into one. */
#ifndef OPT_GRAPH_H
#define OPT_GRAPH_H

#include "opt.h"

typedef struct opt_node {
   const ir_op *op;
   const char *title, *detail; /* "%h = add", "f32[T,64]  blk.0.attn_q.weight q4_1[64,64]" */
   int32_t kernel;             /* number of the kernel it is in, -1 none */
   int32_t fold;               /* repeat it belongs to, -1 none */
} opt_node;

typedef struct opt_edge {
   uint32_t from, to;
   bool carried; /* from one turn of a repeat to the next */
} opt_edge;

/* Consecutive equal stretches of the program, drawn once. */
typedef struct opt_fold {
   uint32_t times, length; /* turns; ops in one */
} opt_fold;

typedef struct opt_graph {
   const char *name;
   VEC(opt_node) nodes;
   VEC(opt_edge) edges;
   VEC(opt_fold) folds;
   VEC(const char *) kernels;
} opt_graph;

/* Leaves are no nodes: they stand in the detail of what reads them. */
opt_graph *opt_graph_make(arena *a, const ir_func *f);

void opt_write_dot(text_buf *out, const opt_graph *g);
void opt_write_svg(text_buf *out, const opt_graph *g);

#endif
