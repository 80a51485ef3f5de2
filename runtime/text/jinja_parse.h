/* jinja_parse.h - what the two halves of the parser share: jinja_expr.c reads values, jinja_parse.c
 * statements. */
#ifndef TEXT_JINJA_PARSE_H
#define TEXT_JINJA_PARSE_H

#include "jinja.h"

typedef struct jparser {
   arena *a;
   const jtoken *t;
   int depth;
} jparser;

/* Fails with the line of the token at hand; detail is what it is about. */
SINTER_CHECKED sinter_status jparse_fail(const jparser *p, sinter_status status, const char *what,
                                         const char *detail, uint32_t len);
SINTER_CHECKED sinter_status jparse_unexpected(const jparser *p);
/* One level of nesting more; the caller takes it back when it is done. */
SINTER_CHECKED sinter_status jparse_deeper(jparser *p);
jnode *jparse_node(jparser *p, jnode_kind kind);

bool jparse_is_op(const jparser *p, const char *s);
bool jparse_is_word(const jparser *p, const char *s);
bool jparse_take_op(jparser *p, const char *s);
bool jparse_take_word(jparser *p, const char *s);
SINTER_CHECKED sinter_status jparse_need_op(jparser *p, const char *s);
SINTER_CHECKED sinter_status jparse_need(jparser *p, jtoken_kind kind);
/* The token at hand as a string value, and as a text of its own. */
jvalue jparse_text(const jparser *p);
const char *jparse_name(jparser *p);

/* A value with an inline if; without one; one or more with commas between, then a tuple. */
SINTER_CHECKED sinter_status jparse_expression(jparser *p, jnode **out);
SINTER_CHECKED sinter_status jparse_disjunction(jparser *p, jnode **out);
SINTER_CHECKED sinter_status jparse_tuple(jparser *p, jnode **out);

#endif
