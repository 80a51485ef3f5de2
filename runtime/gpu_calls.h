/* gpu_calls.h - calls that CUDA and HIP have in one shape; a template by inclusion, in dev_cuda.c
 * and dev_hip.c.
 *
 *    FN(name)       the vendor's function of that name
 *    VENDOR         "cuda", "hip"
 *    OPS            the table to define
 *    LIBRARY, MAKER the driver's file and who makes the GPUs
 *    NODE           struct of a kernel's node
 *    ORDINAL(g)     the device's number
 *
 * Before it stand struct rt_gpu (api, library, stream, urgent, prefers, arch) and names; behind it
 * what differs, which is declared here. */
#ifndef RT_GPU_CALLS_H
#define RT_GPU_CALLS_H

/* Finds the device: its architecture, a context if there is such a thing, a stream. */
static sinter_status start(rt_gpu *g);

static void FN(close)(rt_gpu *g);
static sinter_status FN(enter)(rt_gpu *g);
static sinter_status FN(alloc)(rt_gpu *g, size_t size, uint64_t *out);
static void FN(release)(rt_gpu *g, uint64_t address);
static sinter_status FN(copy_in)(rt_gpu *g, uint64_t to, const void *from, size_t size);
static sinter_status FN(copy_out)(rt_gpu *g, void *to, uint64_t from, size_t size);
static sinter_status FN(copy)(rt_gpu *g, uint64_t to, uint64_t from, size_t size);
static sinter_status FN(fill)(rt_gpu *g, uint64_t to, uint8_t byte, size_t size);
/* Whether the device says that it has ranges of addresses. */
static sinter_status FN(has_ranges)(rt_gpu *g, bool *out);

/* Both vendors' number for it. */
static sinter_status failed(const rt_gpu *g, int error, const char *what)
{
   const bool is_memory = error == CUDA_ERROR_out_of_memory;
   const char *name = NULL;

   if (g->api.error_name)
      (void)g->api.error_name(error, &name);
   return base_fail(is_memory ? SINTER_out_of_memory : SINTER_failed, VENDOR,
                    is_memory ? "use a smaller KV pool, or another GPU"
                              : "look at the driver's log (dmesg), or run with --device cpu",
                    "%s: %s (%d)", what, name ? name : "an error without a name", error);
}

#define CALL(what, call)                                                                           \
   do {                                                                                            \
      int error_ = g->api.call;                                                                    \
      if (error_)                                                                                  \
         return failed(g, error_, what);                                                           \
   } while (0)

/* The priority that goes first; 0: the driver has but one, or none for kernels of graphs. */
static sinter_status find_priorities(rt_gpu *g)
{
   int least;

   if (g->api.priorities && g->api.graph_attribute)
      CALL("the GPU's priorities are not known", priorities(&least, &g->urgent));
   return SINTER_ok;
}

static sinter_status FN(open)(const char *library, rt_gpu **out)
{
   rt_gpu *g = calloc(1, sizeof *g);

   *out = NULL;
   if (!g)
      return base_fail(SINTER_out_of_memory, VENDOR, "", "no memory for the device");
   sinter_status status = rt_gpu_library(library ? library : LIBRARY, MAKER, names, countof(names),
                                         (void **)&g->api, &g->library);
   if (status == SINTER_ok)
      status = start(g);
   if (status == SINTER_ok)
      status = find_priorities(g);
   if (status != SINTER_ok) {
      FN(close)(g);
      return status;
   }
   *out = g;
   return SINTER_ok;
}

static const char *FN(arch)(const rt_gpu *g)
{
   return g->arch;
}

static sinter_status FN(host_alloc)(rt_gpu *g, size_t size, void **out)
{
   CALL("memory of the host cannot be pinned", host_alloc(out, size, 0));
   return SINTER_ok;
}

static void FN(host_release)(rt_gpu *g, void *memory)
{
   g->api.host_free(memory);
}

static struct gpu_piece piece_of(const rt_gpu *g)
{
   (void)g;
   return (struct gpu_piece){
      .type = GPU_PIECE_pinned, .place = GPU_PLACE_device, .device = ORDINAL(g)};
}

static sinter_status FN(granularity)(rt_gpu *g, size_t *out)
{
   const struct gpu_piece what = piece_of(g);
   bool has = g->api.granularity && g->api.reserve && g->api.unreserve && g->api.piece_create &&
              g->api.piece_release && g->api.piece_map && g->api.piece_unmap && g->api.piece_access;

   *out = 0;
   if (has)
      SINTER_TRY(FN(has_ranges)(g, &has));
   int error = has ? g->api.granularity(out, &what, GPU_GRANULARITY_least) : 0;
   if (error == CUDA_ERROR_not_supported)
      error = 0;
   return error ? failed(g, error, "the GPU's ranges of addresses are not known") : SINTER_ok;
}

static sinter_status FN(memory_left)(rt_gpu *g, uint64_t *out)
{
   size_t left, total;

   CALL("the GPU's free memory is not known", memory_info(&left, &total));
   *out = left;
   return SINTER_ok;
}

static sinter_status FN(reserve)(rt_gpu *g, size_t size, uint64_t *out)
{
   CALL("no addresses can be reserved", reserve(out, size, 0, 0, 0));
   return SINTER_ok;
}

static void FN(unreserve)(rt_gpu *g, uint64_t address, size_t size)
{
   g->api.unreserve(address, size);
}

static void FN(unmap)(rt_gpu *g, uint64_t address, size_t size)
{
   g->api.piece_unmap(address, size);
}

