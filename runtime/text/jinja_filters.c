/* jinja_filters.c - filters. */
#include <stdlib.h>

#include "jinja_text.h"

typedef sinter_status filter_fn(jinja *j, const jvalue *v, const jargs *args, jvalue *out);

static sinter_status text_of(jinja *j, const jvalue *v, jvalue *out)
{
   if (v->kind == J_undefined) {
      *out = jstring("", 0);
      return SINTER_ok;
   }
   return jstr(j, v, out);
}

/* ---- texts ---- */

static sinter_status filter_trim(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *chars = jarg(args, 0, "chars");
   jvalue s;

   SINTER_TRY(text_of(j, v, &s));
   SINTER_TRY(jinja_burn(j, s.len / 32));
   *out = jstrip(&s, chars && chars->kind == J_string ? chars : NULL, true, true);
   return SINTER_ok;
}

static sinter_status filter_tojson(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   static const char *const known[] = {"ensure_ascii", "indent", "separators", "sort_keys"};
   const jvalue *indent = jarg(args, 1, "indent"), *sort = jarg(args, 3, "sort_keys"),
                *ascii = jarg(args, 0, "ensure_ascii"), *separators = jarg(args, 2, "separators");
   jbuild b = {.a = j->a};

   for (size_t i = 0; i < args->count; i++) {
      bool found = !args->keys[i];
      for (size_t k = 0; k < countof(known) && !found; k++)
         found = strcmp(args->keys[i], known[k]) == 0;
      if (!found)
         return jinja_fail(j, SINTER_unsupported, "tojson has no argument '%.40s'", args->keys[i]);
   }
   /* A lone number is the indent, as in the plain Jinja filter. */
   if (ascii && ascii->kind == J_int && !indent)
      indent = ascii;
   jjson style = {.indent = indent && indent->kind == J_int ? indent->i : -1,
                  .sort = sort && jis_true(sort),
                  .ascii = ascii && ascii->kind == J_bool && ascii->b};
   style.comma = style.indent < 0 ? jstring(", ", 2) : jstring(",", 1);
   style.colon = jstring(": ", 2);
   if (separators && separators->kind != J_none) {
      if (separators->kind != J_list || separators->list->v.count != 2 ||
          separators->list->v.data[0].kind != J_string ||
          separators->list->v.data[1].kind != J_string)
         return jinja_fail(j, SINTER_bad_input, "the separators of tojson are no two texts");
      style.comma = separators->list->v.data[0];
      style.colon = separators->list->v.data[1];
   }
   SINTER_TRY(jtojson(j, &b, v, &style, 0));
   *out = jbuild_string(&b);
   return SINTER_ok;
}

