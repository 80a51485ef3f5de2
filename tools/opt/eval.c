/* eval.c - --eval: one step of a function on arrays from files. */
#include "opt.h"

#include "ir/eval.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_STATES = 256, MAX_ROPES = 8 };

typedef struct named_array {
   const char *name;
   npy array;
   bool is_read;
} named_array;

typedef struct eval_inputs {
   arena *a;
   uint32_t num;
   named_array in[OPT_MAX_LIST];
   ir_step step;
   ir_tensor ropes[MAX_ROPES];
   int64_t positions; /* capacity of states */
   uint32_t num_states;
   struct {
      int64_t layer;
      ir_state_kind kind;
      ir_kv *kv;
   } state[MAX_STATES];
} eval_inputs;

static const npy *find(eval_inputs *e, const char *name)
{
   for (uint32_t i = 0; i < e->num; i++) {
      if (strcmp(e->in[i].name, name) != 0)
         continue;
      e->in[i].is_read = true;
      return &e->in[i].array;
   }
   return NULL;
}

static sinter_status missing(const char *name)
{
   return base_fail(SINTER_usage, name, "Add --in NAME=FILE.npy.", "no array is given for it");
}

static sinter_status get_array(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   eval_inputs *e = user;
   const npy *in = find(e, name);

   if (!in)
      return missing(name);
   if (in->rank != type->rank)
      return base_fail(SINTER_bad_input, name, "", "the array has %u dimensions, not %u", in->rank,
                       type->rank);
   for (uint32_t i = 0; i < in->rank; i++) {
      int64_t want = ir_dim_eval(type->dim[i], e->step.sym);

      if (in->dim[i] != want)
         return base_fail(SINTER_bad_input, name, "", "dimension %u is %lld, not %lld", i,
                          (long long)in->dim[i], (long long)want);
   }
   out->rank = in->rank;
   memcpy(out->dim, in->dim, sizeof out->dim);
   out->data = in->data;
   return SINTER_ok;
}

static sinter_status get_rows(void *user, const char *name, const ir_type *type, int64_t first,
                              int64_t count, double *out)
{
   ir_tensor t;
   int64_t row = ir_type_row(type);

   SINTER_TRY(get_array(user, name, type, &t));
   memcpy(out, t.data + first * row, (size_t)(count * row) * sizeof *out);
   return SINTER_ok;
}

static ir_kv *get_state(void *user, int64_t layer, const ir_type *type)
{
   eval_inputs *e = user;

   for (uint32_t i = 0; i < e->num_states; i++)
      if (e->state[i].layer == layer && e->state[i].kind == type->state)
         return e->state[i].kv;
   if (e->num_states == MAX_STATES)
      return NULL;
   ir_kv *kv = arena_new(e->a, ir_kv);
   int64_t seqs = MAX(e->step.sym[SYM_S], 1);

   *kv = (ir_kv){ir_dim_const(type->dim[0]),
                 ir_state_width(type),
                 e->positions,
                 (uint32_t)seqs,
                 arena_array(e->a, double *, (size_t)seqs),
                 arena_array(e->a, double *, (size_t)seqs)};
   for (int64_t s = 0; s < seqs; s++) {
      size_t n = (size_t)(kv->capacity * kv->heads * kv->width) + 1;

      kv->k[s] = arena_array(e->a, double, n);
      kv->v[s] = arena_array(e->a, double, n);
   }
   e->state[e->num_states].layer = layer;
   e->state[e->num_states].kind = type->state;
   return e->state[e->num_states++].kv = kv;
}

/* ---- extents and metadata ---- */

static const char *leaf_name(arena *a, const ir_op *op)
{
   if (op->code != IR_OP_meta)
      return ir_attr_s(op, IR_ATTR_name, "");
   const char *field = ir_meta_infos[ir_attr_i(op, IR_ATTR_field, 0)].name;

   if (ir_attr_i(op, IR_ATTR_field, 0) != IR_META_rope)
      return field;
   return arena_printf(a, "%s.%lld", field, (long long)ir_attr_i(op, IR_ATTR_index, 0));
}

