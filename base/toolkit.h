/* toolkit.h - where the compilers of toolkits.def are on this machine. */
#ifndef BASE_TOOLKIT_H
#define BASE_TOOLKIT_H

#include "base.h"

typedef enum toolkit {
#define TOOLKIT(id, targets, remedy, what) TOOLKIT_##id,
#include "toolkits.def"
#undef TOOLKIT
   TOOLKIT_COUNT
} toolkit;

typedef struct toolkit_info {
   const char *name, *targets, *remedy, *what;
} toolkit_info;

extern const toolkit_info toolkit_infos[TOOLKIT_COUNT];

enum { TOOLKIT_PATH = 1024 };

/* Writes the path of its file. Nothing is opened or run. Errors NO_DEVICE with the remedy. */
SINTER_CHECKED sinter_status toolkit_find(toolkit t, char path[TOOLKIT_PATH]);

/* Whether it makes kernels for a target, where it is and as far as it knows the GPU. */
bool toolkit_serves(toolkit t, const char *target);

/* Writes the path of the program beside our libraries that runs hiprtc in a process of its own. */
bool toolkit_hiprtc_program(char path[TOOLKIT_PATH]);

/* Writes what hiprtc says that it knows, a line a GPU; nothing when it is absent or does not
 * answer. Runs that program. */
void toolkit_hiprtc_gpus(char *out, size_t cap);

/* Whether a line of that is the GPU. */
bool toolkit_has_line(const char *lines, const char *gpu);

#endif
