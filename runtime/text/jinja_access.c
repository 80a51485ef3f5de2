/* jinja_access.c - attributes, items and slices of values. */
#include "jinja.h"

/* ---- attributes, items, slices ---- */

static jvalue loop_attr(const jloop *l, const jvalue *name)
{
   size_t n = l->items->v.count;
   const struct {
      const char *name;
      jvalue value;
   } attrs[] = {
      {"index", jint((int64_t)l->at + 1)},
      {"index0", jint((int64_t)l->at)},
      {"revindex", jint((int64_t)(n - l->at))},
      {"revindex0", jint((int64_t)(n - l->at) - 1)},
      {"first", jbool(l->at == 0)},
      {"last", jbool(l->at + 1 == n)},
      {"length", jint((int64_t)n)},
      {"depth", jint(l->depth)},
      {"depth0", jint(l->depth - 1)},
      {"previtem", l->at > 0 ? l->items->v.data[l->at - 1] : jundefined("previtem")},
      {"nextitem", l->at + 1 < n ? l->items->v.data[l->at + 1] : jundefined("nextitem")},
   };

   for (size_t i = 0; i < countof(attrs); i++)
      if (strlen(attrs[i].name) == name->len && memcmp(attrs[i].name, name->s, name->len) == 0)
         return attrs[i].value;
   return jundefined("an attribute of loop");
}

static bool bind_method(jinja *j, const jvalue *v, const jvalue *name, jvalue *out)
{
   int id = jinja_method_id(v->kind, name->s, name->len);

   if (id < 0)
      return false;
   jmethod *m = arena_new(j->a, jmethod);
   *m = (jmethod){*v, id};
   *out = (jvalue){.kind = J_method, .method = m};
   return true;
}

sinter_status jinja_attr(jinja *j, const jvalue *v, const jvalue *name, bool item_first,
                         jvalue *out)
{
   const char *text = arena_strndup(j->a, name->s, name->len);
   const jvalue *member = v->kind == J_dict ? jdict_get(v->dict, name->s, name->len) : NULL;

   SINTER_TRY(jinja_burn(j, v->kind == J_dict ? v->dict->v.count / 8 : 0));
   if (v->kind == J_undefined)
      return jinja_fail(j, SINTER_bad_input, "'%.80s' is undefined: it has no '%.80s'", v->s, text);
   if (v->kind == J_loop) {
      if (!bind_method(j, v, name, out))
         *out = loop_attr(v->loop, name);
      return SINTER_ok;
   }
   bool plain = v->kind == J_dict && v->dict->is_namespace;
   if (member && (item_first || plain)) {
      *out = *member;
      return SINTER_ok;
   }
   if (!plain && bind_method(j, v, name, out))
      return SINTER_ok;
   *out = member ? *member : jundefined(text);
   return SINTER_ok;
}

/* Byte where character `at` begins. */
static size_t char_at(const jvalue *s, size_t at)
{
   size_t i = 0;

   for (; i < s->len; i++) {
      bool begins = ((uint8_t)s->s[i] & 0xc0) != 0x80;

      if (begins && at == 0)
         break;
      at -= begins;
   }
   return i;
}

sinter_status jinja_item(jinja *j, const jvalue *v, const jvalue *key, jvalue *out)
{
   *out = jundefined("an item");
   if (key->kind == J_string)
      return jinja_attr(j, v, key, true, out);
   if (v->kind == J_undefined)
      return jinja_fail(j, SINTER_bad_input, "'%.80s' is undefined: it has no items", v->s);
   if (v->kind == J_dict) {
      for (size_t i = 0; i < v->dict->v.count; i++)
         if (jequal(&v->dict->v.data[i].key, key))
            *out = v->dict->v.data[i].value;
      return SINTER_ok;
   }
   if (key->kind != J_int || (v->kind != J_list && v->kind != J_string))
      return SINTER_ok;
   int64_t n = (int64_t)(v->kind == J_list ? v->list->v.count : jchars(v->s, v->len));
   int64_t at = key->i < 0 ? key->i + n : key->i;
   if (at < 0 || at >= n)
      return SINTER_ok;
   SINTER_TRY(jinja_burn(j, v->kind == J_list ? 0 : v->len / 16));
   if (v->kind == J_list) {
      *out = v->list->v.data[at];
   } else {
      size_t begin = char_at(v, (size_t)at);
      *out = jstring_part(v, begin, char_at(v, (size_t)at + 1) - begin);
   }
   return SINTER_ok;
}

/* One bound of a slice, clamped as Python does. */
static sinter_status slice_bound(jinja *j, const jvalue *bound, int64_t count, int64_t step,
                                 bool is_stop, int64_t *out)
{
   jvalue v = *bound;

   if (v.kind == J_none) {
      *out = step > 0 ? (is_stop ? count : 0) : (is_stop ? -1 : count - 1);
      return SINTER_ok;
   }
   if (v.kind != J_int)
      return jinja_fail(j, SINTER_bad_input, "a bound of a slice is no whole number");
   int64_t at = v.i < -count ? -1 : v.i < 0 ? v.i + count : MIN(v.i, count);
   if (v.i < -count)
      at = step > 0 ? 0 : -1;
   *out = step < 0 ? MIN(at, count - 1) : at;
   return SINTER_ok;
}

sinter_status jinja_slice(jinja *j, jvalue v, const jvalue bounds[3], jvalue *out)
{
   jvalue step = bounds[2].kind == J_none ? jint(1) : bounds[2];
   int64_t from, to;
   jlist *items;

   if (step.kind != J_int || step.i == 0 || step.i == INT64_MIN ||
       (v.kind != J_list && v.kind != J_string))
      return jinja_fail(j, SINTER_bad_input, "a value cannot be sliced like this");
   int64_t count = (int64_t)(v.kind == J_list ? v.list->v.count : jchars(v.s, v.len));
   SINTER_TRY(slice_bound(j, &bounds[0], count, step.i, false, &from));
   SINTER_TRY(slice_bound(j, &bounds[1], count, step.i, true, &to));
   if (v.kind == J_string && step.i == 1) {
      size_t begin = char_at(&v, (size_t)from), end = char_at(&v, (size_t)MAX(from, to));
      *out = jstring_part(&v, begin, end - begin);
      return SINTER_ok;
   }
   SINTER_TRY(jitems(j, &v, &items));
   jbuild text = {.a = j->a};
   jvalue list = jnew_list(j);
   list.flag = v.kind == J_list && v.flag;
   for (int64_t i = from; step.i > 0 ? i < to : i > to;) {
      SINTER_TRY(jinja_burn(j, 1));
      *vec_push(j->a, &list.list->v) = items->v.data[i];
      if (v.kind == J_string)
         SINTER_TRY(jbuild_add(j, &text, &items->v.data[i]));
      if (__builtin_add_overflow(i, step.i, &i))
         break;
   }
   *out = v.kind == J_string ? jbuild_string(&text) : list;
   return SINTER_ok;
}
