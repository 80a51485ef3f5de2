/* jinja_methods.c - methods of strings, mappings and lists, and the functions a template may call.
 */
#include <stdlib.h>
#include <time.h>
#include <utf8proc.h>

#include "jinja_text.h"
#include "utf8.h"

typedef enum method_id {
#define METHOD(kind, name) METHOD_##kind##_##name,
#include "jinja_names.def"
#undef METHOD
   METHOD_COUNT
} method_id;

typedef enum function_id {
#define FUNCTION(name) FUNCTION_##name,
#include "jinja_names.def"
#undef FUNCTION
   FUNCTION_COUNT
} function_id;

int jinja_method_id(jkind kind, const char *name, size_t len)
{
   static const struct {
      jkind kind;
      const char *name;
   } rows[] = {
#define METHOD(kind, name) {J_##kind, #name},
#include "jinja_names.def"
#undef METHOD
   };

   for (size_t i = 0; i < countof(rows); i++)
      if (rows[i].kind == kind && strlen(rows[i].name) == len &&
          memcmp(rows[i].name, name, len) == 0)
         return (int)i;
   return -1;
}

const jvalue *jarg(const jargs *args, size_t at, const char *name)
{
   for (size_t i = 0; i < args->count; i++)
      if (args->keys && args->keys[i] && name && strcmp(args->keys[i], name) == 0)
         return &args->v[i];
   return at < args->count && !(args->keys && args->keys[at]) ? &args->v[at] : NULL;
}

/* ---- text helpers ---- */

static bool is_stripped(uint32_t cp, const jvalue *set)
{
   if (!set)
      return text_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
   for (uint32_t i = 0, n, other; i < set->len; i += n) {
      n = text_utf8_next((const uint8_t *)set->s + i, set->len - i, &other);
      if (other == cp)
         return true;
   }
   return false;
}

jvalue jstrip(const jvalue *s, const jvalue *set, bool left, bool right)
{
   size_t begin = 0, end = s->len;
   uint32_t cp;

   while (left && begin < end) {
      uint32_t n = text_utf8_next((const uint8_t *)s->s + begin, end - begin, &cp);
      if (!is_stripped(cp, set))
         break;
      begin += n;
   }
   while (right && end > begin) {
      size_t at = end - 1;
      while (at > begin && ((uint8_t)s->s[at] & 0xc0) == 0x80)
         at--;
      text_utf8_next((const uint8_t *)s->s + at, end - at, &cp);
      if (!is_stripped(cp, set))
         break;
      end = at;
   }
   return jstring_part(s, begin, end - begin);
}

sinter_status jreplace(jinja *j, const jvalue *s, const jvalue *from, const jvalue *to,
                       int64_t count, jvalue *out)
{
   jbuild b = {.a = j->a};
   size_t at = 0;
   const char *hit;

   while (count != 0 && from->len > 0 &&
          (hit = memmem(s->s + at, s->len - at, from->s, from->len))) {
      jvalue part = jstring_part(s, at, (size_t)(hit - s->s) - at);
      SINTER_TRY(jbuild_add(j, &b, &part));
      SINTER_TRY(jbuild_add(j, &b, to));
      at = (size_t)(hit - s->s) + from->len;
      count--;
   }
   if (from->len == 0)
      return jinja_fail(j, SINTER_unsupported, "an empty text is replaced");
   jvalue rest = jstring_part(s, at, s->len - at);
   SINTER_TRY(jbuild_add(j, &b, &rest));
   *out = jbuild_string(&b);
   return SINTER_ok;
}

sinter_status jcase(jinja *j, const jvalue *s, jcasing casing, jvalue *out)
{
   jbuild b = {.a = j->a};
   bool in_word = false;

   for (uint32_t i = 0, n, cp; i < s->len; i += n) {
      n = text_utf8_next((const uint8_t *)s->s + i, s->len - i, &cp);
      jvalue one = jstring_part(s, i, n);
      uint8_t bytes[4];
      bool up = casing == JCASE_upper || (casing == JCASE_title && !in_word) ||
                (casing == JCASE_capitalize && i == 0);
      if (cp == TEXT_INVALID) {
         SINTER_TRY(jbuild_add(j, &b, &one));
         continue;
      }
      utf8proc_int32_t mapped =
         up ? utf8proc_toupper((utf8proc_int32_t)cp) : utf8proc_tolower((utf8proc_int32_t)cp);
      size_t len = (size_t)utf8proc_encode_char(mapped, bytes);
      SINTER_TRY(jbuild_text(j, &b, (char *)bytes, len, jis_tainted(&one)));
      utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
      in_word = c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
   }
   *out = jbuild_string(&b);
   return SINTER_ok;
}

