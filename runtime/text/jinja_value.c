/* jinja_value.c - values: making, comparing, printing them, and the taint of strings. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "jinja.h"
#include "utf8.h"

sinter_status jinja_fail(const jinja *j, sinter_status status, const char *fmt, ...)
{
   char where[64], what[512];
   va_list args;

   va_start(args, fmt);
   vsnprintf(what, sizeof what, fmt, args);
   va_end(args);
   snprintf(where, sizeof where, "chat template: line %u", j->line);
   return base_fail(status, where, "check the messages, or use --raw", "%s", what);
}

sinter_status jinja_burn(jinja *j, size_t work)
{
   if (j->fuel < work + 1)
      return jinja_fail(j, SINTER_exhausted, "it takes too many steps");
   j->fuel -= work + 1;
   if (arena_used(j->a) - j->memory_at_start > JINJA_MEMORY)
      return jinja_fail(j, SINTER_exhausted, "it takes too much memory");
   return SINTER_ok;
}

/* ---- making values ---- */

jvalue jstring(const char *s, size_t len)
{
   return (jvalue){.kind = J_string, .len = (uint32_t)len, .s = s ? s : ""};
}

jvalue jstring_part(const jvalue *s, size_t begin, size_t len)
{
   jvalue part = *s;

   part.s = s->s + begin;
   part.len = (uint32_t)len;
   part.taint = s->taint ? s->taint + begin : NULL;
   return part;
}

jvalue jbool(bool b)
{
   return (jvalue){.kind = J_bool, .b = b};
}

jvalue jint(int64_t i)
{
   return (jvalue){.kind = J_int, .i = i};
}

jvalue jundefined(const char *name)
{
   return (jvalue){.kind = J_undefined, .s = name};
}

jvalue jnew_list(jinja *j)
{
   return (jvalue){.kind = J_list, .list = arena_new(j->a, jlist)};
}

jvalue jnew_dict(jinja *j)
{
   return (jvalue){.kind = J_dict, .dict = arena_new(j->a, jdict)};
}

jvalue *jdict_get(const jdict *d, const char *key, size_t len)
{
   for (size_t i = 0; i < d->v.count; i++) {
      const jvalue *k = &d->v.data[i].key;
      if (k->kind == J_string && k->len == len && memcmp(k->s, key, len) == 0)
         return &d->v.data[i].value;
   }
   return NULL;
}

void jdict_set(jinja *j, jdict *d, jvalue key, jvalue value)
{
   for (size_t i = 0; i < d->v.count; i++)
      if (jequal(&d->v.data[i].key, &key)) {
         d->v.data[i].value = value;
         return;
      }
   *vec_push(j->a, &d->v) = (jpair){key, value};
}

bool jis_tainted(const jvalue *v)
{
   if (v->kind == J_string)
      return v->taint ? memchr(v->taint, 1, v->len) != NULL : v->flag;
   if (v->kind == J_list)
      for (size_t i = 0; i < v->list->v.count; i++)
         if (jis_tainted(&v->list->v.data[i]))
            return true;
   if (v->kind == J_dict)
      for (size_t i = 0; i < v->dict->v.count; i++)
         if (jis_tainted(&v->dict->v.data[i].key) || jis_tainted(&v->dict->v.data[i].value))
            return true;
   return false;
}

/* ---- text being made ---- */

static sinter_status reserve(jinja *j, jbuild *b, size_t more)
{
   size_t need = b->len + more;

   SINTER_TRY(jinja_burn(j, more / 64));
   if (need > JINJA_OUTPUT)
      return jinja_fail(j, SINTER_exhausted, "a text becomes longer than %d bytes", JINJA_OUTPUT);
   if (need <= b->cap)
      return SINTER_ok;
   size_t cap = MAX(need, MAX(b->cap * 2, (size_t)64));
   char *s = arena_alloc(b->a, cap);
   uint8_t *taint = arena_alloc(b->a, cap);
   if (b->len > 0) {
      memcpy(s, b->s, b->len);
      memcpy(taint, b->taint, b->len);
   }
   b->s = s;
   b->taint = taint;
   b->cap = cap;
   return SINTER_ok;
}

