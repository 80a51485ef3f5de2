/* jinja_parse.c - statements and whole templates to a tree. */
#include "jinja_parse.h"

static sinter_status body(jparser *p, const char *const *ends, jnode **out);

/* ---- statements ---- */

static sinter_status end_tag(jparser *p, const char *word)
{
   if (!jparse_take_word(p, word))
      return jparse_unexpected(p);
   return jparse_need(p, JT_block_end);
}

static sinter_status if_statement(jparser *p, jnode **out)
{
   static const char *const ends[] = {"elif", "else", "endif", NULL};
   jnode *n = *out = jparse_node(p, JN_if);

   do {
      p->t++; /* if, elif */
      SINTER_TRY(jparse_tuple(p, vec_push(p->a, &n->kids)));
      SINTER_TRY(jparse_need(p, JT_block_end));
      SINTER_TRY(body(p, ends, vec_push(p->a, &n->kids)));
   } while (jparse_is_word(p, "elif"));
   if (jparse_is_word(p, "else")) {
      SINTER_TRY(end_tag(p, "else"));
      SINTER_TRY(body(p, ends + 2, vec_push(p->a, &n->kids)));
   }
   return end_tag(p, "endif");
}

/* name, name.attr or (a, b) */
static sinter_status target(jparser *p, jnode **out)
{
   bool parens = jparse_take_op(p, "(");
   jnode *n = jparse_node(p, JN_tuple);

   do {
      jnode **kid = vec_push(p->a, &n->kids);
      if (p->t->kind != JT_name)
         return jparse_unexpected(p);
      *kid = jparse_node(p, JN_name);
      (*kid)->value = jparse_text(p);
      p->t++;
   } while (jparse_take_op(p, ",") && !jparse_is_word(p, "in") && !jparse_is_op(p, "="));
   if (parens)
      SINTER_TRY(jparse_need_op(p, ")"));
   *out = n->kids.count == 1 ? n->kids.data[0] : n;
   if (n->kids.count == 1 && jparse_take_op(p, ".")) {
      jnode *attr = jparse_node(p, JN_attr);
      attr->a = *out;
      attr->value = jparse_text(p);
      *out = attr;
      return jparse_need(p, JT_name);
   }
   return SINTER_ok;
}

static sinter_status for_statement(jparser *p, jnode **out)
{
   static const char *const ends[] = {"else", "endfor", NULL};
   jnode *n = *out = jparse_node(p, JN_for);

   p->t++;
   SINTER_TRY(target(p, &n->a));
   if (!jparse_take_word(p, "in"))
      return jparse_unexpected(p);
   SINTER_TRY(jparse_disjunction(p, &n->b));
   if (jparse_take_word(p, "if"))
      SINTER_TRY(jparse_expression(p, &n->c));
   if (jparse_is_word(p, "recursive"))
      return jparse_fail(p, SINTER_unsupported, "the template uses a loop that is", p->t->s,
                         p->t->len);
   SINTER_TRY(jparse_need(p, JT_block_end));
   SINTER_TRY(body(p, ends, vec_push(p->a, &n->kids)));
   jnode **otherwise = vec_push(p->a, &n->kids);
   *otherwise = NULL;
   if (jparse_is_word(p, "else")) {
      SINTER_TRY(end_tag(p, "else"));
      SINTER_TRY(body(p, ends + 1, otherwise));
   }
   return end_tag(p, "endfor");
}

static sinter_status set_statement(jparser *p, jnode **out)
{
   static const char *const ends[] = {"endset", NULL};
   jnode *n = *out = jparse_node(p, JN_set);

   p->t++;
   SINTER_TRY(target(p, &n->a));
   if (jparse_take_op(p, "=")) {
      SINTER_TRY(jparse_tuple(p, &n->b));
      return jparse_need(p, JT_block_end);
   }
   if (jparse_is_op(p, "|"))
      return jparse_fail(p, SINTER_unsupported, "the template uses a filter on a set block",
                         p->t->s, p->t->len);
   n->kind = JN_set_block;
   SINTER_TRY(jparse_need(p, JT_block_end));
   SINTER_TRY(body(p, ends, vec_push(p->a, &n->kids)));
   return end_tag(p, "endset");
}

