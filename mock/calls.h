/* calls.h - how a row of a driver's table becomes a function of the mock. */
#ifndef MOCK_CALLS_H
#define MOCK_CALLS_H

/* Counts the call, fails it when that was asked for, and takes only what comes behind otherwise. */
#define ENTER                                                                                      \
   do {                                                                                            \
      int planted_ = mock_enter(__func__);                                                         \
      if (planted_)                                                                                \
         return planted_;                                                                          \
   } while (0)

/* A call that is one of the device's (device.c, stream.c, graph.c): what it returns. */
#define MOCK_CALL(symbol, parameters, ...)                                                         \
   int symbol parameters                                                                           \
   {                                                                                               \
      ENTER;                                                                                       \
      return __VA_ARGS__;                                                                          \
   }

/* Ranges of addresses (ranges.c), of which both drivers have the same calls: cuMemMap and hipMemMap
 * … */
#define MOCK_RANGE_CALLS(vendor)                                                                   \
   MOCK_CALL(vendor##MemGetAllocationGranularity,                                                  \
             (size_t * granularity, const struct gpu_piece *what, int which),                      \
             mock_granularity(what, which, granularity))                                           \
   MOCK_CALL(vendor##MemAddressReserve,                                                            \
             (uint64_t * address, size_t size, size_t alignment, uint64_t wanted,                  \
              unsigned long long flags),                                                           \
             alignment || wanted || flags ? CUDA_ERROR_invalid_value                               \
                                          : mock_reserve(size, address))                           \
   MOCK_CALL(vendor##MemAddressFree, (uint64_t address, size_t size),                              \
             mock_unreserve(address, size))                                                        \
   MOCK_CALL(                                                                                      \
      vendor##MemCreate,                                                                           \
      (uint64_t * handle, size_t size, const struct gpu_piece *what, unsigned long long flags),    \
      flags ? CUDA_ERROR_invalid_value : mock_piece_create(size, what, handle))                    \
   MOCK_CALL(vendor##MemRelease, (uint64_t handle), mock_piece_release(handle))                    \
   MOCK_CALL(                                                                                      \
      vendor##MemMap,                                                                              \
      (uint64_t address, size_t size, size_t offset, uint64_t handle, unsigned long long flags),   \
      offset || flags ? CUDA_ERROR_invalid_value : mock_piece_map(address, size, handle))          \
   MOCK_CALL(vendor##MemUnmap, (uint64_t address, size_t size), mock_piece_unmap(address, size))   \
   MOCK_CALL(vendor##MemSetAccess,                                                                 \
             (uint64_t address, size_t size, const struct gpu_access *who, size_t count),          \
             count == 1 ? mock_piece_access(address, size, who) : CUDA_ERROR_invalid_value)

#endif