/* The memory goes with its place: the handle is given up at once. */
static sinter_status FN(map)(rt_gpu *g, uint64_t address, size_t size)
{
   const struct gpu_piece what = piece_of(g);
   const struct gpu_access who = {GPU_PLACE_device, ORDINAL(g), GPU_ACCESS_both};
   uint64_t handle;

   CALL("memory cannot be taken", piece_create(&handle, size, &what, 0));
   int error = g->api.piece_map(address, size, 0, handle, 0);
   g->api.piece_release(handle);
   if (error)
      return failed(g, error, "memory cannot be put behind reserved addresses");
   error = g->api.piece_access(address, size, &who, 1);
   if (!error)
      return SINTER_ok;
   sinter_status status = failed(g, error, "memory behind reserved addresses cannot be used");
   FN(unmap)(g, address, size);
   return status;
}

static sinter_status FN(load)(rt_gpu *g, const void *image, void **out_module)
{
   CALL("the artifact's kernels cannot be loaded", module_load(out_module, image));
   return SINTER_ok;
}

static void FN(unload)(rt_gpu *g, void *module)
{
   g->api.module_unload(module);
}

static sinter_status FN(find)(rt_gpu *g, void *module, const char *name, void **out)
{
   CALL("a kernel is missing", function(out, module, name));
   return SINTER_ok;
}

static sinter_status FN(launch)(rt_gpu *g, void *kernel, uint32_t grid, void *args)
{
   void *parameters[] = {args};

   CALL("a kernel cannot be launched",
        launch(kernel, grid, 1, 1, SIMT_THREADS, 1, 1, 0, g->stream, parameters, NULL));
   return SINTER_ok;
}

static sinter_status FN(wait)(rt_gpu *g)
{
   CALL("the step failed", stream_wait(g->stream));
   return SINTER_ok;
}

static sinter_status FN(event_create)(rt_gpu *g, void **out_event)
{
   CALL("launches cannot be timed", event_create(out_event, 0));
   return SINTER_ok;
}

static sinter_status FN(event_record)(rt_gpu *g, void *event)
{
   CALL("a launch cannot be timed", event_record(event, g->stream));
   return SINTER_ok;
}

static sinter_status FN(event_elapsed)(rt_gpu *g, void *from, void *to, double *seconds)
{
   float ms;

   CALL("the time of a launch is not known", event_elapsed(&ms, from, to));
   *seconds = (double)ms * 1e-3;
   return SINTER_ok;
}

static void FN(event_destroy)(rt_gpu *g, void *event)
{
   g->api.event_destroy(event);
}

static sinter_status FN(graph_create)(rt_gpu *g, void **out_graph)
{
   CALL("no graph can be made", graph_create(out_graph, 0));
   return SINTER_ok;
}

/* HIP takes a function of a module where it documents one of the host. */
static sinter_status FN(graph_add)(rt_gpu *g, void *graph, void *const *after, size_t num_after,
                                   void *kernel, uint32_t grid, void *args, void **out_node)
{
   void *parameters[] = {args};
   const NODE node = {.function = kernel,
                      .gx = grid,
                      .gy = 1,
                      .gz = 1,
                      .bx = SIMT_THREADS,
                      .by = 1,
                      .bz = 1,
                      .parameters = parameters};

   CALL("a graph does not take a kernel", graph_add(out_node, graph, after, num_after, &node));
   return SINTER_ok;
}

/* A driver from before this attribute says that the value is none: then all kernels are alike. */
static sinter_status FN(graph_prefer)(rt_gpu *g, void *node)
{
   const struct gpu_attribute value = {.priority = g->urgent};
   int error = g->urgent ? g->api.graph_attribute(node, GPU_ATTRIBUTE_priority, &value) : 0;

   if (error == CUDA_ERROR_invalid_value)
      error = g->urgent = 0;
   g->prefers |= g->urgent != 0;
   return error ? failed(g, error, "a kernel of a graph cannot go first") : SINTER_ok;
}

static void FN(graph_drop)(rt_gpu *g, void *graph)
{
   g->api.graph_destroy(graph);
}

static sinter_status FN(graph_make)(rt_gpu *g, void *graph, void **out_exec)
{
   CALL("a graph cannot be made ready",
        graph_make(out_exec, graph, g->prefers ? GPU_MAKE_by_priority : 0));
   return SINTER_ok;
}

static bool FN(can_switch)(const rt_gpu *g)
{
   return g->api.graph_switch != NULL;
}

static sinter_status FN(graph_switch)(rt_gpu *g, void *exec, void *node, bool on)
{
   CALL("a kernel of a graph cannot be left out", graph_switch(exec, node, on));
   return SINTER_ok;
}

static sinter_status FN(graph_launch)(rt_gpu *g, void *exec)
{
   CALL("a graph cannot be launched", graph_launch(exec, g->stream));
   return SINTER_ok;
}

static void FN(exec_destroy)(rt_gpu *g, void *exec)
{
   g->api.exec_destroy(exec);
}

#define OP(name) .name = FN(name)
const rt_gpu_ops OPS = {
   .vendor = VENDOR,
   OP(open),
   OP(close),
   OP(enter),
   OP(arch),
   OP(alloc),
   OP(release),
   OP(memory_left),
   OP(granularity),
   OP(reserve),
   OP(unreserve),
   OP(map),
   OP(unmap),
   OP(host_alloc),
   OP(host_release),
   OP(load),
   OP(unload),
   OP(find),
   OP(copy_in),
   OP(copy_out),
   OP(copy),
   OP(fill),
   OP(launch),
   OP(wait),
   OP(event_create),
   OP(event_record),
   OP(event_elapsed),
   OP(event_destroy),
   OP(graph_create),
   OP(graph_add),
   OP(graph_prefer),
   OP(graph_make),
   OP(graph_drop),
   OP(can_switch),
   OP(graph_switch),
   OP(graph_launch),
   OP(exec_destroy),
};

#endif
