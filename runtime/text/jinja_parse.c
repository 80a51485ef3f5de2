/* jinja_parse.c - tokens to a tree, by recursive descent; precedence as Jinja's own parser has it.
 *
 *    choice: or if or else choice     or: and     and: not     not: compare     compare: sum < sum
 * … sum: concat + -     concat: product ~     product: power * / // %     power: unary ** unary: -
 * +  primary postfix … | filter … is test … */
#include <stdio.h>

#include "jinja.h"

typedef struct parser {
   arena *a;
   const jtoken *t;
   int depth;
} parser;

static sinter_status expression(parser *p, jnode **out);
static sinter_status body(parser *p, const char *const *ends, jnode **out);
static sinter_status unary(parser *p, bool with_filters, jnode **out);

static sinter_status fail(const parser *p, sinter_status status, const char *what,
                          const char *detail, uint32_t len)
{
   char where[64];

   snprintf(where, sizeof where, "chat template: line %u", p->t->line);
   return base_fail(status, where, "repair the template, or use --raw", "%s '%.*s'", what,
                    (int)MIN(len, 60u), detail);
}

static sinter_status unexpected(const parser *p)
{
   return fail(p, SINTER_bad_input, "it does not parse at", p->t->s, p->t->len);
}

static sinter_status deeper(parser *p)
{
   return ++p->depth > JINJA_DEPTH
             ? fail(p, SINTER_exhausted, "nesting is too deep at", p->t->s, p->t->len)
             : SINTER_ok;
}

static jnode *node(parser *p, jnode_kind kind)
{
   jnode *n = arena_new(p->a, jnode);

   n->kind = kind;
   n->line = p->t->line;
   return n;
}

static bool is(const parser *p, jtoken_kind kind, const char *s)
{
   return p->t->kind == kind && p->t->len == strlen(s) && memcmp(p->t->s, s, p->t->len) == 0;
}

static bool is_op(const parser *p, const char *s)
{
   return is(p, JT_op, s);
}

static bool is_word(const parser *p, const char *s)
{
   return is(p, JT_name, s);
}

static bool take_op(parser *p, const char *s)
{
   bool yes = is_op(p, s);

   p->t += yes;
   return yes;
}

static bool take_word(parser *p, const char *s)
{
   bool yes = is_word(p, s);

   p->t += yes;
   return yes;
}

static sinter_status need_op(parser *p, const char *s)
{
   return take_op(p, s) ? SINTER_ok : unexpected(p);
}

static sinter_status need(parser *p, jtoken_kind kind)
{
   if (p->t->kind != kind)
      return unexpected(p);
   p->t++;
   return SINTER_ok;
}

static jvalue text_of(const jtoken *t)
{
   return jstring(t->s, t->len);
}

static const char *name_of(parser *p)
{
   return arena_strndup(p->a, p->t->s, p->t->len);
}

/* ---- primaries
 * ----------------------------------------------------------------------------------------- */

static jnode *constant(parser *p, jvalue v)
{
   jnode *n = node(p, JN_const);

   n->value = v;
   return n;
}

static sinter_status name_or_word(parser *p, jnode **out)
{
   if (is_word(p, "true") || is_word(p, "True"))
      *out = constant(p, jbool(true));
   else if (is_word(p, "false") || is_word(p, "False"))
      *out = constant(p, jbool(false));
   else if (is_word(p, "none") || is_word(p, "None"))
      *out = constant(p, (jvalue){.kind = J_none});
   else {
      *out = node(p, JN_name);
      (*out)->value = text_of(p->t);
   }
   p->t++;
   return SINTER_ok;
}

static sinter_status strings(parser *p, jnode **out)
{
   text_buf all = {.a = p->a};

   *out = node(p, JN_const);
   for (; p->t->kind == JT_string; p->t++)
      text_append(&all, p->t->s, p->t->len);
   (*out)->value = jstring(all.data, all.len);
   return SINTER_ok;
}

