/* draw.c - --dot and --svg.
 *
 * The DOT text is for Graphviz or any other program that reads it. The SVG is laid out here: ops in
 * layers by their longest path from the start, the order within a layer by where their neighbours
 * stand, kernels by colour, folded layers by a frame colour and a count. */
#include "graph.h"

#include <math.h>
#include <stdlib.h>

enum { BOX_W = 320, LINE_H = 14, GAP_X = 24, GAP_Y = 34, MARGIN = 20, SWEEPS = 8, MAX_LINES = 5 };

/* ---- DOT ---- */

static void dot_text(text_buf *out, const char *s)
{
   for (; *s; s++) {
      if (*s == '"' || *s == '\\')
         text_append(out, "\\", 1);
      if (*s == '\n')
         text_append(out, "\\n", 2);
      else
         text_append(out, s, 1);
   }
}

static void dot_node(text_buf *out, const opt_graph *g, size_t i)
{
   text_printf(out, "    n%zu [label=\"", i);
   dot_text(out, g->nodes.data[i].title);
   text_printf(out, "\\n");
   dot_text(out, g->nodes.data[i].detail);
   text_printf(out, "\"];\n");
}

/* Ops of one kernel stand together in program order, so a cluster is a run of nodes. */
static void dot_nodes(text_buf *out, const opt_graph *g, int32_t fold)
{
   int32_t open = -1;

   for (size_t i = 0; i < g->nodes.count; i++) {
      const opt_node *n = &g->nodes.data[i];

      if (n->fold != fold)
         continue;
      if (open >= 0 && n->kernel != open)
         text_printf(out, "    }\n");
      if (n->kernel >= 0 && n->kernel != open)
         text_printf(out, "    subgraph cluster_k%d {\n    label=\"%s\"; style=filled;\n",
                     n->kernel, g->kernels.data[n->kernel]);
      open = n->kernel;
      dot_node(out, g, i);
   }
   if (open >= 0)
      text_printf(out, "    }\n");
}

void opt_write_dot(text_buf *out, const opt_graph *g)
{
   text_printf(out, "digraph \"%s\" {\n  node [shape=box, fontname=monospace];\n", g->name);
   for (size_t i = 0; i < g->folds.count; i++) {
      text_printf(out, "  subgraph cluster_f%zu {\n    label=\"%u times\"; style=dashed;\n", i,
                  g->folds.data[i].times);
      dot_nodes(out, g, (int32_t)i);
      text_printf(out, "  }\n");
   }
   dot_nodes(out, g, -1);
   for (size_t i = 0; i < g->edges.count; i++)
      text_printf(out, "  n%u -> n%u%s;\n", g->edges.data[i].from, g->edges.data[i].to,
                  g->edges.data[i].carried ? " [style=dashed, constraint=false]" : "");
   text_printf(out, "}\n");
}

/* ---- layout ---- */

typedef struct box {
   uint32_t node, layer;
   double x, y, h, wish; /* centre of x; wish: where its neighbours are */
} box;

typedef struct layout {
   const opt_graph *g;
   box *box;        /* by node */
   uint32_t *order; /* nodes, layer by layer */
   uint32_t n, num_layers;
   double width, height;
} layout;

static uint32_t count_lines(const char *s)
{
   uint32_t n = 1;

   for (; *s; s++)
      n += *s == '\n';
   return MIN(n, MAX_LINES - 1);
}

static bool raise_layers(layout *l)
{
   bool any = false;

   for (size_t i = 0; i < l->g->edges.count; i++) {
      const opt_edge *e = &l->g->edges.data[i];

      if (e->carried || l->box[e->to].layer > l->box[e->from].layer)
         continue;
      l->box[e->to].layer = l->box[e->from].layer + 1;
      any = true;
   }
   return any;
}

/* Edges that are not carried go forward in program order, so this ends; mostly after two turns. */
static void find_layers(layout *l)
{
   while (raise_layers(l))
      ;
   for (uint32_t i = 0; i < l->n; i++)
      l->num_layers = MAX(l->num_layers, l->box[i].layer + 1);
}

static const layout *sorting;

static int by_layer_then_wish(const void *p, const void *q)
{
   const box *a = &sorting->box[*(const uint32_t *)p], *b = &sorting->box[*(const uint32_t *)q];

   if (a->layer != b->layer)
      return a->layer < b->layer ? -1 : 1;
   if (a->wish != b->wish)
      return a->wish < b->wish ? -1 : 1;
   return a->node < b->node ? -1 : 1;
}

static void place(layout *l)
{
   double y = MARGIN + 2 * LINE_H;

   sorting = l;
   qsort(l->order, l->n, sizeof *l->order, by_layer_then_wish);
   for (uint32_t i = 0, end; i < l->n; i = end) {
      uint32_t layer = l->box[l->order[i]].layer;
      double tallest = 0;

      for (end = i; end < l->n && l->box[l->order[end]].layer == layer; end++)
         tallest = fmax(tallest, l->box[l->order[end]].h);
      double x = -(double)(end - i - 1) / 2 * (BOX_W + GAP_X);

      for (uint32_t k = i; k < end; k++, x += BOX_W + GAP_X) {
         l->box[l->order[k]].x = x;
         l->box[l->order[k]].y = y;
      }
      l->width = fmax(l->width, (double)(end - i) * (BOX_W + GAP_X));
      y += tallest + GAP_Y;
   }
   l->height = y;
}