static sinter_status macro_statement(jparser *p, jnode **out)
{
   static const char *const ends[] = {"endmacro", NULL};
   jnode *n = *out = jparse_node(p, JN_macro);

   p->t++;
   n->value = jparse_text(p);
   SINTER_TRY(jparse_need(p, JT_name));
   SINTER_TRY(jparse_need_op(p, "("));
   while (!jparse_take_op(p, ")")) {
      if (n->keys.count > 0)
         SINTER_TRY(jparse_need_op(p, ","));
      *vec_push(p->a, &n->keys) = jparse_name(p);
      SINTER_TRY(jparse_need(p, JT_name));
      jnode **value = vec_push(p->a, &n->kids);
      *value = NULL;
      if (jparse_take_op(p, "="))
         SINTER_TRY(jparse_expression(p, value));
   }
   SINTER_TRY(jparse_need(p, JT_block_end));
   SINTER_TRY(body(p, ends, &n->b));
   return end_tag(p, "endmacro");
}

static sinter_status jump(jparser *p, jnode_kind kind, jnode **out)
{
   *out = jparse_node(p, kind);
   p->t++;
   return jparse_need(p, JT_block_end);
}

static sinter_status statement(jparser *p, jnode **out)
{
   static const char *const ends[] = {"endgeneration", NULL};

   p->t++; /* {% */
   if (jparse_is_word(p, "if"))
      return if_statement(p, out);
   if (jparse_is_word(p, "for"))
      return for_statement(p, out);
   if (jparse_is_word(p, "set"))
      return set_statement(p, out);
   if (jparse_is_word(p, "macro"))
      return macro_statement(p, out);
   if (jparse_is_word(p, "break"))
      return jump(p, JN_break, out);
   if (jparse_is_word(p, "continue"))
      return jump(p, JN_continue, out);
   if (jparse_is_word(
          p, "generation")) { /* marks what a model says, for training; no effect on text */
      p->t++;
      SINTER_TRY(jparse_need(p, JT_block_end));
      SINTER_TRY(body(p, ends, out));
      return end_tag(p, "endgeneration");
   }
   return jparse_fail(p, SINTER_unsupported, "the template uses the statement", p->t->s, p->t->len);
}

static bool at_end(const jparser *p, const char *const *ends)
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
static sinter_status body(jparser *p, const char *const *ends, jnode **out)
{
   jnode *n = jparse_node(p, JN_block);

   SINTER_TRY(jparse_deeper(p));
   while (!at_end(p, ends)) {
      jnode **kid = vec_push(p->a, &n->kids), *made = NULL;
      size_t at = (size_t)(kid - n->kids.data);
      if (p->t->kind == JT_text) {
         made = jparse_node(p, JN_text);
         made->value = jparse_text(p);
         p->t++;
      } else if (p->t->kind == JT_var) {
         made = jparse_node(p, JN_output);
         p->t++;
         SINTER_TRY(jparse_tuple(p, &made->a));
         SINTER_TRY(jparse_need(p, JT_var_end));
      } else if (p->t->kind == JT_block) {
         SINTER_TRY(statement(p, &made));
      } else {
         return jparse_unexpected(p);
      }
      n->kids.data[at] = made;
   }
   if (ends && p->t->kind == JT_end)
      return jparse_fail(p, SINTER_bad_input, "the template ends inside", ends[0],
                         (uint32_t)strlen(ends[0]));
   p->t += ends != NULL;
   p->depth--;
   *out = n;
   return SINTER_ok;
}

sinter_status jinja_parse(arena *a, const jtoken *tokens, jnode **out)
{
   jparser p = {.a = a, .t = tokens};

   return body(&p, NULL, out);
}
