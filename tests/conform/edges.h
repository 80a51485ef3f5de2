/* edges.h - numbers for the conformance tests: ordinary ones, and rows at which roundings break. */
#ifndef CONFORM_EDGES_H
#define CONFORM_EDGES_H

#include <math.h>

#include "ir/ir.h"

/* Roughly normal, from a name and an index. */
static inline double harness_number(const char *name, uint64_t i)
{
   uint64_t seed = 1469598103934665603u;
   double sum = 0;

   for (; *name; name++)
      seed = (seed ^ (uint8_t)*name) * 1099511628211u;
   for (uint64_t k = 0; k < 4; k++) {
      uint64_t z = seed + (4 * i + k + 1) * 0x9e3779b97f4a7c15u;
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
      z = (z ^ z >> 27) * 0x94d049bb133111ebu;
      sum += (double)((z ^ z >> 31) >> 11) * 0x1p-53 - 0.5;
   }
   return sum * 1.7320508075688772;
}

/* Rows that quantisation can get wrong, in turns: zeros; 1e-12; largest values at a power of two,
 * one ulp up and down; at 448, 224 and 127 times a power of two, where scales of powers of two
 * jump, and one ulp up; NaN in one of 32 columns. */
enum { HARNESS_EDGES = 11 };
static inline double harness_edge(const ir_type *t, int64_t i)
{
   static const double tops[HARNESS_EDGES] = {0,
                                              1e-12,
                                              4,
                                              4 * (1 + 0x1p-23),
                                              4 * (1 - 0x1p-24),
                                              448 * 0x1p-9,
                                              448 * 0x1p-9 * (1 + 0x1p-23),
                                              224,
                                              224 * (1 - 0x1p-24),
                                              127,
                                              NAN};
   int64_t n = ir_type_row(t);
   double top = tops[i / n % HARNESS_EDGES], z = harness_number("edges", (uint64_t)i);

   if (isnan(top) && i % n % 32 != 5)
      top = 1;

   /* the largest stands in the first element of every eighth */
   return dtype_round(t->dtype,
                      i % n % 8 == 0 ? (i % 16 ? -top : top) : top * fmin(fmax(z / 3, -0.9), 0.9));
}

/* Logits that are all below zero, in turns: as they come, `depth` lower, all alike. A maximum that
 * starts at zero, or a padded lane of zeros, wins there. */
static inline double harness_negative(const ir_type *t, int64_t i, double depth)
{
   const int64_t kind = i / ir_type_row(t) % 3;
   const double z = -0.5 - fabs(2 * harness_number("negative", (uint64_t)i));

   return dtype_round(t->dtype, kind == 2 ? -7 : kind ? z - depth : z);
}

#endif
