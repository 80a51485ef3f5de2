/* device.c - the mock's state, memory, faults on demand, and counters. */
#include "mock_impl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

enum { PAGE = 4096, MAX_SYMBOLS = 96 };

static const uint64_t SPACE = (uint64_t)1 << 40;

mock_state mock = {.lock = PTHREAD_MUTEX_INITIALIZER, .granularity = 8192};

static struct {
   const char *symbol;
   uint32_t calls, fail_at;
} symbols[MAX_SYMBOLS];

/* ---- counters and faults ---- */

static uint32_t find_symbol(const char *symbol)
{
   uint32_t i = 0;

   while (i < MAX_SYMBOLS - 1 && symbols[i].symbol && strcmp(symbols[i].symbol, symbol) != 0)
      i++;
   if (!symbols[i].symbol)
      symbols[i].symbol = symbol;
   return i;
}

static const char *count_file;

/* Calls of every function, as the process ends. */
static void write_counts(void)
{
   FILE *f = fopen(count_file, "w");

   for (uint32_t i = 0; f && i < MAX_SYMBOLS && symbols[i].symbol; i++)
      fprintf(f, "%s %u\n", symbols[i].symbol, symbols[i].calls);
   if (f)
      fclose(f);
}

/* SINTER_MOCK=order=last,fail=cuMemAlloc_v2:3,granularity=0,reuse,count=FILE (FILE last) */
static void read_environment(void)
{
   static const char *const orders[] = {"first", "last", "round"};
   static char name[64];
   const char *text = getenv("SINTER_MOCK");
   uint32_t n;

   for (const char *p = text ? text : ""; *p; p += strcspn(p, ","), p += *p == ',') {
      for (uint32_t i = 0; i < MOCK_ORDER_COUNT; i++)
         if (strncmp(p, "order=", 6) == 0 && strncmp(p + 6, orders[i], strlen(orders[i])) == 0)
            mock.order = (mock_order)i;
      if (strncmp(p, "granularity=", 12) == 0)
         mock.granularity = (size_t)atol(p + 12);
      mock.reuses |= strncmp(p, "reuse", 5) == 0;
      if (strncmp(p, "count=", 6) == 0 && !count_file) {
         count_file = p + 6;
         atexit(write_counts);
      }
      if (sscanf(p, "fail=%63[A-Za-z0-9_]:%u", name, &n) == 2)
         symbols[find_symbol(name)].fail_at = n;
   }
}

int mock_enter(const char *symbol)
{
   static pthread_once_t once = PTHREAD_ONCE_INIT;

   pthread_once(&once, read_environment);
   pthread_mutex_lock(&mock.lock);
   uint32_t i = find_symbol(symbol);
   bool fails = ++symbols[i].calls == symbols[i].fail_at;
   pthread_mutex_unlock(&mock.lock);
   return fails ? mock_says(MOCK_ERROR_planted, "a failure was asked for: %s", symbol) : 0;
}

void mock_fail(const char *symbol, uint32_t n)
{
   pthread_mutex_lock(&mock.lock);
   uint32_t i = find_symbol(symbol);
   symbols[i].fail_at = n ? symbols[i].calls + n : 0;
   pthread_mutex_unlock(&mock.lock);
}

uint32_t mock_calls(const char *symbol)
{
   uint32_t n = 0;

   pthread_mutex_lock(&mock.lock);
   for (uint32_t i = 0; i < MAX_SYMBOLS && symbols[i].symbol; i++)
      if (!symbol || strcmp(symbols[i].symbol, symbol) == 0)
         n += symbols[i].calls;
   pthread_mutex_unlock(&mock.lock);
   return n;
}

int mock_says(int error, const char *fmt, ...)
{
   va_list args;

   va_start(args, fmt);
   vsnprintf(mock.message, sizeof mock.message, fmt, args);
   va_end(args);
   return error;
}

const char *mock_message(void)
{
   return mock.message;
}

const char *mock_error_name(int error)
{
   return error && mock.message[0] ? mock.message : NULL;
}

void mock_set_granularity(size_t bytes)
{
   mock.granularity = bytes;
}

void mock_set_order(mock_order order)
{
   mock.order = order;
}

/* ---- context ---- */

static __thread void *current_context;

void *mock_context(void)
{
   return &mock;
}

int mock_context_set(void *context)
{
   if (context != &mock)
      return mock_says(CUDA_ERROR_invalid_context, "this is no context");
   current_context = context;
   return 0;
}

int mock_ready(void)
{
   if (current_context != &mock)
      return mock_says(CUDA_ERROR_invalid_context, "the thread has no context, or another one");
   return 0;
}

bool mock_is_device(const void *memory)
{
   return (uintptr_t)memory - (uintptr_t)mock.space < SPACE;
}

