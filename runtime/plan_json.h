/* plan_json.h - plans as a document for people and tools. */
#ifndef RT_PLAN_JSON_H
#define RT_PLAN_JSON_H

#include "base/json.h"
#include "base/plan.h"

/* One JSON object:
 * {"targets":[{"target","model","memory","variants":[{"segments","launches"}],"weights"}]}. */
const char *rt_plan_json(arena *a, const plan *const *plans, uint32_t count);

#endif
