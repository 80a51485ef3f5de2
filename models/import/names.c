/* names.c - canonical names of tensors: GGUF's own, or by names.def. */
#include "source.h"

#include <stdlib.h>

typedef enum name_kind {
   NAME_prefix,
   NAME_tensor,
   NAME_layer,
   NAME_head,
   NAME_skip_prefix,
   NAME_skip_suffix
} name_kind;

typedef struct name_row {
   name_kind kind;
   const char *family, *hf, *canonical;
} name_row;

static const name_row rows[] = {
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
      if (*r->family && strcmp(r->family, family) != 0)
         continue;
      if ((r->kind == NAME_skip_prefix && behind(name, r->hf)) ||
          (r->kind == NAME_skip_suffix && ends_with(name, r->hf)))
         return r;
   }
   return NULL;
}

static const char *below_prefix(const char *name)
{
   const char *rest = NULL;

   for (size_t i = 0; i < countof(rows) && !rest; i++)
      if (rows[i].kind == NAME_prefix)
         rest = behind(name, rows[i].hf);
   return rest;
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

/* The canonical name of a Hugging Face name, NULL when names.def has none. */
static const char *canonical(arena *a, const char *name, const char *family)
{
   const char *rest = below_prefix(name), *tail = NULL;
   long layer = rest ? layer_of(rest, &tail) : -1;

   for (size_t i = 0; i < countof(rows); i++) {
      const name_row *r = &rows[i];
      if (*r->family && strcmp(r->family, family) != 0)
         continue;
      if ((r->kind == NAME_head && strcmp(name, r->hf) == 0) ||
          (r->kind == NAME_tensor && rest && strcmp(rest, r->hf) == 0))
         return r->canonical;
      if (r->kind == NAME_layer && layer >= 0 && is_parameter(behind(tail, r->hf)))
         return arena_printf(a, "blk.%ld.%s%s", layer, r->canonical, behind(tail, r->hf));
   }
   return NULL;
}

sinter_status source_name_tensors(model_source *s, const char *family, map *by_name)
{
   by_name->a = s->a;
   for (size_t i = 0; i < s->tensors.count; i++) {
      model_tensor *t = &s->tensors.data[i];
      const name_row *skips = s->gguf ? NULL : skipping_row(t->source_name, family);
      if (skips) {
         if (skips->kind == NAME_skip_prefix && s->num_unused++ == 0)
            s->unused_tower = skips->hf;
         t->name = t->source_name;
         t->read = true;
         continue;
      }
      t->name = s->gguf ? t->source_name : canonical(s->a, t->source_name, family);
      if (!t->name)
         return base_fail(
            SINTER_unsupported, s->path,
            "this checkpoint is a variant that is not supported; report its config.json",
            "no parameter of a %s model is called '%.120s'", family, t->source_name);
      if (map_set(by_name, t->name, t))
         return base_fail(SINTER_bad_input, s->path, "convert the checkpoint again",
                          "two tensors stand for '%.120s'", t->name);
   }
   return SINTER_ok;
}

const char *source_spelling(arena *a, const char *family, const char *name)
{
   const char *tail = behind(name, "blk.");
   char *end = NULL;
   long layer = tail ? strtol(tail, &end, 10) : -1;

   for (size_t i = 0; i < countof(rows); i++) {
      const name_row *r = &rows[i];
      if (*r->family && strcmp(r->family, family) != 0)
         continue;
      if (r->kind == NAME_head && strcmp(name, r->canonical) == 0)
         return r->hf;
      if (r->kind == NAME_tensor && strcmp(name, r->canonical) == 0)
         return arena_printf(a, "model.%s", r->hf);
      if (r->kind == NAME_layer && end && *end == '.' &&
          is_parameter(behind(end + 1, r->canonical)))
         return arena_printf(a, "model.layers.%ld.%s%s", layer, r->hf,
                             behind(end + 1, r->canonical));
   }
   return name;
}
