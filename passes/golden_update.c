/* golden_update.c - new CHECK lines for a case whose output has changed.
 *
 * The first CHECK is where the new ones go:
 *
 *    // CHECK: kernel add_rmsnorm{{[0-9]+}} {         the number of a kernel is left open
 *    // CHECK-NEXT: %h = add %x, %r : f32[T,32]       every line from the first op that is no leaf
 *    // CHECK: // segment 0: …                        a layout, without its places */
#include "golden_parts.h"

#include <ctype.h>

static bool starts(const char *line, size_t len, const char *with)
{
   return len >= strlen(with) && !memcmp(line, with, strlen(with));
}

static bool is_check(const char *line, size_t len)
{
   return starts(line, len, "// CHECK:") || starts(line, len, "// CHECK-NEXT:");
}

/* `kernel name12 {` matches whatever number the kernel gets. */
static void write_pattern(text_buf *out, const char *line, size_t len)
{
   if (starts(line, len, "kernel ") && len > 2 && line[len - 1] == '{') {
      size_t end = len - 2;

      while (end > 0 && isdigit((unsigned char)line[end - 1]))
         end--;
      text_printf(out, "%.*s{{[0-9]+}} {\n", (int)end, line);
      return;
   }
   text_printf(out, "%.*s\n", (int)len, line);
}

static bool is_leaf_line(const char *line, size_t len)
{
   static const char *const leaves[] = {" = param ", " = weight ", " = meta ", " = state "};

   for (size_t i = 0; i < countof(leaves); i++)
      if (memmem(line, len, leaves[i], strlen(leaves[i])))
         return true;
   return false;
}

static void write_checks(text_buf *out, const char *printed)
{
   bool follows = false;

   for (const char *line = printed; *line;) {
      size_t len = strcspn(line, "\n"), indent = strspn(line, " ");
      const char *next = line + len + (line[len] == '\n');
      bool wanted = indent < len && !starts(line, len, "func ") && !starts(line, len, "}") &&
                    !starts(line, len, "// place ") && !is_leaf_line(line, len);

      if (wanted) {
         text_printf(out, "// %s: ", follows ? "CHECK-NEXT" : "CHECK");
         write_pattern(out, line + indent, len - indent);
      }
      follows = wanted;
      line = next;
   }
}

void pass_golden_rewrite(text_buf *out, const char *text, size_t len, const char *printed)
{
   const char *end = text + len;
   bool written = false;

   for (const char *line = text; line < end;) {
      const char *stop = memchr(line, '\n', (size_t)(end - line));
      size_t n = (size_t)((stop ? stop : end) - line);

      if (is_check(line, n)) {
         if (!written)
            write_checks(out, printed);
         written = true;
      } else {
         text_append(out, line, n);
         if (stop)
            text_append(out, "\n", 1);
      }
      line += n + (stop ? 1 : 0);
   }
}
