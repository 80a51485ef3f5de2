/* bench.h - what the parts of `sinter bench` share. */
#ifndef BENCH_H
#define BENCH_H

#include "cli.h"
#include "limits.h"

typedef struct bench_test {
   int64_t prompt, generate, depth, batch;
} bench_test;

/* What happened while the clock ran. */
typedef struct bench_time {
   sinter_stats before, after;
   double seconds;
   uint64_t tokens;
} bench_time;

/* Token ids without meaning, the same in every run; malloc'ed. */
int32_t *bench_ids(uint32_t vocab, size_t count);

/* Prefill: the depth is put into the prefix cache first, then depth + prompt tokens run; one token
 * is made of them. */
sinter_status bench_prefill(session *s, const bench_test *t, const int32_t *ids, uint64_t salt,
                            bench_time *out);

/* Decode: every sequence has its first token before the clock starts. */
sinter_status bench_decode(session *s, const bench_test *t, const int32_t *ids, uint64_t salt,
                           bench_time *out);

/* Every kernel timed alone (--kernels); the exit code. The engine was made with time_launches. */
int bench_kernels(const options *o, session *s, const limits *l, int64_t repeat);

#endif
