/* grammar_regex.c - regular expressions of the kind that JSON schemas have, into states.
 *
 *    alternatives ─▶ pieces ─▶ atom and times; read once into a tree, which is built as often as it repeats
 *
 * \d \w \s mean the ASCII characters, and \D \W \S none of these (\S no Unicode space either). ^
 * and $ stand at the ends of the whole. Declined: look-around, references, \b, \p, flags, anchors
 * elsewhere. */
#include "grammar_build.h"

enum { MAX_DEPTH = 48, MAX_TIMES = 1 << 20 };

typedef enum node_kind { NODE_set, NODE_cat, NODE_or } node_kind;

typedef struct node {
   node_kind kind;
   int64_t least, most; /* times */
   grammar_set set;
   VEC(struct node *) children;
} node;

typedef struct parser {
   grammar_builder *b;
   const char *text;
   size_t len, at;
   int depth;
} parser;

static sinter_status refuse(const parser *p, sinter_status status, const char *what)
{
   return base_fail(status, "regex", "write it in another way", "%s at byte %zu of '%.*s'", what,
                    p->at, (int)MIN(p->len, (size_t)80), p->text);
}

static sinter_status lacks(const parser *p, const char *what)
{
   return refuse(p, SINTER_unsupported, what);
}

static sinter_status malformed(const parser *p, const char *what)
{
   return refuse(p, SINTER_bad_input, what);
}

static bool at_end(const parser *p)
{
   return p->at >= p->len;
}

static char peek(const parser *p)
{
   return at_end(p) ? 0 : p->text[p->at];
}

static bool take(parser *p, const char *what)
{
   size_t n = strlen(what);

   if (p->len - p->at < n || memcmp(p->text + p->at, what, n) != 0)
      return false;
   p->at += n;
   return true;
}

static node *new_node(parser *p, node_kind kind)
{
   node *n = arena_new(p->b->a, node);

   *n = (node){.kind = kind, .least = 1, .most = 1};
   return n;
}

/* ---- characters ---- */

static void add_all(parser *p, grammar_set *s, const grammar_range *r, size_t n, bool negated)
{
   grammar_set set = {0};

   for (size_t i = 0; i < n; i++)
      grammar_set_add(p->b, &set, r[i].lo, r[i].hi);
   if (negated)
      grammar_set_complement(p->b, &set);
   for (size_t i = 0; i < set.count; i++)
      grammar_set_add(p->b, s, set.data[i].lo, set.data[i].hi);
}

