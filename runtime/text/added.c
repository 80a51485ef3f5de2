/* added.c - finding added tokens in text, leftmost first and longest first.
 *
 * A special token counts only when no byte of it comes from a user. A match that a flag refuses is
 * stepped over whole, as the `tokenizers` package does; one that taint refuses is stepped over by
 * one byte only, so that user text can never hide a token that the template itself wrote. */
#include <utf8proc.h>

#include "internal.h"
#include "utf8.h"

/* A letter, mark, digit or connector, also a letter in a circle, or a joiner. */
static bool is_word(uint32_t cp)
{
   if (cp == TEXT_INVALID)
      return false;
   if (cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9))
      return true;
   if (cp < 128)
      return (cp >= '0' && cp <= '9') || (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z') ||
             cp == '_';
   switch (utf8proc_category((utf8proc_int32_t)cp)) {
   case UTF8PROC_CATEGORY_LU:
   case UTF8PROC_CATEGORY_LL:
   case UTF8PROC_CATEGORY_LT:
   case UTF8PROC_CATEGORY_LM:
   case UTF8PROC_CATEGORY_LO:
   case UTF8PROC_CATEGORY_MN:
   case UTF8PROC_CATEGORY_MC:
   case UTF8PROC_CATEGORY_ME:
   case UTF8PROC_CATEGORY_ND:
   case UTF8PROC_CATEGORY_NL:
   case UTF8PROC_CATEGORY_PC: return true;
   default: return false;
   }
}

/* The code point that ends before `end`, and where it begins. */
static uint32_t before(const text_search *s, uint32_t end, uint32_t *out_begin)
{
   uint32_t begin = end, cp;

   do
      begin--;
   while (begin > 0 && end - begin < 4 && (s->p[begin] & 0xc0) == 0x80);
   *out_begin = begin;
   return text_utf8_next(s->p + begin, end - begin, &cp) == end - begin ? cp : TEXT_INVALID;
}

static bool stands_alone(const text_search *s, uint32_t begin, uint32_t end)
{
   uint32_t cp, at;

   if (begin > 0 && is_word(before(s, begin, &at)))
      return false;
   if (end == s->len)
      return true;
   text_utf8_next(s->p + end, s->len - end, &cp);
   return !is_word(cp);
}

static void take_space(const text_search *s, uint32_t flags, text_match *m)
{
   uint32_t cp, at;

   while ((flags & VOCAB_lstrip) && m->begin > s->taken) {
      if (!text_is_space(before(s, m->begin, &at)) || at < s->taken)
         break;
      m->begin = at;
   }
   while ((flags & VOCAB_rstrip) && m->end < s->len) {
      uint32_t n = text_utf8_next(s->p + m->end, s->len - m->end, &cp);
      if (!text_is_space(cp))
         break;
      m->end += n;
   }
}

static bool is_tainted(const text_search *s, uint32_t begin, uint32_t end)
{
   return s->tainted && memchr(s->tainted + begin, 1, end - begin) != NULL;
}

/* The longest token at `at` that taint allows; false when there is none. */
static bool longest_at(const text_search *s, uint32_t at, text_match *out, uint32_t *out_flags)
{
   const vocab_node *node = s->nodes;
   bool found = false;

   for (uint32_t i = at; i < s->len; i++) {
      node = vocab_child(s->nodes, node, s->p[i]);
      if (!node)
         break;
      if (node->value == 0)
         continue;
      const vocab_added *t = &s->v->added[node->value - 1];
      if (s->is_raw && (t->flags & VOCAB_normalized) && !s->tainted)
         continue;
      if ((t->flags & VOCAB_added_special) && (s->specials_done || is_tainted(s, at, i + 1)))
         continue;
      *out = (text_match){.begin = at, .end = i + 1, .id = t->id};
      *out_flags = t->flags;
      found = true;
   }
   return found;
}

bool text_search_next(text_search *s, text_match *out)
{
   uint32_t flags;

   if (s->num_nodes == 0)
      return false;
   while (s->at < s->len) {
      if (!longest_at(s, s->at, out, &flags)) {
         s->at++;
         continue;
      }
      uint32_t end = out->end;
      s->at = end;
      if ((flags & VOCAB_added_special) && s->plain)
         continue;
      if ((flags & VOCAB_single_word) && !stands_alone(s, out->begin, end))
         continue;
      take_space(s, flags, out);
      s->taken = out->end;
      return true;
   }
   return false;
}
