/* jinja_text.h - operations on texts and mappings that both filters and methods offer. */
#ifndef TEXT_JINJA_TEXT_H
#define TEXT_JINJA_TEXT_H

#include "jinja.h"

typedef enum jcasing { JCASE_upper, JCASE_lower, JCASE_title, JCASE_capitalize } jcasing;

/* Without the characters of `set` (NULL: white space) at its ends. */
jvalue jstrip(const jvalue *s, const jvalue *set, bool left, bool right);
/* The first `count` (-1: all) occurrences of `from` replaced. */
SINTER_CHECKED sinter_status jreplace(jinja *j, const jvalue *s, const jvalue *from,
                                      const jvalue *to, int64_t count, jvalue *out);
SINTER_CHECKED sinter_status jcase(jinja *j, const jvalue *s, jcasing casing, jvalue *out);
SINTER_CHECKED sinter_status jjoin(jinja *j, const jvalue *separator, const jlist *items,
                                   jvalue *out);
/* A list of (key, value). */
jvalue jdict_items(jinja *j, const jdict *d);

#endif