enum { NUM_FAULTS = 2 };
static const int faults[NUM_FAULTS] = {SIGSEGV, SIGILL};
static struct sigaction before[NUM_FAULTS];

/* A kernel that reads what no memory is behind, or comes to a trap of its text, ends with words;
 * for all else the fault is what it is. */
static void on_fault(int number, siginfo_t *info, void *context)
{
   char text[160];

   (void)context;
   if (number == SIGILL)
      mock_block_fault("an index past the end of its array, or an access that is not aligned");
   else if (mock_is_device(info->si_addr))
      mock_block_fault(mock_where((uintptr_t)info->si_addr, text));
   sigaction(number, &before[number == SIGILL], NULL); /* and so it happens again */
}

static void catch_faults(void)
{
   struct sigaction now = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER}, is;

   for (int i = 0; i < NUM_FAULTS; i++) {
      sigaction(faults[i], NULL, &is);
      if (!(is.sa_flags & SA_SIGINFO) || is.sa_sigaction != on_fault)
         sigaction(faults[i], &now, &before[i]);
   }
}

int mock_start(uint32_t warp)
{
   pthread_mutex_lock(&mock.lock);
   mock.warp = warp;
   if (!mock.space)
      mock.space = mmap(NULL, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
   bool ok = mock.space != MAP_FAILED;
   if (!ok)
      mock.space = NULL;
   catch_faults();
   pthread_mutex_unlock(&mock.lock);
   return ok ? 0 : mock_says(CUDA_ERROR_out_of_memory, "there are no addresses for the device");
}

/* ---- memory ---- */

void mock_hide_behind(void *memory, uint64_t size, uint64_t whole)
{
   ASAN_UNPOISON_MEMORY_REGION(memory, size);
   ASAN_POISON_MEMORY_REGION((uint8_t *)memory + size, whole - size);
}

int mock_building(const char *what)
{
   if (!mock.building)
      return 0;
   return mock_says(CUDA_ERROR_stream_capture_unsupported, "%s while a graph is under construction",
                    what);
}

static uint64_t whole_pages(uint64_t size)
{
   return (size + PAGE - 1) / PAGE * PAGE;
}

bool mock_addresses(uint64_t size, uint64_t *out)
{
   uint64_t whole = whole_pages(size);

   if (!size || whole > SPACE || mock.used + whole + PAGE > SPACE)
      return false;
   *out = (uintptr_t)mock.space + mock.used;
   mock.used += whole + PAGE;
   return true;
}

static uint64_t memory_left(void)
{
   uint64_t all = mock.memory ? mock.memory : SPACE, used = mock_memory();

   return used < all ? all - used : 0;
}

int mock_room(uint64_t size)
{
   if (size <= memory_left())
      return 0;
   return mock_says(CUDA_ERROR_out_of_memory, "the device has no room for %llu bytes",
                    (unsigned long long)size);
}

int mock_memory_info(size_t *left, size_t *total)
{
   int error = mock_ready();

   *left = (size_t)memory_left();
   *total = (size_t)(mock.memory ? mock.memory : SPACE);
   return error;
}

void mock_set_memory(uint64_t bytes)
{
   mock.memory = bytes;
}

/* A piece that was given back, of the same pages; NULL: there is none, or addresses are not used
 * again. */
static mock_piece *left_by_others(uint64_t size)
{
   for (uint32_t i = 0; mock.reuses && i < mock.num_pieces; i++) {
      mock_piece *p = &mock.pieces[i];
      if (!p->live && p->address && !p->handle && whole_pages(p->size) == whole_pages(size))
         return p;
   }
   return NULL;
}

/* Under the lock; false: there is no room. */
static bool take_piece(uint64_t size, uint64_t *out)
{
   mock_piece *p = left_by_others(size);

   if (!p && (mock.num_pieces == MOCK_MAX_PIECES || !mock_addresses(size, out)))
      return false;
   *out = p ? p->address : *out;
   p = p ? p : &mock.pieces[mock.num_pieces++];
   *p = (mock_piece){.address = *out, .size = size, .live = true};
   mock_hide_behind((void *)(uintptr_t)*out, size, whole_pages(size));
   return true;
}

int mock_alloc(size_t size, uint64_t *out)
{
   int error = mock_ready();

   if (!error)
      error = mock_building("memory is taken");
   if (!error)
      error = mock_room(size);
   if (error)
      return error;
   pthread_mutex_lock(&mock.lock);
   if (!take_piece(size, out))
      error = mock_says(CUDA_ERROR_out_of_memory, "the device has no room for %zu bytes", size);
   pthread_mutex_unlock(&mock.lock);
   return error;
}

static mock_piece *piece_of(uint64_t address, uint64_t size)
{
   for (uint32_t i = 0; i < mock.num_pieces; i++) {
      mock_piece *p = &mock.pieces[i];
      if (p->live && address >= p->address && address - p->address <= p->size &&
          size <= p->size - (address - p->address))
         return p;
   }
   return NULL;
}

const char *mock_where(uint64_t address, char text[160])
{
   snprintf(text, 160, "address %llx is not the device's", (unsigned long long)address);
   for (uint32_t i = 0; i < mock.num_ranges; i++) {
      const mock_piece *r = &mock.ranges[i];
      if (r->live && address - r->address < r->size)
         snprintf(text, 160, "address %llx is not mapped: piece %llu of %llu of a range",
                  (unsigned long long)address,
                  (unsigned long long)((address - r->address) / mock.granularity),
                  (unsigned long long)(r->size / mock.granularity));
   }
   return text;
}

/* Neighbouring pieces of a range are one memory. */
int mock_check(uint64_t address, uint64_t size)
{
   char text[160];

   do {
      const mock_piece *p = piece_of(address, size ? 1 : 0);
      uint64_t left = p ? p->size - (address - p->address) : 0;
      if (!p)
         return mock_says(CUDA_ERROR_illegal_address,
                          "%llu bytes do not lie in the device's memory: %s",
                          (unsigned long long)size, mock_where(address, text));
      left = left < size ? left : size;
      address += left;
      size -= left;
   } while (size);
   return 0;
}

int mock_free(uint64_t address)
{
   int error = mock_ready();

   if (!error)
      error = mock_building("memory is given back");
   if (!error)
      error = mock_drain(); /* as the driver: what was asked for may still use it */
   if (error)
      return error;
   pthread_mutex_lock(&mock.lock);
   mock_piece *p = piece_of(address, 0);
   if (!p || p->address != address || p->handle)
      error =
         mock_says(CUDA_ERROR_invalid_value, "this memory was not taken, or given back before");
   else
      p->live = false;
   if (!error)
      madvise((void *)(uintptr_t)address, whole_pages(p->size), MADV_DONTNEED);
   pthread_mutex_unlock(&mock.lock);
   return error;
}

uint64_t mock_memory(void)
{
   uint64_t bytes = mock.graph_bytes;

   for (uint32_t i = 0; i < mock.num_pieces; i++)
      bytes += mock.pieces[i].live && !mock.pieces[i].handle ? mock.pieces[i].size : 0;
   for (uint32_t i = 0; i < mock.num_handles; i++)
      bytes += mock.handles[i].held || mock.handles[i].mapped ? mock.handles[i].size : 0;
   return bytes;
}

/* Between these two the host's thread is the device. */
void mock_memory_open(bool open)
{
   for (uint32_t i = 0; i < mock.num_pieces; i++)
      if (mock.pieces[i].live)
         mprotect((void *)(uintptr_t)mock.pieces[i].address, whole_pages(mock.pieces[i].size),
                  open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

/* ---- memory of the host that work may read later ---- */

int mock_host_alloc(size_t size, void **out)
{
   int error = mock_ready();

   if (!error)
      error = mock_building("memory is pinned");
   if (error)
      return error;
   *out = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
   if (*out != MAP_FAILED)
      mock_hide_behind(*out, size, size + PAGE);
   pthread_mutex_lock(&mock.lock);
   if (*out == MAP_FAILED || mock.num_pinned == MOCK_MAX_PIECES)
      error = mock_says(CUDA_ERROR_out_of_memory, "%zu bytes cannot be pinned", size);
   else
      mock.pinned[mock.num_pinned++] =
         (mock_piece){.address = (uintptr_t)*out, .size = size, .live = true};
   pthread_mutex_unlock(&mock.lock);
   return error;
}

bool mock_is_pinned(const void *memory)
{
   for (uint32_t i = 0; i < mock.num_pinned; i++) {
      const mock_piece *p = &mock.pinned[i];
      if (p->live && (uintptr_t)memory >= p->address && (uintptr_t)memory < p->address + p->size)
         return true;
   }
   return false;
}

int mock_host_free(void *memory)
{
   int error = mock_drain();

   for (uint32_t i = 0; !error && i < mock.num_pinned; i++) {
      mock_piece *p = &mock.pinned[i];
      if (p->live && p->address == (uintptr_t)memory) {
         p->live = false;
         mock_hide_behind(memory, p->size + PAGE,
                          p->size + PAGE); /* others may get the addresses */
         munmap(memory, p->size + PAGE);
         return 0;
      }
   }
   return error ? error : mock_says(CUDA_ERROR_invalid_value, "this memory was not pinned");
}
