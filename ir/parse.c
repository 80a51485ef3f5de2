/* parse.c - text to functions, in one pass and linear time. It checks form only; what the ops mean
 * is ir_validate's. */
#include "lex.h"

#include <stdio.h>

enum { MAX_TEXT = 64 << 20, MAX_LIST = 1 << 16 };

typedef struct parser {
   lexer l;
   ir_func *f;
   map ops;     /* op name → ir_op_infos row */
   map *values; /* of this function: name or number → ir_value */
   ir_group *group;
   bool has_returned;
} parser;

#define FAIL(p, ...) lex_fail(&(p)->l, &(p)->l.now, __VA_ARGS__)

static sinter_status next(parser *p)
{
   return lex_next(&p->l);
}

static sinter_status expect(parser *p, char c)
{
   return lex_expect(&p->l, c);
}

static sinter_status comma(parser *p, bool *out_more)
{
   return lex_take(&p->l, ',', out_more);
}

/* ---- types ---- */

static int find_sym(const token *t)
{
   for (int s = 0; s < SYM_COUNT; s++)
      if (lex_token_is(t, ir_sym_names[s]))
         return s;
   return -1;
}

/* number, SYM, number*SYM */
static sinter_status parse_term(parser *p, bool negative, ir_dim *sum)
{
   token start = p->l.now;
   int64_t k = 1;
   bool times = true;
   ir_dim term;

   if (start.kind == TOKEN_number) {
      SINTER_TRY(lex_int(&p->l, IR_MAX_EXTENT, &k));
      SINTER_TRY(lex_take(&p->l, '*', &times));
   }
   term = ir_dim_of(k);
   if (times) {
      int s = find_sym(&p->l.now);
      if (s < 0)
         return FAIL(p, "expected a number or a symbol of syms.def");
      term = ir_dim_mul(ir_dim_sym((sym)s), k);
      SINTER_TRY(next(p));
   }
   *sum = ir_dim_add(*sum, ir_dim_mul(term, negative ? -1 : 1));
   if (!ir_dim_is_valid(*sum))
      return lex_fail(&p->l, &start, "the extent is out of bounds");
   return SINTER_ok;
}

static sinter_status parse_affine(parser *p, ir_dim *out)
{
   bool negative, positive;

   *out = ir_dim_of(0);
   SINTER_TRY(lex_take(&p->l, '-', &negative));
   do {
      SINTER_TRY(parse_term(p, negative, out));
      SINTER_TRY(lex_take(&p->l, '+', &positive));
      negative = false;
      if (!positive)
         SINTER_TRY(lex_take(&p->l, '-', &negative));
   } while (positive || negative);
   return SINTER_ok;
}

/* ceil(term/n), floor((sum)/n) */
static sinter_status parse_rounded(parser *p, ir_dim *out)
{
   bool up = lex_is_name(&p->l, "ceil"), inner;
   int64_t by;
   token at;

   SINTER_TRY(next(p));
   SINTER_TRY(expect(p, '('));
   SINTER_TRY(lex_take(&p->l, '(', &inner));
   SINTER_TRY(parse_affine(p, out));
   if (inner)
      SINTER_TRY(expect(p, ')'));
   SINTER_TRY(expect(p, '/'));
   at = p->l.now;
   SINTER_TRY(lex_int(&p->l, IR_MAX_COEF, &by));
   if (by < 1)
      return lex_fail(&p->l, &at, "the divisor must be positive");
   *out = up ? ir_dim_ceil_div(*out, (int32_t)by) : ir_dim_floor_div(*out, (int32_t)by);
   return expect(p, ')');
}

static sinter_status parse_dim(parser *p, ir_dim *out)
{
   if (lex_is_name(&p->l, "ceil") || lex_is_name(&p->l, "floor"))
      return parse_rounded(p, out);
   return parse_affine(p, out);
}

