/* graph.c - graphs: nodes with copies of their arguments, in an order that respects what they wait
 * for.
 *
 * Nodes that nothing orders may run in any order on a GPU: here later ones go first, so that an
 * edge that is missing shows. */
#include "mock_impl.h"

#include <stdlib.h>

enum { GREATEST_PRIORITY = -5, MAX_NODES = 1 << 16, NODE_BYTES = 2048, GRAPH_BYTES = 1 << 16 };

typedef struct node {
   struct graph *of;
   mock_work work;
   size_t num_after;
   struct node **after;
   int priority;
   bool done;
} node;

typedef struct graph {
   uint32_t magic, num_nodes;
   bool made;
   node **nodes;
} graph;

typedef struct exec {
   uint32_t magic, num_work;
   mock_work *work;
   const node **nodes; /* by work */
   bool *off;
   const graph *of; /* NULL once it is gone */
   struct exec *next;
} exec;

static exec *execs;

/* What the device's memory has of it. Drivers do not say how much that is; some it is. */
static uint64_t bytes_of(uint32_t num_nodes)
{
   return GRAPH_BYTES + (uint64_t)num_nodes * NODE_BYTES;
}

enum { GRAPH = 0x67726170, EXEC = 0x65786563 };

static int check_graph(const graph *g)
{
   int error = mock_ready();

   if (!error && (!g || g->magic != GRAPH))
      error = mock_says(CUDA_ERROR_invalid_handle, "this is no graph");
   return error;
}

int mock_graph_create(void **out)
{
   int error = mock_ready();
   graph *g = error ? NULL : calloc(1, sizeof *g);

   if (!g)
      return error ? error : mock_says(CUDA_ERROR_out_of_memory, "no memory for a graph");
   g->magic = GRAPH;
   mock.building++;
   *out = g;
   return 0;
}

static void free_nodes(graph *g)
{
   for (uint32_t i = 0; i < g->num_nodes; i++) {
      free(g->nodes[i]->after);
      free(g->nodes[i]);
   }
   free(g->nodes);
}

int mock_graph_destroy(void *given)
{
   graph *g = given;
   int error = check_graph(g);

   if (error)
      return error;
   if (!g->made)
      mock.building--;
   for (exec *e = execs; e; e = e->next)
      e->of = e->of == g ? NULL : e->of;
   g->magic = 0;
   free_nodes(g);
   free(g);
   return 0;
}

static int check_after(const graph *g, void *const *after, size_t count)
{
   for (size_t i = 0; i < count; i++)
      if (!after[i] || ((const node *)after[i])->of != g)
         return mock_says(CUDA_ERROR_invalid_value, "a node waits for one of another graph");
   return 0;
}

int mock_graph_add(void *given, void *const *after, size_t num_after, void *function,
                   const unsigned *grid, const unsigned *threads, void **parameters, void **out)
{
   graph *g = given;
   mock_work w;
   int error = check_graph(g);

   if (!error && g->made)
      error = mock_says(CUDA_ERROR_invalid_value, "the graph has been made already");
   if (!error)
      error = check_after(g, after, num_after);
   if (!error)
      error = mock_kernel_work(function, grid, threads, 0, parameters, &w);
   if (error)
      return error;
   node **nodes = realloc(g->nodes, (g->num_nodes + 1) * sizeof *nodes);
   g->nodes = nodes ? nodes : g->nodes;
   node *n = nodes ? calloc(1, sizeof *n) : NULL;
   if (n)
      n->after = calloc(num_after + 1, sizeof *n->after);
   if (!n || !n->after || g->num_nodes == MAX_NODES) {
      free(n);
      return mock_says(CUDA_ERROR_out_of_memory, "no memory for a node");
   }
   n->of = g;
   n->work = w;
   n->num_after = num_after;
   for (size_t i = 0; i < num_after; i++)
      n->after[i] = after[i];
   g->nodes[g->num_nodes++] = n;
   *out = n;
   return 0;
}

static bool can_run(const node *n)
{
   for (size_t i = 0; i < n->num_after; i++)
      if (!n->after[i]->done)
         return false;
   return !n->done;
}

