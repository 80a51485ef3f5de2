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

/* The one that makes kernels for a target; TOOLKIT_COUNT: none is needed. */
toolkit toolkit_of(const char *target);

#endif
