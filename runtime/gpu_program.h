/* gpu_program.h - a plan's launches on a GPU: bound once, recorded as graphs, replayed.
 *
 *    variant ─ bucket of rows ─ segment ─┬ recorded: one graph, a node a launch; nodes of a phase wait
 *                                        │           for those of the phase before
 *                                        └ eager: launch by launch
 *
 * Graphs are built from the plan when the device is opened, never captured and never changed. A
 * grid is that of the bucket's largest step; blocks past the step's own tiles return
 * (base/simt_abi.h), so what a step changes is only the step block and the arrays of meta.def. */
#ifndef RT_GPU_PROGRAM_H
#define RT_GPU_PROGRAM_H

#include "gpu.h"

/* Where a plan's memory lies on the device. */
typedef struct rt_gpu_memory {
   uint64_t step, arena, scratch, weights, logits;
   uint64_t *routes;                /* by plan.routes */
   uint64_t *state[8];              /* by cache group, by layer */
   uint64_t meta[RT_MAX_FIELDS][8]; /* by row of meta.def and instance */
} rt_gpu_memory;

typedef struct rt_gpu_counters {
   uint64_t launches, segments, graphs, bytes, ops, switches;
   uint64_t graph_bytes; /* of the device's memory, that its graphs took when they were made */
} rt_gpu_counters;

typedef struct rt_gpu_program rt_gpu_program;

/* What becomes a graph. All give the same bits. */
typedef enum rt_gpu_graphs {
   RT_GPU_GRAPHS_segments,
   RT_GPU_GRAPHS_phases, /* SINTER_DEBUG=split: breaks wherever one may be */
   RT_GPU_GRAPHS_none,   /* SINTER_DEBUG=eager */
} rt_gpu_graphs;

/* How launches are left out of steps in which they have nothing to do: those that make rows of
 * logits when none are wanted, those that only long contexts need. All give the same bits; without
 * graphs, and where no row of these says otherwise, blocks of such launches return at once. */
typedef enum rt_gpu_conditions {
   RT_GPU_CONDITIONS_nodes, /* nodes of the graph are switched off; break where the driver cannot */
   RT_GPU_CONDITIONS_break, /* what prompts leave out of all but their last steps is a graph of its own: SINTER_DEBUG=break */
   RT_GPU_CONDITIONS_blocks, /* SINTER_DEBUG=blocks */
} rt_gpu_conditions;

/* Finds every kernel in its module (by plan.kernels), binds every launch, and builds every graph.
 * syms: the largest step, by symbol. Errors BAD_INPUT for a missing kernel; OUT_OF_MEMORY when the
 * graphs made so far tell that the others will not fit, before they are tried; those of the
 * driver. */
SINTER_CHECKED sinter_status rt_gpu_program_create(const rt_gpu_ops *ops, rt_gpu *gpu,
                                                   void *const *modules, const plan *p,
                                                   const rt_gpu_memory *memory, const int64_t *syms,
                                                   rt_gpu_graphs graphs,
                                                   rt_gpu_conditions conditions,
                                                   rt_gpu_program **out);
void rt_gpu_program_destroy(rt_gpu_program *g);

/* Fills what of the step block follows from its symbols; before the block goes to the device. */
void rt_gpu_program_conditions(const rt_gpu_program *g, sinter_step_block *block);

/* Puts the step that the block describes on the stream. Errors BAD_INPUT when no variant takes
 * it. */
SINTER_CHECKED sinter_status rt_gpu_program_run(rt_gpu_program *g, const sinter_step_block *block);

/* As sinter_engine_time_steps (steps: RT_TIMES_always, too) and sinter_engine_launches. Such steps
 * are no graphs: an event behind every launch is what it is timed by. Errors OUT_OF_MEMORY, those
 * of the driver. */
SINTER_CHECKED sinter_status rt_gpu_program_time_steps(rt_gpu_program *g, int64_t steps);
uint32_t rt_gpu_program_launches(const rt_gpu_program *g, const sinter_launch_time **out);
/* Once the step of these symbols was waited for: what its launches took, if it was timed. */
SINTER_CHECKED sinter_status rt_gpu_program_read_times(rt_gpu_program *g, const int64_t *syms);

const rt_gpu_counters *rt_gpu_program_counters(const rt_gpu_program *g);

#endif
