/* run.h - the inside of the driver; passes use pass.h only. */
#ifndef PASS_RUN_H
#define PASS_RUN_H

#include "pass.h"

typedef enum pass_mode { PASS_OFF, PASS_ON, PASS_FORCED } pass_mode;

struct pass_run {
   ir_func *f;
   const pass_options *options;
   pass_report *report;
   pass_layout *layout; /* FINISH passes */
   pass_id current;
   bool changed;
   pass_mode mode[PASS_MAX];
   map skip;                   /* "name:number" */
   VEC(pass_site *) proposals; /* of the FUSE phase, in passes.def and site order */
   sinter_status status;
};

/* The functions of the passes (registry.c). */
extern void (*pass_bodies[PASS_MAX])(pass_run *run);

/* Reads with, without, only and skip (select.c). */
SINTER_CHECKED sinter_status pass_select(pass_run *run);

/* Types of all values by id, to see what a pass did to the rounding (rounding.c). */
typedef struct pass_types {
   dtype *dtype;
   uint32_t count;
} pass_types;
pass_types pass_types_of(arena *a, const ir_func *f);
pass_rounding pass_rounding_since(const ir_func *f, const pass_types *before);

#endif