sinter_status jbuild_text(jinja *j, jbuild *b, const char *s, size_t len, bool tainted)
{
   SINTER_TRY(reserve(j, b, len));
   if (len > 0) {
      memcpy(b->s + b->len, s, len);
      memset(b->taint + b->len, tainted, len);
   }
   b->len += len;
   return SINTER_ok;
}

sinter_status jbuild_add(jinja *j, jbuild *b, const jvalue *s)
{
   SINTER_TRY(jbuild_text(j, b, s->s, s->len, s->flag));
   if (s->taint && s->len > 0)
      memcpy(b->taint + b->len - s->len, s->taint, s->len);
   return SINTER_ok;
}

jvalue jbuild_string(const jbuild *b)
{
   jvalue v = jstring(b->s, b->len);

   if (b->len > 0 && memchr(b->taint, 1, b->len)) {
      v.flag = 1;
      v.taint = memchr(b->taint, 0, b->len) ? b->taint : NULL;
   }
   return v;
}

/* ---- truth and order ---- */

bool jis_true(const jvalue *v)
{
   switch ((jkind)v->kind) {
   case J_undefined:
   case J_none: return false;
   case J_bool: return v->b;
   case J_int: return v->i != 0;
   case J_float: return v->f != 0;
   case J_string: return v->len > 0;
   case J_list: return v->list->v.count > 0;
   case J_dict: return v->dict->is_namespace || v->dict->v.count > 0;
   default: return true;
   }
}

static bool is_number(const jvalue *v)
{
   return v->kind == J_int || v->kind == J_float || v->kind == J_bool;
}

static double number_of(const jvalue *v)
{
   return v->kind == J_float ? v->f : v->kind == J_bool ? v->b : (double)v->i;
}

static bool equal_at(const jvalue *a, const jvalue *b, int depth)
{
   if (is_number(a) && is_number(b)) {
      if (a->kind == J_int && b->kind == J_int)
         return a->i == b->i;
      return number_of(a) == number_of(b);
   }
   if (a->kind != b->kind || depth > JINJA_DEPTH)
      return false;
   switch ((jkind)a->kind) {
   case J_undefined:
   case J_none: return true;
   case J_string: return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
   case J_list:
      if (a->list->v.count != b->list->v.count || a->flag != b->flag)
         return false;
      for (size_t i = 0; i < a->list->v.count; i++)
         if (!equal_at(&a->list->v.data[i], &b->list->v.data[i], depth + 1))
            return false;
      return true;
   case J_dict:
      if (a->dict == b->dict)
         return true;
      if (a->dict->v.count != b->dict->v.count)
         return false;
      for (size_t i = 0; i < a->dict->v.count; i++) {
         const jpair *p = &a->dict->v.data[i];
         const jvalue *other =
            p->key.kind == J_string ? jdict_get(b->dict, p->key.s, p->key.len) : NULL;
         if (!other || !equal_at(&p->value, other, depth + 1))
            return false;
      }
      return true;
   default: return a->s == b->s;
   }
}

bool jequal(const jvalue *a, const jvalue *b)
{
   return equal_at(a, b, 0);
}

sinter_status jcompare(jinja *j, const jvalue *a, const jvalue *b, int *out)
{
   if (is_number(a) && is_number(b)) {
      double x = number_of(a), y = number_of(b);
      *out = x < y ? -1 : x > y;
      return SINTER_ok;
   }
   if (a->kind != J_string || b->kind != J_string)
      return jinja_fail(j, SINTER_bad_input, "these values have no order");
   int order = memcmp(a->s, b->s, MIN(a->len, b->len));
   *out = order != 0 ? order : a->len < b->len ? -1 : a->len > b->len;
   return SINTER_ok;
}

/* ---- iterating ---- */

size_t jchars(const char *s, size_t len)
{
   size_t n = 0;

   for (size_t i = 0; i < len; i++)
      n += ((uint8_t)s[i] & 0xc0) != 0x80;
   return n;
}