/* Items up to a closing bracket; *out_comma says whether there was a comma. */
static sinter_status items(parser *p, const char *close, jnode *n, bool *out_comma)
{
   *out_comma = false;
   while (!take_op(p, close)) {
      if (n->kids.count > 0) {
         SINTER_TRY(need_op(p, ","));
         *out_comma = true;
         if (take_op(p, close))
            break;
      }
      SINTER_TRY(expression(p, vec_push(p->a, &n->kids)));
   }
   return SINTER_ok;
}

static sinter_status dict(parser *p, jnode **out)
{
   jnode *n = *out = node(p, JN_dict);

   p->t++;
   while (!take_op(p, "}")) {
      if (n->kids.count > 0) {
         SINTER_TRY(need_op(p, ","));
         if (take_op(p, "}"))
            break;
      }
      SINTER_TRY(expression(p, vec_push(p->a, &n->kids)));
      SINTER_TRY(need_op(p, ":"));
      SINTER_TRY(expression(p, vec_push(p->a, &n->kids)));
   }
   return SINTER_ok;
}

static sinter_status primary(parser *p, jnode **out)
{
   bool comma;

   switch (p->t->kind) {
   case JT_name: return name_or_word(p, out);
   case JT_string: return strings(p, out);
   case JT_int: *out = constant(p, jint(p->t++->i)); return SINTER_ok;
   case JT_float: *out = constant(p, (jvalue){.kind = J_float, .f = p->t++->f}); return SINTER_ok;
   default: break;
   }
   if (is_op(p, "{"))
      return dict(p, out);
   if (is_op(p, "[")) {
      *out = node(p, JN_list);
      p->t++;
      return items(p, "]", *out, &comma);
   }
   if (!is_op(p, "("))
      return unexpected(p);
   jnode *n = node(p, JN_tuple);
   p->t++;
   SINTER_TRY(items(p, ")", n, &comma));
   *out = n->kids.count == 1 && !comma ? n->kids.data[0] : n;
   return SINTER_ok;
}

/* ---- postfix
 * ------------------------------------------------------------------------------------------- */

static sinter_status arguments(parser *p, jnode *n)
{
   SINTER_TRY(need_op(p, "("));
   while (!take_op(p, ")")) {
      if (n->kids.count > 0) {
         SINTER_TRY(need_op(p, ","));
         if (take_op(p, ")"))
            break;
      }
      if (is_op(p, "*") || is_op(p, "**"))
         return fail(p, SINTER_unsupported, "the template uses argument unpacking", p->t->s,
                     p->t->len);
      const char *key = NULL;
      if (p->t->kind == JT_name && p->t[1].kind == JT_op && p->t[1].len == 1 &&
          p->t[1].s[0] == '=') {
         key = name_of(p);
         p->t += 2;
      }
      *vec_push(p->a, &n->keys) = key;
      SINTER_TRY(expression(p, vec_push(p->a, &n->kids)));
   }
   return SINTER_ok;
}

static sinter_status bound(parser *p, jnode *n)
{
   jnode **part = vec_push(p->a, &n->kids);

   *part = NULL;
   if (is_op(p, ":") || is_op(p, "]"))
      return SINTER_ok;
   jnode *e;
   SINTER_TRY(expression(p, &e));
   n->kids.data[n->kids.count - 1] = e;
   return SINTER_ok;
}

/* [index] or [from:to:step] */
static sinter_status subscript(parser *p, jnode **io)
{
   jnode *n = node(p, JN_slice);

   p->t++;
   n->a = *io;
   SINTER_TRY(bound(p, n));
   if (take_op(p, "]")) {
      if (!n->kids.data[0])
         return unexpected(p);
      n->kind = JN_item;
      n->b = n->kids.data[0];
      *io = n;
      return SINTER_ok;
   }
   for (int i = 0; i < 2; i++) {
      jnode **part = NULL;
      if (take_op(p, ":"))
         SINTER_TRY(bound(p, n));
      else
         *(part = vec_push(p->a, &n->kids)) = NULL;
   }
   *io = n;
   return need_op(p, "]");
}

