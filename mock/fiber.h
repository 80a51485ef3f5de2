/* fiber.h - stacks that take turns on one thread of the host. */
#ifndef MOCK_FIBER_H
#define MOCK_FIBER_H

#include <stddef.h>

/* Saves the running stack in *save and goes on with `resume`. x86-64 only. */
void mock_switch(void **save, void *resume);

/* What a sanitizer has to know of a switch to the stack at memory; NULL: back to the thread's own.
 * Before it, and on arrival: *state is what the stack that was left, or is come back to, keeps in
 * between. */
void mock_switch_begins(void **state, const void *memory, size_t size);
void mock_switch_ends(void *state);

/* A stack whose first resumption calls entry, which never returns. */
void *mock_stack(void *memory, size_t size, void (*entry)(void));

#endif
