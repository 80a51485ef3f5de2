/* compiler_api.h - the door between libsinter_rt and libsinter_compiler, opened with dlopen on a
 * cache miss. */
#ifndef BASE_COMPILER_API_H
#define BASE_COMPILER_API_H

#include "base.h"

enum { COMPILER_ABI = 9 };

typedef struct compiler_request {
   const char *model, *targets;
   sinter_numerics numerics;
   bool draft;              /* compute the logits of the layer that drafts tokens */
   bool hidden;             /* no logits: the states after the last norm */
   bool variant_per_bucket; /* prompts may have a form whose bits differ from decode's */
   const char *with, *without;
   const char *experts;   /* NULL, or JSON: where experts lie (models/expert_map.c) */
   const char *attention; /* as in sinter_compile_options */
   uint32_t threads;
   const char *key_json;    /* the full cache key, stored in the manifest */
   const char *out_path;    /* artifact file to write (a temporary name; the caller renames) */
   const char *out_name;    /* what to call it in messages; NULL: out_path */
   const char *weights_dir; /* not NULL: put the weight section into its own content-addressed file
                               in this folder; NULL: write it into the artifact */
   /* not NULL: objects of GPU kernels are kept in this folder by content */
   const char *kernels_dir;
   /* What kept objects depend on besides their text: the build of our libraries, and a line
    * "TARGET by COMPILER DIGEST" for every compiler of a target. */
   const char *build, *tools;
   const char *arch; /* explain only: judge for this name of archs.def or isa.def; NULL: for
                               the first target */
   sinter_progress *progress;
   void *user;
} compiler_request;

typedef struct compiler_api {
   uint32_t abi;
   const char *llvm_version;
   /* Whether the passes that `with` and `without` name are there; compile and explain look, too,
    * before they import. */
   SINTER_CHECKED sinter_status (*check)(const compiler_request *request);
   SINTER_CHECKED sinter_status (*compile)(const compiler_request *request);
   /* {"fusions":[…],"segments":…,"breaks":…,"kernels":…} without generating code; free with
    * release. */
   SINTER_CHECKED sinter_status (*explain)(const compiler_request *request, char **out_json);
   void (*release)(char *json);
   /* The instructions of code of a level of isa.def, a line each; free with release. */
   SINTER_CHECKED sinter_status (*disassemble)(const char *level, const uint8_t *code, size_t size,
                                               char **out_text);
   const void *ref_device; /* rt_device_ops of `--device ref` */
} compiler_api;

/* The only symbol looked up: "sinter_compiler". */
typedef const compiler_api *compiler_entry(void);

#endif
