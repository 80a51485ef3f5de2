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

#endif
