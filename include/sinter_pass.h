/* sinter_pass.h - a pass outside the tree, for `sinter-opt --load pass.so`.
 *
 *    #include "sinter_pass.h"
 *
 *    static void run(pass_run *r) { … pass_apply(r, rules, countof(rules)); }
 *    SINTER_PASS_MODULE("my_pass", PASS_CLEAN, "what it does, in one sentence", run)
 *
 * Build it against the source tree and the build folder that sinter-opt came from:
 *
 *    cc -shared -fPIC -I. -Iinclude -Ibuild/include my_pass.c -o my_pass.so
 *
 * What a pass sees is ir/ir.h, ir/match.h and passes/pass.h; docs/writing-a-pass.md shows how to
 * use them. The source of a pass keeps compiling while these names stay; its object does not: op
 * numbers and layouts follow the tables. SINTER_PASS_ABI is a hash over all of them, made by the
 * build, and an object with another one is refused. */
#ifndef SINTER_PASS_H
#define SINTER_PASS_H

#include "passes/pass.h"
#include "sinter_pass_abi.h" /* made by the build: SINTER_PASS_ABI */

typedef struct sinter_pass_module {
   const char *abi;
   pass_info info;
   void (*body)(pass_run *run);
} sinter_pass_module;

/* phase: PASS_CLEAN, PASS_FUSE or PASS_REST; the pass runs behind the built-in ones of its
 * phase. */
#define SINTER_PASS_MODULE(name, phase, what, run)                                                 \
   __attribute__((visibility("default"))) const sinter_pass_module sinter_pass_module_v1 = {       \
      SINTER_PASS_ABI, {name, phase, true, PASS_ANY, what}, run};

#endif
