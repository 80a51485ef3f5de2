/* jinja_expr.c - tokens of a value to a tree, by recursive descent; precedence as Jinja's own
 * parser has it.
 *
 *    choice   or if or else choice
 *    or       and or and …
 *    and      not and not …
 *    not      not compare
 *    compare  sum < sum …
 *    sum      concat + - concat …
 *    concat   product ~ product …
 *    product  power * / // % power …
 *    power    unary ** unary …
 *    unary    - + primary postfix … | filter … is test … */
#include <stdio.h>

#include "jinja_parse.h"

sinter_status jparse_fail(const jparser *p, sinter_status status, const char *what,
                          const char *detail, uint32_t len)
{
   char where[64];

   snprintf(where, sizeof where, "chat template: line %u", p->t->line);
   return base_fail(status, where, "repair the template, or use --raw", "%s '%.*s'", what,
                    (int)MIN(len, 60u), detail);
}

sinter_status jparse_unexpected(const jparser *p)
{
   return jparse_fail(p, SINTER_bad_input, "it does not parse at", p->t->s, p->t->len);
}

sinter_status jparse_deeper(jparser *p)
{
   return ++p->depth > JINJA_DEPTH
             ? jparse_fail(p, SINTER_exhausted, "nesting is too deep at", p->t->s, p->t->len)
             : SINTER_ok;
}

jnode *jparse_node(jparser *p, jnode_kind kind)
{
   jnode *n = arena_new(p->a, jnode);

   n->kind = kind;
   n->line = p->t->line;
   return n;
}

static bool is(const jparser *p, jtoken_kind kind, const char *s)
{
   return p->t->kind == kind && p->t->len == strlen(s) && memcmp(p->t->s, s, p->t->len) == 0;
}

bool jparse_is_op(const jparser *p, const char *s)
{
   return is(p, JT_op, s);
}

bool jparse_is_word(const jparser *p, const char *s)
{
   return is(p, JT_name, s);
}

bool jparse_take_op(jparser *p, const char *s)
{
   bool yes = jparse_is_op(p, s);

   p->t += yes;
   return yes;
}

bool jparse_take_word(jparser *p, const char *s)
{
   bool yes = jparse_is_word(p, s);

   p->t += yes;
   return yes;
}

sinter_status jparse_need_op(jparser *p, const char *s)
{
   return jparse_take_op(p, s) ? SINTER_ok : jparse_unexpected(p);
}

sinter_status jparse_need(jparser *p, jtoken_kind kind)
{
   if (p->t->kind != kind)
      return jparse_unexpected(p);
   p->t++;
   return SINTER_ok;
}

jvalue jparse_text(const jparser *p)
{
   return jstring(p->t->s, p->t->len);
}

const char *jparse_name(jparser *p)
{
   return arena_strndup(p->a, p->t->s, p->t->len);
}

/* ---- primaries ---- */

static jnode *constant(jparser *p, jvalue v)
{
   jnode *n = jparse_node(p, JN_const);

   n->value = v;
   return n;
}

static sinter_status name_or_word(jparser *p, jnode **out)
{
   if (jparse_is_word(p, "true") || jparse_is_word(p, "True"))
      *out = constant(p, jbool(true));
   else if (jparse_is_word(p, "false") || jparse_is_word(p, "False"))
      *out = constant(p, jbool(false));
   else if (jparse_is_word(p, "none") || jparse_is_word(p, "None"))
      *out = constant(p, (jvalue){.kind = J_none});
   else {
      *out = jparse_node(p, JN_name);
      (*out)->value = jparse_text(p);
   }
   p->t++;
   return SINTER_ok;
}

static sinter_status strings(jparser *p, jnode **out)
{
   text_buf all = {.a = p->a};

   *out = jparse_node(p, JN_const);
   for (; p->t->kind == JT_string; p->t++)
      text_append(&all, p->t->s, p->t->len);
   (*out)->value = jstring(all.data, all.len);
   return SINTER_ok;
}

/* Items up to a closing bracket; *out_comma says whether there was a comma. */
static sinter_status items(jparser *p, const char *close, jnode *n, bool *out_comma)
{
   *out_comma = false;
   while (!jparse_take_op(p, close)) {
      if (n->kids.count > 0) {
         SINTER_TRY(jparse_need_op(p, ","));
         *out_comma = true;
         if (jparse_take_op(p, close))
            break;
      }
      SINTER_TRY(jparse_expression(p, vec_push(p->a, &n->kids)));
   }
   return SINTER_ok;
}

