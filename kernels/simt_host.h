/* simt_host.h - what kernels built for the host and the mock device that runs them agree on. */
#ifndef SIMT_HOST_H
#define SIMT_HOST_H

typedef struct simt_fiber simt_fiber;

/* Where fibers wait for each other. `place` tells calls in the text apart. */
typedef struct simt_meet {
   /* Until all threads of the block have come. */
   void (*sync)(simt_fiber *self, int place);
   /* Until all lanes of the warp have come; the last one calls what(each lane's data, lanes). */
   void (*warp)(simt_fiber *self, void *data, void (*what)(void **lanes, int count), int place);
   /* The block's memory of that size: NaN when the first of its threads asks. */
   void *(*shared)(simt_fiber *self, unsigned long size);
} simt_meet;

/* One thread, as its kernel sees it; the device's own fields follow. */
struct simt_fiber {
   const simt_meet *meet;
   long long tile;
   int thread;
   int early; /* asynchronous copies are made at once, else when they are waited for */
};

#endif
