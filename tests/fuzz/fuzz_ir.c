// LINK: ir base
/* Any text ends in an error or a round trip. What parses can be validated and cloned, and what is
 * valid and small can be run: with an error or a result. */
#include "ir/eval.h"

#include <stdlib.h>

enum { MAX_SYM = 16, MAX_ELEMENTS = 1 << 12, MAX_OPS = 64, CAPACITY = 4, MAX_ROPE = 8 };

typedef struct input {
   const char *text;
   size_t size;
   arena *a;
   ir_step step;
} input;

static const char *printed(arena *a, const ir_func *f)
{
   text_buf out = {.a = a};

   ir_print(&out, f);
   return out.data;
}

/* ---- an environment that has everything ---- */

static void some_values(double *data, int64_t n)
{
   for (int64_t i = 0; i < n; i++)
      data[i] = (double)(i % 5) - 1;
}

static sinter_status give_tensor(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   input *in = user;
   int64_t size = 1;

   (void)name;
   out->rank = type->rank;
   for (uint32_t i = 0; i < type->rank; i++)
      size *= out->dim[i] = ir_dim_eval(type->dim[i], in->step.sym);
   out->data = arena_array(in->a, double, (size_t)size);
   some_values(out->data, size);
   return SINTER_ok;
}

static sinter_status give_rows(void *user, const char *name, const ir_type *type, int64_t first,
                               int64_t count, double *out)
{
   (void)user, (void)name;
   if (first < 0 || first + count > ir_dim_const(type->dim[0]))
      abort();
   some_values(out, count * ir_type_row(type));
   return SINTER_ok;
}

static ir_kv *give_state(void *user, int64_t layer, const ir_type *type)
{
   input *in = user;
   ir_kv *kv = arena_new(in->a, ir_kv);
   const int64_t row = ir_dim_const(type->dim[0]) * ir_state_width(type);

   (void)layer;
   *kv = (ir_kv){.heads = ir_dim_const(type->dim[0]),
                 .width = ir_state_width(type),
                 .capacity = CAPACITY,
                 .num_seqs = 1,
                 .k = arena_new(in->a, double *),
                 .v = arena_new(in->a, double *)};
   kv->k[0] = arena_array(in->a, double, (size_t)(row * CAPACITY));
   kv->v[0] = arena_array(in->a, double, (size_t)(row * CAPACITY));
   return kv;
}

static bool is_small(const ir_func *f, const int64_t *syms)
{
   ir_op_foreach (f, op) {
      if (op->id >= MAX_OPS)
         return false;
      for (uint32_t r = 0; r < op->num_results; r++) {
         int64_t size = 1;
         for (uint32_t i = 0; i < op->results[r]->type.rank; i++)
            if (!base_mul(size, ir_dim_eval(op->results[r]->type.dim[i], syms), &size) ||
                size > MAX_ELEMENTS)
               return false;
      }
   }
   return true;
}

static void run(input *in, const ir_func *f)
{
   static const int32_t rows[MAX_SYM] = {0, 1, 2, 0, 3};
   static const int32_t zeros[MAX_SYM];
   double table[MAX_SYM * MAX_ROPE] = {1, 0.5};
   ir_tensor ropes[MAX_ROPE];
   const ir_env env = {.user = in,
                       .weight = give_tensor,
                       .weight_rows = give_rows,
                       .param = give_tensor,
                       .state = give_state};

   for (int s = 0; s < SYM_COUNT; s++) {
      in->step.sym[s] = f->range[s].used ? f->range[s].min : 0;
      if (in->step.sym[s] > MAX_SYM)
         return;
   }
   if (!is_small(f, in->step.sym))
      return;
   for (int i = 0; i < MAX_ROPE; i++)
      ropes[i] = (ir_tensor){.rank = 2, .dim = {in->step.sym[SYM_T], i}, .data = table};
   in->step.token_ids = in->step.positions = in->step.rows = rows;
   in->step.seq_of = zeros;
   in->step.num_rope = MAX_ROPE;
   in->step.rope = ropes;
   for (int mode = IR_EVAL_f64; mode <= IR_EVAL_declared; mode++) {
      ir_tensor *results = arena_array(in->a, ir_tensor, f->returns.count);
      const sinter_status status =
         ir_eval_run(in->a, f, (ir_eval_mode)mode, &in->step, &env, results, NULL, NULL);
      if (status != SINTER_ok)
         return;
   }
}

/* ---- the target ---- */

static sinter_status check(void *user)
{
   input *in = user;
   ir_module m, again;
   text_buf report = {.a = in->a};

   SINTER_TRY(ir_parse(in->a, in->text, in->size, "fuzz", &m));
   for (size_t i = 0; i < m.funcs.count; i++) {
      const ir_func *f = m.funcs.data[i];
      const char *text = printed(in->a, f);
      const bool is_valid = ir_validate(f, &report);
      if (is_valid != (report.len == 0))
         abort();
      report.len = 0;
      if (ir_parse(in->a, text, strlen(text), "printed", &again) != SINTER_ok)
         abort();
      if (strcmp(printed(in->a, again.funcs.data[0]), text) != 0)
         abort();
      if (strcmp(printed(in->a, ir_func_clone(in->a, f)), text) != 0)
         abort();
      if (is_valid)
         run(in, f);
   }
   return SINTER_ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   input in = {.text = (const char *)data, .size = size};

   if (arena_create(&in.a) != SINTER_ok)
      return 0;
   const sinter_status status = arena_catch(check, &in);
   (void)status;
   arena_destroy(in.a);
   return 0;
}