sinter_status jjoin(jinja *j, const jvalue *separator, const jlist *items, jvalue *out)
{
   jbuild b = {.a = j->a};

   for (size_t i = 0; i < items->v.count; i++) {
      if (i > 0)
         SINTER_TRY(jbuild_add(j, &b, separator));
      SINTER_TRY(jprint(j, &b, &items->v.data[i], false));
   }
   *out = jbuild_string(&b);
   return SINTER_ok;
}

/* ---- splitting ---- */

static sinter_status add_part(jinja *j, jvalue *list, const jvalue *s, size_t begin, size_t end)
{
   SINTER_TRY(jinja_burn(j, 1));
   *vec_push(j->a, &list->list->v) = jstring_part(s, begin, end - begin);
   return SINTER_ok;
}

static sinter_status split_blanks(jinja *j, const jvalue *s, int64_t most, jvalue *out)
{
   size_t at = 0;

   for (int64_t made = 0;; made++) {
      jvalue rest = jstring_part(s, at, s->len - at);
      rest = jstrip(&rest, NULL, true, made == most);
      size_t begin = (size_t)(rest.s - s->s), end = begin;
      uint32_t cp;
      if (rest.len == 0)
         return SINTER_ok;
      if (made == most) {
         rest = jstring_part(s, begin, s->len - begin);
         return add_part(j, out, s, begin, s->len);
      }
      while (end < s->len) {
         uint32_t n = text_utf8_next((const uint8_t *)s->s + end, s->len - end, &cp);
         if (text_is_space(cp))
            break;
         end += n;
      }
      SINTER_TRY(add_part(j, out, s, begin, end));
      at = end;
   }
}

static sinter_status split(jinja *j, const jvalue *s, const jargs *args, bool from_right,
                           jvalue *out)
{
   const jvalue *sep = jarg(args, 0, "sep"), *limit = jarg(args, 1, "maxsplit");
   int64_t most = limit && limit->kind == J_int ? limit->i : -1;
   size_t at = 0, total = 0;
   const char *hit;

   *out = jnew_list(j);
   if (!sep || sep->kind == J_none)
      return from_right && most >= 0
                ? jinja_fail(j, SINTER_unsupported, "rsplit at blanks with a limit")
                : split_blanks(j, s, most, out);
   if (sep->kind != J_string || sep->len == 0)
      return jinja_fail(j, SINTER_bad_input, "a separator is no text");
   for (size_t i = 0; (hit = memmem(s->s + i, s->len - i, sep->s, sep->len)); total++)
      i = (size_t)(hit - s->s) + sep->len;
   size_t skip = from_right && most >= 0 && (size_t)most < total ? total - (size_t)most : 0;
   size_t cuts = most >= 0 ? MIN((size_t)most, total) : total;
   for (size_t i = 0, begin = 0;
        cuts > 0 && (hit = memmem(s->s + i, s->len - i, sep->s, sep->len));) {
      size_t end = (size_t)(hit - s->s);
      i = end + sep->len;
      if (skip > 0) {
         skip--;
         continue;
      }
      SINTER_TRY(add_part(j, out, s, begin, end));
      at = begin = i;
      cuts--;
   }
   return add_part(j, out, s, at, s->len);
}

static sinter_status split_lines(jinja *j, const jvalue *s, jvalue *out)
{
   size_t begin = 0;

   *out = jnew_list(j);
   for (size_t i = 0; i < s->len; i++) {
      if (s->s[i] != '\n' && s->s[i] != '\r')
         continue;
      SINTER_TRY(add_part(j, out, s, begin, i));
      i += s->s[i] == '\r' && i + 1 < s->len && s->s[i + 1] == '\n';
      begin = i + 1;
   }
   return begin < s->len ? add_part(j, out, s, begin, s->len) : SINTER_ok;
}

/* ---- methods of strings ---- */

static bool begins(const jvalue *s, const jvalue *with, bool at_end)
{
   return with->kind == J_string && with->len <= s->len &&
          memcmp(s->s + (at_end ? s->len - with->len : 0), with->s, with->len) == 0;
}

