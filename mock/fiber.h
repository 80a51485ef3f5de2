/* fiber.h - stacks that take turns on one thread of the host. */
#ifndef MOCK_FIBER_H
#define MOCK_FIBER_H

#include <stddef.h>

/* Saves the running stack in *save and goes on with `resume`. x86-64 only. */
void mock_switch(void **save, void *resume);

/* A stack whose first resumption calls entry, which never returns. */
void *mock_stack(void *memory, size_t size, void (*entry)(void));

#endif