/* Each box wishes to stand in the middle of what it is connected with. */
static void sweep(layout *l, double *sum, uint32_t *count)
{
   memset(sum, 0, l->n * sizeof *sum);
   memset(count, 0, l->n * sizeof *count);
   for (size_t i = 0; i < l->g->edges.count; i++) {
      const opt_edge *e = &l->g->edges.data[i];

      sum[e->to] += l->box[e->from].x;
      sum[e->from] += l->box[e->to].x;
      count[e->to]++;
      count[e->from]++;
   }
   for (uint32_t i = 0; i < l->n; i++)
      l->box[i].wish = count[i] ? sum[i] / count[i] : l->box[i].x;
   place(l);
}

static layout *lay_out(arena *a, const opt_graph *g)
{
   layout *l = arena_new(a, layout);

   *l = (layout){.g = g, .n = (uint32_t)g->nodes.count};
   l->box = arena_array(a, box, l->n + 1);
   l->order = arena_array(a, uint32_t, l->n + 1);
   for (uint32_t i = 0; i < l->n; i++) {
      l->box[i].node = i;
      l->box[i].h = LINE_H * (2 + count_lines(g->nodes.data[i].detail)) + 6;
      l->order[i] = i;
   }
   find_layers(l);
   place(l);
   for (int i = 0; i < SWEEPS; i++)
      sweep(l, arena_array(a, double, l->n + 1), arena_array(a, uint32_t, l->n + 1));
   return l;
}

/* ---- SVG ---- */

static void svg_text(text_buf *out, const char *s, size_t len)
{
   for (size_t i = 0; i < len; i++)
      switch (s[i]) {
      case '<': text_append(out, "&lt;", 4); break;
      case '>': text_append(out, "&gt;", 4); break;
      case '&': text_append(out, "&amp;", 5); break;
      default: text_append(out, &s[i], 1);
      }
}

static void svg_line(text_buf *out, double x, double y, const char *style, const char *s,
                     size_t len)
{
   const size_t most = 43; /* with three dots, in a box of 320 */

   text_printf(out, "<text x=\"%.0f\" y=\"%.0f\"%s>", x, y, style);
   svg_text(out, s, MIN(len, most));
   text_printf(out, "%s</text>\n", len > most ? "..." : "");
}

static void svg_box(text_buf *out, const layout *l, uint32_t i)
{
   const opt_node *n = &l->g->nodes.data[i];
   const box *b = &l->box[i];
   double left = b->x - BOX_W / 2.0, y = b->y + LINE_H;
   const char *line = n->detail;
   int hue = n->kernel < 0 ? 0 : n->kernel * 67 % 360;

   text_printf(out,
               "<rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%.0f\" rx=\"4\" "
               "fill=\"hsl(%d,%d%%,92%%)\" stroke=\"%s\"%s/>\n",
               left, b->y, BOX_W, b->h, hue, n->kernel < 0 ? 0 : 60,
               n->fold < 0 ? "#555" : "#0a58ca", n->fold < 0 ? "" : " stroke-width=\"2\"");
   svg_line(out, left + 6, y, " font-weight=\"bold\"", n->title, strlen(n->title));
   for (uint32_t k = 1; k < MAX_LINES && *line; k++) {
      size_t len = strcspn(line, "\n");

      svg_line(out, left + 6, y + k * LINE_H, "", line, len);
      line += len + (line[len] == '\n');
   }
   const char *kernel = n->kernel < 0 ? "no kernel" : l->g->kernels.data[n->kernel];
   const char *note = arena_printf(
      out->a, "%s%s", kernel,
      n->fold < 0 ? "" : arena_printf(out->a, ", %u times", l->g->folds.data[n->fold].times));

   svg_line(out, left + 6, b->y + b->h - 6, " fill=\"#666\" font-size=\"10\"", note, strlen(note));
}

static void svg_edge(text_buf *out, const layout *l, const opt_edge *e)
{
   const box *from = &l->box[e->from], *to = &l->box[e->to];
   double y0 = from->y + from->h, y1 = to->y, bend = fmax(fabs(y1 - y0) / 2, 20);

   text_printf(
      out,
      "<path d=\"M%.0f %.0f C%.0f %.0f %.0f %.0f %.0f %.0f\" fill=\"none\" stroke=\"%s\"%s "
      "marker-end=\"url(#arrow)\"/>\n",
      from->x, y0, from->x, y0 + bend, to->x, y1 - bend, to->x, y1, e->carried ? "#0a58ca" : "#888",
      e->carried ? " stroke-dasharray=\"4 3\"" : "");
}

void opt_write_svg(text_buf *out, const opt_graph *g)
{
   layout *l = lay_out(out->a, g);
   double w = l->width + 2 * MARGIN, h = l->height + MARGIN;

   text_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
               "viewBox=\"%.0f 0 %.0f %.0f\" font-family=\"monospace\" font-size=\"11\">\n"
               "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" "
               "markerWidth=\"6\" markerHeight=\"6\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" "
               "fill=\"#888\"/></marker></defs>\n<rect x=\"%.0f\" width=\"%.0f\" height=\"%.0f\" "
               "fill=\"white\"/>\n",
               w, h, -w / 2, w, h, -w / 2, w, h);
   for (size_t i = 0; i < g->edges.count; i++)
      svg_edge(out, l, &g->edges.data[i]);
   for (uint32_t i = 0; i < l->n; i++)
      svg_box(out, l, i);
   text_printf(out, "</svg>\n");
}

/* ---- files ---- */

sinter_status opt_draw(arena *a, const ir_func *f, const opt_options *o)
{
   const opt_graph *g = opt_graph_make(a, f);
   text_buf dot = {.a = a}, svg = {.a = a};

   if (o->dot) {
      opt_write_dot(&dot, g);
      SINTER_TRY(opt_write(o->dot, dot.data, dot.len));
   }
   if (o->svg) {
      opt_write_svg(&svg, g);
      SINTER_TRY(opt_write(o->svg, svg.data, svg.len));
   }
   return SINTER_ok;
}
