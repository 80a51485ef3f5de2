/* fiber.c - the switch: callee-saved registers go to the old stack, and come from the new one. */
#include "fiber.h"

#include <stdint.h>

#include "base/sanitized.h"

#if BASE_SANITIZED
#include <sanitizer/common_interface_defs.h>

static const void *own_stack;
static size_t own_size;

void mock_switch_begins(void **state, const void *memory, size_t size)
{
   __sanitizer_start_switch_fiber(state, memory ? memory : own_stack, memory ? size : own_size);
}

void mock_switch_ends(void *state)
{
   const void *from;
   size_t size;

   __sanitizer_finish_switch_fiber(state, &from, &size);
   if (!state) { /* a fiber begins: it was come to from the thread's own stack */
      own_stack = from;
      own_size = size;
   }
}
#else
void mock_switch_begins(void **state, const void *memory, size_t size)
{
   (void)state;
   (void)memory;
   (void)size;
}

void mock_switch_ends(void *state)
{
   (void)state;
}
#endif

__asm__(".text\n"
        ".globl mock_switch\n"
        ".hidden mock_switch\n"
        ".type mock_switch, @function\n"
        "mock_switch:\n"
        "   push %rbp\n"
        "   push %rbx\n"
        "   push %r12\n"
        "   push %r13\n"
        "   push %r14\n"
        "   push %r15\n"
        "   mov %rsp, (%rdi)\n"
        "   mov %rsi, %rsp\n"
        "   pop %r15\n"
        "   pop %r14\n"
        "   pop %r13\n"
        "   pop %r12\n"
        "   pop %rbx\n"
        "   pop %rbp\n"
        "   ret\n"
        ".size mock_switch, .-mock_switch\n");

void *mock_stack(void *memory, size_t size, void (*entry)(void))
{
   uintptr_t top = ((uintptr_t)memory + size) & ~(uintptr_t)15;
   void **sp = (void **)(top - 16);

   /* At the entry rsp is 8 past a multiple of 16, as behind a call. */
   *sp = (void *)(uintptr_t)entry;
   for (int i = 0; i < 6; i++)
      *--sp = NULL;
   return sp;
}
