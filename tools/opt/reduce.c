/* reduce.c - --reduce: the smallest function on which the passes still fail, as a golden case.
 *
 *    returns    one of them that still fails, without the others
 *    cut        an op's result becomes a parameter: all that fed it goes
 *    bypass     an op's result becomes its operand of the same type; what is only returned, any
 *               operand
 *
 * Every step is kept when the passes still fail in the same way, until no step helps: they make the
 * result wrong, or report an error that begins with the same words. */
#include "opt.h"

#include "passes/exec.h"

#include <stdio.h>

typedef struct reducer {
   arena *a;
   pass_options po;
   ir_func *best;
   const char *error; /* what the passes report, NULL: the result is wrong */
   uint32_t tries;
} reducer;

static bool is_unused_leaf_or_pure(const ir_op *op)
{
   for (uint32_t i = 0; i < op->num_results; i++)
      if (ir_use_count(op->results[i]))
         return false;
   return true;
}

/* What nobody reads goes, inputs and state updates too: only returns count here. */
static void sweep(ir_func *f)
{
   for (ir_op *op = f->last, *prev; op; op = prev) {
      prev = op->prev;
      if (is_unused_leaf_or_pure(op))
         ir_erase(f, op);
   }
}

/* An error names its pass before the first colon. */
static bool fails_alike(const reducer *r, const opt_verdict *v)
{
   if (!r->error)
      return !v->failed && !v->same;
   return v->failed && !strncmp(r->error, v->why, strcspn(r->error, ":\n"));
}

/* Keeps a candidate that is valid, shorter, and still wrong. */
static sinter_status offer(reducer *r, ir_func *f, bool *out_kept)
{
   text_buf why = {.a = r->a};
   opt_verdict v;
   arena *a;

   *out_kept = false;
   sweep(f);
   if (!f->returns.count || !ir_validate(f, &why))
      return SINTER_ok;
   SINTER_TRY(arena_create(&a));
   r->tries++;
   sinter_status status = opt_judge(a, f, &r->po, &v);

   *out_kept = status == SINTER_ok && fails_alike(r, &v);
   arena_destroy(a);
   if (*out_kept)
      r->best = f;
   /* A cut that the interpreter cannot run is no candidate. */
   return status == SINTER_usage ? status : SINTER_ok;
}

static ir_op *op_at(ir_func *f, uint32_t n)
{
   ir_op *op = f->first;

   for (; op && n; n--)
      op = op->next;
   return op;
}

static uint32_t count_ops(const ir_func *f)
{
   uint32_t n = 0;

   ir_op_foreach (f, op)
      n++;
   return n;
}

static void keep_return(ir_func *f, size_t which)
{
   for (size_t i = 0; i < f->returns.count; i++)
      f->returns.data[i]->returned = false;
   f->returns.data[0] = f->returns.data[which];
   f->returns.data[0]->returned = true;
   f->returns.count = 1;
}

static sinter_status reduce_returns(reducer *r)
{
   bool kept = false;

   for (size_t i = 0; i < r->best->returns.count && r->best->returns.count > 1 && !kept; i++) {
      ir_func *f = ir_func_clone(r->a, r->best);

      keep_return(f, i);
      SINTER_TRY(offer(r, f, &kept));
   }
   return SINTER_ok;
}

/* The results of an op as parameters of its own. False for states and leaves. */
static bool cut(ir_func *f, ir_op *op)
{
   ir_builder b = {f, f->first};

   if (!op->num_operands)
      return false;
   for (uint32_t i = 0; i < op->num_results; i++)
      if (op->results[i]->type.state != IR_STATE_none ||
          dtype_infos[op->results[i]->type.dtype].kind == DTYPE_BLOCK)
         return false;
   for (uint32_t i = 0; i < op->num_results; i++) {
      ir_value *p = ir_param(&b, arena_printf(f->a, "in%u_%u", op->id, i), op->results[i]->type);

      ir_replace_uses(f, op->results[i], p);
   }
   return true;
}

/* What is only returned may be replaced by any tensor that it was made from. */
static bool return_operand(ir_func *f, ir_op *op, uint32_t i)
{
   const ir_value *v = op->operands[i];

   if (!op->results[0]->returned || op->results[0]->uses || !v->def->num_operands ||
       v->type.state != IR_STATE_none)
      return false;
   ir_replace_uses(f, op->results[0], op->operands[i]);
   return true;
}

static bool bypass(ir_func *f, ir_op *op)
{
   for (uint32_t i = 0; op->num_results == 1 && i < op->num_operands; i++)
      if (return_operand(f, op, i))
         return true;
   for (uint32_t i = 0; op->num_results == 1 && i < op->num_operands; i++)
      if (ir_type_equal(&op->results[0]->type, &op->operands[i]->type)) {
         ir_replace_uses(f, op->results[0], op->operands[i]);
         return true;
      }
   return false;
}

/* From the last op on: a cut near the end drops most. */
static sinter_status reduce_ops(reducer *r, bool (*step)(ir_func *f, ir_op *op), bool *out_any)
{
   for (uint32_t n = count_ops(r->best); n-- > 0;) {
      ir_func *f = ir_func_clone(r->a, r->best);
      ir_op *op = op_at(f, n);
      uint32_t before = count_ops(f);
      bool kept;

      if (!op || !step(f, op))
         continue;
      sweep(f);
      if (count_ops(f) >= before)
         continue;
      SINTER_TRY(offer(r, f, &kept));
      *out_any |= kept;
      n = MIN(n, count_ops(r->best));
   }
   return SINTER_ok;
}

static sinter_status print_case(reducer *r, const opt_options *o, uint32_t from)
{
   text_buf text = {.a = r->a};
   opt_verdict v;

   SINTER_TRY(opt_judge(r->a, r->best, &r->po, &v));
   printf("// RUN: %s%s\n", o->passes ? o->passes : "all",
          o->numerics && !strcmp(o->numerics, "exact") ? " exact" : "");
   printf("// Reduced from %u ops to %u in %u runs. It fails:\n", from, count_ops(r->best),
          r->tries);
   for (const char *line = v.why; *line;) {
      size_t len = strcspn(line, "\n");

      printf("//   %.*s\n", (int)len, line);
      line += len + (line[len] == '\n');
   }
   ir_print(&text, r->best);
   fputs(text.data, stdout);
   return SINTER_ok;
}

sinter_status opt_reduce(arena *a, const ir_func *f, const opt_options *o)
{
   reducer r = {.a = a};
   uint32_t from = count_ops(f);
   pass_target target;
   opt_verdict v;
   bool any = true;

   SINTER_TRY(opt_setup(a, o, &target, &r.po));
   SINTER_TRY(opt_judge(a, f, &r.po, &v));
   if (!v.failed && v.same)
      return base_fail(SINTER_usage, f->name, "Name the passes that fail with -p.",
                       "the passes keep its contract: there is nothing to reduce");
   r.best = ir_func_clone(a, f);
   r.error = v.failed ? v.why : NULL;
   SINTER_TRY(reduce_returns(&r));
   while (any) {
      any = false;
      SINTER_TRY(reduce_ops(&r, cut, &any));
      SINTER_TRY(reduce_ops(&r, bypass, &any));
   }
   return print_case(&r, o, from);
}