/* Of all nodes that can run, the one that was added last. */
static node *next_node(const graph *g)
{
   for (uint32_t i = g->num_nodes; i-- > 0;)
      if (can_run(g->nodes[i]))
         return g->nodes[i];
   return NULL;
}

void mock_set_priorities(bool has)
{
   mock.alike = !has;
}

int mock_priorities(int *least, int *greatest)
{
   int error = mock_ready();

   *least = 0;
   *greatest = GREATEST_PRIORITY;
   return error;
}

int mock_graph_attribute(void *given, int id, const struct gpu_attribute *value)
{
   node *n = given;
   int error = n ? check_graph(n->of) : mock_says(CUDA_ERROR_invalid_handle, "this is no node");

   if (!error && n->of->made)
      error = mock_says(CUDA_ERROR_invalid_value, "the graph has been made already");
   if (!error && (mock.alike || id != GPU_ATTRIBUTE_priority || value->priority > 0 ||
                  value->priority < GREATEST_PRIORITY))
      error = mock_says(CUDA_ERROR_invalid_value, "this is no attribute of kernels, or no value");
   if (!error)
      n->priority = value->priority;
   return error;
}

int mock_graph_make(void *given, unsigned long long flags, void **out)
{
   graph *g = given;
   int error = check_graph(g);

   if (!error && (flags & ~(mock.alike ? 0ull : GPU_MAKE_by_priority)))
      error = mock_says(CUDA_ERROR_invalid_value, "a graph cannot be made so");
   if (error)
      return error;
   if (!g->made)
      mock.building--;
   g->made = true;
   error = mock_room(bytes_of(g->num_nodes));
   if (error)
      return error;
   exec *e = calloc(1, sizeof *e);
   if (e) {
      e->work = calloc(g->num_nodes + 1, sizeof *e->work);
      e->nodes = calloc(g->num_nodes + 1, sizeof *e->nodes);
      e->off = calloc(g->num_nodes + 1, sizeof *e->off);
   }
   if (!e || !e->work || !e->nodes || !e->off)
      return mock_says(CUDA_ERROR_out_of_memory, "no memory for a graph");
   e->magic = EXEC;
   e->of = g;
   e->next = execs;
   execs = e;
   for (uint32_t i = 0; i < g->num_nodes; i++)
      g->nodes[i]->done = false; /* it may have been made before */
   for (node *n; (n = next_node(g)) != NULL; n->done = true) {
      e->nodes[e->num_work] = n;
      e->work[e->num_work] = n->work;
      e->work[e->num_work++].priority = flags ? n->priority : 0;
   }
   mock.graph_bytes += bytes_of(e->num_work);
   *out = e;
   return 0;
}

static int check_exec(const exec *e)
{
   int error = mock_ready();

   if (!error && (!e || e->magic != EXEC))
      error = mock_says(CUDA_ERROR_invalid_handle, "this is no graph that has been made");
   return error;
}

int mock_graph_switch(void *given, void *which, bool on)
{
   exec *e = given;
   uint32_t i = 0;
   int error = check_exec(e);

   if (error)
      return error;
   while (i < e->num_work && e->nodes[i] != which)
      i++;
   if (!e->of || i == e->num_work)
      return mock_says(CUDA_ERROR_invalid_value,
                       e->of ? "this is no node of the graph" : "the graph of the node is gone");
   e->off[i] = !on;
   return 0;
}

int mock_graph_launch(void *given, void *stream)
{
   const exec *e = given;
   int error = check_exec(e);

   for (uint32_t i = 0; i < e->num_work && !error; i++)
      error = e->off[i] ? 0 : mock_push_all(&e->work[i], 1, stream);
   return error;
}

int mock_exec_destroy(void *given)
{
   exec *e = given;
   int error = check_exec(e);

   if (error)
      return error;
   for (exec **at = &execs; *at; at = &(*at)->next)
      if (*at == e) {
         *at = e->next;
         break;
      }
   e->magic = 0;
   mock.graph_bytes -= bytes_of(e->num_work);
   free(e->work);
   free(e->nodes);
   free(e->off);
   free(e);
   return 0;
}