static sinter_status parse_state_kind(parser *p, ir_type *t)
{
   if (p->l.now.kind != TOKEN_name)
      return SINTER_ok;
   for (int k = IR_STATE_none + 1; k < IR_STATE_COUNT; k++)
      if (lex_is_name(&p->l, ir_state_infos[k].name))
         t->state = (ir_state_kind)k;
   if (t->state == IR_STATE_none)
      return FAIL(p, "no such state kind");
   return next(p);
}

static sinter_status parse_type(parser *p, ir_type *out)
{
   token name = p->l.now;
   bool more;

   *out = (ir_type){.dtype = DT_none};
   if (lex_token_is(&name, dtype_infos[DT_none].name))
      return next(p);
   if (name.kind == TOKEN_name)
      out->dtype = dtype_from_name(name.text, name.len);
   if (out->dtype == DT_none)
      return FAIL(p, "expected a type, such as f32[T,576]");
   SINTER_TRY(next(p));
   SINTER_TRY(parse_state_kind(p, out));
   SINTER_TRY(expect(p, '['));
   for (more = !lex_is(&p->l, ']'); more;) {
      if (out->rank == IR_MAX_RANK)
         return FAIL(p, "more than %d extents", IR_MAX_RANK);
      SINTER_TRY(parse_dim(p, &out->dim[out->rank++]));
      SINTER_TRY(comma(p, &more));
   }
   return expect(p, ']');
}

/* ---- attributes ---- */

static sinter_status parse_name_of(parser *p, ir_attr_kind kind, int64_t *out)
{
   const token *t = &p->l.now;

   *out = kind == IR_KIND_DTYPE && t->kind == TOKEN_name ? (int64_t)dtype_from_name(t->text, t->len)
                                                         : -1;
   for (int i = 0; kind == IR_KIND_META && i < IR_META_COUNT; i++)
      if (lex_is_name(&p->l, ir_meta_infos[i].name))
         *out = i;
   if (*out < 0)
      return FAIL(p, kind == IR_KIND_META ? "no such metadata field" : "no such type");
   return next(p);
}

static sinter_status parse_attr(parser *p, ir_op *op)
{
   ir_attr attr = {.key = IR_ATTR_COUNT};

   for (int key = 0; key < IR_ATTR_COUNT; key++)
      if (lex_is_name(&p->l, ir_attr_infos[key].name))
         attr.key = (ir_attr_key)key;
   if (attr.key == IR_ATTR_COUNT)
      return FAIL(p, "no such attribute");
   if (ir_attr_get(op, attr.key))
      return FAIL(p, "attribute %s stands twice", ir_attr_infos[attr.key].name);
   SINTER_TRY(next(p));
   SINTER_TRY(expect(p, '='));
   switch (ir_attr_infos[attr.key].kind) {
   case IR_KIND_INT: SINTER_TRY(lex_int(&p->l, IR_MAX_EXTENT, &attr.i)); break;
   case IR_KIND_FLOAT: SINTER_TRY(lex_float(&p->l, &attr.f)); break;
   case IR_KIND_STR: SINTER_TRY(lex_string(&p->l, &attr.s)); break;
   case IR_KIND_DTYPE:
   case IR_KIND_META: SINTER_TRY(parse_name_of(p, ir_attr_infos[attr.key].kind, &attr.i)); break;
   }
   ir_attr_set(p->f, op, attr);
   return SINTER_ok;
}

static sinter_status parse_attrs(parser *p, ir_op *op)
{
   bool more;

   SINTER_TRY(lex_take(&p->l, '{', &more));
   if (!more)
      return SINTER_ok;
   if (!lex_is(&p->l, '}'))
      for (; more;) {
         SINTER_TRY(parse_attr(p, op));
         SINTER_TRY(comma(p, &more));
      }
   return expect(p, '}');
}

/* ---- ops ---- */

typedef VEC(token) tokens;