static sinter_status dict(jparser *p, jnode **out)
{
   jnode *n = *out = jparse_node(p, JN_dict);

   p->t++;
   while (!jparse_take_op(p, "}")) {
      if (n->kids.count > 0) {
         SINTER_TRY(jparse_need_op(p, ","));
         if (jparse_take_op(p, "}"))
            break;
      }
      SINTER_TRY(jparse_expression(p, vec_push(p->a, &n->kids)));
      SINTER_TRY(jparse_need_op(p, ":"));
      SINTER_TRY(jparse_expression(p, vec_push(p->a, &n->kids)));
   }
   return SINTER_ok;
}

static sinter_status primary(jparser *p, jnode **out)
{
   bool comma;

   switch (p->t->kind) {
   case JT_name: return name_or_word(p, out);
   case JT_string: return strings(p, out);
   case JT_int: *out = constant(p, jint(p->t++->i)); return SINTER_ok;
   case JT_float: *out = constant(p, (jvalue){.kind = J_float, .f = p->t++->f}); return SINTER_ok;
   default: break;
   }
   if (jparse_is_op(p, "{"))
      return dict(p, out);
   if (jparse_is_op(p, "[")) {
      *out = jparse_node(p, JN_list);
      p->t++;
      return items(p, "]", *out, &comma);
   }
   if (!jparse_is_op(p, "("))
      return jparse_unexpected(p);
   jnode *n = jparse_node(p, JN_tuple);
   p->t++;
   SINTER_TRY(items(p, ")", n, &comma));
   *out = n->kids.count == 1 && !comma ? n->kids.data[0] : n;
   return SINTER_ok;
}

/* ---- postfix ---- */

static sinter_status arguments(jparser *p, jnode *n)
{
   SINTER_TRY(jparse_need_op(p, "("));
   while (!jparse_take_op(p, ")")) {
      if (n->kids.count > 0) {
         SINTER_TRY(jparse_need_op(p, ","));
         if (jparse_take_op(p, ")"))
            break;
      }
      if (jparse_is_op(p, "*") || jparse_is_op(p, "**"))
         return jparse_fail(p, SINTER_unsupported, "the template uses argument unpacking", p->t->s,
                            p->t->len);
      const char *key = NULL;
      if (p->t->kind == JT_name && p->t[1].kind == JT_op && p->t[1].len == 1 &&
          p->t[1].s[0] == '=') {
         key = jparse_name(p);
         p->t += 2;
      }
      *vec_push(p->a, &n->keys) = key;
      SINTER_TRY(jparse_expression(p, vec_push(p->a, &n->kids)));
   }
   return SINTER_ok;
}

static sinter_status bound(jparser *p, jnode *n)
{
   jnode **part = vec_push(p->a, &n->kids);

   *part = NULL;
   if (jparse_is_op(p, ":") || jparse_is_op(p, "]"))
      return SINTER_ok;
   jnode *e;
   SINTER_TRY(jparse_expression(p, &e));
   n->kids.data[n->kids.count - 1] = e;
   return SINTER_ok;
}

/* [index] or [from:to:step] */
static sinter_status subscript(jparser *p, jnode **io)
{
   jnode *n = jparse_node(p, JN_slice);

   p->t++;
   n->a = *io;
   SINTER_TRY(bound(p, n));
   if (jparse_take_op(p, "]")) {
      if (!n->kids.data[0])
         return jparse_unexpected(p);
      n->kind = JN_item;
      n->b = n->kids.data[0];
      *io = n;
      return SINTER_ok;
   }
   for (int i = 0; i < 2; i++) {
      jnode **part = NULL;
      if (jparse_take_op(p, ":"))
         SINTER_TRY(bound(p, n));
      else
         *(part = vec_push(p->a, &n->kids)) = NULL;
   }
   *io = n;
   return jparse_need_op(p, "]");
}

static sinter_status postfix(jparser *p, jnode **io)
{
   for (;;) {
      if (jparse_is_op(p, ".")) {
         jnode *n = jparse_node(p, JN_attr);
         p->t++;
         if (p->t->kind != JT_name && p->t->kind != JT_int)
            return jparse_unexpected(p);
         n->kind = p->t->kind == JT_int ? JN_item : JN_attr;
         n->a = *io;
         n->value = jparse_text(p);
         if (n->kind == JN_item)
            n->b = constant(p, jint(p->t->i));
         p->t++;
         *io = n;
      } else if (jparse_is_op(p, "[")) {
         SINTER_TRY(subscript(p, io));
      } else if (jparse_is_op(p, "(")) {
         jnode *n = jparse_node(p, JN_call);
         n->a = *io;
         SINTER_TRY(arguments(p, n));
         *io = n;
      } else {
         return SINTER_ok;
      }
   }
}