/* The argument is a text or a tuple of them. */
static bool begins_with_any(const jvalue *s, const jvalue *with, bool at_end)
{
   if (with->kind != J_list)
      return begins(s, with, at_end);
   for (size_t i = 0; i < with->list->v.count; i++)
      if (begins(s, &with->list->v.data[i], at_end))
         return true;
   return false;
}

static int64_t find(const jvalue *s, const jvalue *what, bool last)
{
   const char *hit = NULL;

   if (!last)
      hit = memmem(s->s, s->len, what->s, what->len);
   else
      for (size_t n = what->len; n <= s->len && !hit; n++) /* the last n characters */
         hit = memcmp(s->s + s->len - n, what->s, what->len) == 0 ? s->s + s->len - n : NULL;
   return hit ? (int64_t)jchars(s->s, (size_t)(hit - s->s)) : -1;
}

static int64_t occurrences(const jvalue *s, const jvalue *what)
{
   int64_t n = 0;
   const char *hit;

   for (size_t i = 0; what->len > 0 && (hit = memmem(s->s + i, s->len - i, what->s, what->len));
        n++)
      i = (size_t)(hit - s->s) + what->len;
   return n;
}

static bool all_chars(const jvalue *s, bool digits)
{
   for (uint32_t i = 0, n, cp; i < s->len; i += n) {
      n = text_utf8_next((const uint8_t *)s->s + i, s->len - i, &cp);
      if (digits ? cp < '0' || cp > '9' : !text_is_space(cp))
         return false;
   }
   return s->len > 0;
}

/* Methods with one text argument. */
static sinter_status with_text(jinja *j, method_id id, const jvalue *s, const jvalue *x,
                               jvalue *out)
{
   if (!x || x->kind != J_string)
      return jinja_fail(j, SINTER_bad_input, "a method of a string needs a text");
   switch (id) {
   case METHOD_string_find: *out = jint(find(s, x, false)); break;
   case METHOD_string_rfind: *out = jint(find(s, x, true)); break;
   case METHOD_string_count: *out = jint(occurrences(s, x)); break;
   case METHOD_string_removeprefix:
      *out = begins(s, x, false) ? jstring_part(s, x->len, s->len - x->len) : *s;
      break;
   default: *out = begins(s, x, true) ? jstring_part(s, 0, s->len - x->len) : *s; break;
   }
   return SINTER_ok;
}

static sinter_status strip_method(jinja *j, method_id id, const jvalue *s, const jvalue *set,
                                  jvalue *out)
{
   if (set && set->kind == J_none)
      set = NULL;
   if (set && set->kind != J_string)
      return jinja_fail(j, SINTER_bad_input, "strip needs a text");
   *out = jstrip(s, set, id != METHOD_string_rstrip, id != METHOD_string_lstrip);
   return SINTER_ok;
}

static sinter_status replace_method(jinja *j, const jvalue *s, const jargs *args, jvalue *out)
{
   const jvalue *from = jarg(args, 0, "old"), *to = jarg(args, 1, "new"),
                *count = jarg(args, 2, "count");

   if (!from || !to || from->kind != J_string || to->kind != J_string)
      return jinja_fail(j, SINTER_bad_input, "replace needs two texts");
   return jreplace(j, s, from, to, count && count->kind == J_int ? count->i : -1, out);
}

/* {} and {0} and {name}, without format specifications. */
static sinter_status format(jinja *j, const jvalue *s, const jargs *args, jvalue *out)
{
   jbuild b = {.a = j->a};
   size_t automatic = 0;

   for (uint32_t i = 0; i < s->len; i++) {
      jvalue one = jstring_part(s, i, 1);
      char c = s->s[i];
      if (c != '{' && c != '}') {
         SINTER_TRY(jbuild_add(j, &b, &one));
         continue;
      }
      if (i + 1 < s->len && s->s[i + 1] == c) { /* doubled: itself */
         SINTER_TRY(jbuild_add(j, &b, &one));
         i++;
         continue;
      }
      const char *end = c == '{' ? memchr(s->s + i, '}', s->len - i) : NULL;
      size_t len = end ? (size_t)(end - (s->s + i)) - 1 : 0;
      const char *name = arena_strndup(j->a, s->s + i + 1, len);
      size_t at = len == 0                            ? automatic++
                  : strspn(name, "0123456789") == len ? strtoul(name, NULL, 10)
                                                      : SIZE_MAX;
      const jvalue *x = jarg(args, at, name);
      if (!end || !x)
         return jinja_fail(j, SINTER_unsupported, "format has no value for '{%.40s}'",
                           end ? name : "");
      SINTER_TRY(jprint(j, &b, x, false));
      i += (uint32_t)len + 1;
   }
   *out = jbuild_string(&b);
   return SINTER_ok;
}