sinter_status jitems(jinja *j, const jvalue *v, jlist **out)
{
   if (v->kind == J_list) {
      *out = v->list;
      return SINTER_ok;
   }
   jlist *list = *out = arena_new(j->a, jlist);
   if (v->kind == J_undefined)
      return SINTER_ok;
   if (v->kind == J_dict && !v->dict->is_namespace) {
      for (size_t i = 0; i < v->dict->v.count; i++)
         *vec_push(j->a, &list->v) = v->dict->v.data[i].key;
      return SINTER_ok;
   }
   if (v->kind != J_string)
      return jinja_fail(j, SINTER_bad_input, "a value that is no list is iterated");
   SINTER_TRY(jinja_burn(j, v->len));
   for (uint32_t i = 0, n; i < v->len; i += n) {
      uint32_t cp;
      n = text_utf8_next((const uint8_t *)v->s + i, v->len - i, &cp);
      *vec_push(j->a, &list->v) = jstring_part(v, i, n);
   }
   return SINTER_ok;
}

/* ---- printing ---- */

/* As Python's repr of a float: shortest digits that read back, exponents from 1e16 and below 1e-4.
 */
static void float_text(double f, char out[64])
{
   char digits[40];
   int precision = 0;

   if (isnan(f) || isinf(f)) {
      snprintf(out, 64, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
      return;
   }
   snprintf(digits, sizeof digits, "%.*e", precision, f);
   while (precision < 17 && strtod(digits, NULL) != f) {
      precision++;
      snprintf(digits, sizeof digits, "%.*e", precision, f);
   }
   int exponent = atoi(strchr(digits, 'e') + 1);
   if (exponent >= -4 && exponent < 16) {
      snprintf(out, 64, "%.*f", MAX(precision - exponent, 1), f);
      return;
   }
   *strchr(digits, 'e') = 0;
   snprintf(out, 64, "%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
}

static sinter_status print_repr(jinja *j, jbuild *b, const jvalue *v)
{
   char quote = memchr(v->s, '\'', v->len) && !memchr(v->s, '"', v->len) ? '"' : '\'';

   SINTER_TRY(jbuild_text(j, b, &quote, 1, false));
   for (uint32_t i = 0; i < v->len; i++) {
      char c = v->s[i], text[8];
      jvalue part = jstring_part(v, i, 1);
      bool tainted = jis_tainted(&part);
      if (c == '\n' || c == '\t' || c == '\r')
         snprintf(text, sizeof text, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
      else if (c == '\\' || c == quote)
         snprintf(text, sizeof text, "\\%c", c);
      else if ((uint8_t)c < ' ' || c == 127)
         snprintf(text, sizeof text, "\\x%02x", (uint8_t)c);
      else
         snprintf(text, sizeof text, "%c", c);
      SINTER_TRY(jbuild_text(j, b, text, strlen(text), tainted));
   }
   return jbuild_text(j, b, &quote, 1, false);
}

static sinter_status print_list(jinja *j, jbuild *b, const jvalue *v)
{
   bool tuple = v->flag;

   SINTER_TRY(jbuild_text(j, b, tuple ? "(" : "[", 1, false));
   for (size_t i = 0; i < v->list->v.count; i++) {
      if (i > 0)
         SINTER_TRY(jbuild_text(j, b, ", ", 2, false));
      SINTER_TRY(jprint(j, b, &v->list->v.data[i], true));
   }
   if (tuple && v->list->v.count == 1)
      SINTER_TRY(jbuild_text(j, b, ",", 1, false));
   return jbuild_text(j, b, tuple ? ")" : "]", 1, false);
}

static sinter_status print_dict(jinja *j, jbuild *b, const jdict *d)
{
   SINTER_TRY(jbuild_text(j, b, "{", 1, false));
   for (size_t i = 0; i < d->v.count; i++) {
      if (i > 0)
         SINTER_TRY(jbuild_text(j, b, ", ", 2, false));
      SINTER_TRY(jprint(j, b, &d->v.data[i].key, true));
      SINTER_TRY(jbuild_text(j, b, ": ", 2, false));
      SINTER_TRY(jprint(j, b, &d->v.data[i].value, true));
   }
   return jbuild_text(j, b, "}", 1, false);
}

static sinter_status print_compound(jinja *j, jbuild *b, const jvalue *v)
{
   SINTER_TRY(jinja_burn(j, 1));
   if (++j->depth > JINJA_DEPTH)
      return jinja_fail(j, SINTER_exhausted, "nesting is too deep");
   if (v->kind == J_list)
      SINTER_TRY(print_list(j, b, v));
   else
      SINTER_TRY(print_dict(j, b, v->dict));
   j->depth--;
   return SINTER_ok;
}

sinter_status jprint(jinja *j, jbuild *b, const jvalue *v, bool repr)
{
   char text[64];

   switch ((jkind)v->kind) {
   case J_undefined: return SINTER_ok;
   case J_none: return jbuild_text(j, b, "None", 4, false);
   case J_bool: return jbuild_text(j, b, v->b ? "True" : "False", v->b ? 4 : 5, false);
   case J_int: snprintf(text, sizeof text, "%lld", (long long)v->i); break;
   case J_float: float_text(v->f, text); break;
   case J_string: return repr ? print_repr(j, b, v) : jbuild_add(j, b, v);
   case J_list:
   case J_dict: return print_compound(j, b, v);
   default: return jinja_fail(j, SINTER_bad_input, "a function or loop is printed");
   }
   return jbuild_text(j, b, text, strlen(text), false);
}

sinter_status jstr(jinja *j, const jvalue *v, jvalue *out)
{
   jbuild b = {.a = j->a};

   if (v->kind == J_string) {
      *out = *v;
      return SINTER_ok;
   }
   SINTER_TRY(jprint(j, &b, v, false));
   *out = jbuild_string(&b);
   return SINTER_ok;
}

/* ---- JSON ---- */

/* One character of a string, as Python's json.dumps writes it. */
static size_t json_char(const jvalue *v, uint32_t at, bool ascii, char text[16], uint32_t *out_len)
{
   static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
   uint32_t cp;
   char c = v->s[at];
   const char *hit = c ? strchr(from, c) : NULL;

   *out_len = text_utf8_next((const uint8_t *)v->s + at, v->len - at, &cp);
   if (hit)
      return (size_t)snprintf(text, 16, "\\%c", to[hit - from]);
   if (cp < ' ' || (ascii && cp >= 0x7f && cp < 0x10000))
      return (size_t)snprintf(text, 16, "\\u%04x", cp);
   if (ascii && cp >= 0x10000 && cp != TEXT_INVALID)
      return (size_t)snprintf(text, 16, "\\u%04x\\u%04x", 0xd7c0 + (cp >> 10),
                              0xdc00 + (cp & 0x3ff));
   memcpy(text, v->s + at, *out_len);
   return *out_len;
}

static sinter_status json_string(jinja *j, jbuild *b, const jvalue *v, const jjson *style)
{
   bool tainted = jis_tainted(v);

   SINTER_TRY(jbuild_text(j, b, "\"", 1, false));
   for (uint32_t i = 0, n; i < v->len; i += n) {
      char text[16];
      size_t len = json_char(v, i, style->ascii, text, &n);
      SINTER_TRY(jbuild_text(j, b, text, len, tainted));
   }
   return jbuild_text(j, b, "\"", 1, false);
}

static sinter_status json_break(jinja *j, jbuild *b, const jjson *style, int level)
{
   if (style->indent < 0)
      return SINTER_ok;
   SINTER_TRY(jbuild_text(j, b, "\n", 1, false));
   for (int64_t i = 0; i < style->indent * level; i++)
      SINTER_TRY(jbuild_text(j, b, " ", 1, false));
   return SINTER_ok;
}

static sinter_status json_comma(jinja *j, jbuild *b, size_t i, const jjson *style, int level)
{
   if (i > 0)
      SINTER_TRY(jbuild_add(j, b, &style->comma));
   return json_break(j, b, style, level);
}

static int by_key(const void *a, const void *b)
{
   const jpair *x = a, *y = b;
   int order = memcmp(x->key.s, y->key.s, MIN(x->key.len, y->key.len));

   return order != 0 ? order : x->key.len < y->key.len ? -1 : x->key.len > y->key.len;
}

static sinter_status json_dict(jinja *j, jbuild *b, const jdict *d, const jjson *style, int level)
{
   jpair *pairs = arena_copy(j->a, d->v.data, d->v.count * sizeof *pairs);

   for (size_t i = 0; i < d->v.count; i++)
      if (pairs[i].key.kind != J_string)
         return jinja_fail(j, SINTER_unsupported, "tojson of a mapping whose keys are no strings");
   if (style->sort && d->v.count > 0)
      qsort(pairs, d->v.count, sizeof *pairs, by_key);
   SINTER_TRY(jbuild_text(j, b, "{", 1, false));
   for (size_t i = 0; i < d->v.count; i++) {
      SINTER_TRY(json_comma(j, b, i, style, level + 1));
      SINTER_TRY(json_string(j, b, &pairs[i].key, style));
      SINTER_TRY(jbuild_add(j, b, &style->colon));
      SINTER_TRY(jtojson(j, b, &pairs[i].value, style, level + 1));
   }
   if (d->v.count > 0)
      SINTER_TRY(json_break(j, b, style, level));
   return jbuild_text(j, b, "}", 1, false);
}

static sinter_status json_list(jinja *j, jbuild *b, const jlist *list, const jjson *style,
                               int level)
{
   SINTER_TRY(jbuild_text(j, b, "[", 1, false));
   for (size_t i = 0; i < list->v.count; i++) {
      SINTER_TRY(json_comma(j, b, i, style, level + 1));
      SINTER_TRY(jtojson(j, b, &list->v.data[i], style, level + 1));
   }
   if (list->v.count > 0)
      SINTER_TRY(json_break(j, b, style, level));
   return jbuild_text(j, b, "]", 1, false);
}

sinter_status jtojson(jinja *j, jbuild *b, const jvalue *v, const jjson *style, int level)
{
   SINTER_TRY(jinja_burn(j, 1));
   if (level > JINJA_DEPTH || style->indent > 64)
      return jinja_fail(j, SINTER_exhausted, "nesting is too deep for tojson");
   switch ((jkind)v->kind) {
   case J_none: return jbuild_text(j, b, "null", 4, false);
   case J_bool: return jbuild_text(j, b, v->b ? "true" : "false", v->b ? 4 : 5, false);
   case J_int:
   case J_float: return jprint(j, b, v, false);
   case J_string: return json_string(j, b, v, style);
   case J_list: return json_list(j, b, v->list, style, level);
   case J_dict: return json_dict(j, b, v->dict, style, level);
   default:
      return jinja_fail(j, SINTER_bad_input, "tojson of a value that is undefined or a function");
   }
}

static jvalue from_json(jinja *j, const json *node, bool tainted)
{
   jvalue v;

   switch (node->kind) {
   case JSON_bool: return jbool(node->boolean);
   case JSON_int: return jint(node->integer);
   case JSON_float: return (jvalue){.kind = J_float, .f = node->number};
   case JSON_string:
      v = jstring(node->string, node->len);
      v.flag = tainted;
      return v;
   case JSON_array:
      v = jnew_list(j);
      for (size_t i = 0; i < node->len; i++)
         *vec_push(j->a, &v.list->v) = from_json(j, node->items[i], tainted);
      return v;
   case JSON_object:
      v = jnew_dict(j);
      for (size_t i = 0; i < node->len; i++) {
         jvalue key = jstring(node->keys[i], node->key_lens[i]);
         key.flag = tainted;
         /* The reader has refused duplicate keys. */
         *vec_push(j->a, &v.dict->v) = (jpair){key, from_json(j, node->items[i], tainted)};
      }
      return v;
   default: return (jvalue){.kind = J_none};
   }
}

sinter_status jparse_json(jinja *j, const char *text, size_t len, const char *where, bool tainted,
                          jvalue *out)
{
   json *root;

   SINTER_TRY(json_parse(j->a, text, len, where, &root));
   *out = from_json(j, root, tainted);
   return SINTER_ok;
}