/* %a, %b, … */
static sinter_status parse_values(parser *p, tokens *out)
{
   bool more = true;

   while (more) {
      if (p->l.now.kind != TOKEN_value)
         return FAIL(p, "expected a value, such as %%x");
      if (out->count == MAX_LIST)
         return FAIL(p, "more than %d values", MAX_LIST);
      *vec_push(p->f->a, out) = p->l.now;
      SINTER_TRY(next(p));
      SINTER_TRY(comma(p, &more));
   }
   return SINTER_ok;
}

static sinter_status find_value(parser *p, const token *t, ir_value **out)
{
   *out = map_get_n(p->values, t->text, t->len);
   if (!*out)
      return lex_fail(&p->l, t, "%%%.*s is not defined above", (int)MIN(t->len, 80), t->text);
   return SINTER_ok;
}

static sinter_status define(parser *p, const token *t, ir_value *v)
{
   if (map_set_n(p->values, t->text, t->len, v))
      return lex_fail(&p->l, t, "%%%.*s is defined twice", (int)MIN(t->len, 80), t->text);
   if (ir_name_is_legal(t->text, t->len)) {
      v->name = arena_strndup(p->f->a, t->text, t->len);
      map_set(&p->f->names, v->name, v);
   }
   return SINTER_ok;
}

/* The types behind the colon; without a colon they are inferred. */
static sinter_status parse_result_types(parser *p, ir_op *op)
{
   bool written;

   SINTER_TRY(lex_take(&p->l, ':', &written));
   if (!written) {
      ir_type types[IR_MAX_RESULTS];
      if (!ir_infer(op, types))
         for (uint32_t i = 0; i < op->num_results; i++)
            op->results[i]->type = types[i];
      return SINTER_ok;
   }
   for (uint32_t i = 0; i < op->num_results; i++) {
      if (i)
         SINTER_TRY(expect(p, ','));
      SINTER_TRY(parse_type(p, &op->results[i]->type));
   }
   return SINTER_ok;
}

static sinter_status parse_op(parser *p)
{
   tokens results = {0}, operands = {0};

   if (p->l.now.kind == TOKEN_value) {
      SINTER_TRY(parse_values(p, &results));
      SINTER_TRY(expect(p, '='));
   }
   const ir_op_info *info = NULL;
   if (p->l.now.kind == TOKEN_name)
      info = map_get_n(&p->ops, p->l.now.text, p->l.now.len);
   if (!info)
      return FAIL(p, "no such op");
   SINTER_TRY(next(p));
   if (p->l.now.kind == TOKEN_value && info->operands != 0)
      SINTER_TRY(parse_values(p, &operands));
   ir_op *op = ir_op_create(p->f, (ir_opcode)(info - ir_op_infos), (uint32_t)operands.count,
                            (uint32_t)results.count);
   for (uint32_t i = 0; i < op->num_operands; i++) {
      ir_value *v;
      SINTER_TRY(find_value(p, &operands.data[i], &v));
      ir_use_set(p->f, op, i, v);
   }
   SINTER_TRY(parse_attrs(p, op));
   SINTER_TRY(parse_result_types(p, op));
   for (uint32_t i = 0; i < op->num_results; i++)
      SINTER_TRY(define(p, &results.data[i], op->results[i]));
   ir_op_attach(p->f, op, NULL);
   if (p->group)
      ir_group_append(p->group, op);
   return SINTER_ok;
}

/* ---- functions ---- */

static sinter_status parse_kernel(parser *p)
{
   token name;

   SINTER_TRY(next(p));
   name = p->l.now;
   if (name.kind != TOKEN_name)
      return FAIL(p, "expected the kernel's name");
   const char *text = arena_strndup(p->f->a, name.text, name.len);
   if (map_get(&p->f->kernels, text))
      return FAIL(p, "kernel %.80s stands twice", text);
   SINTER_TRY(next(p));
   SINTER_TRY(expect(p, '{'));
   if (lex_is(&p->l, '}'))
      return FAIL(p, "the kernel is empty");
   p->group = ir_group_create(p->f, text, ir_group_rule_of(p->f->a, name.text, name.len));
   p->f->num_kernels++;
   while (!lex_is(&p->l, '}'))
      SINTER_TRY(parse_op(p));
   p->group = NULL;
   return next(p);
}

