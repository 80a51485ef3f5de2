/* step_costs.h - milliseconds of steps that read a prompt of SmolLM2-135M (Q4_1) beside four
 * requests that generate: rows of the prompt by its position, medians of five steps around it.
 * Recorded once with a clock around sinter_step, on two cores of which other processes used one. */
#ifndef TESTS_STEP_COSTS_H
#define TESTS_STEP_COSTS_H

enum { STEP_COST_ROWS = 4, STEP_COST_FIRSTS = 6 };

static const int step_cost_rows[STEP_COST_ROWS] = {4, 16, 64, 192};
static const int step_cost_first[STEP_COST_FIRSTS] = {0, 500, 1000, 2000, 3000, 3900};
static const double step_cost_ms[STEP_COST_ROWS][STEP_COST_FIRSTS] = {
   {19.4, 23.2, 30.3, 39.7, 67.6, 96.5},
   {45.4, 44.4, 67.9, 75.4, 97.7, 158.2},
   {118.2, 141.6, 180.4, 338.5, 321.0, 480.1},
   {752.0, 778.9, 778.9, 755.6, 969.2, 969.2},
};

#endif
