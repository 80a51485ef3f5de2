/* ranges.c - reserved addresses and the memory behind pieces of them: nothing can be read before it
 * has memory, and access to it. */
#include "mock_impl.h"

#include <sys/mman.h>

static int refuse(const char *why)
{
   return mock_says(CUDA_ERROR_invalid_value, "%s", why);
}

static bool is_whole(uint64_t n)
{
   return mock.granularity && n && n % mock.granularity == 0;
}

static bool is_ours(const struct gpu_piece *what)
{
   return what->type == GPU_PIECE_pinned && what->place == GPU_PLACE_device && !what->device &&
          !what->handles && !what->windows && !what->usage;
}

int mock_granularity(const struct gpu_piece *what, int which, size_t *out)
{
   int error = mock_ready();

   if (error)
      return error;
   if (!mock.granularity)
      return mock_says(CUDA_ERROR_not_supported, "the device has no ranges of addresses");
   *out = mock.granularity;
   return is_ours(what) && which == GPU_GRANULARITY_least
             ? 0
             : refuse("this is no memory of the device");
}

/* The range that bytes lie in; NULL: none. */
static mock_piece *range_of(uint64_t address, uint64_t size)
{
   for (uint32_t i = 0; i < mock.num_ranges; i++) {
      mock_piece *r = &mock.ranges[i];
      if (r->live && address >= r->address && size <= r->size &&
          address - r->address <= r->size - size)
         return r;
   }
   return NULL;
}

/* A piece that has bytes of these. */
static mock_piece *piece_in(uint64_t address, uint64_t size)
{
   for (uint32_t i = 0; i < mock.num_pieces; i++) {
      mock_piece *p = &mock.pieces[i];
      if (p->handle && p->address < address + size && address < p->address + p->size)
         return p;
   }
   return NULL;
}

int mock_reserve(size_t size, uint64_t *out)
{
   int error = mock_ready();

   if (!error)
      error = mock_building("addresses are reserved");
   if (!error && !is_whole(size))
      error = refuse("a range is no multiple of the granularity");
   if (error)
      return error;
   pthread_mutex_lock(&mock.lock);
   if (mock.num_ranges == MOCK_MAX_PIECES || !mock_addresses(size, out))
      error =
         mock_says(CUDA_ERROR_out_of_memory, "the device has no addresses for %zu bytes", size);
   else
      mock.ranges[mock.num_ranges++] = (mock_piece){.address = *out, .size = size, .live = true};
   pthread_mutex_unlock(&mock.lock);
   return error;
}

int mock_unreserve(uint64_t address, size_t size)
{
   int error = mock_ready();
   mock_piece *r = range_of(address, size);

   if (!error && (!r || r->address != address || r->size != size))
      error = refuse("this range was not reserved");
   if (!error && piece_in(address, size))
      error = refuse("the range has memory");
   if (!error)
      r->live = false;
   return error;
}

int mock_piece_create(size_t size, const struct gpu_piece *what, uint64_t *out)
{
   int error = mock_ready();

   if (!error)
      error = mock_building("memory is taken");
   if (!error && (!is_whole(size) || !is_ours(what)))
      error = refuse("this is no memory of the device");
   if (!error && mock.num_handles == MOCK_MAX_PIECES)
      error = mock_says(CUDA_ERROR_out_of_memory, "the device has no room for %zu bytes", size);
   if (!error)
      error = mock_room(size);
   if (error)
      return error;
   mock.handles[mock.num_handles++] = (mock_memory_handle){size, true, false};
   *out = mock.num_handles;
   return 0;
}

static mock_memory_handle *handle_of(uint64_t handle)
{
   mock_memory_handle *h = handle && handle <= mock.num_handles ? &mock.handles[handle - 1] : NULL;

   return h && h->held ? h : NULL;
}

int mock_piece_release(uint64_t handle)
{
   int error = mock_ready();
   mock_memory_handle *h = handle_of(handle);

   if (!error && !h)
      error = refuse("this memory was not taken, or given back before");
   if (!error)
      h->held = false; /* what is mapped stays until it is not */
   return error;
}

/* A dead piece's place, or a new one; NULL: there is none. */
static mock_piece *free_piece(void)
{
   for (uint32_t i = 0; i < mock.num_pieces; i++)
      if (!mock.pieces[i].live && !mock.pieces[i].handle)
         return &mock.pieces[i];
   return mock.num_pieces < MOCK_MAX_PIECES ? &mock.pieces[mock.num_pieces++] : NULL;
}

int mock_piece_map(uint64_t address, size_t size, uint64_t handle)
{
   int error = mock_ready();
   mock_memory_handle *h = handle_of(handle);
   const mock_piece *r = range_of(address, size);

   if (!error)
      error = mock_building("memory is mapped");
   if (!error && (!h || h->mapped || h->size != size))
      error = refuse("this memory is not free, or of another size");
   if (!error && (!r || !is_whole(size) || (address - r->address) % mock.granularity))
      error = refuse("this is no piece of a range");
   if (!error && piece_in(address, size))
      error = refuse("the piece has memory already");
   if (error)
      return error;
   pthread_mutex_lock(&mock.lock);
   mock_piece *p = free_piece();
   if (p) {
      *p = (mock_piece){.address = address, .size = size, .handle = handle};
      h->mapped = true;
   } else {
      error = mock_says(CUDA_ERROR_out_of_memory, "there are too many pieces");
   }
   pthread_mutex_unlock(&mock.lock);
   return error;
}

int mock_piece_access(uint64_t address, size_t size, const struct gpu_access *who)
{
   int error = mock_ready();
   mock_piece *p = piece_in(address, size);

   if (!error && (!p || p->address != address || p->size != size))
      error = refuse("this piece has no memory");
   if (!error && (who->place != GPU_PLACE_device || who->device || who->flags != GPU_ACCESS_both))
      error = refuse("this is no access of the device");
   if (!error)
      p->live = true;
   return error;
}

/* Work that still needs it finds it gone. */
int mock_piece_unmap(uint64_t address, size_t size)
{
   int error = mock_ready();
   mock_piece *p = piece_in(address, size);

   if (!error)
      error = mock_building("memory is given back");
   if (!error && (!p || p->address != address || p->size != size))
      error = refuse("this piece was not mapped so");
   if (error)
      return error;
   mock.handles[p->handle - 1].mapped = false;
   *p = (mock_piece){0};
   madvise((void *)(uintptr_t)address, size, MADV_DONTNEED);
   return 0;
}
