/* attn_backend.c - which kernel computes each attention, and why not another.
 *
 *    %a = attention %q, %kv   ->   // attention %a: mma; refused: cpu: is for a CPU, not for sm_90a; …
 *
 * The rows of base/attention.def in their order, the first that can; or the one that --attention
 * asks for, with the rest behind it, or without (NAME!). A row for expanded latents alone is about
 * those only: codegen/compile.c says when there are none. One choice an artifact and attention,
 * whatever the step: kernels of one row have the same bits for any number of rows, those of two
 * have not. Equal attentions are one entry. Fails where no row can. Kills: a row that is taken
 * although it lacks something; a reason that is lost. */
#include "run.h"

/* What is asked for. */
typedef struct wish {
   attention_backend backend; /* ATTENTION_BACKENDS: any */
   bool strict;
} wish;

static bool read_wish(pass_run *run, wish *out)
{
   run->status = attention_read(run->options->attention, &out->backend, &out->strict);
   return run->status == SINTER_ok;
}

bool pass_attention_concerns(attention_backend asked, uint32_t wants)
{
   return asked < ATTENTION_BACKENDS &&
          (attention_takes(asked, ATTENTION_KV | ATTENTION_LATENT) || (wants & ATTENTION_EXPANDED));
}

static bool is_attention(const ir_op *op)
{
   return op->code == IR_OP_attention || op->code == IR_OP_mla_attention ||
          op->code == IR_OP_mla_expanded;
}

static uint32_t number(ir_dim d)
{
   return ir_dim_is_const(d) ? (uint32_t)ir_dim_const(d) : 0;
}

static bool is_quantised(const ir_op *op)
{
   for (const ir_op *next = op->next; next && next->group == op->group; next = next->next)
      if (next->code == IR_OP_quant)
         return true;
   return false;
}

/* Of an mla_expanded, with these operands. */
static attention_query expanded_query(const pass_run *run, ir_value *const *operands)
{
   const ir_type *q = &operands[0]->type, *p = &operands[1]->type, *v = &operands[4]->type;
   const ir_op *keys = pass_weight_behind(operands[3]), *values = pass_weight_behind(operands[4]);

   return (attention_query){.arch = run->options->target->arch,
                            .fast = run->options->numerics == SINTER_NUMERICS_fast,
                            .wants = ATTENTION_EXPANDED,
                            .kv = operands[2]->type.dtype,
                            .heads = number(q->dim[1]),
                            .groups = number(q->dim[1]),
                            .width = number(q->dim[2]) + number(p->dim[2]),
                            .value = number(v->dim[1]),
                            .rank = number(v->dim[2]),
                            .rotated = number(p->dim[2]),
                            .keys = keys ? keys->results[0]->type.dtype : DT_none,
                            .values = values ? values->results[0]->type.dtype : DT_none};
}

const char *pass_refuses_expanded(const pass_run *run, ir_value *const *operands)
{
   attention_query q = expanded_query(run, operands);
   text_buf reasons = {.a = run->f->a};
   attention_backend asked;
   bool strict;

   if (attention_read(run->options->attention, &asked, &strict) != SINTER_ok)
      return "--attention names no row"; /* which fails where kernels are chosen */
   for (int b = 0; b < ATTENTION_BACKENDS; b++) {
      if (!attention_takes((attention_backend)b, ATTENTION_EXPANDED))
         continue;
      q.asked = b == (int)asked;
      const char *why = attention_refuses(run->f->a, (attention_backend)b, &q);
      if (!why)
         return NULL;
      text_printf(&reasons, "%s%s %s", reasons.len ? "; " : "",
                  attention_name((attention_backend)b), why);
   }
   return reasons.data;
}

static attention_query query_of(const pass_run *run, const ir_op *op)
{
   if (op->code == IR_OP_mla_expanded)
      return expanded_query(run, op->operands);
   const bool latent = op->code == IR_OP_mla_attention;
   const ir_type *q = &op->operands[0]->type, *y = &op->results[0]->type;
   const ir_type *kv = &op->operands[latent ? 2 : 1]->type;
   const pass_place *at = &run->layout->places[op->operands[latent ? 2 : 1]->id];
   attention_query out = {.arch = run->options->target->arch,
                          .fast = run->options->numerics == SINTER_NUMERICS_fast,
                          .wants = latent ? ATTENTION_LATENT : ATTENTION_KV,
                          .kv = kv->dtype,
                          .heads = number(q->dim[1]),
                          .groups = number(kv->dim[0]),
                          .width = number(kv->dim[1]),
                          .value = number(y->dim[2])};

   while (at->kind == PASS_PLACE_alias)
      at = &run->layout->places[at->alias->id];
   if (at->kind == PASS_PLACE_state && run->layout->cache_groups[at->index].window)
      out.wants |= ATTENTION_WINDOW;
   if (op->code == IR_OP_attention && op->num_operands > 2)
      out.wants |= ATTENTION_SINKS;
   if (ir_attr_f(op, IR_ATTR_cap, 0) != 0)
      out.wants |= ATTENTION_CAP;
   if (op->group && is_quantised(op))
      out.wants |= ATTENTION_QUANT;
   return out;
}

