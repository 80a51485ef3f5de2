// LINK: ir base
/* Any text ends in an error or a round trip; what parses can be validated and cloned. */
#include "ir/ir.h"

#include <stdlib.h>

typedef struct input {
   const char *text;
   size_t size;
   arena *a;
} input;

static const char *printed(arena *a, const ir_func *f)
{
   text_buf out = {.a = a};

   ir_print(&out, f);
   return out.data;
}

static sinter_status check(void *user)
{
   const input *in = user;
   ir_module m, again;
   text_buf report = {.a = in->a};

   SINTER_TRY(ir_parse(in->a, in->text, in->size, "fuzz", &m));
   for (size_t i = 0; i < m.funcs.count; i++) {
      const ir_func *f = m.funcs.data[i];
      const char *text = printed(in->a, f);
      const bool is_valid = ir_validate(f, &report);
      if (is_valid != (report.len == 0))
         abort();
      report.len = 0;
      if (ir_parse(in->a, text, strlen(text), "printed", &again) != SINTER_ok)
         abort();
      if (strcmp(printed(in->a, again.funcs.data[0]), text) != 0)
         abort();
      if (strcmp(printed(in->a, ir_func_clone(in->a, f)), text) != 0)
         abort();
   }
   return SINTER_ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   input in = {.text = (const char *)data, .size = size};

   if (arena_create(&in.a) != SINTER_ok)
      return 0;
   const sinter_status status = arena_catch(check, &in);
   (void)status;
   arena_destroy(in.a);
   return 0;
}