static sinter_status postfix(parser *p, jnode **io)
{
   for (;;) {
      if (is_op(p, ".")) {
         jnode *n = node(p, JN_attr);
         p->t++;
         if (p->t->kind != JT_name && p->t->kind != JT_int)
            return unexpected(p);
         n->kind = p->t->kind == JT_int ? JN_item : JN_attr;
         n->a = *io;
         n->value = text_of(p->t);
         if (n->kind == JN_item)
            n->b = constant(p, jint(p->t->i));
         p->t++;
         *io = n;
      } else if (is_op(p, "[")) {
         SINTER_TRY(subscript(p, io));
      } else if (is_op(p, "(")) {
         jnode *n = node(p, JN_call);
         n->a = *io;
         SINTER_TRY(arguments(p, n));
         *io = n;
      } else {
         return SINTER_ok;
      }
   }
}

static sinter_status filter(parser *p, jnode **io)
{
   jnode *n = node(p, JN_filter);

   p->t++;
   n->a = *io;
   n->value = text_of(p->t);
   n->op = p->t->kind == JT_name ? jinja_filter_id(p->t->s, p->t->len) : -1;
   if (n->op < 0)
      return fail(p, SINTER_unsupported, "there is no filter", p->t->s, p->t->len);
   p->t++;
   *io = n;
   return is_op(p, "(") ? arguments(p, n) : SINTER_ok;
}

/* A test may take one argument without parentheses. */
static bool begins_argument(const parser *p)
{
   static const char *const words[] = {"else", "or", "and", "if", "is", "in", "not"};

   if (p->t->kind == JT_string || p->t->kind == JT_int || p->t->kind == JT_float)
      return true;
   for (size_t i = 0; i < countof(words); i++)
      if (is_word(p, words[i]))
         return false;
   return p->t->kind == JT_name || is_op(p, "[") || is_op(p, "{");
}

static sinter_status test(parser *p, jnode **io)
{
   jnode *n = node(p, JN_test);

   p->t++;
   n->a = *io;
   n->negated = take_word(p, "not");
   n->op = p->t->kind == JT_name ? jinja_test_id(p->t->s, p->t->len) : -1;
   if (n->op < 0)
      return fail(p, SINTER_unsupported, "there is no test", p->t->s, p->t->len);
   p->t++;
   *io = n;
   if (is_op(p, "("))
      return arguments(p, n);
   if (!begins_argument(p))
      return SINTER_ok;
   *vec_push(p->a, &n->keys) = NULL;
   jnode **argument = vec_push(p->a, &n->kids);
   SINTER_TRY(primary(p, argument));
   return postfix(p, argument);
}

static sinter_status filters(parser *p, jnode **io)
{
   for (;;) {
      if (is_op(p, "|"))
         SINTER_TRY(filter(p, io));
      else if (is_word(p, "is"))
         SINTER_TRY(test(p, io));
      else if (is_op(p, "(")) {
         jnode *n = node(p, JN_call);
         n->a = *io;
         SINTER_TRY(arguments(p, n));
         *io = n;
      } else
         return SINTER_ok;
   }
}

