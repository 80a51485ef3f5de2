/* history.h - what `sinter bench` measured, kept in <cache>/bench.db (SQLite): one row a run, one a
 * test, one a repetition. */
#ifndef HISTORY_H
#define HISTORY_H

#include "cli.h"

enum { HISTORY_SAMPLES = 64 };

typedef struct history_test {
   char name[64];
   double tok_s; /* median */
   double bytes, ops, limit_pct;
   double byte_ops; /* not kept */
   size_t num_samples;
   double samples[HISTORY_SAMPLES]; /* tokens/s of each repetition, in their order */
} history_test;

/* Texts are at most 255 bytes; longer ones are cut. */
typedef struct history_run {
   int64_t id;
   char at[32];        /* UTC, ISO 8601 */
   char commit[256];   /* of the program */
   char model[256];    /* its own name */
   char source[256];   /* digest of the checkpoint's first file */
   char artifact[256]; /* cache key, or name of the artifact file */
   char machine[256];
   char options[256]; /* what changes the code: numerics, fusions, device; "" are the defaults */
   int64_t threads;
   double read_bytes_s, int8_ops_s; /* limits of the machine, in the same run */
} history_run;

typedef struct history history;

/* Fills commit, model, source, artifact, machine, options and the limits' threads. */
void history_describe(const options *o, const session *s, history_run *out);

/* The database of this user's cache, made when absent. NULL after saying why on stderr. */
history *history_open(void);
void history_close(history *h);

/* Stores a run with its tests, all or nothing, and sets run->id. False after saying why. */
bool history_add(history *h, history_run *run, const history_test *tests, size_t num_tests);

/* Runs whose `where` holds, newest first; at most cap. `where` may use the columns of runs and ?1,
 * ?2, which are `first` and `second` (NULL when not used). -1 after saying why. */
int history_runs(history *h, const char *where, const char *first, const char *second,
                 history_run *out, int cap);

/* Tests of one run. -1 after saying why. */
int history_tests(history *h, int64_t run, history_test *out, int cap);

/* sinter bench --compare A B and --history; exit codes. */
int bench_compare(const options *o);
int bench_history(const options *o);

#endif