static bool is_equal(const attention_query *x, const attention_query *y)
{
   return x->wants == y->wants && x->kv == y->kv && x->heads == y->heads &&
          x->groups == y->groups && x->width == y->width && x->value == y->value &&
          x->rank == y->rank && x->rotated == y->rotated && x->keys == y->keys &&
          x->values == y->values;
}

static void fail(pass_run *run, const pass_attention *to, const wish *w)
{
   text_buf t = {.a = run->f->a};

   for (int b = 0; b < ATTENTION_BACKENDS; b++)
      if (!w->strict || b == (int)w->backend)
         text_printf(&t, "%s%s %s", t.len ? "; " : "", attention_name((attention_backend)b),
                     to->refused[b]);
   pass_fail(run, SINTER_unsupported, to->at,
             w->strict ? "leave the ! out: then another kernel is taken, and said"
                       : "use --device cpu: docs/gpu.md lists what has a kernel",
             "no attention kernel for target %s: %s", run->options->target->name, t.data);
}

/* The reasons of all rows, and the one that is taken. */
static void choose(pass_run *run, pass_attention *to, const wish *all)
{
   static const wish none = {.backend = ATTENTION_BACKENDS};
   const wish *w = pass_attention_concerns(all->backend, to->query.wants) ? all : &none;
   arena *a = run->f->a;
   int chosen = ATTENTION_BACKENDS;

   for (int b = 0; b < ATTENTION_BACKENDS; b++) {
      attention_query q = to->query;
      q.asked = b == (int)w->backend;
      to->refused[b] = attention_refuses(a, (attention_backend)b, &q);
      if (!to->refused[b] && (chosen == ATTENTION_BACKENDS || b == (int)w->backend))
         chosen = b;
   }
   if (w->strict && to->refused[w->backend])
      chosen = ATTENTION_BACKENDS;
   if (chosen == ATTENTION_BACKENDS) {
      fail(run, to, w);
      return;
   }
   to->backend = (attention_backend)chosen;
   for (int b = 0; b < ATTENTION_BACKENDS; b++)
      if (b != chosen && !to->refused[b])
         to->refused[b] = b > chosen ? arena_printf(a, "%s comes first", attention_name(chosen))
                                     : arena_printf(a, "%s was asked for", attention_name(chosen));
}

/* Once for all attentions, with the first one's reason. */
static void note_other(pass_run *run, const wish *w)
{
   const pass_layout *l = run->layout;
   uint32_t others = 0, first = 0;

   if (w->backend == ATTENTION_BACKENDS)
      return;
   for (uint32_t i = l->num_attentions; i-- > 0;)
      if (pass_attention_concerns(w->backend, l->attentions[i].query.wants) &&
          l->attentions[i].backend != w->backend) {
         others += l->attentions[i].count;
         first = i;
      }
   if (others)
      *vec_push(run->f->a, &run->report->notes) = arena_printf(
         run->f->a, "--attention %s: %u attentions take %s: %s", attention_name(w->backend), others,
         attention_name(l->attentions[first].backend), l->attentions[first].refused[w->backend]);
}

void pass_attn_backend(pass_run *run)
{
   ir_func *f = run->f;
   pass_layout *l = run->layout;
   wish w;

   if (run->options->target->rows_only || !read_wish(run, &w))
      return; /* the interpreter has no kernels */
   l->attention_of = arena_array(f->a, uint32_t, f->num_ops + 1);
   l->attentions = arena_array(f->a, pass_attention, f->num_ops + 1);
   ir_op_foreach (f, op) {
      uint32_t i = 0;

      if (!is_attention(op))
         continue;
      const attention_query q = query_of(run, op);
      while (i < l->num_attentions && !is_equal(&l->attentions[i].query, &q))
         i++;
      l->attention_of[op->id] = i;
      if (i == l->num_attentions) {
         l->attentions[l->num_attentions++] =
            (pass_attention){.query = q, .at = pass_label(f->a, op)};
         choose(run, &l->attentions[i], &w);
      }
      l->attentions[i].count++;
   }
   if (run->status == SINTER_ok)
      note_other(run, &w);
}
