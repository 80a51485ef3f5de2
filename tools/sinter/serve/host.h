/* host.h - a model that can be loaded, and the thread that runs it. */
#ifndef SERVE_HOST_H
#define SERVE_HOST_H

#include "job.h"
#include "metrics.h"
#include "tools/sinter/limits.h"
#include "tools/sinter/loads.h"

struct events_source;

/* What is known of the kernels' times (kernels.c). */
typedef struct kernel_times {
   bool wants_limits;
   uint32_t steps; /* to be timed from now on */
   limits machine; /* of this machine; bytes_s 0: not measured yet */
   sinter_launch_time *launches;
   uint32_t num_launches;
} kernel_times;

/* A model that can be loaded. While it is ready, `users` keep it so: handlers that read the
 * artifact. */
struct host {
   struct server *server;
   const options *options;
   char path[4096];  /* as given */
   char name[128];   /* as clients call it */
   bool is_required; /* named on the command line: the server is not ready without it */
   session session;
   char digest[65];  /* of the last artifact */
   uint32_t context; /* tokens a request may have in all */
   pthread_t thread;
   pthread_mutex_t lock; /* covers everything below */
   pthread_cond_t wake;
   bool ready, was_ready, stopping, at_once;
   bool failed;    /* before it was ever ready, which ends the server */
   bool not_again; /* was ready, and its last load failed */
   bool wanted;    /* to be loaded */
   bool unwanted;  /* to be unloaded once what runs is done */
   double used;    /* clock of the last request */
   uint32_t users;
   struct call *waiting;         /* until it is loaded */
   struct events_source *events; /* NULL: nobody listens */
   uint64_t kv_blocks, kv_sum;   /* of the prefix cache, when the engine was last idle */
   const char *stage;
   double progress;                /* of it, 0 to 1 */
   uint64_t num_loads, cache_hits; /* times it was loaded; of these, from the cache */
   kernel_times times;
   job *queue, *last; /* not yet seen by the engine */
   job *running;
   uint32_t num_jobs;
   sinter_stats stats; /* of all its engines; gauges: of the loaded one */
   sinter_stats gone;  /* counters of those that were unloaded */
   host_metrics shown;
   loads loads; /* of its experts, since it was loaded */
   /* of the thread, without the lock: */
   host_metrics metrics;
   job *woken; /* have something to read */
   int exit_code;
};

/* What other threads may look at before it is started. name NULL: made from the path. */
void host_init(host *h, struct server *s, const char *path, const char *name, bool is_required);
/* Starts a thread that loads the model when it is wanted, and then serves. */
bool host_start(host *h);
/* Takes a ready host for the call, true; host_release ends that. Else the call is suspended until
 * the host is ready and its handler then called again, or f is set. */
bool host_acquire(host *h, struct call *c, fault *f);
void host_release(host *h);
/* Unloads it once what runs is done. False when it is not loaded. */
bool host_unload(host *h);
/* Hands a job over; false with a fault when the queue is full or the server ends. */
bool host_submit(host *h, job *j, fault *f);
/* No new jobs; running ones end when they are done, or at once. */
void host_stop(host *h, bool at_once);

/* ---- between the parts of its thread ---- */

/* Submits all choices; the first failure ends the job. */
void host_job_start(job *j);
/* Frees what the job holds of the engine, and lets its connection have the end. */
void host_job_end(host *h, job *j);
/* A client that has gone, by the connection's own word or the socket's; also keeps quiet streams
 * alive. */
bool host_job_left(job *j, double now);
/* Wakes the readers of what the last step wrote, from a thread that has nothing to do if there is
 * one. */
void host_wake(host *h);
/* Notes what others may see of it: pages, and whether it still waits. */
void host_job_watch(job *j);

/* Runs jobs until the model has to go. */
void host_serve(host *h);
/* Ends jobs that are done, failed or, with sweep, left alone; or all. */
void host_reap(host *h, bool sweep, bool all);

/* The thread; user is the host. */
void *host_run(void *user);

/* Times of kernels (kernels.c); the lock is held, but for kernels_forget. Measures this machine's
 * limits, once, if somebody wants them. */
void kernels_measure(host *h);
/* Has as many steps timed as were asked for, and shows the times so far. */
void kernels_publish(host *h);
/* The model goes. */
void kernels_forget(host *h);

#endif