static sinter_status unary(parser *p, bool with_filters, jnode **out)
{
   SINTER_TRY(deeper(p));
   if (is_op(p, "-") || is_op(p, "+")) {
      jnode *n = node(p, is_op(p, "-") ? JN_neg : JN_pos);
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

/* ---- operators
 * ----------------------------------------------------------------------------------------- */

static jnode *binary(parser *p, jop op, jnode *left)
{
   jnode *n = node(p, JN_binary);

   n->op = op;
   n->a = left;
   return n;
}

static sinter_status power(parser *p, jnode **out)
{
   SINTER_TRY(unary(p, true, out));
   while (is_op(p, "**")) {
      *out = binary(p, JOP_pow, *out);
      p->t++;
      SINTER_TRY(unary(p, true, &(*out)->b));
   }
   return SINTER_ok;
}

static sinter_status product(parser *p, jnode **out)
{
   SINTER_TRY(power(p, out));
   for (;;) {
      jop op = is_op(p, "*")    ? JOP_mul
               : is_op(p, "/")  ? JOP_div
               : is_op(p, "//") ? JOP_floordiv
                                : JOP_mod;
      if (op == JOP_mod && !is_op(p, "%"))
         return SINTER_ok;
      *out = binary(p, op, *out);
      p->t++;
      SINTER_TRY(power(p, &(*out)->b));
   }
}

static sinter_status concat(parser *p, jnode **out)
{
   SINTER_TRY(product(p, out));
   if (!is_op(p, "~"))
      return SINTER_ok;
   jnode *n = node(p, JN_concat);
   *vec_push(p->a, &n->kids) = *out;
   while (take_op(p, "~"))
      SINTER_TRY(product(p, vec_push(p->a, &n->kids)));
   *out = n;
   return SINTER_ok;
}

static sinter_status sum(parser *p, jnode **out)
{
   SINTER_TRY(concat(p, out));
   while (is_op(p, "+") || is_op(p, "-")) {
      *out = binary(p, is_op(p, "+") ? JOP_add : JOP_sub, *out);
      p->t++;
      SINTER_TRY(concat(p, &(*out)->b));
   }
   return SINTER_ok;
}

static int comparison(parser *p)
{
   static const struct {
      const char *s;
      jop op;
   } list[] = {{"==", JOP_eq}, {"!=", JOP_ne}, {"<", JOP_lt},
               {"<=", JOP_le}, {">", JOP_gt},  {">=", JOP_ge}};

   for (size_t i = 0; i < countof(list); i++)
      if (take_op(p, list[i].s))
         return list[i].op;
   if (take_word(p, "in"))
      return JOP_in;
   if (is_word(p, "not") && p->t[1].kind == JT_name && p->t[1].len == 2 &&
       memcmp(p->t[1].s, "in", 2) == 0) {
      p->t += 2;
      return JOP_not_in;
   }
   return -1;
}

static sinter_status compare(parser *p, jnode **out)
{
   int op;

   SINTER_TRY(sum(p, out));
   jnode *n = node(p, JN_compare);
   n->a = *out;
   while ((op = comparison(p)) >= 0) {
      *vec_push(p->a, &n->ops) = op;
      SINTER_TRY(sum(p, vec_push(p->a, &n->kids)));
   }
   if (n->kids.count > 0)
      *out = n;
   return SINTER_ok;
}

static sinter_status negation(parser *p, jnode **out)
{
   if (!is_word(p, "not"))
      return compare(p, out);
   SINTER_TRY(deeper(p));
   jnode *n = *out = node(p, JN_not);
   p->t++;
   SINTER_TRY(negation(p, &n->a));
   p->depth--;
   return SINTER_ok;
}

static sinter_status conjunction(parser *p, jnode **out)
{
   SINTER_TRY(negation(p, out));
   while (is_word(p, "and")) {
      jnode *n = node(p, JN_and);
      p->t++;
      n->a = *out;
      SINTER_TRY(negation(p, &n->b));
      *out = n;
   }
   return SINTER_ok;
}

static sinter_status disjunction(parser *p, jnode **out)
{
   SINTER_TRY(conjunction(p, out));
   while (is_word(p, "or")) {
      jnode *n = node(p, JN_or);
      p->t++;
      n->a = *out;
      SINTER_TRY(conjunction(p, &n->b));
      *out = n;
   }
   return SINTER_ok;
}

static sinter_status expression(parser *p, jnode **out)
{
   jnode *value;

   SINTER_TRY(deeper(p));
   SINTER_TRY(disjunction(p, &value));
   while (is_word(p, "if")) {
      jnode *n = node(p, JN_choice);
      p->t++;
      n->a = value;
      SINTER_TRY(disjunction(p, &n->b));
      if (take_word(p, "else"))
         SINTER_TRY(expression(p, &n->c));
      value = n;
   }
   p->depth--;
   *out = value;
   return SINTER_ok;
}

/* expression, expression …: a tuple when there is a comma. */
static sinter_status tuple(parser *p, jnode **out)
{
   SINTER_TRY(expression(p, out));
   if (!is_op(p, ","))
      return SINTER_ok;
   jnode *n = node(p, JN_tuple);
   *vec_push(p->a, &n->kids) = *out;
   while (take_op(p, ",") && p->t->kind != JT_var_end && p->t->kind != JT_block_end)
      SINTER_TRY(expression(p, vec_push(p->a, &n->kids)));
   *out = n;
   return SINTER_ok;
}

/* ---- statements
 * ---------------------------------------------------------------------------------------- */

static sinter_status end_tag(parser *p, const char *word)
{
   if (!take_word(p, word))
      return unexpected(p);
   return need(p, JT_block_end);
}

static sinter_status if_statement(parser *p, jnode **out)
{
   static const char *const ends[] = {"elif", "else", "endif", NULL};
   jnode *n = *out = node(p, JN_if);

   do {
      p->t++; /* if, elif */
      SINTER_TRY(tuple(p, vec_push(p->a, &n->kids)));
      SINTER_TRY(need(p, JT_block_end));
      SINTER_TRY(body(p, ends, vec_push(p->a, &n->kids)));
   } while (is_word(p, "elif"));
   if (is_word(p, "else")) {
      SINTER_TRY(end_tag(p, "else"));
      SINTER_TRY(body(p, ends + 2, vec_push(p->a, &n->kids)));
   }
   return end_tag(p, "endif");
}

/* name, name.attr or (a, b) */
static sinter_status target(parser *p, jnode **out)
{
   bool parens = take_op(p, "(");
   jnode *n = node(p, JN_tuple);

   do {
      jnode **kid = vec_push(p->a, &n->kids);
      if (p->t->kind != JT_name)
         return unexpected(p);
      *kid = node(p, JN_name);
      (*kid)->value = text_of(p->t++);
   } while (take_op(p, ",") && !is_word(p, "in") && !is_op(p, "="));
   if (parens)
      SINTER_TRY(need_op(p, ")"));
   *out = n->kids.count == 1 ? n->kids.data[0] : n;
   if (n->kids.count == 1 && take_op(p, ".")) {
      jnode *attr = node(p, JN_attr);
      attr->a = *out;
      attr->value = text_of(p->t);
      *out = attr;
      return need(p, JT_name);
   }
   return SINTER_ok;
}

static sinter_status for_statement(parser *p, jnode **out)
{
   static const char *const ends[] = {"else", "endfor", NULL};
   jnode *n = *out = node(p, JN_for);

   p->t++;
   SINTER_TRY(target(p, &n->a));
   if (!take_word(p, "in"))
      return unexpected(p);
   SINTER_TRY(disjunction(p, &n->b));
   if (take_word(p, "if"))
      SINTER_TRY(expression(p, &n->c));
   if (is_word(p, "recursive"))
      return fail(p, SINTER_unsupported, "the template uses a loop that is", p->t->s, p->t->len);
   SINTER_TRY(need(p, JT_block_end));
   SINTER_TRY(body(p, ends, vec_push(p->a, &n->kids)));
   jnode **otherwise = vec_push(p->a, &n->kids);
   *otherwise = NULL;
   if (is_word(p, "else")) {
      SINTER_TRY(end_tag(p, "else"));
      SINTER_TRY(body(p, ends + 1, otherwise));
   }
   return end_tag(p, "endfor");
}

static sinter_status set_statement(parser *p, jnode **out)
{
   static const char *const ends[] = {"endset", NULL};
   jnode *n = *out = node(p, JN_set);

   p->t++;
   SINTER_TRY(target(p, &n->a));
   if (take_op(p, "=")) {
      SINTER_TRY(tuple(p, &n->b));
      return need(p, JT_block_end);
   }
   if (is_op(p, "|"))
      return fail(p, SINTER_unsupported, "the template uses a filter on a set block", p->t->s,
                  p->t->len);
   n->kind = JN_set_block;
   SINTER_TRY(need(p, JT_block_end));
   SINTER_TRY(body(p, ends, vec_push(p->a, &n->kids)));
   return end_tag(p, "endset");
}

static sinter_status macro_statement(parser *p, jnode **out)
{
   static const char *const ends[] = {"endmacro", NULL};
   jnode *n = *out = node(p, JN_macro);

   p->t++;
   n->value = text_of(p->t);
   SINTER_TRY(need(p, JT_name));
   SINTER_TRY(need_op(p, "("));
   while (!take_op(p, ")")) {
      if (n->keys.count > 0)
         SINTER_TRY(need_op(p, ","));
      *vec_push(p->a, &n->keys) = name_of(p);
      SINTER_TRY(need(p, JT_name));
      jnode **value = vec_push(p->a, &n->kids);
      *value = NULL;
      if (take_op(p, "="))
         SINTER_TRY(expression(p, value));
   }
   SINTER_TRY(need(p, JT_block_end));
   SINTER_TRY(body(p, ends, &n->b));
   return end_tag(p, "endmacro");
}

static sinter_status jump(parser *p, jnode_kind kind, jnode **out)
{
   *out = node(p, kind);
   p->t++;
   return need(p, JT_block_end);
}

static sinter_status statement(parser *p, jnode **out)
{
   static const char *const ends[] = {"endgeneration", NULL};

   p->t++; /* {% */
   if (is_word(p, "if"))
      return if_statement(p, out);
   if (is_word(p, "for"))
      return for_statement(p, out);
   if (is_word(p, "set"))
      return set_statement(p, out);
   if (is_word(p, "macro"))
      return macro_statement(p, out);
   if (is_word(p, "break"))
      return jump(p, JN_break, out);
   if (is_word(p, "continue"))
      return jump(p, JN_continue, out);
   if (is_word(p, "generation")) { /* marks what a model says, for training; no effect on text */
      p->t++;
      SINTER_TRY(need(p, JT_block_end));
      SINTER_TRY(body(p, ends, out));
      return end_tag(p, "endgeneration");
   }
   return fail(p, SINTER_unsupported, "the template uses the statement", p->t->s, p->t->len);
}

static bool at_end(const parser *p, const char *const *ends)
{
   if (p->t->kind == JT_end)
      return true;
   if (p->t->kind != JT_block || p->t[1].kind != JT_name)
      return false;
   for (; ends && *ends; ends++)
      if (p->t[1].len == strlen(*ends) && memcmp(p->t[1].s, *ends, p->t[1].len) == 0)
         return true;
   return false;
}

/* Statements up to one of the ends, whose {% is eaten. */
static sinter_status body(parser *p, const char *const *ends, jnode **out)
{
   jnode *n = node(p, JN_block);

   SINTER_TRY(deeper(p));
   while (!at_end(p, ends)) {
      jnode **kid = vec_push(p->a, &n->kids), *made = NULL;
      size_t at = (size_t)(kid - n->kids.data);
      if (p->t->kind == JT_text) {
         made = node(p, JN_text);
         made->value = text_of(p->t++);
      } else if (p->t->kind == JT_var) {
         made = node(p, JN_output);
         p->t++;
         SINTER_TRY(tuple(p, &made->a));
         SINTER_TRY(need(p, JT_var_end));
      } else if (p->t->kind == JT_block) {
         SINTER_TRY(statement(p, &made));
      } else {
         return unexpected(p);
      }
      n->kids.data[at] = made;
   }
   if (ends && p->t->kind == JT_end)
      return fail(p, SINTER_bad_input, "the template ends inside", ends[0],
                  (uint32_t)strlen(ends[0]));
   p->t += ends != NULL;
   p->depth--;
   *out = n;
   return SINTER_ok;
}

sinter_status jinja_parse(arena *a, const jtoken *tokens, jnode **out)
{
   parser p = {.a = a, .t = tokens};

   return body(&p, NULL, out);
}
