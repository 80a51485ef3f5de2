/* jinja_eval.c - running the tree: expressions to values, statements to text.
 *
 * Scopes as Jinja's: a loop's body and a macro have their own, an `if` has not; assignments stay in
 * the innermost. */
#include <math.h>

#include "jinja.h"

static sinter_status eval(jinja *j, const jnode *n, jvalue *out);

static sinter_status enter(jinja *j, const jnode *n)
{
   j->line = n->line;
   SINTER_TRY(jinja_burn(j, 1));
   if (++j->depth > JINJA_DEPTH)
      return jinja_fail(j, SINTER_exhausted, "nesting is too deep");
   return SINTER_ok;
}

/* ---- names
 * ---------------------------------------------------------------------------------------------------
 */

static jvalue look_up(const jinja *j, const jvalue *name)
{
   for (const jscope *s = j->scope; s; s = s->up) {
      const jvalue *v = jdict_get(&s->vars, name->s, name->len);
      if (v)
         return *v;
   }
   return jundefined(arena_strndup(j->a, name->s, name->len));
}

static jscope *push_scope(jinja *j, jscope *up)
{
   jscope *s = arena_new(j->a, jscope), *old = j->scope;

   s->up = up;
   j->scope = s;
   return old;
}

static sinter_status assign(jinja *j, const jnode *target, jvalue value)
{
   jlist *items;
   jvalue object;

   switch (target->kind) {
   case JN_name:
      SINTER_TRY(jinja_burn(j, j->scope->vars.v.count / 8));
      jdict_set(j, &j->scope->vars, target->value, value);
      return SINTER_ok;
   case JN_attr:
      object = look_up(j, &target->a->value);
      if (object.kind != J_dict || !object.dict->is_namespace)
         return jinja_fail(j, SINTER_bad_input, "only a namespace's attributes can be set");
      jdict_set(j, object.dict, target->value, value);
      return SINTER_ok;
   default: break;
   }
   SINTER_TRY(jitems(j, &value, &items));
   if (items->v.count != target->kids.count)
      return jinja_fail(j, SINTER_bad_input, "%zu values for %zu names", items->v.count,
                        target->kids.count);
   for (size_t i = 0; i < target->kids.count; i++)
      SINTER_TRY(assign(j, target->kids.data[i], items->v.data[i]));
   return SINTER_ok;
}

/* ---- attributes, items, slices
 * --------------------------------------------------------------------------------- */

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

   for (; i < s->len; i++)
      if (((uint8_t)s->s[i] & 0xc0) != 0x80 && at-- == 0)
         break;
   return i;
}

