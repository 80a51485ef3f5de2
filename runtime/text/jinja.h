/* jinja.h - the inside of chat.h: tokens, tree, values.
 *
 * A string knows for each byte whether it came from the messages ("tainted"). Every operation keeps
 * that: what a user wrote stays marked through slicing, replacing, joining and macros, so that the
 * tokenizer can refuse to see control tokens in it. */
#ifndef TEXT_JINJA_H
#define TEXT_JINJA_H

#include "base/arena.h"

enum {
   JINJA_FUEL = 2000000,    /* steps; long strings cost more */
   JINJA_DEPTH = 160,       /* nesting of expressions, blocks and macros */
   JINJA_OUTPUT = 8 << 20,  /* bytes of output and of any string */
   JINJA_RANGE = 100000,    /* items of any list */
   JINJA_MEMORY = 48 << 20, /* bytes of the arena */
};

typedef enum jkind {
   J_undefined,
   J_none,
   J_bool,
   J_int,
   J_float,
   J_string,
   J_list,
   J_dict,
   J_loop,
   J_macro,
   J_function,
   J_method
} jkind;

typedef struct jlist jlist;
typedef struct jdict jdict;
typedef struct jnode jnode;

typedef struct jvalue {
   uint8_t kind;
   uint8_t flag; /* string: all tainted (when taint is NULL); list: a tuple */
   uint32_t len; /* string: bytes */
   union {
      bool b;
      int64_t i;
      double f;
      const char *s; /* string; undefined: its name */
      jlist *list;
      jdict *dict;
      struct jloop *loop;
      struct jmacro *macro;
      struct jmethod *method;
      int function;
   };
   const uint8_t *taint; /* string: one byte each, or NULL when all are alike */
} jvalue;

struct jlist {
   VEC(jvalue) v;
};

typedef struct jpair {
   jvalue key, value;
} jpair;

struct jdict {
   VEC(jpair) v;
   bool is_namespace;
};

typedef struct jloop {
   jlist *items;
   size_t at;
   int depth;
} jloop;

typedef struct jmethod {
   jvalue self;
   int id; /* row of METHOD in jinja_names.def */
} jmethod;

typedef enum jtoken_kind {
   JT_text,
   JT_var,
   JT_var_end,
   JT_block,
   JT_block_end,
   JT_name,
   JT_string,
   JT_int,
   JT_float,
   JT_op,
   JT_end
} jtoken_kind;

typedef struct jtoken {
   jtoken_kind kind;
   uint32_t line;
   const char *s; /* text, name, decoded string, or the operator's characters */
   uint32_t len;
   int64_t i;
   double f;
} jtoken;

typedef enum jnode_kind {
   /* statements */
   JN_block,
   JN_text,
   JN_output,
   JN_if,
   JN_for,
   JN_set,
   JN_set_block,
   JN_macro,
   JN_break,
   JN_continue,
   /* expressions */
   JN_const,
   JN_name,
   JN_list,
   JN_tuple,
   JN_dict,
   JN_attr,
   JN_item,
   JN_slice,
   JN_call,
   JN_filter,
   JN_test,
   JN_not,
   JN_neg,
   JN_pos,
   JN_and,
   JN_or,
   JN_binary,
   JN_compare,
   JN_concat,
   JN_choice
} jnode_kind;

typedef enum jop {
   JOP_add,
   JOP_sub,
   JOP_mul,
   JOP_div,
   JOP_floordiv,
   JOP_mod,
   JOP_pow,
   JOP_eq,
   JOP_ne,
   JOP_lt,
   JOP_le,
   JOP_gt,
   JOP_ge,
   JOP_in,
   JOP_not_in
} jop;

/* Operands by kind:
 *   if      kids: condition, body, condition, body …, and a last else body when the count is odd
 *   for     a target, b iterable, c condition or NULL; kids: body, else body or NULL
 *   set     a target, b value       set_block: a target, kids[0] body
 *   macro   name; keys + kids: parameters and defaults (NULL); b body
 *   dict    kids: key, value, …     slice: a object; kids: from, to, step, each or NULL
 *   call    a callee                filter, test: a object, name
 *           arguments: kids; keys[i] NULL if positional
 *   compare a first operand; kids the others; ops[i] */
struct jnode {
   jnode_kind kind;
   uint32_t line;
   int op; /* binary: jop; filter, test: row in jinja_names.def; test: negated in `negated` */
   bool negated;
   jvalue value; /* const; name, attr, text: a string */
   jnode *a, *b, *c;
   VEC(jnode *) kids;
   VEC(const char *) keys;
   VEC(int) ops;
};

typedef struct jscope {
   struct jscope *up;
   jdict vars;
} jscope;

typedef struct jmacro {
   const jnode *node;
   jscope *scope;
} jmacro;

/* Text being made, with its taint. */
typedef struct jbuild {
   arena *a;
   char *s;
   uint8_t *taint;
   size_t len, cap;
} jbuild;

