/* metrics.h - what is counted of a model (metrics.c). */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include <stdint.h>

#include "sinter.h"

typedef enum histogram_id {
#define HISTOGRAM(id, name, vllm, unit, what) HISTOGRAM_##id,
#include "histograms.def"
#undef HISTOGRAM
   HISTOGRAM_COUNT
} histogram_id;

typedef struct histogram {
   uint64_t count[16];
   double sum;
} histogram;

typedef struct host_metrics {
   uint64_t requests[4]; /* by finish: stop, length, cancelled, error */
   uint64_t prompt_tokens, cached_tokens, generated_tokens, preemptions;
   histogram histograms[HISTOGRAM_COUNT];
} host_metrics;

void metrics_add(host_metrics *m, histogram_id id, double value);
/* Adds what engines counted that are gone: a counter must not fall when a model is unloaded. What
 * is of the moment, such as pages in use, is not added. */
void metrics_carry(sinter_stats *to, const sinter_stats *gone);

#endif
