/* mock_impl.h - what the files of the mock share. */
#ifndef MOCK_IMPL_H
#define MOCK_IMPL_H

#include <pthread.h>
#include <stdarg.h>

#include "mock.h"

enum { MOCK_MAX_PIECES = 1 << 15, MOCK_MAX_ARGS = 1024 };

typedef struct mock_piece {
   uint64_t address, size;
   bool live;
   uint64_t handle; /* of a piece of a range: what lies behind it; else 0 */
} mock_piece;

/* Memory that pieces of ranges are made of; its handle is 1 + its number. */
typedef struct mock_memory_handle {
   uint64_t size;
   bool held, mapped;
} mock_memory_handle;

/* One thing to do on the stream. */
typedef struct mock_work {
   enum { MOCK_WORK_copy, MOCK_WORK_fill, MOCK_WORK_kernel, MOCK_WORK_event } kind;
   void *to;
   const void *from;
   size_t size;
   uint8_t byte;
   const mock_kernel *kernel;
   uint32_t grid, threads;
   int priority;
   uint8_t args[MOCK_MAX_ARGS];
} mock_work;

typedef struct mock_state {
   pthread_mutex_t lock; /* over everything; held while work is done */
   uint32_t warp;
   mock_order order;
   char message[400];
   int broken; /* the first error of work: it sticks, as a context's does */
   uint32_t building;
   uint8_t *space;
   uint64_t used;
   uint32_t num_pieces, num_pinned, num_work, room;
   mock_piece pieces[MOCK_MAX_PIECES], pinned[MOCK_MAX_PIECES];
   size_t granularity;
   bool reuses;                                 /* addresses that were given back */
   bool alike;                                  /* mock_set_priorities */
   uint64_t grids, urgent, graph_bytes, memory; /* mock_set_memory */
   uint32_t num_ranges, num_handles;
   mock_piece ranges[MOCK_MAX_PIECES];
   mock_memory_handle handles[MOCK_MAX_PIECES];
   mock_work *work; /* the one stream's queue */
} mock_state;

extern mock_state mock;

/* Keeps words for an error, and returns it. */
int mock_says(int error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* 0 when this thread has the context. */
int mock_ready(void);
/* An error while a graph is under construction. */
int mock_building(const char *what);
/* An error when the device has not so many bytes left. */
int mock_room(uint64_t size);
/* 0 when bytes lie in one live piece of device memory. */
int mock_check(uint64_t address, uint64_t size);
bool mock_is_pinned(const void *memory);
void mock_memory_open(bool open);
/* Takes addresses that were never used, with ones that fault behind them. Under the lock; false:
 * there are none. */
bool mock_addresses(uint64_t size, uint64_t *out);
/* In a sanitized build: of `whole` bytes only the first `size` may be touched. */
void mock_hide_behind(void *memory, uint64_t size, uint64_t whole);
bool mock_is_device(const void *memory);
/* Words for an address that no memory is behind. */
const char *mock_where(uint64_t address, char text[160]);
/* A launch as work for the stream, checked. */
int mock_kernel_work(void *given, const unsigned *grid, const unsigned *threads, unsigned shared,
                     void **parameters, mock_work *out);
int mock_push_all(const mock_work *work, size_t count, void *stream);
/* Does all work that was asked for. */
int mock_drain(void);

#endif