typedef struct jinja {
   arena *a;
   uint64_t fuel;
   int depth;
   size_t memory_at_start;
   int64_t now;
   jscope *scope;
   jbuild *out;
   enum { FLOW_on, FLOW_break, FLOW_continue } flow;
   uint32_t line; /* of the node at work, for errors */
} jinja;

/* Arguments of a call: positional first. */
typedef struct jargs {
   jvalue *v;
   size_t count;
   const char **keys; /* NULL for positional ones */
} jargs;

/* jinja_lex.c, jinja_parse.c with jinja_expr.c: errors name the line. */
SINTER_CHECKED sinter_status jinja_lex(arena *a, const char *source, size_t len, jtoken **out);
SINTER_CHECKED sinter_status jinja_parse(arena *a, const jtoken *tokens, jnode **out);

/* jinja_value.c */
SINTER_CHECKED sinter_status jinja_fail(const jinja *j, sinter_status status, const char *fmt, ...)
   PRINTF_LIKE(3, 4);
SINTER_CHECKED sinter_status jinja_burn(jinja *j, size_t work);
SINTER_CHECKED sinter_status jbuild_add(jinja *j, jbuild *b, const jvalue *s);
SINTER_CHECKED sinter_status jbuild_text(jinja *j, jbuild *b, const char *s, size_t len,
                                         bool tainted);
jvalue jbuild_string(const jbuild *b);
jvalue jstring(const char *s, size_t len);
jvalue jstring_part(const jvalue *s, size_t begin, size_t len);
jvalue jbool(bool b);
jvalue jint(int64_t i);
jvalue jundefined(const char *name);
jvalue jnew_list(jinja *j);
jvalue jnew_dict(jinja *j);
void jdict_set(jinja *j, jdict *d, jvalue key, jvalue value);
/* NULL when absent. */
jvalue *jdict_get(const jdict *d, const char *key, size_t len);
bool jis_true(const jvalue *v);
bool jequal(const jvalue *a, const jvalue *b);
bool jis_tainted(const jvalue *v);
/* *out <0, 0, >0; fails for values without an order. */
SINTER_CHECKED sinter_status jcompare(jinja *j, const jvalue *a, const jvalue *b, int *out);
/* As Python's str() and repr(). */
SINTER_CHECKED sinter_status jstr(jinja *j, const jvalue *v, jvalue *out);
SINTER_CHECKED sinter_status jprint(jinja *j, jbuild *b, const jvalue *v, bool repr);
/* How JSON is written: indent -1 for one line. */
typedef struct jjson {
   int64_t indent;
   bool sort, ascii;
   jvalue comma, colon;
} jjson;

SINTER_CHECKED sinter_status jtojson(jinja *j, jbuild *b, const jvalue *v, const jjson *style,
                                     int level);
/* The items that iterating gives: list items, keys, characters. */
SINTER_CHECKED sinter_status jitems(jinja *j, const jvalue *v, jlist **out);
size_t jchars(const char *s, size_t len);
/* Values of a JSON text; strings are tainted as said. */
SINTER_CHECKED sinter_status jparse_json(jinja *j, const char *text, size_t len, const char *where,
                                         bool tainted, jvalue *out);

/* jinja_eval.c */
SINTER_CHECKED sinter_status jinja_run(jinja *j, const jnode *block);

/* jinja_access.c: an attribute (or, item_first, what a subscript finds); any item; v[bounds], each
 * may be none. */
SINTER_CHECKED sinter_status jinja_attr(jinja *j, const jvalue *v, const jvalue *name,
                                        bool item_first, jvalue *out);
SINTER_CHECKED sinter_status jinja_item(jinja *j, const jvalue *v, const jvalue *key, jvalue *out);
SINTER_CHECKED sinter_status jinja_slice(jinja *j, jvalue v, const jvalue bounds[3], jvalue *out);

/* jinja_ops.c */
SINTER_CHECKED sinter_status jinja_binary(jinja *j, jop op, const jvalue *a, const jvalue *b,
                                          jvalue *out);
SINTER_CHECKED sinter_status jinja_compare(jinja *j, jop op, const jvalue *a, const jvalue *b,
                                           bool *out);
/* "a string", "none", … for messages. */
const char *jkind_name(const jvalue *v);

/* jinja_filters.c, jinja_methods.c; ids are rows of jinja_names.def, -1 unknown. */
int jinja_filter_id(const char *name, size_t len);
int jinja_test_id(const char *name, size_t len);
int jinja_method_id(jkind kind, const char *name, size_t len);
SINTER_CHECKED sinter_status jinja_filter(jinja *j, int id, const jvalue *v, const jargs *args,
                                          jvalue *out);
SINTER_CHECKED sinter_status jinja_test(jinja *j, int id, const jvalue *v, const jargs *args,
                                        bool *out);
SINTER_CHECKED sinter_status jinja_method(jinja *j, int id, const jvalue *self, const jargs *args,
                                          jvalue *out);
SINTER_CHECKED sinter_status jinja_function(jinja *j, int id, const jargs *args, jvalue *out);
void jinja_globals(jinja *j);
/* The argument at `at` or by name; NULL when it was not given. */
const jvalue *jarg(const jargs *args, size_t at, const char *name);

#endif