/* A plain symbol among the extents of a leaf is as long as the array. */
static void learn_extents(eval_inputs *e, const ir_func *f)
{
   ir_op_foreach (f, op) {
      const npy *in = op->num_operands ? NULL : find(e, leaf_name(e->a, op));

      if (!in || in->rank != op->results[0]->type.rank)
         continue;
      for (uint32_t i = 0; i < in->rank; i++)
         for (int s = 0; s < SYM_COUNT; s++)
            if (ir_dim_equal(op->results[0]->type.dim[i], ir_dim_sym((sym)s)))
               e->step.sym[s] = in->dim[i];
   }
}

static sinter_status set_syms(eval_inputs *e, const opt_list *syms)
{
   for (uint32_t i = 0; i < syms->count; i++) {
      const char *equals = strchr(syms->item[i], '=');
      char *end = NULL;
      bool found = false;

      for (int s = 0; s < SYM_COUNT && equals; s++)
         if (strlen(ir_sym_names[s]) == (size_t)(equals - syms->item[i]) &&
             !strncmp(ir_sym_names[s], syms->item[i], (size_t)(equals - syms->item[i]))) {
            e->step.sym[s] = strtoll(equals + 1, &end, 10);
            found = end != equals + 1 && !*end;
         }
      if (!found)
         return base_fail(SINTER_usage, syms->item[i], "Write --sym T=4.",
                          end ? "this is no whole number" : "this names no symbol");
   }
   return SINTER_ok;
}

static const int32_t *integers(eval_inputs *e, const npy *in, int64_t n, int64_t base)
{
   int32_t *out = arena_array(e->a, int32_t, (size_t)n + 1);

   for (int64_t i = 0; i < n; i++)
      out[i] = in ? (int32_t)in->data[i] : (int32_t)(base * i);
   return out;
}

/* Fields without an array: one sequence, positions 0 and on, the first rows. */
static sinter_status set_step(eval_inputs *e, const ir_func *f)
{
   static const struct {
      const char *name;
      sym extent;
      int64_t base;
   } fields[] = {
      {"token_ids", SYM_T, 0}, {"positions", SYM_T, 1}, {"seq_of", SYM_T, 0}, {"rows", SYM_R, 1}};
   const int32_t **to[] = {&e->step.token_ids, &e->step.positions, &e->step.seq_of, &e->step.rows};

   for (size_t i = 0; i < countof(fields); i++) {
      const npy *in = find(e, fields[i].name);
      int64_t n = e->step.sym[fields[i].extent];

      if (in && in->count != n)
         return base_fail(SINTER_bad_input, fields[i].name, "", "there are %lld numbers, not %lld",
                          (long long)in->count, (long long)n);
      *to[i] = integers(e, in, n, fields[i].base);
   }
   e->step.rope = e->ropes;
   ir_op_foreach (f, op) {
      int64_t index = ir_attr_i(op, IR_ATTR_index, 0);

      if (op->code != IR_OP_meta || ir_attr_i(op, IR_ATTR_field, 0) != IR_META_rope || index < 0 ||
          index >= MAX_ROPES)
         continue;
      SINTER_TRY(get_array(e, leaf_name(e->a, op), &op->results[0]->type, &e->ropes[index]));
      e->step.num_rope = MAX(e->step.num_rope, (uint32_t)index + 1);
   }
   for (int64_t t = 0; t < e->step.sym[SYM_T]; t++)
      e->positions = MAX(e->positions, e->step.positions[t] + 1);
   return SINTER_ok;
}

static sinter_status read_inputs(eval_inputs *e, const opt_list *inputs)
{
   for (uint32_t i = 0; i < inputs->count; i++) {
      const char *equals = strchr(inputs->item[i], '=');

      if (!equals)
         return base_fail(SINTER_usage, inputs->item[i], "Write --in NAME=FILE.npy.",
                          "there is no `=` in it");
      named_array *n = &e->in[e->num++];

      n->name = arena_strndup(e->a, inputs->item[i], (size_t)(equals - inputs->item[i]));
      for (const named_array *other = e->in; other < n; other++)
         if (!strcmp(other->name, n->name))
            return base_fail(SINTER_usage, n->name, "Give one.", "it has two arrays");
      SINTER_TRY(npy_read(e->a, equals + 1, &n->array));
   }
   return SINTER_ok;
}

