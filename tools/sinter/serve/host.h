/* host.h - what the parts of a model's thread share. */
#ifndef SERVE_HOST_H
#define SERVE_HOST_H

#include "serve.h"

/* Submits all choices; the first failure ends the job. */
void host_job_start(job *j);
/* Frees what the job holds of the engine, and lets its connection have the end. */
void host_job_end(host *h, job *j);
/* A client that has gone, by the connection's own word or the socket's; also keeps quiet streams
 * alive. */
bool host_job_left(job *j, double now);
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