static sinter_status filter(jparser *p, jnode **io)
{
   jnode *n = jparse_node(p, JN_filter);

   p->t++;
   n->a = *io;
   n->value = jparse_text(p);
   n->op = p->t->kind == JT_name ? jinja_filter_id(p->t->s, p->t->len) : -1;
   if (p->t->kind != JT_name)
      return jparse_unexpected(p);
   p->t++;
   *io = n;
   return jparse_is_op(p, "(") ? arguments(p, n) : SINTER_ok;
}

/* A test may take one argument without parentheses. */
static bool begins_argument(const jparser *p)
{
   static const char *const words[] = {"else", "or", "and", "if", "is", "in", "not"};

   if (p->t->kind == JT_string || p->t->kind == JT_int || p->t->kind == JT_float)
      return true;
   for (size_t i = 0; i < countof(words); i++)
      if (jparse_is_word(p, words[i]))
         return false;
   return p->t->kind == JT_name || jparse_is_op(p, "[") || jparse_is_op(p, "{");
}

static sinter_status test(jparser *p, jnode **io)
{
   jnode *n = jparse_node(p, JN_test);

   p->t++;
   n->a = *io;
   n->negated = jparse_take_word(p, "not");
   n->op = p->t->kind == JT_name ? jinja_test_id(p->t->s, p->t->len) : -1;
   if (p->t->kind != JT_name)
      return jparse_unexpected(p);
   n->value = jparse_text(p);
   p->t++;
   *io = n;
   if (jparse_is_op(p, "("))
      return arguments(p, n);
   if (!begins_argument(p))
      return SINTER_ok;
   *vec_push(p->a, &n->keys) = NULL;
   jnode **argument = vec_push(p->a, &n->kids);
   SINTER_TRY(primary(p, argument));
   return postfix(p, argument);
}

static sinter_status filters(jparser *p, jnode **io)
{
   for (;;) {
      if (jparse_is_op(p, "|"))
         SINTER_TRY(filter(p, io));
      else if (jparse_is_word(p, "is"))
         SINTER_TRY(test(p, io));
      else if (jparse_is_op(p, "(")) {
         jnode *n = jparse_node(p, JN_call);
         n->a = *io;
         SINTER_TRY(arguments(p, n));
         *io = n;
      } else
         return SINTER_ok;
   }
}

static sinter_status unary(jparser *p, bool with_filters, jnode **out)
{
   SINTER_TRY(jparse_deeper(p));
   if (jparse_is_op(p, "-") || jparse_is_op(p, "+")) {
      jnode *n = jparse_node(p, jparse_is_op(p, "-") ? JN_neg : JN_pos);
      p->t++;
      SINTER_TRY(unary(p, false, &n->a));
      *out = n;
   } else {
      SINTER_TRY(primary(p, out));
   }
   SINTER_TRY(postfix(p, out));
   if (with_filters)
      SINTER_TRY(filters(p, out));
   p->depth--;
   return SINTER_ok;
}

/* ---- operators ---- */

static jnode *binary(jparser *p, jop op, jnode *left)
{
   jnode *n = jparse_node(p, JN_binary);

   n->op = op;
   n->a = left;
   return n;
}

static sinter_status power(jparser *p, jnode **out)
{
   SINTER_TRY(unary(p, true, out));
   while (jparse_is_op(p, "**")) {
      *out = binary(p, JOP_pow, *out);
      p->t++;
      SINTER_TRY(unary(p, true, &(*out)->b));
   }
   return SINTER_ok;
}

static sinter_status product(jparser *p, jnode **out)
{
   SINTER_TRY(power(p, out));
   for (;;) {
      jop op = jparse_is_op(p, "*")    ? JOP_mul
               : jparse_is_op(p, "/")  ? JOP_div
               : jparse_is_op(p, "//") ? JOP_floordiv
                                       : JOP_mod;
      if (op == JOP_mod && !jparse_is_op(p, "%"))
         return SINTER_ok;
      *out = binary(p, op, *out);
      p->t++;
      SINTER_TRY(power(p, &(*out)->b));
   }
}

