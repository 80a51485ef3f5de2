/* opt.h - sinter-opt: IR files on the command line, for people who write passes. */
#ifndef OPT_H
#define OPT_H

#include "passes/pass.h"

enum { OPT_MAX_LIST = 64 };

typedef struct opt_list {
   const char *item[OPT_MAX_LIST];
   uint32_t count;
} opt_list;

typedef bool opt_FLAG;
typedef const char *opt_STR;
typedef opt_list opt_LIST;

typedef struct opt_options {
#define OPT(field, kind, long_name, letter, value, help) opt_##kind field;
#include "options.def"
#undef OPT
   opt_list files;
} opt_options;

/* Fills options from a command line. */
SINTER_CHECKED sinter_status opt_parse(int argc, char **argv, opt_options *out);
void opt_help(void);

/* The passes that a command line asks for: fills target and options. `all` when -p is not given. */
SINTER_CHECKED sinter_status opt_setup(arena *a, const opt_options *o, pass_target *target,
                                       pass_options *out);
/* Whether a FINISH pass is among them. */
bool opt_wants_layout(const pass_options *po);

/* Reads a whole file, at most 64 MiB of it. */
SINTER_CHECKED sinter_status opt_read(arena *a, const char *path, const char **out,
                                      size_t *out_len);

/* Writes text to a file. */
SINTER_CHECKED sinter_status opt_write(const char *path, const char *text, size_t len);

/* --load: opens shared objects and registers their passes. */
SINTER_CHECKED sinter_status opt_load(const opt_list *files);

/* --check, --update. */
SINTER_CHECKED sinter_status opt_golden(arena *a, const char *path, const opt_options *o);

/* --diff-kernels: prints which kernels of `path` are new, gone or changed since o->diff_kernels. */
SINTER_CHECKED sinter_status opt_diff_kernels(arena *a, const char *path, const opt_options *o);

/* --between, --bisect, --reduce: all compare by the rule of passes/exec.h. */
SINTER_CHECKED sinter_status opt_between(arena *a, const ir_func *f, const opt_options *o);
SINTER_CHECKED sinter_status opt_bisect(arena *a, const ir_func *f, const opt_options *o);
SINTER_CHECKED sinter_status opt_reduce(arena *a, const ir_func *f, const opt_options *o);

/* A numbered site of a pass. */
typedef struct opt_site {
   pass_id pass;
   uint32_t number;
} opt_site;

/* Whether the result is wrong when these sites alone are carried out. */
typedef sinter_status opt_trial(void *user, const opt_site *sites, uint32_t n, bool *out_wrong);

/* Reduces sites, which together are wrong, to fewer that still are; *n in and out. */
SINTER_CHECKED sinter_status opt_fewest(arena *a, opt_trial *try, void *user, opt_site *sites,
                                        uint32_t *n);

/* --bisect --device cpu: of a checkpoint, whose kernels are compared with the interpreter. */
SINTER_CHECKED sinter_status opt_bisect_device(arena *a, const char *model, const opt_options *o);

/* --why-not, --breaks, --stats, --sites: tables on stdout. */
SINTER_CHECKED sinter_status opt_why_not(const pass_report *report, const opt_options *o);
void opt_print_breaks(const pass_report *report);
void opt_print_stats(const pass_report *report);
void opt_print_sites(const pass_report *report);

/* --dot, --svg, --view. */
SINTER_CHECKED sinter_status opt_draw(arena *a, const ir_func *f, const opt_options *o);
SINTER_CHECKED sinter_status opt_view(arena *a, const ir_func *f, const opt_options *o);

/* A function changed by passes and judged against itself. */
typedef struct opt_verdict {
   ir_func *before, *after; /* values correspond by id */
   pass_report *report;
   pass_rounding rounding; /* worst class of all passes */
   bool failed;            /* the passes reported an error; why holds it */
   bool same;
   const char *why;
} opt_verdict;
/* Clones f, runs the passes of po (the hooks of po too), compares. */
SINTER_CHECKED sinter_status opt_judge(arena *a, const ir_func *f, const pass_options *po,
                                       opt_verdict *out);

/* --eval: runs f on the arrays that --in names. */
SINTER_CHECKED sinter_status opt_eval(arena *a, const ir_func *f, const opt_options *o);

/* Arrays in files of numpy's format, versions 1 to 3, C order; f2 f4 f8 i1 i4 i8 u1. */
typedef struct npy {
   uint32_t rank;
   int64_t dim[IR_MAX_RANK];
   int64_t count;
   double *data;
} npy;
SINTER_CHECKED sinter_status npy_read(arena *a, const char *path, npy *out);
/* Writes <f8, <f4 or <i4, whichever holds the type. */
SINTER_CHECKED sinter_status npy_write(const char *path, const npy *array, dtype t);

#endif
