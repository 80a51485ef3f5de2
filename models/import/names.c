/* names.c - canonical names of tensors: GGUF's own, or by the rows of models.def and names.def. */
#include "source.h"

#include <stdlib.h>

typedef enum name_kind {
   NAME_prefix,
   NAME_tensor,
   NAME_layer,
   NAME_expert,
   NAME_whole,
   NAME_head,
   NAME_tower,
   NAME_tower_part,
   NAME_skip_prefix,
   NAME_skip_suffix
} name_kind;

typedef struct name_row {
   name_kind kind;
   const char *family, *hf, *canonical;
} name_row;

static const name_row rows[] = {
#define NAME(kind, family, hf, canonical) {NAME_##kind, family, hf, canonical},
#include "models/models.def"
#define NAME(kind, family, hf, canonical) {NAME_##kind, family, hf, canonical},
#include "names.def"
#undef NAME
};

/* The rest of `name` behind `prefix`, NULL when it does not start so. */
static const char *behind(const char *name, const char *prefix)
{
   size_t n = strlen(prefix);

   return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

static bool is_of(const name_row *r, const char *family)
{
   return !*r->family || strcmp(r->family, family) == 0;
}

static bool ends_with(const char *name, const char *suffix)
{
   size_t n = strlen(name), m = strlen(suffix);

   return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* The row that leaves a tensor out, NULL when none does. */
static const name_row *skipping_row(const char *name, const char *family)
{
   for (size_t i = 0; i < countof(rows); i++) {
      const name_row *r = &rows[i];
      if (!is_of(r, family))
         continue;
      if ((r->kind == NAME_skip_prefix && behind(name, r->hf)) ||
          (r->kind == NAME_skip_suffix && ends_with(name, r->hf)))
         return r;
   }
   return NULL;
}

static const char *below_prefix(const char *name, const char *family)
{
   const char *rest = NULL;

   for (size_t i = 0; i < countof(rows); i++) {
      const char *fits =
         rows[i].kind == NAME_prefix && is_of(&rows[i], family) ? behind(name, rows[i].hf) : NULL;
      if (fits && (!rest || fits > rest))
         rest = fits;
   }
   return rest;
}

/* The prefix under which a family's own checkpoints have their tensors. */
static const char *own_prefix(const char *family)
{
   for (size_t i = 0; i < countof(rows); i++)
      if (rows[i].kind == NAME_prefix && *rows[i].family && is_of(&rows[i], family))
         return rows[i].hf;
   return "model.";
}

/* "layers.<n>.<tail>": the number, -1 when the name is not of this form. */
static long layer_of(const char *rest, const char **out_tail)
{
   const char *digits = behind(rest, "layers.");
   char *end;

   if (!digits || *digits < '0' || *digits > '9')
      return -1;
   long n = strtol(digits, &end, 10);
   if (*end != '.' || n > 100000)
      return -1;
   *out_tail = end + 1;
   return n;
}

static bool is_parameter(const char *suffix)
{
   return suffix && (strcmp(suffix, ".weight") == 0 || strcmp(suffix, ".bias") == 0);
}

/* `tail` by a pattern with a number for its *: what follows the pattern, and the number. */
static const char *behind_number(const char *tail, const char *pattern, long *out_number)
{
   const char *star = strchr(pattern, '*');
   char *end;

   if (!tail || strncmp(tail, pattern, (size_t)(star - pattern)) != 0)
      return NULL;
   tail += star - pattern;
   if (*tail < '0' || *tail > '9')
      return NULL;
   *out_number = strtol(tail, &end, 10);
   return behind(end, star + 1);
}

/* What follows a pattern with or without a number for its *; -1 in *out_number without. */
static const char *behind_part(const char *rest, const char *pattern, long *out_number)
{
   *out_number = -1;
   return strchr(pattern, '*') ? behind_number(rest, pattern, out_number) : behind(rest, pattern);
}

/* The name below the prefix of the family's vision tower, NULL when there is none. */
static const char *below_tower(const char *name, const char *family)
{
   const char *rest = NULL;

   for (size_t i = 0; i < countof(rows) && !rest; i++)
      if (rows[i].kind == NAME_tower && is_of(&rows[i], family))
         rest = behind(name, rows[i].hf);
   return rest;
}

/* The pattern with that number for its *. */
static const char *numbered(arena *a, const char *pattern, long number)
{
   const char *star = strchr(pattern, '*');

   return star ? arena_printf(a, "%.*s%ld%s", (int)(star - pattern), pattern, number, star + 1)
               : pattern;
}

static const char *tower_name(arena *a, const char *rest)
{
   for (size_t i = 0; i < countof(rows); i++) {
      long number;
      const char *suffix =
         rows[i].kind == NAME_tower_part ? behind_part(rest, rows[i].hf, &number) : NULL;
      if (is_parameter(suffix))
         return arena_printf(a, "%s%s", numbered(a, rows[i].canonical, number), suffix);
   }
   return NULL;
}

/* The canonical name of a Hugging Face name, NULL when names.def has none; *out_expert is its
 * number in a stack, -1 when it is a tensor of its own. */
static const char *canonical(arena *a, const char *name, const char *family, long *out_expert)
{
   const char *rest = below_tower(name, family), *tail = NULL;

   if (rest)
      return tower_name(a, rest);
   rest = below_prefix(name, family);
   long layer = rest ? layer_of(rest, &tail) : -1;

   for (size_t i = 0; i < countof(rows); i++) {
      const name_row *r = &rows[i];
      if (!is_of(r, family))
         continue;
      if ((r->kind == NAME_head && strcmp(name, r->hf) == 0) ||
          (r->kind == NAME_tensor && rest && strcmp(rest, r->hf) == 0))
         return r->canonical;
      if (layer < 0)
         continue;
      if (r->kind == NAME_layer && is_parameter(behind(tail, r->hf)))
         return arena_printf(a, "blk.%ld.%s%s", layer, r->canonical, behind(tail, r->hf));
      if (r->kind == NAME_whole && strcmp(tail, r->hf) == 0)
         return arena_printf(a, "blk.%ld.%s", layer, r->canonical);
      long expert;
      const char *suffix = r->kind == NAME_expert ? behind_number(tail, r->hf, &expert) : NULL;
      if (is_parameter(suffix)) {
         *out_expert = expert;
         return arena_printf(a, "blk.%ld.%s%s", layer, r->canonical, suffix);
      }
   }
   return NULL;
}

sinter_status source_twice(const model_source *s, const char *name)
{
   return base_fail(SINTER_bad_input, s->path, "convert the checkpoint again",
                    "two tensors stand for '%.120s'", name);
}

void source_skip_tower(model_source *s, const char *name)
{
   if (!s->num_unused)
      s->unused_tower = name;
   s->num_unused++;
}

sinter_status source_name_tensors(model_source *s, const char *family, map *by_name)
{
   source_stacks stacks = {.by_name.a = s->a};

   by_name->a = s->a;
   for (size_t i = 0; i < s->tensors.count; i++) {
      model_tensor *t = &s->tensors.data[i];
      long expert = -1;
      if (t->is_plane)
         continue;
      const name_row *skips = s->gguf ? NULL : skipping_row(t->source_name, family);
      if (skips) {
         if (skips->kind == NAME_skip_prefix)
            source_skip_tower(s, skips->hf);
         t->name = t->source_name;
         t->read = true;
         continue;
      }
      t->name = s->gguf ? t->source_name : canonical(s->a, t->source_name, family, &expert);
      if (!t->name)
         return base_fail(
            SINTER_unsupported, s->path,
            "this checkpoint is a variant that is not supported; report its config.json",
            "no parameter of a %s model is called '%.120s'", family, t->source_name);
      if (expert >= 0) {
         SINTER_TRY(source_stack_add(s, &stacks, t, expert));
         continue;
      }
      if (map_set(by_name, t->name, t))
         return source_twice(s, t->name);
   }
   return source_stack_all(s, &stacks, by_name);
}

/* The same for tensors of the vision tower. */
static const char *tower_spelling(arena *a, const char *family, const char *name)
{
   const char *prefix = "";

   for (size_t i = 0; i < countof(rows); i++) {
      const name_row *r = &rows[i];
      long number;
      if (r->kind == NAME_tower && is_of(r, family) && !*prefix)
         prefix = r->hf;
      const char *suffix =
         r->kind == NAME_tower_part ? behind_part(name, r->canonical, &number) : NULL;
      if (is_parameter(suffix))
         return arena_printf(a, "%s%s%s", prefix, numbered(a, r->hf, number), suffix);
   }
   return name;
}

const char *source_spelling(arena *a, const char *family, const char *name)
{
   const char *tail = behind(name, "blk.");
   char *end = NULL;

   if (behind(name, "v.") || behind(name, "mm."))
      return tower_spelling(a, family, name);
   long layer = tail ? strtol(tail, &end, 10) : -1;
   const char *prefix = own_prefix(family);

   for (size_t i = 0; i < countof(rows); i++) {
      const name_row *r = &rows[i];
      if (!is_of(r, family))
         continue;
      if (r->kind == NAME_head && strcmp(name, r->canonical) == 0)
         return r->hf;
      if (r->kind == NAME_tensor && strcmp(name, r->canonical) == 0)
         return arena_printf(a, "%s%s", prefix, r->hf);
      if (r->kind == NAME_layer && end && *end == '.' &&
          is_parameter(behind(end + 1, r->canonical)))
         return arena_printf(a, "%slayers.%ld.%s%s", prefix, layer, r->hf,
                             behind(end + 1, r->canonical));
      if (r->kind == NAME_whole && end && *end == '.' && strcmp(end + 1, r->canonical) == 0)
         return arena_printf(a, "%slayers.%ld.%s", prefix, layer, r->hf);
      if (r->kind == NAME_expert && end && *end == '.' &&
          is_parameter(behind(end + 1, r->canonical)))
         return arena_printf(a, "%slayers.%ld.%s%s", prefix, layer, r->hf,
                             behind(end + 1, r->canonical));
   }
   return name;
}
