/* jinja_ops.c - arithmetic and comparison. */
#include <math.h>

#include "jinja.h"

/* ---- operators ---- */

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

const char *jkind_name(const jvalue *v)
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
                     jkind_name(a), a->kind == J_undefined ? " '" : "",
                     a->kind == J_undefined ? a->s : "", a->kind == J_undefined ? "'" : "",
                     jkind_name(b), b->kind == J_undefined ? " '" : "",
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

sinter_status jinja_compare(jinja *j, jop op, const jvalue *a, const jvalue *b, bool *out)
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
