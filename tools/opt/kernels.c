/* kernels.c - --diff-kernels: the kernels of two dumps side by side.
 *
 *    define void @gemv_q8_0_m1(ptr %0, i32 %1) #0 {      a kernel: up to the line of its }
 *
 * Names say what a kernel is for, so equal names are compared: instructions before and after, and
 * the first line that differs. Numbers of attribute groups and metadata depend on the module and
 * are left out of the comparison. */
#include "opt.h"

#include <stdio.h>

typedef struct kernel_text {
   const char *name;
   size_t name_len;
   VEC(const char *) lines; /* trimmed, without #3 and !7 */
   uint32_t instructions;
} kernel_text;

typedef struct kernel_set {
   VEC(kernel_text *) all;
   map by_name;
} kernel_set;

/* A line without indentation, comment, and the numbers of what stands elsewhere in the module. */
static const char *normal(arena *a, const char *line, size_t len)
{
   text_buf out = {.a = a};

   text_append(&out, "", 0);
   for (size_t i = strspn(line, " "); i < len && line[i] != ';'; i++) {
      bool numbered = (line[i] == '#' || line[i] == '!') && i + 1 < len && line[i + 1] >= '0' &&
                      line[i + 1] <= '9';

      text_append(&out, &line[i], 1);
      while (numbered && i + 1 < len && line[i + 1] >= '0' && line[i + 1] <= '9')
         i++;
   }
   while (out.len && out.data[out.len - 1] == ' ')
      out.data[--out.len] = '\0';
   return out.data ? out.data : "";
}

static kernel_text *begin(arena *a, kernel_set *set, const char *line, size_t len)
{
   const char *at = memchr(line, '@', len);
   kernel_text *k = arena_new(a, kernel_text);

   if (!at)
      return NULL;
   k->name = at + 1;
   k->name_len = strcspn(k->name, "(");
   *vec_push(a, &set->all) = k;
   (void)map_set_n(&set->by_name, k->name, k->name_len, k);
   return k;
}

static sinter_status read_kernels(arena *a, const char *path, kernel_set *set)
{
   const char *text;
   size_t size;
   kernel_text *k = NULL;

   *set = (kernel_set){.by_name = {.a = a}};
   SINTER_TRY(opt_read(a, path, &text, &size));
   text = arena_strndup(a, text, size);
   for (const char *line = text; *line;) {
      size_t len = strcspn(line, "\n");

      if (!strncmp(line, "define ", 7))
         k = begin(a, set, line, len);
      else if (line[0] == '}')
         k = NULL;
      else if (k) {
         const char *plain = normal(a, line, len);

         if (*plain)
            *vec_push(a, &k->lines) = plain;
         k->instructions += line[0] == ' ' && *plain;
      }
      line += len + (line[len] == '\n');
   }
   if (!set->all.count)
      return base_fail(SINTER_bad_input, path, "Dump one with SINTER_DUMP=dir sinter compile.",
                       "there is no kernel in it");
   return SINTER_ok;
}

/* First line that differs, SIZE_MAX none. */
static size_t first_difference(const kernel_text *x, const kernel_text *y)
{
   size_t n = MIN(x->lines.count, y->lines.count);

   for (size_t i = 0; i < n; i++)
      if (strcmp(x->lines.data[i], y->lines.data[i]) != 0)
         return i;
   return x->lines.count == y->lines.count ? SIZE_MAX : n;
}

static const char *line_at(const kernel_text *k, size_t i)
{
   return i < k->lines.count ? k->lines.data[i] : "(its end)";
}

static bool print_change(const kernel_text *was, const kernel_text *is)
{
   size_t at = first_difference(was, is);

   if (at == SIZE_MAX)
      return false;
   printf("changed %.*s: %u instructions, %u before\n  - %s\n  + %s\n", (int)is->name_len, is->name,
          is->instructions, was->instructions, line_at(was, at), line_at(is, at));
   return true;
}

sinter_status opt_diff_kernels(arena *a, const char *path, const opt_options *o)
{
   kernel_set old, now;
   uint32_t changed = 0, same = 0;

   SINTER_TRY(read_kernels(a, o->diff_kernels, &old));
   SINTER_TRY(read_kernels(a, path, &now));
   for (size_t i = 0; i < old.all.count; i++) {
      const kernel_text *k = old.all.data[i];

      if (!map_get_n(&now.by_name, k->name, k->name_len))
         printf("gone %.*s: %u instructions\n", (int)k->name_len, k->name, k->instructions);
   }
   for (size_t i = 0; i < now.all.count; i++) {
      const kernel_text *k = now.all.data[i];
      const kernel_text *was = map_get_n(&old.by_name, k->name, k->name_len);

      if (!was)
         printf("new %.*s: %u instructions\n", (int)k->name_len, k->name, k->instructions);
      else if (print_change(was, k))
         changed++;
      else
         same++;
   }
   printf("%zu kernels, %u changed, %u the same\n", now.all.count, changed, same);
   return SINTER_ok;
}
