/* jinja_tests.c - tests: `value is name(argument)`. */
#include "jinja.h"

typedef sinter_status test_fn(jinja *j, const jvalue *v, const jvalue *x, bool *out);

#define KIND_TEST(name, condition)                                                                 \
   static sinter_status test_##name(jinja *j, const jvalue *v, const jvalue *x, bool *out)         \
   {                                                                                               \
      (void)j, (void)x;                                                                            \
      *out = condition;                                                                            \
      return SINTER_ok;                                                                            \
   }

KIND_TEST(defined, v->kind != J_undefined)
KIND_TEST(undefined, v->kind == J_undefined)
KIND_TEST(none, v->kind == J_none)
KIND_TEST(string, v->kind == J_string)
KIND_TEST(mapping, v->kind == J_dict && !v->dict->is_namespace)
KIND_TEST(iterable, v->kind == J_string || v->kind == J_list || v->kind == J_undefined ||
                       v->kind == J_loop || (v->kind == J_dict && !v->dict->is_namespace))
KIND_TEST(sequence, v->kind == J_string || v->kind == J_list || v->kind == J_undefined ||
                       (v->kind == J_dict && !v->dict->is_namespace))
KIND_TEST(number, v->kind == J_int || v->kind == J_float || v->kind == J_bool)
KIND_TEST(integer, v->kind == J_int)
KIND_TEST(float, v->kind == J_float)
KIND_TEST(boolean, v->kind == J_bool)
KIND_TEST(true, v->kind == J_bool && v->b)
KIND_TEST(false, v->kind == J_bool && !v->b)
KIND_TEST(callable, v->kind == J_macro || v->kind == J_function || v->kind == J_method)

static sinter_status need(jinja *j, const jvalue *x)
{
   return x ? SINTER_ok : jinja_fail(j, SINTER_bad_input, "a test needs an argument");
}

static sinter_status test_equal(jinja *j, const jvalue *v, const jvalue *x, bool *out)
{
   SINTER_TRY(need(j, x));
   *out = jequal(v, x);
   return SINTER_ok;
}

static sinter_status test_unequal(jinja *j, const jvalue *v, const jvalue *x, bool *out)
{
   SINTER_TRY(need(j, x));
   *out = !jequal(v, x);
   return SINTER_ok;
}

#define ORDER_TEST(name, condition)                                                                \
   static sinter_status test_##name(jinja *j, const jvalue *v, const jvalue *x, bool *out)         \
   {                                                                                               \
      int order;                                                                                   \
      SINTER_TRY(need(j, x));                                                                      \
      SINTER_TRY(jcompare(j, v, x, &order));                                                       \
      *out = order condition 0;                                                                    \
      return SINTER_ok;                                                                            \
   }

ORDER_TEST(less, <)
ORDER_TEST(at_most, <=)
ORDER_TEST(greater, >)
ORDER_TEST(at_least, >=)

static sinter_status test_in(jinja *j, const jvalue *v, const jvalue *x, bool *out)
{
   jlist *items;

   SINTER_TRY(need(j, x));
   *out = false;
   if (x->kind == J_string && v->kind == J_string) {
      *out = v->len == 0 || memmem(x->s, x->len, v->s, v->len);
      return SINTER_ok;
   }
   SINTER_TRY(jitems(j, x, &items));
   SINTER_TRY(jinja_burn(j, items->v.count));
   for (size_t i = 0; i < items->v.count && !*out; i++)
      *out = jequal(&items->v.data[i], v);
   return SINTER_ok;
}

static sinter_status modulo(jinja *j, const jvalue *v, int64_t by, bool zero, bool *out)
{
   if (v->kind != J_int || by == 0 || by == -1)
      return jinja_fail(j, SINTER_bad_input, "a test needs whole numbers");
   *out = (v->i % by == 0) == zero;
   return SINTER_ok;
}

static sinter_status test_odd(jinja *j, const jvalue *v, const jvalue *x, bool *out)
{
   (void)x;
   return modulo(j, v, 2, false, out);
}

static sinter_status test_even(jinja *j, const jvalue *v, const jvalue *x, bool *out)
{
   (void)x;
   return modulo(j, v, 2, true, out);
}

static sinter_status test_divisible(jinja *j, const jvalue *v, const jvalue *x, bool *out)
{
   return modulo(j, v, x && x->kind == J_int ? x->i : 0, true, out);
}

/* Python's isupper and islower, over ASCII: at least one letter, and none of the other case. */
static bool all_case(const jvalue *v, bool upper)
{
   bool some = false;

   for (uint32_t i = 0; v->kind == J_string && i < v->len; i++) {
      bool up = v->s[i] >= 'A' && v->s[i] <= 'Z', low = v->s[i] >= 'a' && v->s[i] <= 'z';
      if (upper ? low : up)
         return false;
      some = some || up || low;
   }
   return some;
}

KIND_TEST(upper, all_case(v, true))
KIND_TEST(lower, all_case(v, false))

static const struct {
   const char *name;
   test_fn *fn;
} tests[] = {
#define TEST(name, implementation) {#name, test_##implementation},
#include "jinja_names.def"
#undef TEST
};

int jinja_test_id(const char *name, size_t len)
{
   for (size_t i = 0; i < countof(tests); i++)
      if (strlen(tests[i].name) == len && memcmp(tests[i].name, name, len) == 0)
         return (int)i;
   return -1;
}

sinter_status jinja_test(jinja *j, int id, const jvalue *v, const jargs *args, bool *out)
{
   return tests[id].fn(j, v, jarg(args, 0, NULL), out);
}