/* \d and its like. */
static bool add_kind(parser *p, grammar_set *s, char c)
{
   static const grammar_range digit[] = {{'0', '9'}},
                              word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                              space[] = {{'\t', '\r'},     {' ', ' '},       {0x1c, 0x1f},
                                         {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
                                         {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                         {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};

   switch (c) {
   case 'd':
   case 'D': add_all(p, s, digit, countof(digit), c == 'D'); return true;
   case 'w':
   case 'W': add_all(p, s, word, countof(word), c == 'W'); return true;
   case 's': add_all(p, s, space, 2, false); return true;
   case 'S': add_all(p, s, space, countof(space), true); return true;
   default: return false;
   }
}

static sinter_status hex_code(parser *p, size_t digits, uint32_t *out)
{
   *out = 0;
   for (size_t i = 0; i < digits; i++, p->at++) {
      char c = peek(p), low = (char)(c | 32);
      if (!((c >= '0' && c <= '9') || (low >= 'a' && low <= 'f')))
         return malformed(p, "hex digits are missing");
      *out = *out * 16 + (uint32_t)(c <= '9' ? c - '0' : low - 'a' + 10);
   }
   return SINTER_ok;
}

/* What follows a backslash and stands for one character. */
static sinter_status escaped(parser *p, uint32_t *out)
{
   static const char letters[] = "nrtfv", codes[] = "\n\r\t\f\v";
   char c = peek(p);
   const char *letter = c ? strchr(letters, c) : NULL;

   if (at_end(p))
      return malformed(p, "a backslash ends the regex");
   if (c == 'x' || c == 'u') {
      p->at++;
      SINTER_TRY(hex_code(p, c == 'x' ? 2 : 4, out));
      return *out >= 0xd800 && *out <= 0xdfff ? lacks(p, "half a surrogate pair") : SINTER_ok;
   }
   if (letter)
      *out = (uint8_t)codes[letter - letters];
   else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
      return lacks(p, "an escape that is not known here");
   else {
      *out = grammar_decode(p->text, p->len, &p->at);
      return SINTER_ok;
   }
   p->at++;
   return SINTER_ok;
}

/* One member of [...]: a character, or a kind (then *out_kind). */
static sinter_status member(parser *p, grammar_set *s, uint32_t *out, bool *out_kind)
{
   *out_kind = false;
   if (at_end(p))
      return malformed(p, "a class is not closed");
   if (take(p, "[:"))
      return lacks(p, "a POSIX class");
   if (!take(p, "\\")) {
      *out = grammar_decode(p->text, p->len, &p->at);
      return SINTER_ok;
   }
   *out_kind = add_kind(p, s, peek(p));
   p->at += *out_kind;
   if (!*out_kind && take(p, "b")) {
      *out = '\b';
      return SINTER_ok;
   }
   return *out_kind ? SINTER_ok : escaped(p, out);
}

static sinter_status class(parser *p, node **out)
{
   node *n = *out = new_node(p, NODE_set);
   bool negated = take(p, "^"), is_kind;
   uint32_t lo, hi;

   while (!take(p, "]")) {
      SINTER_TRY(member(p, &n->set, &lo, &is_kind));
      if (is_kind)
         continue;
      hi = lo;
      if (peek(p) == '-' && p->at + 1 < p->len && p->text[p->at + 1] != ']') {
         p->at++;
         SINTER_TRY(member(p, &n->set, &hi, &is_kind));
         if (is_kind || hi < lo)
            return malformed(p, "a range of a class goes backwards");
      }
      grammar_set_add(p->b, &n->set, lo, hi);
   }
   if (negated)
      grammar_set_complement(p->b, &n->set);
   grammar_set_normalize(&n->set);
   return SINTER_ok;
}

/* ---- the tree ---- */

static sinter_status alternatives(parser *p, node **out);

static sinter_status group(parser *p, node **out)
{
   if (take(p, "?") && !take(p, ":")) {
      size_t from = p->at;
      if (!take(p, "P<") && !take(p, "<"))
         return lacks(p, "look-ahead or a flag");
      if (peek(p) == '=' || peek(p) == '!')
         return lacks(p, "look-behind");
      while (!at_end(p) && peek(p) != '>')
         p->at++;
      if (!take(p, ">") || p->at - from > 64)
         return malformed(p, "the name of a group has no end");
   }
   if (++p->depth > MAX_DEPTH)
      return refuse(p, SINTER_exhausted, "groups are nested too deeply");
   SINTER_TRY(alternatives(p, out));
   p->depth--;
   return take(p, ")") ? SINTER_ok : malformed(p, "a group is not closed");
}

static sinter_status atom(parser *p, node **out)
{
   static const grammar_range breaks[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
   uint32_t c;

   if (take(p, "("))
      return group(p, out);
   if (take(p, "["))
      return class(p, out);
   if (peek(p) == '^' || peek(p) == '$')
      return lacks(p, "an anchor inside of the regex");
   if (strchr("*+?{", peek(p)))
      return malformed(p, "nothing to repeat");
   *out = new_node(p, NODE_set);
   if (take(p, ".")) {
      add_all(p, &(*out)->set, breaks, countof(breaks), true);
   } else if (take(p, "\\")) {
      bool is_kind = add_kind(p, &(*out)->set, peek(p));
      p->at += is_kind;
      if (!is_kind) {
         SINTER_TRY(escaped(p, &c));
         grammar_set_add(p->b, &(*out)->set, c, c);
      }
   } else {
      c = grammar_decode(p->text, p->len, &p->at);
      grammar_set_add(p->b, &(*out)->set, c, c);
   }
   grammar_set_normalize(&(*out)->set);
   return SINTER_ok;
}

static bool count(parser *p, int64_t *out)
{
   size_t from = p->at;

   for (*out = 0; peek(p) >= '0' && peek(p) <= '9'; p->at++)
      *out = MIN(*out * 10 + (peek(p) - '0'), (int64_t)MAX_TIMES + 1);
   return p->at > from;
}

/* {2}, {2,} or {2,3}; a brace that is none of these is an error. */
static sinter_status braces(parser *p, int64_t *least, int64_t *most)
{
   if (!count(p, least))
      return malformed(p, "a brace that counts nothing");
   *most = *least;
   if (take(p, ",") && !count(p, most))
      *most = GRAMMAR_UNBOUNDED;
   if (!take(p, "}"))
      return malformed(p, "a brace is not closed");
   if (*most >= 0 && *most < *least)
      return malformed(p, "a repetition ends before it begins");
   if (MAX(*least, *most) > MAX_TIMES)
      return refuse(p, SINTER_exhausted, "a repetition is too long");
   return SINTER_ok;
}

static sinter_status piece(parser *p, node **out)
{
   int64_t least = 1, most = 1;
   node *inner;

   SINTER_TRY(atom(p, out));
   if (take(p, "*"))
      least = 0, most = GRAMMAR_UNBOUNDED;
   else if (take(p, "+"))
      most = GRAMMAR_UNBOUNDED;
   else if (take(p, "?"))
      least = 0;
   else if (take(p, "{"))
      SINTER_TRY(braces(p, &least, &most));
   else
      return SINTER_ok;
   (void)take(p, "?"); /* lazy: the same texts */
   if (!at_end(p) && strchr("*+{", peek(p)))
      return malformed(p, "a repetition of a repetition");
   inner = *out;
   *out = new_node(p, NODE_cat);
   *vec_push(p->b->a, &(*out)->children) = inner;
   (*out)->least = least;
   (*out)->most = most;
   return SINTER_ok;
}

static sinter_status sequence(parser *p, node **out)
{
   *out = new_node(p, NODE_cat);
   while (!at_end(p) && peek(p) != '|' && peek(p) != ')') {
      node *n;
      if (p->depth == 0 && peek(p) == '$' && (p->at + 1 == p->len || p->text[p->at + 1] == '|'))
         break;
      SINTER_TRY(piece(p, &n));
      *vec_push(p->b->a, &(*out)->children) = n;
   }
   return SINTER_ok;
}

static sinter_status alternatives(parser *p, node **out)
{
   *out = new_node(p, NODE_or);
   do {
      node *n;
      SINTER_TRY(sequence(p, &n));
      *vec_push(p->b->a, &(*out)->children) = n;
   } while (take(p, "|"));
   return SINTER_ok;
}

/* ---- states ---- */

static uint32_t build(grammar_builder *b, const node *n, bool as_json, uint32_t next);

static uint32_t build_once(grammar_builder *b, const node *n, bool as_json, uint32_t next)
{
   uint32_t out = GRAMMAR_FAIL;

   if (n->kind == NODE_set)
      return grammar_class(b, &n->set, as_json, next);
   for (size_t i = n->children.count; i-- > 0 && !b->full;) {
      uint32_t child = build(b, n->children.data[i], as_json, next);
      if (n->kind == NODE_cat)
         next = child;
      else
         out = grammar_or(b, child, out);
   }
   return n->kind == NODE_cat ? next : out;
}

static uint32_t build(grammar_builder *b, const node *n, bool as_json, uint32_t next)
{
   uint32_t end = next, loop = 0;

   if (n->most == GRAMMAR_UNBOUNDED) {
      loop = grammar_open(b);
      grammar_close(b, loop, grammar_or(b, build_once(b, n, as_json, loop), end));
      next = loop;
   }
   for (int64_t i = n->least; i < n->most && !b->full; i++)
      next = grammar_or(b, build_once(b, n, as_json, next), end);
   for (int64_t i = 0; i < n->least && !b->full; i++)
      next = build_once(b, n, as_json, next);
   return next;
}

/* One alternative of the whole, with what may stand around it. */
static sinter_status outer(parser *p, grammar_anchor anchor, bool as_json, uint32_t next,
                           uint32_t *out)
{
   grammar_builder *b = p->b;
   grammar_set all = {0};
   node *n;

   bool begins = take(p, "^") || anchor == GRAMMAR_WHOLE;
   SINTER_TRY(sequence(p, &n));
   bool ends = take(p, "$") || anchor == GRAMMAR_WHOLE;
   if (!at_end(p) && peek(p) != '|')
      return malformed(p, "a parenthesis that closes nothing");
   grammar_set_add(b, &all, 0, 0x10ffff);
   node anything = {.kind = NODE_set, .least = 0, .most = GRAMMAR_UNBOUNDED, .set = all};
   if (!ends)
      next = build(b, &anything, as_json, next);
   *out = build(b, n, as_json, next);
   if (!begins)
      *out = build(b, &anything, as_json, *out);
   return SINTER_ok;
}

sinter_status grammar_regex(grammar_builder *b, const char *text, size_t len, grammar_anchor anchor,
                            bool as_json, uint32_t next, uint32_t *out)
{
   parser p = {.b = b, .text = text, .len = len};
   uint32_t one;

   *out = GRAMMAR_FAIL;
   if (len > GRAMMAR_MAX_REGEX)
      return base_fail(SINTER_exhausted, "regex", "write a shorter one",
                       "a regex of %zu bytes is longer than %d", len, GRAMMAR_MAX_REGEX);
   do {
      SINTER_TRY(outer(&p, anchor, as_json, next, &one));
      *out = grammar_or(b, *out, one);
   } while (take(&p, "|"));
   return SINTER_ok;
}