/* An array that stands for nothing was meant for another leaf. */
static sinter_status check_inputs(const eval_inputs *e)
{
   for (uint32_t i = 0; i < e->num; i++)
      if (!e->in[i].is_read)
         return base_fail(SINTER_usage, e->in[i].name,
                          "Name a param, a weight, or a metadata field (rope tables: rope.0).",
                          "the function reads nothing of this name");
   return SINTER_ok;
}

static sinter_status write_results(arena *a, const ir_func *f, const ir_tensor *results,
                                   const opt_options *o)
{
   if (mkdir(o->out_dir, 0777) && errno != EEXIST)
      return base_fail(SINTER_io, o->out_dir, "", "cannot make the folder");
   for (size_t i = 0; i < f->returns.count; i++) {
      const ir_tensor *t = &results[i];
      npy out = {.rank = t->rank, .count = 1, .data = t->data};

      if (!t->data)
         continue; /* a state */
      for (uint32_t d = 0; d < t->rank; d++)
         out.count *= out.dim[d] = t->dim[d];
      SINTER_TRY(npy_write(arena_printf(a, "%s/%zu.npy", o->out_dir, i), &out,
                           o->f64 ? DT_f64 : f->returns.data[i]->type.dtype));
   }
   return SINTER_ok;
}

/* --trace: every value that has contents, under its name. Weights are files already. */
typedef struct tracer {
   arena *a;
   const opt_options *o;
   sinter_status status;
} tracer;

static void trace(void *user, const ir_value *v, const ir_tensor *t)
{
   tracer *x = user;
   npy out = {.rank = t->rank, .count = 1, .data = t->data};

   if (x->status || !t->data || v->def->code == IR_OP_weight || !v->name)
      return;
   for (uint32_t d = 0; d < t->rank; d++)
      out.count *= out.dim[d] = t->dim[d];
   x->status = npy_write(arena_printf(x->a, "%s/%s.npy", x->o->trace, v->name), &out,
                         x->o->f64 ? DT_f64 : v->type.dtype);
}

sinter_status opt_eval(arena *a, const ir_func *f, const opt_options *o)
{
   eval_inputs *e = arena_new(a, eval_inputs);
   ir_env env = {e, get_array, get_rows, get_array, get_state};
   ir_tensor *results = arena_array(a, ir_tensor, f->returns.count + 1);
   tracer t = {.a = a, .o = o};

   if (!o->out_dir)
      return base_fail(SINTER_usage, "--eval", "Add -o DIR.", "there is nowhere to write");
   if (o->device && strcmp(o->device, "ref") != 0)
      return base_fail(SINTER_unsupported, o->device, "Use --device ref.",
                       "functions run on the interpreter only");
   e->a = a;
   e->positions = 1;
   for (int s = 0; s < SYM_COUNT; s++)
      e->step.sym[s] = f->range[s].used ? MAX(f->range[s].min, 1) : 1;
   SINTER_TRY(read_inputs(e, &o->inputs));
   learn_extents(e, f);
   SINTER_TRY(set_syms(e, &o->syms));
   SINTER_TRY(set_step(e, f));
   SINTER_TRY(check_inputs(e));
   if (o->trace && mkdir(o->trace, 0777) && errno != EEXIST)
      return base_fail(SINTER_io, o->trace, "", "cannot make the folder");
   SINTER_TRY(ir_eval_run(a, f, o->f64 ? IR_EVAL_f64 : IR_EVAL_declared, &e->step, &env, results,
                          o->trace ? trace : NULL, &t));
   SINTER_TRY(t.status);
   return write_results(a, f, results, o);
}