static sinter_status string_method(jinja *j, method_id id, const jvalue *s, const jargs *args,
                                   jvalue *out)
{
   const jvalue *x = jarg(args, 0, NULL);
   jlist *items;

   SINTER_TRY(jinja_burn(j, s->len / 32));
   switch (id) {
   case METHOD_string_strip:
   case METHOD_string_lstrip:
   case METHOD_string_rstrip: return strip_method(j, id, s, x, out);
   case METHOD_string_split:
   case METHOD_string_rsplit: return split(j, s, args, id == METHOD_string_rsplit, out);
   case METHOD_string_splitlines: return split_lines(j, s, out);
   case METHOD_string_startswith:
   case METHOD_string_endswith:
      if (!x || (x->kind != J_string && x->kind != J_list))
         return jinja_fail(j, SINTER_bad_input, "startswith and endswith need a text");
      *out = jbool(begins_with_any(s, x, id == METHOD_string_endswith));
      return SINTER_ok;
   case METHOD_string_upper: return jcase(j, s, JCASE_upper, out);
   case METHOD_string_lower: return jcase(j, s, JCASE_lower, out);
   case METHOD_string_title: return jcase(j, s, JCASE_title, out);
   case METHOD_string_capitalize: return jcase(j, s, JCASE_capitalize, out);
   case METHOD_string_replace: return replace_method(j, s, args, out);
   case METHOD_string_join:
      if (!x)
         return jinja_fail(j, SINTER_bad_input, "join needs a list");
      SINTER_TRY(jitems(j, x, &items));
      return jjoin(j, s, items, out);
   case METHOD_string_format: return format(j, s, args, out);
   case METHOD_string_isdigit: *out = jbool(all_chars(s, true)); return SINTER_ok;
   case METHOD_string_isspace: *out = jbool(all_chars(s, false)); return SINTER_ok;
   default: return with_text(j, id, s, x, out);
   }
}

/* ---- methods of mappings, lists, loops ---- */

jvalue jdict_items(jinja *j, const jdict *d)
{
   jvalue out = jnew_list(j);

   for (size_t i = 0; i < d->v.count; i++) {
      jvalue pair = jnew_list(j);
      pair.flag = 1;
      *vec_push(j->a, &pair.list->v) = d->v.data[i].key;
      *vec_push(j->a, &pair.list->v) = d->v.data[i].value;
      *vec_push(j->a, &out.list->v) = pair;
   }
   return out;
}

static sinter_status dict_method(jinja *j, method_id id, const jdict *d, const jargs *args,
                                 jvalue *out)
{
   const jvalue *key = jarg(args, 0, "key"), *otherwise = jarg(args, 1, "default");

   SINTER_TRY(jinja_burn(j, d->v.count / 4));
   if (id == METHOD_dict_items) {
      *out = jdict_items(j, d);
      return SINTER_ok;
   }
   if (id == METHOD_dict_get) {
      *out = otherwise ? *otherwise : (jvalue){.kind = J_none};
      for (size_t i = 0; key && i < d->v.count; i++)
         if (jequal(&d->v.data[i].key, key))
            *out = d->v.data[i].value;
      return key ? SINTER_ok : jinja_fail(j, SINTER_bad_input, "get needs a key");
   }
   *out = jnew_list(j);
   for (size_t i = 0; i < d->v.count; i++)
      *vec_push(j->a, &out->list->v) =
         id == METHOD_dict_keys ? d->v.data[i].key : d->v.data[i].value;
   return SINTER_ok;
}

static sinter_status list_method(jinja *j, method_id id, const jlist *l, const jargs *args,
                                 jvalue *out)
{
   const jvalue *x = jarg(args, 0, NULL);
   int64_t n = 0;

   SINTER_TRY(jinja_burn(j, l->v.count));
   for (size_t i = 0; x && i < l->v.count; i++) {
      if (!jequal(&l->v.data[i], x))
         continue;
      if (id == METHOD_list_index) {
         *out = jint((int64_t)i);
         return SINTER_ok;
      }
      n++;
   }
   *out = jint(n);
   return id == METHOD_list_index || !x
             ? jinja_fail(j, SINTER_bad_input, "the value is not in the list")
             : SINTER_ok;
}

