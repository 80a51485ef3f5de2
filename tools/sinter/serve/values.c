/* values.c - values of a request body: numbers, flags, and JSON text again. */
#include "values.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool value_bad(fault *f, const char *param, const char *want)
{
   return fault_set(f, 400, "invalid_value", param, "'%s' must be %s", param, want);
}

bool value_is_null(const tree *t)
{
   return !t || t->kind == TREE_null;
}

bool value_number(const tree *t, bool whole, double *out)
{
   char *end;

   if (!t || t->kind != TREE_number)
      return false;
   *out = strtod(t->text, &end);
   return !*end && isfinite(*out) && (!whole || *out == floor(*out));
}

bool value_int(const tree *t, int64_t *out)
{
   char *end;
   double number;

   if (!value_number(t, true, &number))
      return false;
   errno = 0;
   *out = strtoll(t->text, &end, 10);
   if (*end) /* 1e3 */
      *out = (int64_t)number;
   return !errno && fabs(number) < 9.2e18;
}

bool value_flag(const tree *t, bool *out)
{
   bool is_flag = t && t->kind == TREE_bool;

   *out = is_flag && t->text[0] == 'y';
   return is_flag;
}

bool value_is(const tree *t, const char *text)
{
   return t && t->kind == TREE_string && strcmp(t->text, text) == 0;
}

void value_write(buffer *b, const tree *t)
{
   const char *comma = "";
   bool object = t->kind == TREE_object;

   switch (t->kind) {
   case TREE_null: buffer_printf(b, "null"); return;
   case TREE_bool: buffer_printf(b, t->text[0] == 'y' ? "true" : "false"); return;
   case TREE_number: buffer_add(b, t->text, t->len); return;
   case TREE_string: buffer_json_string(b, t->text, t->len); return;
   default: break;
   }
   buffer_add(b, object ? "{" : "[", 1);
   for (const tree *e = tree_first(t); e; e = e->next, comma = ",") {
      buffer_printf(b, "%s", comma);
      if (object) {
         buffer_json_string(b, e->name, e->name_len);
         buffer_add(b, ":", 1);
      }
      value_write(b, e);
   }
   buffer_add(b, object ? "}" : "]", 1);
}

char *value_copy(const char *text, size_t len)
{
   char *copy = malloc(len + 1);

   if (!copy)
      exit(6);
   if (len)
      memcpy(copy, text, len);
   copy[len] = 0;
   return copy;
}