#define CASE_FILTER(name)                                                                          \
   static sinter_status filter_##name(jinja *j, const jvalue *v, const jargs *args, jvalue *out)   \
   {                                                                                               \
      jvalue s;                                                                                    \
      (void)args;                                                                                  \
      SINTER_TRY(text_of(j, v, &s));                                                               \
      return jcase(j, &s, JCASE_##name, out);                                                      \
   }
CASE_FILTER(upper)
CASE_FILTER(lower)
CASE_FILTER(title)
CASE_FILTER(capitalize)

static sinter_status filter_string(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   (void)args;
   return text_of(j, v, out);
}

static sinter_status filter_replace(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *from = jarg(args, 0, "old"), *to = jarg(args, 1, "new"),
                *count = jarg(args, 2, "count");
   jvalue s, a, b;

   if (!from || !to)
      return jinja_fail(j, SINTER_bad_input, "replace needs two texts");
   SINTER_TRY(text_of(j, v, &s));
   SINTER_TRY(jstr(j, from, &a));
   SINTER_TRY(jstr(j, to, &b));
   return jreplace(j, &s, &a, &b, count && count->kind == J_int ? count->i : -1, out);
}

static sinter_status filter_indent(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *width = jarg(args, 0, "width"), *first = jarg(args, 1, "first"),
                *blank = jarg(args, 2, "blank");
   jvalue s, pad = jstring("                                                                ", 4);
   jbuild b = {.a = j->a};

   SINTER_TRY(text_of(j, v, &s));
   if (width && width->kind == J_int && width->i >= 0 && width->i <= 64)
      pad.len = (uint32_t)width->i;
   else if (width && width->kind == J_string)
      pad = *width;
   else if (width)
      return jinja_fail(j, SINTER_unsupported, "indent by other than 0 to 64");
   if (first && jis_true(first))
      SINTER_TRY(jbuild_add(j, &b, &pad));
   for (uint32_t i = 0, end; i < s.len; i = end) {
      for (end = i; end < s.len && s.s[end] != '\n';)
         end++;
      end += end < s.len;
      bool empty = s.s[i] == '\n';
      if (i > 0 && (!empty || (blank && jis_true(blank))))
         SINTER_TRY(jbuild_add(j, &b, &pad));
      jvalue line = jstring_part(&s, i, end - i);
      SINTER_TRY(jbuild_add(j, &b, &line));
   }
   *out = jbuild_string(&b);
   return SINTER_ok;
}

static sinter_status filter_join(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *separator = jarg(args, 0, "d"), *attribute = jarg(args, 1, "attribute");
   jvalue none = jstring("", 0), list = jnew_list(j);
   jlist *items;

   SINTER_TRY(jitems(j, v, &items));
   for (size_t i = 0; i < items->v.count; i++) {
      jvalue x = items->v.data[i];
      if (attribute)
         SINTER_TRY(jinja_attr(j, &items->v.data[i], attribute, true, &x));
      *vec_push(j->a, &list.list->v) = x;
   }
   if (separator && separator->kind != J_string)
      return jinja_fail(j, SINTER_bad_input, "join needs a text");
   return jjoin(j, separator ? separator : &none, list.list, out);
}

/* ---- sequences ---- */

static sinter_status filter_length(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   (void)args;
   switch ((jkind)v->kind) {
   case J_undefined: *out = jint(0); return SINTER_ok;
   case J_string:
      SINTER_TRY(jinja_burn(j, v->len / 32));
      *out = jint((int64_t)jchars(v->s, v->len));
      return SINTER_ok;
   case J_list: *out = jint((int64_t)v->list->v.count); return SINTER_ok;
   case J_dict: *out = jint((int64_t)v->dict->v.count); return SINTER_ok;
   default: return jinja_fail(j, SINTER_bad_input, "a value has no length");
   }
}

static sinter_status filter_default(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *otherwise = jarg(args, 0, "default_value"), *falsy = jarg(args, 1, "boolean");
   bool takes = v->kind == J_undefined || (falsy && jis_true(falsy) && !jis_true(v));

   (void)j;
   *out = !takes ? *v : otherwise ? *otherwise : jstring("", 0);
   return SINTER_ok;
}

static sinter_status copy_items(jinja *j, const jvalue *v, jvalue *out)
{
   jlist *items;

   SINTER_TRY(jitems(j, v, &items));
   SINTER_TRY(jinja_burn(j, items->v.count));
   *out = jnew_list(j);
   for (size_t i = 0; i < items->v.count; i++)
      *vec_push(j->a, &out->list->v) = items->v.data[i];
   return SINTER_ok;
}

static sinter_status filter_list(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   (void)args;
   return copy_items(j, v, out);
}

static sinter_status filter_items(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   (void)args;
   if (v->kind != J_dict && v->kind != J_undefined)
      return jinja_fail(j, SINTER_bad_input, "items of a value that is no mapping");
   SINTER_TRY(jinja_burn(j, v->kind == J_dict ? v->dict->v.count : 0));
   *out = v->kind == J_dict ? jdict_items(j, v->dict) : jnew_list(j);
   return SINTER_ok;
}

static sinter_status filter_first(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   jlist *items;

   (void)args;
   SINTER_TRY(jitems(j, v, &items));
   *out = items->v.count ? items->v.data[0] : jundefined("the first of no items");
   return SINTER_ok;
}

static sinter_status filter_last(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   jlist *items;

   (void)args;
   SINTER_TRY(jitems(j, v, &items));
   *out = items->v.count ? items->v.data[items->v.count - 1] : jundefined("the last of no items");
   return SINTER_ok;
}

static sinter_status filter_reverse(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   jvalue none = jstring("", 0);

   (void)args;
   SINTER_TRY(copy_items(j, v, out));
   for (size_t i = 0, k = out->list->v.count; i + 1 < k; i++) {
      jvalue x = out->list->v.data[i];
      out->list->v.data[i] = out->list->v.data[--k];
      out->list->v.data[k] = x;
   }
   return v->kind == J_string ? jjoin(j, &none, out->list, out) : SINTER_ok;
}

static sinter_status attribute_of(jinja *j, const jvalue *v, const jvalue *attribute, jvalue *out)
{
   *out = *v;
   if (!attribute)
      return SINTER_ok;
   if (attribute->kind == J_int && v->kind == J_list) {
      bool has = attribute->i >= 0 && attribute->i < (int64_t)v->list->v.count;
      *out = has ? v->list->v.data[attribute->i] : jundefined("an item");
      return SINTER_ok;
   }
   return jinja_attr(j, v, attribute, true, out);
}

/* Stable, by insertion into runs merged bottom-up; strings without regard to case unless asked. */
typedef struct keyed {
   jvalue key, value;
} keyed;

static sinter_status merge_runs(jinja *j, const keyed *from, keyed *to, size_t n, size_t width,
                                bool reverse)
{
   for (size_t begin = 0; begin < n; begin += 2 * width) {
      size_t mid = MIN(begin + width, n), end = MIN(begin + 2 * width, n), x = begin, y = mid;
      for (size_t k = begin; k < end; k++) {
         int order = 0;
         SINTER_TRY(jinja_burn(j, 1));
         if (x < mid && y < end)
            SINTER_TRY(jcompare(j, &from[x].key, &from[y].key, &order));
         bool left = x < mid && (y == end || (reverse ? order >= 0 : order <= 0));
         to[k] = left ? from[x++] : from[y++];
      }
   }
   return SINTER_ok;
}

static sinter_status sort_items(jinja *j, jlist *list, const jvalue *attribute, bool reverse,
                                bool by_case)
{
   size_t n = list->v.count;
   keyed *a = arena_array(j->a, keyed, n + 1), *b = arena_array(j->a, keyed, n + 1);

   for (size_t i = 0; i < n; i++) {
      a[i].value = list->v.data[i];
      SINTER_TRY(attribute_of(j, &a[i].value, attribute, &a[i].key));
      if (a[i].key.kind == J_string && !by_case)
         SINTER_TRY(jcase(j, &a[i].key, JCASE_lower, &a[i].key));
   }
   for (size_t width = 1; width < n; width *= 2) {
      SINTER_TRY(merge_runs(j, a, b, n, width, reverse));
      keyed *swap = a;
      a = b;
      b = swap;
   }
   for (size_t i = 0; i < n; i++)
      list->v.data[i] = a[i].value;
   return SINTER_ok;
}

static sinter_status filter_sort(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *reverse = jarg(args, 0, "reverse"), *by_case = jarg(args, 1, "case_sensitive"),
                *attribute = jarg(args, 2, "attribute");

   SINTER_TRY(copy_items(j, v, out));
   return sort_items(j, out->list, attribute, reverse && jis_true(reverse),
                     by_case && jis_true(by_case));
}

static sinter_status filter_dictsort(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *by_case = jarg(args, 0, "case_sensitive"), *by = jarg(args, 1, "by"),
                *reverse = jarg(args, 2, "reverse");

   if (v->kind != J_dict || by)
      return jinja_fail(j, SINTER_bad_input, "dictsort sorts mappings by key");
   *out = jdict_items(j, v->dict);
   jvalue first = jint(0);
   return sort_items(j, out->list, &first, reverse && jis_true(reverse),
                     by_case && jis_true(by_case));
}

static sinter_status filter_unique(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   jlist *items;

   (void)args;
   SINTER_TRY(jitems(j, v, &items));
   *out = jnew_list(j);
   for (size_t i = 0; i < items->v.count; i++) {
      bool seen = false;
      SINTER_TRY(jinja_burn(j, out->list->v.count));
      for (size_t k = 0; k < out->list->v.count && !seen; k++)
         seen = jequal(&out->list->v.data[k], &items->v.data[i]);
      if (!seen)
         *vec_push(j->a, &out->list->v) = items->v.data[i];
   }
   return SINTER_ok;
}

/* What map and the selections run over: a false value counts as no items. */
static sinter_status some_items(jinja *j, const jvalue *v, jlist **out)
{
   jvalue none = jundefined("");

   return jitems(j, jis_true(v) ? v : &none, out);
}

/* Arguments behind the first `skip`. */
static jargs rest(const jargs *args, size_t skip)
{
   skip = MIN(skip, args->count);
   return (jargs){args->v + skip, args->count - skip, args->keys ? args->keys + skip : NULL};
}

static sinter_status filter_map(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *attribute = jarg(args, SIZE_MAX, "attribute"),
                *otherwise = jarg(args, SIZE_MAX, "default"), *name = jarg(args, 0, NULL);
   jargs more = rest(args, 1);
   jlist *items;
   int id = !attribute && name && name->kind == J_string ? jinja_filter_id(name->s, name->len) : -1;

   if (!attribute && id < 0)
      return jinja_fail(j, SINTER_unsupported, "map needs an attribute or a known filter");
   SINTER_TRY(some_items(j, v, &items));
   *out = jnew_list(j);
   for (size_t i = 0; i < items->v.count; i++) {
      jvalue x;
      SINTER_TRY(jinja_burn(j, 1));
      if (attribute)
         SINTER_TRY(jinja_attr(j, &items->v.data[i], attribute, true, &x));
      else
         SINTER_TRY(jinja_filter(j, id, &items->v.data[i], &more, &x));
      *vec_push(j->a, &out->list->v) = x.kind == J_undefined && otherwise ? *otherwise : x;
   }
   return SINTER_ok;
}

/* select, reject, selectattr, rejectattr: [attribute], test, arguments of the test. */
static sinter_status pick(jinja *j, const jvalue *v, const jargs *args, bool by_attribute,
                          bool wanted, jvalue *out)
{
   const jvalue *attribute = by_attribute ? jarg(args, 0, NULL) : NULL,
                *test = jarg(args, by_attribute, NULL);
   jargs more = rest(args, by_attribute + 1u);
   jlist *items;
   int id = test && test->kind == J_string ? jinja_test_id(test->s, test->len) : -1;

   if ((by_attribute && (!attribute || attribute->kind != J_string)) || (test && id < 0))
      return jinja_fail(j, SINTER_unsupported, "a selection names an unknown attribute or test");
   SINTER_TRY(some_items(j, v, &items));
   *out = jnew_list(j);
   for (size_t i = 0; i < items->v.count; i++) {
      jvalue x;
      bool holds;
      SINTER_TRY(jinja_burn(j, 1));
      SINTER_TRY(attribute_of(j, &items->v.data[i], attribute, &x));
      holds = jis_true(&x);
      if (test)
         SINTER_TRY(jinja_test(j, id, &x, &more, &holds));
      if (holds == wanted)
         *vec_push(j->a, &out->list->v) = items->v.data[i];
   }
   return SINTER_ok;
}

static sinter_status filter_select(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   return pick(j, v, args, false, true, out);
}

static sinter_status filter_reject(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   return pick(j, v, args, false, false, out);
}

static sinter_status filter_selectattr(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   return pick(j, v, args, true, true, out);
}

static sinter_status filter_rejectattr(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   return pick(j, v, args, true, false, out);
}

static sinter_status filter_attr(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *name = jarg(args, 0, "name");

   if (!name || name->kind != J_string)
      return jinja_fail(j, SINTER_bad_input, "attr needs a name");
   *out = jundefined("an attribute");
   return v->kind == J_dict && !v->dict->is_namespace ? SINTER_ok
                                                      : jinja_attr(j, v, name, false, out);
}

/* ---- numbers ---- */

static sinter_status filter_int(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *otherwise = jarg(args, 0, "default");
   char text[64] = {0}, *end = text;

   (void)j;
   *out = otherwise ? *otherwise : jint(0);
   if (v->kind == J_int || v->kind == J_bool)
      *out = jint(v->kind == J_int ? v->i : v->b);
   else if (v->kind == J_float && v->f > -9e18 && v->f < 9e18)
      *out = jint((int64_t)v->f);
   if (v->kind != J_string)
      return SINTER_ok;
   jvalue s = jstrip(v, NULL, true, true);
   memcpy(text, s.s, MIN(s.len, sizeof text - 1));
   int64_t i = strtoll(text, &end, 10);
   if (end != text && *end == 0)
      *out = jint(i);
   else if (end != text && *end == '.')
      *out = jint((int64_t)strtod(text, NULL));
   return SINTER_ok;
}

static sinter_status filter_float(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *otherwise = jarg(args, 0, "default");
   char text[64] = {0}, *end = text;
   jvalue f = {.kind = J_float};

   (void)j;
   if (v->kind == J_string) {
      memcpy(text, v->s, MIN(v->len, sizeof text - 1));
      f.f = strtod(text, &end);
   } else {
      f.f = v->kind == J_float  ? v->f
            : v->kind == J_int  ? (double)v->i
            : v->kind == J_bool ? v->b
                                : 0;
   }
   *out = v->kind == J_string && (end == text || *end) && otherwise ? *otherwise : f;
   return SINTER_ok;
}

static sinter_status filter_abs(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   (void)args;
   *out = *v;
   if (v->kind == J_int && v->i != INT64_MIN)
      out->i = v->i < 0 ? -v->i : v->i;
   else if (v->kind == J_float)
      out->f = v->f < 0 ? -v->f : v->f;
   else
      return jinja_fail(j, SINTER_bad_input, "abs of a value that is no number");
   return SINTER_ok;
}

static sinter_status filter_sum(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   const jvalue *attribute = jarg(args, 0, "attribute");
   jlist *items;

   SINTER_TRY(jitems(j, v, &items));
   *out = jint(0);
   for (size_t i = 0; i < items->v.count; i++) {
      jvalue x, sum = *out;
      SINTER_TRY(jinja_burn(j, 1));
      SINTER_TRY(attribute_of(j, &items->v.data[i], attribute, &x));
      SINTER_TRY(jinja_binary(j, JOP_add, &sum, &x, out));
   }
   return SINTER_ok;
}

static sinter_status extreme(jinja *j, const jvalue *v, int sign, jvalue *out)
{
   jlist *items;
   int order;

   SINTER_TRY(jitems(j, v, &items));
   *out = items->v.count ? items->v.data[0] : jundefined("the extreme of no items");
   for (size_t i = 1; i < items->v.count; i++) {
      SINTER_TRY(jinja_burn(j, 1));
      SINTER_TRY(jcompare(j, &items->v.data[i], out, &order));
      if (order * sign > 0)
         *out = items->v.data[i];
   }
   return SINTER_ok;
}

static sinter_status filter_min(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   (void)args;
   return extreme(j, v, -1, out);
}

static sinter_status filter_max(jinja *j, const jvalue *v, const jargs *args, jvalue *out)
{
   (void)args;
   return extreme(j, v, 1, out);
}

/* ---- the table ---- */

static const struct {
   const char *name;
   filter_fn *fn;
} filters[] = {
#define FILTER(name, implementation) {#name, filter_##implementation},
#include "jinja_names.def"
#undef FILTER
};

int jinja_filter_id(const char *name, size_t len)
{
   for (size_t i = 0; i < countof(filters); i++)
      if (strlen(filters[i].name) == len && memcmp(filters[i].name, name, len) == 0)
         return (int)i;
   return -1;
}

sinter_status jinja_filter(jinja *j, int id, const jvalue *v, const jargs *args, jvalue *out)
{
   if (++j->depth > JINJA_DEPTH)
      return jinja_fail(j, SINTER_exhausted, "nesting is too deep");
   SINTER_TRY(filters[id].fn(j, v, args, out));
   j->depth--;
   return SINTER_ok;
}