static sinter_status concat(jparser *p, jnode **out)
{
   SINTER_TRY(product(p, out));
   if (!jparse_is_op(p, "~"))
      return SINTER_ok;
   jnode *n = jparse_node(p, JN_concat);
   *vec_push(p->a, &n->kids) = *out;
   while (jparse_take_op(p, "~"))
      SINTER_TRY(product(p, vec_push(p->a, &n->kids)));
   *out = n;
   return SINTER_ok;
}

static sinter_status sum(jparser *p, jnode **out)
{
   SINTER_TRY(concat(p, out));
   while (jparse_is_op(p, "+") || jparse_is_op(p, "-")) {
      *out = binary(p, jparse_is_op(p, "+") ? JOP_add : JOP_sub, *out);
      p->t++;
      SINTER_TRY(concat(p, &(*out)->b));
   }
   return SINTER_ok;
}

static int comparison(jparser *p)
{
   static const struct {
      const char *s;
      jop op;
   } list[] = {{"==", JOP_eq}, {"!=", JOP_ne}, {"<", JOP_lt},
               {"<=", JOP_le}, {">", JOP_gt},  {">=", JOP_ge}};

   for (size_t i = 0; i < countof(list); i++)
      if (jparse_take_op(p, list[i].s))
         return list[i].op;
   if (jparse_take_word(p, "in"))
      return JOP_in;
   if (jparse_is_word(p, "not") && p->t[1].kind == JT_name && p->t[1].len == 2 &&
       memcmp(p->t[1].s, "in", 2) == 0) {
      p->t += 2;
      return JOP_not_in;
   }
   return -1;
}

static sinter_status compare(jparser *p, jnode **out)
{
   int op;

   SINTER_TRY(sum(p, out));
   jnode *n = jparse_node(p, JN_compare);
   n->a = *out;
   while ((op = comparison(p)) >= 0) {
      *vec_push(p->a, &n->ops) = op;
      SINTER_TRY(sum(p, vec_push(p->a, &n->kids)));
   }
   if (n->kids.count > 0)
      *out = n;
   return SINTER_ok;
}

static sinter_status negation(jparser *p, jnode **out)
{
   if (!jparse_is_word(p, "not"))
      return compare(p, out);
   SINTER_TRY(jparse_deeper(p));
   jnode *n = *out = jparse_node(p, JN_not);
   p->t++;
   SINTER_TRY(negation(p, &n->a));
   p->depth--;
   return SINTER_ok;
}

static sinter_status conjunction(jparser *p, jnode **out)
{
   SINTER_TRY(negation(p, out));
   while (jparse_is_word(p, "and")) {
      jnode *n = jparse_node(p, JN_and);
      p->t++;
      n->a = *out;
      SINTER_TRY(negation(p, &n->b));
      *out = n;
   }
   return SINTER_ok;
}

sinter_status jparse_disjunction(jparser *p, jnode **out)
{
   SINTER_TRY(conjunction(p, out));
   while (jparse_is_word(p, "or")) {
      jnode *n = jparse_node(p, JN_or);
      p->t++;
      n->a = *out;
      SINTER_TRY(conjunction(p, &n->b));
      *out = n;
   }
   return SINTER_ok;
}

sinter_status jparse_expression(jparser *p, jnode **out)
{
   jnode *value;

   SINTER_TRY(jparse_deeper(p));
   SINTER_TRY(jparse_disjunction(p, &value));
   while (jparse_is_word(p, "if")) {
      jnode *n = jparse_node(p, JN_choice);
      p->t++;
      n->a = value;
      SINTER_TRY(jparse_disjunction(p, &n->b));
      if (jparse_take_word(p, "else"))
         SINTER_TRY(jparse_expression(p, &n->c));
      value = n;
   }
   p->depth--;
   *out = value;
   return SINTER_ok;
}

/* expression, expression …: a tuple when there is a comma. */
sinter_status jparse_tuple(jparser *p, jnode **out)
{
   SINTER_TRY(jparse_expression(p, out));
   if (!jparse_is_op(p, ","))
      return SINTER_ok;
   jnode *n = jparse_node(p, JN_tuple);
   *vec_push(p->a, &n->kids) = *out;
   while (jparse_take_op(p, ",") && p->t->kind != JT_var_end && p->t->kind != JT_block_end)
      SINTER_TRY(jparse_expression(p, vec_push(p->a, &n->kids)));
   *out = n;
   return SINTER_ok;
}