static sinter_status parse_return(parser *p)
{
   tokens values = {0};

   SINTER_TRY(next(p));
   if (p->l.now.kind == TOKEN_value)
      SINTER_TRY(parse_values(p, &values));
   for (size_t i = 0; i < values.count; i++) {
      ir_value *v;
      SINTER_TRY(find_value(p, &values.data[i], &v));
      ir_func_return(p->f, v);
   }
   p->has_returned = true;
   return SINTER_ok;
}

static sinter_status parse_range(parser *p)
{
   int s = find_sym(&p->l.now);
   int64_t min, max;

   if (s < 0)
      return FAIL(p, "expected a symbol of syms.def");
   if (p->f->range[s].used)
      return FAIL(p, "symbol %s stands twice", ir_sym_names[s]);
   SINTER_TRY(next(p));
   if (!lex_is_name(&p->l, "in"))
      return FAIL(p, "expected `in`");
   SINTER_TRY(next(p));
   SINTER_TRY(lex_int(&p->l, IR_MAX_COEF, &min));
   if (p->l.now.kind != TOKEN_dots)
      return FAIL(p, "expected `..`");
   SINTER_TRY(next(p));
   SINTER_TRY(lex_int(&p->l, IR_MAX_COEF, &max));
   ir_func_range(p->f, (sym)s, min, max);
   return SINTER_ok;
}

static sinter_status parse_header(parser *p, arena *a)
{
   bool more;

   if (!lex_is_name(&p->l, "func"))
      return FAIL(p, "expected `func`");
   SINTER_TRY(next(p));
   if (p->l.now.kind != TOKEN_func)
      return FAIL(p, "expected the function's name, such as @main");
   p->f = ir_func_create(a, arena_strndup(a, p->l.now.text, p->l.now.len));
   SINTER_TRY(next(p));
   SINTER_TRY(expect(p, '('));
   for (more = !lex_is(&p->l, ')'); more;) {
      SINTER_TRY(parse_range(p));
      SINTER_TRY(comma(p, &more));
   }
   SINTER_TRY(expect(p, ')'));
   return expect(p, '{');
}

static sinter_status parse_func(parser *p, arena *a)
{
   map values = {.a = a};

   p->values = &values;
   p->has_returned = false;
   SINTER_TRY(parse_header(p, a));
   while (!lex_is(&p->l, '}')) {
      if (p->has_returned)
         return FAIL(p, "`return` must come last");
      if (lex_is_name(&p->l, "kernel"))
         SINTER_TRY(parse_kernel(p));
      else if (lex_is_name(&p->l, "return"))
         SINTER_TRY(parse_return(p));
      else
         SINTER_TRY(parse_op(p));
   }
   if (!p->has_returned)
      return FAIL(p, "the function has no `return`");
   return next(p);
}

sinter_status ir_parse(arena *a, const char *text, size_t len, const char *where, ir_module *out)
{
   parser p = {.ops = {.a = a}};
   map names = {.a = a};

   *out = (ir_module){0};
   lex_init(&p.l, a, text, len, where);
   p.l.now = (token){.text = text, .line = 1, .column = 1};
   if (len > MAX_TEXT)
      return FAIL(&p, "the text exceeds %d bytes", MAX_TEXT);
   for (int code = 0; code < IR_OP_COUNT; code++)
      map_set(&p.ops, ir_op_infos[code].name, (void *)&ir_op_infos[code]);
   SINTER_TRY(next(&p));
   do {
      SINTER_TRY(parse_func(&p, a));
      if (map_set(&names, p.f->name, p.f))
         return FAIL(&p, "function @%.80s stands twice", p.f->name);
      *vec_push(a, &out->funcs) = p.f;
   } while (p.l.now.kind != TOKEN_end);
   return SINTER_ok;
}
