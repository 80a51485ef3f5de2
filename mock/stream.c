/* stream.c - the stream's queue, modules, launches. */
#include "mock_impl.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/simt_abi.h"

typedef struct module {
   void *library;
   int fd; /* of its image */
   simt_fiber **self;
   struct function *functions;
   bool live;
} module;

typedef struct function {
   mock_kernel kernel;
   module *of;
   struct function *next;
   char name[256];
} function;

typedef struct event {
   uint32_t magic;
   bool asked; /* for its time, which is 0 until the stream has come to it */
   double time;
} event;

enum { EVENT = 0x65766e74 };

static char the_stream;

/* ---- work ---- */

static int do_work(const mock_work *w)
{
   const char *error;
   int gone = 0;

   /* What was there when it was asked for may have been given back. */
   if (w->kind != MOCK_WORK_kernel && mock_is_device(w->to))
      gone = mock_check((uintptr_t)w->to, w->size);
   if (!gone && w->kind == MOCK_WORK_copy && mock_is_device(w->from))
      gone = mock_check((uintptr_t)w->from, w->size);
   if (gone)
      return gone;
   switch (w->kind) {
   case MOCK_WORK_event: ((event *)w->to)->time = clock_now(); return 0;
   case MOCK_WORK_copy: memcpy(w->to, w->from, w->size); return 0;
   case MOCK_WORK_fill: memset(w->to, w->byte, w->size); return 0;
   case MOCK_WORK_kernel:
      mock.grids++;
      mock.urgent += w->priority < 0;
      error = mock_run_grid(w->kernel, w->grid, w->threads, mock.warp, mock.order, w->args);
      return error ? mock_says(MOCK_ERROR_failed, "%s", error) : 0;
   }
   return 0;
}

uint64_t mock_grids(void)
{
   return mock.grids;
}

uint64_t mock_urgent_grids(void)
{
   return mock.urgent;
}

int mock_drain(void)
{
   pthread_mutex_lock(&mock.lock);
   if (mock.num_work && !mock.broken) {
      mock_memory_open(true);
      for (uint32_t i = 0; i < mock.num_work && !mock.broken; i++)
         mock.broken = do_work(&mock.work[i]);
      mock_memory_open(false);
   }
   mock.num_work = 0;
   int error = mock.broken;
   pthread_mutex_unlock(&mock.lock);
   return error;
}

static int push(const mock_work *w)
{
   int error = mock.broken;

   pthread_mutex_lock(&mock.lock);
   if (mock.num_work == mock.room) {
      uint32_t room = mock.room ? 2 * mock.room : 64;
      mock_work *more = realloc(mock.work, room * sizeof *more);
      if (!more)
         error = mock_says(CUDA_ERROR_out_of_memory, "there is no room on the stream");
      mock.work = more ? more : mock.work;
      mock.room = more ? room : mock.room;
   }
   if (!error)
      mock.work[mock.num_work++] = *w;
   pthread_mutex_unlock(&mock.lock);
   return error;
}

static int check_stream(void *stream)
{
   int error = mock_ready();

   if (!error && stream != &the_stream)
      error = mock_says(CUDA_ERROR_invalid_handle, "this is no stream");
   return error;
}

int mock_stream_create(void **out)
{
   *out = &the_stream;
   return mock_ready();
}

int mock_stream_destroy(void *stream)
{
   int error = check_stream(stream);

   return error ? error : mock_drain();
}

int mock_stream_wait(void *stream)
{
   int error = check_stream(stream);

   if (!error)
      error = mock_building("the stream is waited for");
   return error ? error : mock_drain();
}

int mock_copy(void *to, const void *from, size_t size, int kind, void *stream)
{
   const mock_work w = {.kind = MOCK_WORK_copy, .to = to, .from = from, .size = size};
   int error = check_stream(stream);

   if (!error && kind != HIP_COPY_out)
      error = mock_check((uintptr_t)to, size);
   if (!error && kind != HIP_COPY_in)
      error = mock_check((uintptr_t)from, size);
   if (!error)
      error = push(&w);
   /* Only pinned memory is read later: from other memory the copy is made before the call
    * returns. */
   if (!error && kind != HIP_COPY_within && !mock_is_pinned(kind == HIP_COPY_in ? from : to))
      error = mock_drain();
   return error;
}

int mock_fill(uint64_t to, uint8_t byte, size_t size, void *stream)
{
   const mock_work w = {
      .kind = MOCK_WORK_fill, .to = (void *)(uintptr_t)to, .size = size, .byte = byte};
   int error = check_stream(stream);

   if (!error)
      error = mock_check(to, size);
   return error ? error : push(&w);
}

/* ---- events ---- */

static int check_event(const event *e)
{
   int error = mock_ready();

   if (!error && (!e || e->magic != EVENT))
      error = mock_says(CUDA_ERROR_invalid_handle, "this is no event");
   return error;
}

int mock_event_create(unsigned flags, void **out)
{
   int error = mock_ready();
   event *e;

   if (!error)
      error = mock_building("an event is made");
   if (!error && flags)
      error = mock_says(CUDA_ERROR_invalid_value, "an event without time");
   if (error)
      return error;
   e = calloc(1, sizeof *e);
   if (!e)
      return mock_says(CUDA_ERROR_out_of_memory, "no memory for an event");
   e->magic = EVENT;
   *out = e;
   return 0;
}

int mock_event_record(void *given, void *stream)
{
   event *e = given;
   const mock_work w = {.kind = MOCK_WORK_event, .to = e};
   int error = check_event(e);

   if (!error)
      error = check_stream(stream);
   if (error)
      return error;
   e->asked = true;
   e->time = 0;
   return push(&w);
}