static sinter_status item(jinja *j, const jvalue *v, const jvalue *key, jvalue *out)
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
static sinter_status slice_bound(jinja *j, const jnode *n, int64_t count, int64_t step,
                                 bool is_stop, int64_t *out)
{
   jvalue v = {.kind = J_none};

   if (n)
      SINTER_TRY(eval(j, n, &v));
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

static sinter_status slice(jinja *j, const jnode *n, jvalue *out)
{
   jvalue v, step = jint(1);
   int64_t from, to;
   jlist *items;

   SINTER_TRY(eval(j, n->a, &v));
   if (n->kids.data[2])
      SINTER_TRY(eval(j, n->kids.data[2], &step));
   if (step.kind == J_none)
      step = jint(1);
   if (step.kind != J_int || step.i == 0 || step.i == INT64_MIN ||
       (v.kind != J_list && v.kind != J_string))
      return jinja_fail(j, SINTER_bad_input, "a value cannot be sliced like this");
   int64_t count = (int64_t)(v.kind == J_list ? v.list->v.count : jchars(v.s, v.len));
   SINTER_TRY(slice_bound(j, n->kids.data[0], count, step.i, false, &from));
   SINTER_TRY(slice_bound(j, n->kids.data[1], count, step.i, true, &to));
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

/* ---- operators
 * -------------------------------------------------------------------------------------------------
 */

static bool is_number(const jvalue *v)
{
   return v->kind == J_int || v->kind == J_float || v->kind == J_bool;
}

static double number_of(const jvalue *v)
{
   return v->kind == J_float ? v->f : v->kind == J_bool ? v->b : (double)v->i;
}

static sinter_status divide(jinja *j, jop op, int64_t x, int64_t y, int64_t *out)
{
   if (y == 0 || (x == INT64_MIN && y == -1))
      return jinja_fail(j, SINTER_bad_input, "division by zero");
   int64_t rest = x % y, floor = x / y - (rest != 0 && (rest < 0) != (y < 0));
   *out = op == JOP_mod ? x - floor * y : floor;
   return SINTER_ok;
}

static sinter_status power(jinja *j, int64_t x, int64_t y, jvalue *out)
{
   int64_t result = 1;

   if (y < 0) {
      *out = (jvalue){.kind = J_float, .f = pow((double)x, (double)y)};
      return SINTER_ok;
   }
   if (y > 64 && x != 0 && x != 1 && x != -1)
      return jinja_fail(j, SINTER_unsupported, "a number needs more than 64 bits");
   for (int64_t i = 0; i < (x == -1 ? y % 2 : MIN(y, 64)); i++)
      if (__builtin_mul_overflow(result, x, &result))
         return jinja_fail(j, SINTER_unsupported, "a number needs more than 64 bits");
   *out = jint(result);
   return SINTER_ok;
}

static sinter_status integers(jinja *j, jop op, int64_t x, int64_t y, jvalue *out)
{
   bool overflow = false;

   *out = jint(0);
   switch (op) {
   case JOP_add: overflow = __builtin_add_overflow(x, y, &out->i); break;
   case JOP_sub: overflow = __builtin_sub_overflow(x, y, &out->i); break;
   case JOP_mul: overflow = __builtin_mul_overflow(x, y, &out->i); break;
   case JOP_pow: return power(j, x, y, out);
   case JOP_floordiv:
   case JOP_mod: return divide(j, op, x, y, &out->i);
   default:
      if (y == 0)
         return jinja_fail(j, SINTER_bad_input, "division by zero");
      *out = (jvalue){.kind = J_float, .f = (double)x / (double)y};
   }
   return overflow ? jinja_fail(j, SINTER_unsupported, "a number needs more than 64 bits")
                   : SINTER_ok;
}

static sinter_status floats(jinja *j, jop op, double x, double y, jvalue *out)
{
   double r = 0;

   if ((op == JOP_div || op == JOP_floordiv || op == JOP_mod) && y == 0)
      return jinja_fail(j, SINTER_bad_input, "division by zero");
   switch (op) {
   case JOP_add: r = x + y; break;
   case JOP_sub: r = x - y; break;
   case JOP_mul: r = x * y; break;
   case JOP_pow: r = pow(x, y); break;
   case JOP_floordiv: r = floor(x / y); break;
   case JOP_mod: r = x - floor(x / y) * y; break;
   default: r = x / y; break;
   }
   *out = (jvalue){.kind = J_float, .f = r};
   return SINTER_ok;
}

static sinter_status repeat(jinja *j, const jvalue *v, int64_t times, jvalue *out)
{
   if (v->kind == J_string) {
      jbuild b = {.a = j->a};
      for (int64_t i = 0; i < times && v->len > 0; i++)
         SINTER_TRY(jbuild_add(j, &b, v));
      *out = jbuild_string(&b);
      return SINTER_ok;
   }
   *out = jnew_list(j);
   out->flag = v->flag;
   for (int64_t i = 0; i < times && v->list->v.count > 0; i++)
      for (size_t k = 0; k < v->list->v.count; k++) {
         SINTER_TRY(jinja_burn(j, 1));
         *vec_push(j->a, &out->list->v) = v->list->v.data[k];
      }
   return SINTER_ok;
}

static sinter_status add_sequences(jinja *j, const jvalue *a, const jvalue *b, jvalue *out)
{
   if (a->kind == J_string) {
      jbuild text = {.a = j->a};
      SINTER_TRY(jbuild_add(j, &text, a));
      SINTER_TRY(jbuild_add(j, &text, b));
      *out = jbuild_string(&text);
      return SINTER_ok;
   }
   const jlist *parts[] = {a->list, b->list};
   *out = jnew_list(j);
   out->flag = a->flag;
   for (size_t k = 0; k < 2; k++)
      for (size_t i = 0; i < parts[k]->v.count; i++) {
         SINTER_TRY(jinja_burn(j, 1));
         *vec_push(j->a, &out->list->v) = parts[k]->v.data[i];
      }
   return SINTER_ok;
}

static const char *kind_name(const jvalue *v)
{
   static const char *const names[] = {"undefined", "none",     "a boolean",  "a number",
                                       "a number",  "a string", "a list",     "a mapping",
                                       "a loop",    "a macro",  "a function", "a method"};
   return names[v->kind];
}

sinter_status jinja_binary(jinja *j, jop op, const jvalue *a, const jvalue *b, jvalue *out)
{
   if (is_number(a) && is_number(b)) {
      if (a->kind != J_float && b->kind != J_float)
         return integers(j, op, a->kind == J_bool ? a->b : a->i, b->kind == J_bool ? b->b : b->i,
                         out);
      return floats(j, op, number_of(a), number_of(b), out);
   }
   if (op == JOP_add && a->kind == b->kind && (a->kind == J_string || a->kind == J_list))
      return add_sequences(j, a, b, out);
   if (op == JOP_mul && (a->kind == J_string || a->kind == J_list) && b->kind == J_int)
      return repeat(j, a, b->i, out);
   if (op == JOP_mul && (b->kind == J_string || b->kind == J_list) && a->kind == J_int)
      return repeat(j, b, a->i, out);
   return jinja_fail(j, SINTER_bad_input, "an operator cannot join %s%s%.80s%s and %s%s%.80s%s",
                     kind_name(a), a->kind == J_undefined ? " '" : "",
                     a->kind == J_undefined ? a->s : "", a->kind == J_undefined ? "'" : "",
                     kind_name(b), b->kind == J_undefined ? " '" : "",
                     b->kind == J_undefined ? b->s : "", b->kind == J_undefined ? "'" : "");
}

static sinter_status is_in(jinja *j, const jvalue *needle, const jvalue *heap, bool *out)
{
   jlist *items;

   *out = false;
   if (heap->kind == J_string) {
      if (needle->kind != J_string)
         return jinja_fail(j, SINTER_bad_input, "only a string can be in a string");
      SINTER_TRY(jinja_burn(j, heap->len / 16));
      *out = needle->len == 0 || memmem(heap->s, heap->len, needle->s, needle->len);
      return SINTER_ok;
   }
   SINTER_TRY(jitems(j, heap, &items));
   SINTER_TRY(jinja_burn(j, items->v.count));
   for (size_t i = 0; i < items->v.count && !*out; i++)
      *out = jequal(&items->v.data[i], needle);
   return SINTER_ok;
}

static sinter_status compare_one(jinja *j, jop op, const jvalue *a, const jvalue *b, bool *out)
{
   int order;

   SINTER_TRY(jinja_burn(j, a->kind == J_string ? a->len / 64
                            : a->kind == J_list ? a->list->v.count
                                                : 0));
   switch (op) {
   case JOP_eq:
   case JOP_ne: *out = jequal(a, b) == (op == JOP_eq); return SINTER_ok;
   case JOP_in: return is_in(j, a, b, out);
   case JOP_not_in:
      SINTER_TRY(is_in(j, a, b, out));
      *out = !*out;
      return SINTER_ok;
   default: break;
   }
   SINTER_TRY(jcompare(j, a, b, &order));
   *out = op == JOP_lt   ? order < 0
          : op == JOP_le ? order <= 0
          : op == JOP_gt ? order > 0
                         : order >= 0;
   return SINTER_ok;
}

static sinter_status compare(jinja *j, const jnode *n, jvalue *out)
{
   jvalue left, right;
   bool holds = true;

   SINTER_TRY(eval(j, n->a, &left));
   for (size_t i = 0; i < n->kids.count && holds; i++) {
      SINTER_TRY(eval(j, n->kids.data[i], &right));
      SINTER_TRY(compare_one(j, n->ops.data[i], &left, &right, &holds));
      left = right;
   }
   *out = jbool(holds);
   return SINTER_ok;
}

/* ---- calls
 * -----------------------------------------------------------------------------------------------------
 */

static sinter_status arguments(jinja *j, const jnode *n, jargs *out)
{
   *out = (jargs){arena_array(j->a, jvalue, n->kids.count + 1), n->kids.count, n->keys.data};
   for (size_t i = 0; i < n->kids.count; i++)
      SINTER_TRY(eval(j, n->kids.data[i], &out->v[i]));
   return SINTER_ok;
}

static sinter_status bind_parameters(jinja *j, const jnode *macro, const jargs *args)
{
   size_t used = 0;

   for (size_t i = 0; i < macro->keys.count; i++) {
      const char *name = macro->keys.data[i];
      const jvalue *given = jarg(args, i, name);
      jvalue value = jundefined(name);
      used += given != NULL;
      if (given)
         value = *given;
      else if (macro->kids.data[i])
         SINTER_TRY(eval(j, macro->kids.data[i], &value));
      jdict_set(j, &j->scope->vars, jstring(name, strlen(name)), value);
   }
   return used == args->count ? SINTER_ok
                              : jinja_fail(j, SINTER_bad_input, "a macro takes no such argument");
}

/* Runs a body into a string. */
static sinter_status capture(jinja *j, const jnode *body, jvalue *out)
{
   jbuild text = {.a = j->a}, *old = j->out;

   j->out = &text;
   SINTER_TRY(jinja_run(j, body));
   j->out = old;
   *out = jbuild_string(&text);
   return SINTER_ok;
}

static sinter_status call_macro(jinja *j, const jmacro *m, const jargs *args, jvalue *out)
{
   jscope *old = push_scope(j, m->scope);

   SINTER_TRY(bind_parameters(j, m->node, args));
   SINTER_TRY(capture(j, m->node->b, out));
   j->scope = old;
   return SINTER_ok;
}

static sinter_status call(jinja *j, const jnode *n, jvalue *out)
{
   jvalue callee;
   jargs args;

   SINTER_TRY(eval(j, n->a, &callee));
   SINTER_TRY(arguments(j, n, &args));
   j->line = n->line;
   switch ((jkind)callee.kind) {
   case J_macro: return call_macro(j, callee.macro, &args, out);
   case J_function: return jinja_function(j, callee.function, &args, out);
   case J_method: return jinja_method(j, callee.method->id, &callee.method->self, &args, out);
   case J_undefined:
      return jinja_fail(j, SINTER_unsupported, "there is no function or method '%.80s'", callee.s);
   default: return jinja_fail(j, SINTER_bad_input, "%s is called", kind_name(&callee));
   }
}

static sinter_status filter_or_test(jinja *j, const jnode *n, jvalue *out)
{
   jvalue v;
   jargs args;
   bool holds;

   SINTER_TRY(eval(j, n->a, &v));
   SINTER_TRY(arguments(j, n, &args));
   j->line = n->line;
   if (n->kind == JN_filter)
      return jinja_filter(j, n->op, &v, &args, out);
   SINTER_TRY(jinja_test(j, n->op, &v, &args, &holds));
   *out = jbool(holds != n->negated);
   return SINTER_ok;
}

/* ---- expressions
 * -----------------------------------------------------------------------------------------------
 */

static sinter_status list(jinja *j, const jnode *n, jvalue *out)
{
   *out = jnew_list(j);
   out->flag = n->kind == JN_tuple;
   for (size_t i = 0; i < n->kids.count; i++) {
      jvalue v;
      SINTER_TRY(eval(j, n->kids.data[i], &v));
      *vec_push(j->a, &out->list->v) = v;
   }
   return SINTER_ok;
}

static sinter_status dict(jinja *j, const jnode *n, jvalue *out)
{
   *out = jnew_dict(j);
   for (size_t i = 0; i + 1 < n->kids.count; i += 2) {
      jvalue key, value;
      SINTER_TRY(eval(j, n->kids.data[i], &key));
      SINTER_TRY(eval(j, n->kids.data[i + 1], &value));
      SINTER_TRY(jinja_burn(j, out->dict->v.count / 8));
      jdict_set(j, out->dict, key, value);
   }
   return SINTER_ok;
}

static sinter_status concat(jinja *j, const jnode *n, jvalue *out)
{
   jbuild text = {.a = j->a};

   for (size_t i = 0; i < n->kids.count; i++) {
      jvalue v;
      SINTER_TRY(eval(j, n->kids.data[i], &v));
      SINTER_TRY(jprint(j, &text, &v, false));
   }
   *out = jbuild_string(&text);
   return SINTER_ok;
}

static sinter_status sign(jinja *j, const jnode *n, jvalue *out)
{
   jvalue zero = jint(0), v;

   SINTER_TRY(eval(j, n->a, &v));
   return jinja_binary(j, n->kind == JN_neg ? JOP_sub : JOP_add, &zero, &v, out);
}

static sinter_status binary(jinja *j, const jnode *n, jvalue *out)
{
   jvalue a, b;

   SINTER_TRY(eval(j, n->a, &a));
   SINTER_TRY(eval(j, n->b, &b));
   j->line = n->line;
   return jinja_binary(j, n->op, &a, &b, out);
}

static sinter_status logic(jinja *j, const jnode *n, jvalue *out)
{
   jvalue condition;

   if (n->kind == JN_choice) {
      SINTER_TRY(eval(j, n->b, &condition));
      if (jis_true(&condition))
         return eval(j, n->a, out);
      *out = jundefined("the else of an inline if");
      return n->c ? eval(j, n->c, out) : SINTER_ok;
   }
   SINTER_TRY(eval(j, n->a, out));
   if (n->kind == JN_not)
      *out = jbool(!jis_true(out));
   else if (jis_true(out) == (n->kind == JN_and))
      return eval(j, n->b, out);
   return SINTER_ok;
}

static sinter_status access(jinja *j, const jnode *n, jvalue *out)
{
   jvalue v, key;

   SINTER_TRY(eval(j, n->a, &v));
   j->line = n->line;
   if (n->kind == JN_attr)
      return jinja_attr(j, &v, &n->value, false, out);
   SINTER_TRY(eval(j, n->b, &key));
   return item(j, &v, &key, out);
}

static sinter_status eval_kind(jinja *j, const jnode *n, jvalue *out)
{
   switch (n->kind) {
   case JN_const: *out = n->value; return SINTER_ok;
   case JN_name:
      SINTER_TRY(jinja_burn(j, j->scope->vars.v.count / 8));
      *out = look_up(j, &n->value);
      return SINTER_ok;
   case JN_list:
   case JN_tuple: return list(j, n, out);
   case JN_dict: return dict(j, n, out);
   case JN_attr:
   case JN_item: return access(j, n, out);
   case JN_slice: return slice(j, n, out);
   case JN_call: return call(j, n, out);
   case JN_filter:
   case JN_test: return filter_or_test(j, n, out);
   case JN_not:
   case JN_and:
   case JN_or:
   case JN_choice: return logic(j, n, out);
   case JN_neg:
   case JN_pos: return sign(j, n, out);
   case JN_binary: return binary(j, n, out);
   case JN_compare: return compare(j, n, out);
   case JN_concat: return concat(j, n, out);
   default: return jinja_fail(j, SINTER_bad_input, "a statement stands where a value should");
   }
}

static sinter_status eval(jinja *j, const jnode *n, jvalue *out)
{
   SINTER_TRY(enter(j, n));
   SINTER_TRY(eval_kind(j, n, out));
   j->depth--;
   return SINTER_ok;
}

/* ---- statements
 * ------------------------------------------------------------------------------------------------
 */

static sinter_status run_if(jinja *j, const jnode *n)
{
   jvalue condition;

   for (size_t i = 0; i + 1 < n->kids.count; i += 2) {
      SINTER_TRY(eval(j, n->kids.data[i], &condition));
      if (jis_true(&condition))
         return jinja_run(j, n->kids.data[i + 1]);
   }
   return n->kids.count % 2 ? jinja_run(j, n->kids.data[n->kids.count - 1]) : SINTER_ok;
}

/* The items a loop runs over: all, or those its condition keeps. */
static sinter_status loop_items(jinja *j, const jnode *n, jlist **out)
{
   jvalue v, keep;
   jlist *all;

   SINTER_TRY(eval(j, n->b, &v));
   SINTER_TRY(jitems(j, &v, &all));
   *out = all;
   if (!n->c)
      return SINTER_ok;
   *out = arena_new(j->a, jlist);
   jscope *old = push_scope(j, j->scope);
   for (size_t i = 0; i < all->v.count; i++) {
      SINTER_TRY(assign(j, n->a, all->v.data[i]));
      SINTER_TRY(eval(j, n->c, &keep));
      if (jis_true(&keep))
         *vec_push(j->a, &(*out)->v) = all->v.data[i];
   }
   j->scope = old;
   return SINTER_ok;
}

static sinter_status run_for(jinja *j, const jnode *n)
{
   jloop *loop = arena_new(j->a, jloop);
   static const char name[] = "loop";

   SINTER_TRY(loop_items(j, n, &loop->items));
   if (loop->items->v.count == 0)
      return n->kids.data[1] ? jinja_run(j, n->kids.data[1]) : SINTER_ok;
   loop->depth = 1;
   for (const jscope *s = j->scope; s; s = s->up)
      loop->depth += jdict_get(&s->vars, name, 4) != NULL;
   jscope *old = j->scope;
   for (; loop->at < loop->items->v.count && j->flow != FLOW_break; loop->at++) {
      push_scope(j, old);
      jdict_set(j, &j->scope->vars, jstring(name, 4), (jvalue){.kind = J_loop, .loop = loop});
      SINTER_TRY(assign(j, n->a, loop->items->v.data[loop->at]));
      j->flow = FLOW_on;
      SINTER_TRY(jinja_run(j, n->kids.data[0]));
   }
   j->flow = FLOW_on;
   j->scope = old;
   return SINTER_ok;
}

static sinter_status run_set(jinja *j, const jnode *n)
{
   jvalue v;

   if (n->kind == JN_set)
      SINTER_TRY(eval(j, n->b, &v));
   else
      SINTER_TRY(capture(j, n->kids.data[0], &v));
   return assign(j, n->a, v);
}

static sinter_status run_one(jinja *j, const jnode *n)
{
   jvalue v;

   switch (n->kind) {
   case JN_text: return jbuild_add(j, j->out, &n->value);
   case JN_output: SINTER_TRY(eval(j, n->a, &v)); return jprint(j, j->out, &v, false);
   case JN_if: return run_if(j, n);
   case JN_for: return run_for(j, n);
   case JN_set:
   case JN_set_block: return run_set(j, n);
   case JN_block: return jinja_run(j, n);
   case JN_break: j->flow = FLOW_break; return SINTER_ok;
   case JN_continue: j->flow = FLOW_continue; return SINTER_ok;
   case JN_macro: {
      jmacro *m = arena_new(j->a, jmacro);
      *m = (jmacro){n, j->scope};
      jdict_set(j, &j->scope->vars, n->value, (jvalue){.kind = J_macro, .macro = m});
      return SINTER_ok;
   }
   default: return jinja_fail(j, SINTER_bad_input, "a value stands where a statement should");
   }
}

sinter_status jinja_run(jinja *j, const jnode *block)
{
   SINTER_TRY(enter(j, block));
   for (size_t i = 0; i < block->kids.count && j->flow == FLOW_on; i++) {
      j->line = block->kids.data[i]->line;
      SINTER_TRY(jinja_burn(j, 1));
      SINTER_TRY(run_one(j, block->kids.data[i]));
   }
   j->depth--;
   return SINTER_ok;
}
