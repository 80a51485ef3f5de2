/* limits.h - what this machine can do at most, measured now. */
#ifndef LIMITS_H
#define LIMITS_H

typedef struct limits {
   unsigned threads;
   double bytes_s; /* streaming read of memory, all threads */
   double ops_s; /* int8 multiply-accumulate chain (u8 x i8 to i16 to i32), two operations each, all
                    threads */
} limits;

/* Takes about 0.3 s. threads 0: all cores this process may use. */
void limits_measure(unsigned threads, limits *out);

#endif