int mock_event_elapsed(void *from, void *to, float *ms)
{
   const event *a = from, *b = to;
   int error = check_event(a);

   if (!error)
      error = check_event(b);
   if (!error && (!a->asked || !b->asked))
      error = mock_says(CUDA_ERROR_invalid_handle, "an event that was never recorded");
   if (!error && (a->time == 0 || b->time == 0))
      error = mock_says(CUDA_ERROR_not_ready, "the stream has not come to the event yet");
   if (!error)
      *ms = (float)(1e3 * (b->time - a->time));
   return error;
}

/* What is on the stream may still refer to it. */
int mock_event_destroy(void *given)
{
   event *e = given;
   int error = check_event(e);

   if (!error)
      error = mock_drain();
   if (error)
      return error;
   e->magic = 0;
   return 0; /* handles stay, as those of modules do */
}

/* ---- modules ---- */

/* Bytes of an ELF file: its section headers are at its end. */
static size_t image_size(const void *image)
{
   const Elf64_Ehdr *head = image;

   if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_type != ET_DYN)
      return 0;
   return head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
}

/* The linker knows a library by this name: the descriptor stays open as long as it is loaded. */
static void *open_descriptor(int fd, int flags)
{
   char path[64];

   snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
   return dlopen(path, RTLD_NOW | RTLD_LOCAL | flags);
}

static void *open_image(const void *image, size_t size, int *out_fd)
{
   int fd = memfd_create("mock module", MFD_CLOEXEC);

   if (fd < 0 || write(fd, image, size) != (ssize_t)size) {
      if (fd >= 0)
         close(fd);
      return NULL;
   }
   *out_fd = fd;
   return open_descriptor(fd, 0);
}

static void close_image(const module *m)
{
   if (!m->library)
      return;
   dlclose(m->library);
   void *still = open_descriptor(m->fd, RTLD_NOLOAD);
   if (still)
      dlclose(still);
   else
      close(m->fd);
}

int mock_module_load(const void *image, void **out)
{
   int error = mock_ready();
   size_t size = error || !image ? 0 : image_size(image);

   if (!error)
      error = mock_building("a module is loaded");
   if (error)
      return error;
   if (!size)
      return mock_says(CUDA_ERROR_invalid_value, "this image is not for the mock device");
   module *m = calloc(1, sizeof *m);
   m->library = open_image(image, size, &m->fd);
   m->self = m->library ? (simt_fiber **)dlsym(m->library, "simt_self") : NULL;
   m->live = true;
   *out = m;
   return m->self ? 0
                  : mock_says(CUDA_ERROR_invalid_value, "the module does not open: %s", dlerror());
}

int mock_module_unload(void *given)
{
   module *m = given;
   int error = mock_ready();

   if (!error)
      error = mock_drain();
   if (!error && !m->live)
      error = mock_says(CUDA_ERROR_invalid_handle, "the module is not loaded");
   if (error)
      return error;
   m->live = false;
   close_image(m);
   return 0; /* handles stay, so that using one after this is an error and no crash */
}

int mock_function(void *given, const char *name, void **out)
{
   module *m = given;
   int error = mock_ready();
   void *address = error || !m->live ? NULL : dlsym(m->library, name);

   if (error)
      return error;
   if (!address)
      return mock_says(CUDA_ERROR_not_found, "the module has no kernel %.200s", name);
   function *f = calloc(1, sizeof *f);
   snprintf(f->name, sizeof f->name, "%s", name);
   f->of = m;
   f->next = m->functions;
   m->functions = f;
   f->kernel = (mock_kernel){(void (*)(const void *))(uintptr_t)address, m->self, f->name};
   *out = f;
   return 0;
}

int mock_kernel_work(void *given, const unsigned *grid, const unsigned *threads, unsigned shared,
                     void **parameters, mock_work *out)
{
   const function *f = given;

   if (!f || !f->of->live)
      return mock_says(CUDA_ERROR_invalid_handle, "this is no kernel of a loaded module");
   if (!grid[0] || grid[0] > INT32_MAX || grid[1] != 1 || grid[2] != 1 || !threads[0] ||
       threads[0] > SIMT_THREADS || threads[0] % mock.warp || threads[1] != 1 || threads[2] != 1)
      return mock_says(CUDA_ERROR_invalid_value, "the grid of %.200s is empty or too large",
                       f->name);
   if (shared || !parameters || !parameters[0])
      return mock_says(CUDA_ERROR_invalid_value, "%.200s takes one block of arguments", f->name);
   *out = (mock_work){
      .kind = MOCK_WORK_kernel, .kernel = &f->kernel, .grid = grid[0], .threads = threads[0]};
   memcpy(out->args, parameters[0], sizeof(simt_args));
   return 0;
}

_Static_assert(sizeof(simt_args) <= MOCK_MAX_ARGS, "arguments fit");

int mock_launch(void *given, const unsigned *grid, const unsigned *threads, unsigned shared,
                void **parameters, void *stream)
{
   mock_work w;
   int error = check_stream(stream);

   if (!error)
      error = mock_kernel_work(given, grid, threads, shared, parameters, &w);
   return error ? error : push(&w);
}

/* ---- graphs run on the stream ---- */

int mock_push_all(const mock_work *work, size_t count, void *stream)
{
   int error = check_stream(stream);

   for (size_t i = 0; i < count && !error; i++)
      error = push(&work[i]);
   return error;
}