sinter_status jinja_method(jinja *j, int id, const jvalue *self, const jargs *args, jvalue *out)
{
   switch ((jkind)self->kind) {
   case J_string: return string_method(j, (method_id)id, self, args, out);
   case J_dict: return dict_method(j, (method_id)id, self->dict, args, out);
   case J_list: return list_method(j, (method_id)id, self->list, args, out);
   default: break;
   }
   if (args->count == 0)
      return jinja_fail(j, SINTER_bad_input, "cycle needs values");
   *out = args->v[self->loop->at % args->count];
   return SINTER_ok;
}

/* ---- functions ---- */

static sinter_status range(jinja *j, const jargs *args, jvalue *out)
{
   int64_t bounds[3] = {0, 0, 1};

   if (args->count < 1 || args->count > 3)
      return jinja_fail(j, SINTER_bad_input, "range needs one to three numbers");
   for (size_t i = 0; i < args->count; i++) {
      if (args->v[i].kind != J_int)
         return jinja_fail(j, SINTER_bad_input, "range needs whole numbers");
      bounds[args->count == 1 ? 1 : i] = args->v[i].i;
   }
   if (bounds[2] == 0)
      return jinja_fail(j, SINTER_bad_input, "range with a step of 0");
   *out = jnew_list(j);
   for (int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1];) {
      if (out->list->v.count == JINJA_RANGE)
         return jinja_fail(j, SINTER_exhausted, "a range has more than %d items", JINJA_RANGE);
      SINTER_TRY(jinja_burn(j, 0));
      *vec_push(j->a, &out->list->v) = jint(i);
      if (__builtin_add_overflow(i, bounds[2], &i))
         break;
   }
   return SINTER_ok;
}

static sinter_status new_mapping(jinja *j, const jargs *args, bool is_namespace, jvalue *out)
{
   *out = jnew_dict(j);
   out->dict->is_namespace = is_namespace;
   for (size_t i = 0; i < args->count; i++) {
      const char *key = args->keys[i];
      if (!key && args->v[i].kind != J_dict)
         return jinja_fail(j, SINTER_bad_input, "a mapping is made from names and values");
      for (size_t k = 0; !key && k < args->v[i].dict->v.count; k++)
         jdict_set(j, out->dict, args->v[i].dict->v.data[k].key, args->v[i].dict->v.data[k].value);
      if (key)
         jdict_set(j, out->dict, jstring(key, strlen(key)), args->v[i]);
   }
   return SINTER_ok;
}

static sinter_status now(jinja *j, const jargs *args, jvalue *out)
{
   const jvalue *format = jarg(args, 0, "format");
   char text[256], copy[128];
   time_t t = j->now ? (time_t)j->now : time(NULL);
   struct tm tm;

   if (!format || format->kind != J_string || format->len >= sizeof copy || jis_tainted(format))
      return jinja_fail(j, SINTER_bad_input, "strftime_now needs a short format");
   memcpy(copy, format->s, format->len);
   copy[format->len] = 0;
   localtime_r(&t, &tm);
   size_t n = strftime(text, sizeof text, copy, &tm);
   *out = jstring(arena_strndup(j->a, text, n), n);
   return SINTER_ok;
}

sinter_status jinja_function(jinja *j, int id, const jargs *args, jvalue *out)
{
   const jvalue *x = jarg(args, 0, NULL);
   jvalue text = jstring("", 0);

   switch ((function_id)id) {
   case FUNCTION_range: return range(j, args, out);
   case FUNCTION_namespace: return new_mapping(j, args, true, out);
   case FUNCTION_dict: return new_mapping(j, args, false, out);
   case FUNCTION_strftime_now: return now(j, args, out);
   default: break;
   }
   if (x)
      SINTER_TRY(jstr(j, x, &text));
   return jinja_fail(j, SINTER_bad_input, "the template refuses: %.*s", (int)MIN(text.len, 300u),
                     text.s);
}

void jinja_globals(jinja *j)
{
   static const char *const names[] = {
#define FUNCTION(name) #name,
#include "jinja_names.def"
#undef FUNCTION
   };

   for (int i = 0; i < FUNCTION_COUNT; i++)
      jdict_set(j, &j->scope->vars, jstring(names[i], strlen(names[i])),
                (jvalue){.kind = J_function, .function = i});
}
