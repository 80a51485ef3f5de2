/* golden_options.c - the options behind the passes in a RUN line: what the target can do, and what
 * is forced or left out. */
#include "golden.h"

#include <stdlib.h>

/* OPTION(name, field of pass_target): a number. */
#define NUMBERS(OPTION)                                                                            \
   OPTION(row_limit, row_limit)                                                                    \
   OPTION(pointers, max_pointers)                                                                  \
   OPTION(parts, max_parts)                                                                        \
   OPTION(steps, max_steps)                                                                        \
   OPTION(quant, epilogue_quant)                                                                   \
   OPTION(prologue, prologue_row)                                                                  \
   OPTION(repeat, repeat_ns)                                                                       \
   OPTION(segment, min_segment)                                                                    \
   OPTION(int8, has_int8)                                                                          \
   OPTION(combine, has_combine)

static const char *comma_list(arena *a, const char *value)
{
   char *list = arena_strdup(a, value);

   for (char *c = list; *c; c++)
      *c = *c == '+' ? ',' : *c;
   return list;
}

static bool starts_with(const char *s, size_t len, const char *name)
{
   return strlen(name) == len && !memcmp(s, name, len);
}

/* op+PROPERTY */
static const char *add_prop(arena *a, const char *value, pass_target *t)
{
   size_t len = strcspn(value, "+");

   for (int op = 0; value[len] && op < IR_OP_COUNT; op++)
      for (uint32_t p = 0; p < IR_PROP_COUNT; p++)
         if (starts_with(value, len, ir_op_infos[op].name) &&
             !strcmp(ir_prop_names[p], value + len + 1)) {
            t->extra_props[op] |= 1u << p;
            return NULL;
         }
   return arena_printf(a, "prop=%s is no op+PROPERTY", value);
}

static const char *add_host_field(arena *a, const char *value, pass_target *t)
{
   for (int i = 0; i < IR_META_COUNT; i++)
      if (!strcmp(ir_meta_infos[i].name, value)) {
         t->host_meta |= 1u << i;
         return NULL;
      }
   return arena_printf(a, "host=%s is no row of meta.def", value);
}

static bool set_number(const char *key, const char *value, pass_target *t)
{
   long n = strtol(value, NULL, 10);

#define OPTION(name, field)                                                                        \
   if (!strcmp(key, #name)) {                                                                      \
      t->field = n;                                                                                \
      return true;                                                                                 \
   }
   NUMBERS(OPTION)
#undef OPTION
   return false;
}

const char *pass_golden_option(arena *a, const char *key, const char *value, pass_target *t,
                               pass_options *o)
{
   if (!strcmp(key, "with"))
      o->with = comma_list(a, value);
   else if (!strcmp(key, "without"))
      o->without = comma_list(a, value);
   else if (!strcmp(key, "skip"))
      o->skip = comma_list(a, value);
   else if (!strcmp(key, "attention"))
      o->attention = arena_strdup(a, value);
   else if (!strcmp(key, "arch"))
      *t = pass_target_arch(value);
   else if (!strcmp(key, "prop"))
      return add_prop(a, value, t);
   else if (!strcmp(key, "host"))
      return add_host_field(a, value, t);
   else if (!set_number(key, value, t))
      return arena_printf(a, "RUN has no option %s", key);
   return NULL;
}
