/* formula.c - reads formulas by recursive descent, a function for each line of the grammar. */
#include "formula.h"

#include <stdlib.h>
#include <string.h>

static const struct {
   const char *name;
   int operands;
} fns[] = {
#define FN(name, operands, vec, simt) {#name, operands},
#include "formula.def"
#undef FN
};

typedef struct reader {
   const char *at;
   const ir_op *op;
   const ir_formula *make;
   void *x;
} reader;

static void *sum(reader *r);

static bool take(reader *r, char c)
{
   r->at += strspn(r->at, " ");
   if (*r->at != c)
      return false;
   r->at++;
   return true;
}

static void *call(reader *r, ir_formula_fn fn, void *a, void *b)
{
   return a && (b || fns[fn].operands == 1) ? r->make->call(r->make->user, fn, a, b) : NULL;
}

static void *attribute(reader *r, const char *name, size_t len)
{
   for (uint32_t k = 0; k < IR_ATTR_COUNT; k++)
      if (ir_attr_infos[k].kind == IR_KIND_FLOAT && strlen(ir_attr_infos[k].name) == len &&
          memcmp(ir_attr_infos[k].name, name, len) == 0)
         return r->make->number(r->make->user, ir_attr_f(r->op, (ir_attr_key)k, 0));
   return NULL;
}

static void *function(reader *r, ir_formula_fn fn)
{
   void *b = NULL, *a = sum(r);

   if (fns[fn].operands == 2)
      b = take(r, ',') ? sum(r) : NULL;
   return take(r, ')') ? call(r, fn, a, b) : NULL;
}

static void *name(reader *r)
{
   const char *start = r->at;
   size_t len = strspn(start, "abcdefghijklmnopqrstuvwxyz_");

   r->at += len;
   if (len == 1 && *start == 'x')
      return r->x;
   if (!len || !take(r, '('))
      return attribute(r, start, len);
   for (size_t i = 0; i < countof(fns); i++)
      if (strlen(fns[i].name) == len && memcmp(fns[i].name, start, len) == 0)
         return function(r, (ir_formula_fn)i);
   return NULL;
}

static void *number(reader *r)
{
   char *end;
   double v = strtod(r->at, &end);

   r->at = end;
   return r->make->number(r->make->user, v);
}

static void *factor(reader *r)
{
   if (take(r, '-'))
      return call(r, IR_FORMULA_neg, factor(r), NULL);
   if (take(r, '(')) {
      void *inner = sum(r);
      return take(r, ')') ? inner : NULL;
   }
   return *r->at >= '0' && *r->at <= '9' ? number(r) : name(r);
}

static void *term(reader *r)
{
   void *v = factor(r);

   for (;;)
      if (take(r, '*'))
         v = call(r, IR_FORMULA_mul, v, factor(r));
      else if (take(r, '/'))
         v = call(r, IR_FORMULA_div, v, factor(r));
      else
         return v;
}

static void *sum(reader *r)
{
   void *v = term(r);

   for (;;)
      if (take(r, '+'))
         v = call(r, IR_FORMULA_add, v, term(r));
      else if (take(r, '-'))
         v = call(r, IR_FORMULA_sub, v, term(r));
      else
         return v;
}

void *ir_formula_read(const char *text, const ir_op *op, const ir_formula *make, void *x)
{
   reader r = {.at = text, .op = op, .make = make, .x = x};
   void *v = sum(&r);

   return *r.at ? NULL : v;
}

void *ir_formula_of(const ir_op *op, const ir_formula *make, void *x)
{
   return ir_formula_read(ir_op_infos[op->code].meaning, op, make, x);
}
