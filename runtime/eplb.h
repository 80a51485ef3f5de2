/* eplb.h - which experts a layer holds twice, and on which device each of them lies, by how many
 * tokens they get: DeepSeek's published algorithm, with every tie decided.
 *
 *    groups of experts ─▶ nodes,  experts of a node ─▶ replicas,  replicas ─▶ devices
 *
 * Each arrow puts the heaviest first, where it weighs least. Sorts are stable, ties go to the lower
 * index, loads are doubles: equal loads give equal places on every machine. */
#ifndef RUNTIME_EPLB_H
#define RUNTIME_EPLB_H

#include "base/arena.h"

/* Experts of a layer, places for them (replicas included), and how these are divided. */
typedef struct rt_eplb_shape {
   uint32_t experts, places, groups, nodes, devices;
} rt_eplb_shape;

/* One layer. All arrays are the caller's. */
typedef struct rt_eplb_plan {
   int32_t *expert; /* [places]: whose weights lie there */
   int32_t *rank;   /* [places]: which of its replicas it is */
   int32_t *count;  /* [experts]: replicas of each */
} rt_eplb_plan;

/* Errors USAGE when the numbers do not divide each other. */
SINTER_CHECKED sinter_status rt_eplb_check(const rt_eplb_shape *s);

/* Places of one layer by load[experts], each finite and not negative. When groups do not divide
 * into nodes they are not kept together. */
void rt_eplb_place(arena *a, const rt_eplb_shape *s, const double *load, const rt_eplb_plan *out);

/* Mean load of a device over the largest, when replicas share what comes to their expert: 1 is
 * best, also when there is no load. */
double rt_eplb_balance(arena *a, const rt_eplb_shape *s, const double *load, const int32_t *expert);

#endif
