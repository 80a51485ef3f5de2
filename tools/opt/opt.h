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

/* Reads a whole file, at most 64 MiB of it. */
SINTER_CHECKED sinter_status opt_read(arena *a, const char *path, const char **out,
                                      size_t *out_len);

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
