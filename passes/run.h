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
   size_t most_sites; /* of the current pass; more, and it rewrites what it made itself */
   pass_mode mode[PASS_MAX];
   map skip;                   /* "name:number" */
   VEC(pass_site *) proposals; /* of the FUSE phase, in passes.def and site order */
   VEC(uint32_t) refused;      /* sites of the current pass that would add roundings (narrow.c) */
   VEC(uint32_t) narrowing;    /* of a trial: sites that did */
   struct pass_types *watch;   /* of a trial: types after the last site; NULL: nobody looks */
   sinter_status status;
};

/* The functions of the passes (registry.c). */
extern void (*pass_bodies[PASS_MAX])(pass_run *run);

/* Reads with, without, only and skip (select.c). */
SINTER_CHECKED sinter_status pass_select(pass_run *run);

/* Makes id the pass that runs. */
void pass_begin(pass_run *run, pass_id id);

/* Types of all values by id, to see what a pass did to the rounding (rounding.c). */
typedef struct pass_types {
   dtype *dtype;
   uint32_t count;
} pass_types;
pass_types pass_types_of(arena *a, const ir_func *f);
pass_rounding pass_rounding_since(const ir_func *f, const pass_types *before);
/* Whether any value became narrower, or a quant or a narrowing cast appeared. */
bool pass_narrows(const ir_func *f, const pass_types *before);

/* Closes the sites of a pass that is about to run which would add roundings, unless it may
 * (narrow.c). Errors  failed: roundings that belong to no site. */
SINTER_CHECKED sinter_status pass_refuse_narrowing(pass_run *run, pass_id id,
                                                   void (*body)(pass_run *run));
bool pass_is_refused(const pass_run *run, uint32_t number);
/* A site of a trial was carried out. */
void pass_trial_fired(pass_site *s);

#endif
