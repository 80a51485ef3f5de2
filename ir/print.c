/* print.c - the canonical text of a function. Nameless values are numbered in program order; floats
 * have the fewest digits that read back the same. */
#include "internal.h"

#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct printer {
   text_buf *out;
   uint32_t *numbers; /* by value id: number of a nameless value; NULL: print %? */
} printer;

static void put(text_buf *out, const char *s)
{
   text_append(out, s, strlen(s));
}

static void put_int(text_buf *out, int64_t v)
{
   char digits[24];

   text_append(out, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, v));
}

void ir_print_float(text_buf *out, double v)
{
   char text[40];
   int len = 0;

   for (int digits = 1; digits <= 17; digits++) {
      len = snprintf(text, sizeof text, "%.*g", digits, v);
      if (strtod(text, NULL) == v)
         break;
   }
   /* The program's locale may have another decimal point; the IR has not. */
   char *point = strstr(text, localeconv()->decimal_point);
   if (point)
      *point = '.';
   text_append(out, text, (size_t)len);
}

/* ---- types ---- */

static void put_affine(text_buf *out, const ir_dim *d, int *out_terms)
{
   int terms = 0;

   for (int s = 0; s < SYM_COUNT; s++) {
      int64_t k = d->coef[s];
      if (k == 0)
         continue;
      if (k < 0 || terms)
         put(out, k < 0 ? "-" : "+");
      if (k != 1 && k != -1) {
         put_int(out, k < 0 ? -k : k);
         put(out, "*");
      }
      put(out, ir_sym_names[s]);
      terms++;
   }
   if (d->add || !terms) {
      if (terms && d->add > 0)
         put(out, "+");
      put_int(out, d->add);
      terms++;
   }
   *out_terms = terms;
}

void ir_print_dim(text_buf *out, ir_dim d)
{
   int terms;

   if (!ir_dim_is_valid(d)) {
      put(out, "?");
      return;
   }
   if (d.div == 1) {
      put_affine(out, &d, &terms);
      return;
   }
   text_buf inner = {.a = out->a};
   put_affine(&inner, &d, &terms);
   put(out, d.round == IR_ROUND_ceil ? "ceil(" : "floor(");
   put(out, terms > 1 ? "(" : "");
   text_append(out, inner.data, inner.len);
   put(out, terms > 1 ? ")/" : "/");
   put_int(out, d.div);
   put(out, ")");
}

void ir_print_type(text_buf *out, const ir_type *t)
{
   put(out, dtype_infos[t->dtype].name);
   if (t->dtype == DT_none)
      return;
   if (t->state != IR_STATE_none) {
      put(out, " ");
      put(out, ir_state_infos[t->state].name);
   }
   put(out, "[");
   for (uint32_t i = 0; i < t->rank; i++) {
      put(out, i ? "," : "");
      ir_print_dim(out, t->dim[i]);
   }
   put(out, "]");
}

/* ---- ops ---- */

static void put_value(const printer *p, const ir_value *v)
{
   put(p->out, "%");
   if (v && v->name)
      put(p->out, v->name);
   else if (v && p->numbers)
      put_int(p->out, p->numbers[v->id]);
   else
      put(p->out, "?");
}

static void put_values(const printer *p, ir_value *const *values, size_t n)
{
   for (size_t i = 0; i < n; i++) {
      put(p->out, i ? ", " : "");
      put_value(p, values[i]);
   }
}

static void put_string(text_buf *out, const char *s)
{
   put(out, "\"");
   for (; *s; s++) {
      unsigned char c = (unsigned char)*s;
      if (c == '"' || c == '\\')
         text_append(out, (char[]){'\\', *s}, 2);
      else if (c == '\n')
         put(out, "\\n");
      else if (c < 0x20 || c == 0x7f)
         text_printf(out, "\\x%02x", c);
      else
         text_append(out, s, 1);
   }
   put(out, "\"");
}

static void put_attr(text_buf *out, const ir_attr *attr)
{
   put(out, ir_attr_infos[attr->key].name);
   put(out, "=");
   switch (ir_attr_infos[attr->key].kind) {
   case IR_KIND_INT: put_int(out, attr->i); break;
   case IR_KIND_FLOAT: ir_print_float(out, attr->f); break;
   case IR_KIND_STR: put_string(out, attr->s); break;
   case IR_KIND_DTYPE: put(out, dtype_infos[attr->i].name); break;
   case IR_KIND_META:
      put(out, attr->i >= 0 && attr->i < IR_META_COUNT ? ir_meta_infos[attr->i].name : "?");
      break;
   }
}

static void put_op(const printer *p, const ir_op *op)
{
   put_values(p, op->results, op->num_results);
   put(p->out, op->num_results ? " = " : "");
   put(p->out, ir_op_infos[op->code].name);
   put(p->out, op->num_operands ? " " : "");
   put_values(p, op->operands, op->num_operands);
   for (uint32_t i = 0; i < op->num_attrs; i++) {
      put(p->out, i ? ", " : " {");
      put_attr(p->out, &op->attrs[i]);
   }
   put(p->out, op->num_attrs ? "}" : "");
   for (uint32_t i = 0; i < op->num_results; i++) {
      put(p->out, i ? ", " : " : ");
      ir_print_type(p->out, &op->results[i]->type);
   }
}

void ir_print_op(text_buf *out, const ir_op *op)
{
   put_op(&(printer){.out = out}, op);
}

/* ---- functions ---- */

static void put_header(text_buf *out, const ir_func *f)
{
   const char *sep = "";

   put(out, "func @");
   put(out, f->name);
   put(out, "(");
   for (int s = 0; s < SYM_COUNT; s++) {
      if (!f->range[s].used)
         continue;
      text_printf(out, "%s%s in %" PRId64 "..%" PRId64, sep, ir_sym_names[s], f->range[s].min,
                  f->range[s].max);
      sep = ", ";
   }
   put(out, ") {\n");
}

uint32_t *ir_number_values(arena *a, const ir_func *f)
{
   uint32_t *numbers = arena_array(a, uint32_t, f->num_values);
   uint32_t next = 0;

   ir_op_foreach (f, op)
      for (uint32_t i = 0; i < op->num_results; i++)
         if (!op->results[i]->name)
            numbers[op->results[i]->id] = next++;
   return numbers;
}

void ir_print(text_buf *out, const ir_func *f)
{
   printer p = {.out = out, .numbers = ir_number_values(out->a, f)};
   const ir_group *open = NULL;

   put_header(out, f);
   ir_op_foreach (f, op) {
      if (open && op->group != open)
         put(out, "  }\n");
      if (op->group && op->group != open)
         text_printf(out, "  kernel %s {\n", op->group->name);
      open = op->group;
      put(out, open ? "    " : "  ");
      put_op(&p, op);
      put(out, "\n");
   }
   put(out, open ? "  }\n" : "");
   put(out, f->returns.count ? "  return " : "  return");
   put_values(&p, f->returns.data, f->returns.count);
   put(out, "\n}\n");
}
