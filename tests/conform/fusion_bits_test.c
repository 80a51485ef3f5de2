// LINK: codegen passes models runtime ir base
/* What is fused has the bits of what is not: kernels with something in front of or behind them,
 * against one kernel for each op. */
#include <stdio.h>

#include "harness.h"

typedef struct form {
   const char *name, *rule; /* the fusion that must have fired */
   const char *text;
   bool small; /* also at levels that are emulated */
} form;

#define HEAD "func @f(T in 1..80, R in 0..16, S in 1..4) {\n"

static const form forms[] = {
   {"gate-up", "act_quant",
    HEAD "%x = param {name=\"x\"} : f32[T,64]\n%a, %b = quant %x {group=32}\n"
         "%wg = weight {name=\"g\"} : q4_0[96,64]\n%wu = weight {name=\"u\"} : q8_0[96,64]\n"
         "%g = qmatmul %a, %b, %wg\n%u = qmatmul %a, %b, %wu\n%h = silu %g\n%y = mul %h, %u\n"
         "%q, %s = quant %y {group=32}\nreturn %q, %s\n}\n",
    true},
   {"wide gate-up", "act_quant",
    HEAD "%x = param {name=\"x\"} : f32[T,64]\n%wg = weight {name=\"g\"} : f16[1536,64]\n"
         "%wu = weight {name=\"u\"} : f16[1536,64]\n%g = matmul %x, %wg\n%u = matmul %x, %wu\n"
         "%h = gelu_tanh %g\n%y = mul %h, %u\n%q, %s = quant %y {group=32}\nreturn %q, %s\n}\n",
    false},
   {"experts", "act_quant",
    HEAD "%x = param {name=\"x\"} : f32[T,64]\n%r = param {name=\"r\"} : f32[T,5]\n"
         "%wg = weight {name=\"g\"} : f16[5,32,64]\n%wu = weight {name=\"u\"} : f16[5,32,64]\n"
         "%ids, %w = route %r {k=2, score=\"softmax\"}\n%o, %n = permute %ids {experts=5}\n"
         "%g = moe_matmul %x, %o, %n, %wg\n%u = moe_matmul %x, %o, %n, %wu\n%h = silu %g\n"
         "%y = mul %h, %u\n%q, %s = quant %y {group=32}\nreturn %q, %s\n}\n",
    true},
   {"heads of 32", "attn_quant",
    HEAD "%q0 = param {name=\"q\"} : f32[T,6,32]\n%k = param {name=\"k\"} : f32[T,2,32]\n"
         "%v = param {name=\"v\"} : f32[T,2,32]\n%t = state {layer=0} : f32 kv_full[2,32]\n"
         "%n = kv_write %t, %k, %v\n%o = attention %q0, %n {scale=0.2}\n"
         "%r = reshape %o : f32[T,192]\n%q, %s = quant %r {group=32}\nreturn %q, %s, %n\n}\n",
    true},
   {"heads of 96", "attn_quant",
    HEAD
    "%q0 = param {name=\"q\"} : f32[T,3,96]\n%k = param {name=\"k\"} : f32[T,3,96]\n"
    "%v = param {name=\"v\"} : f32[T,3,96]\n%t = state {layer=0, window=70} : f16 kv_window[3,96]\n"
    "%n = kv_write %t, %k, %v\n%o = attention %q0, %n {scale=0.1}\n"
    "%r = reshape %o : f32[T,288]\n%q, %s = quant %r {group=32}\nreturn %q, %s, %n\n}\n",
    false},
   {"norm", "rmsnorm_quant",
    HEAD "%x = param {name=\"x\"} : f32[T,576]\n%w = weight {name=\"w\"} : f32[576]\n"
         "%y = rmsnorm %x, %w {eps=0.003}\n%q, %s = quant %y {group=32}\nreturn %q, %s, %y\n}\n",
    true},
   {"residual", "rmsnorm_quant",
    HEAD "%x = param {name=\"x\"} : f32[T,96]\n%r = param {name=\"r\"} : f32[T,96]\n"
         "%w = weight {name=\"w\"} : f32[96]\n%h = add %x, %r\n%y = rmsnorm %h, %w {eps=1e-06}\n"
         "%q, %s = quant %y {group=32}\nreturn %q, %s, %h\n}\n",
    true},
   {"gated", "rmsnorm_quant",
    HEAD "%x = param {name=\"x\"} : f32[T,3,64]\n%z = param {name=\"z\"} : f32[T,3,64]\n"
         "%w = weight {name=\"w\"} : f32[64]\n%y = rmsnorm %x, %w {eps=1e-05}\n%a = silu %z\n"
         "%m = mul %y, %a\n%r = reshape %m : f32[T,192]\n%q, %s = quant %r {group=32}\n"
         "return %q, %s\n}\n",
    true},
   {"shared expert", "shared_expert_merge",
    HEAD "%x = param {name=\"x\"} : f32[T,64]\n%r = param {name=\"r\"} : f32[T,5]\n"
         "%h0 = param {name=\"h\"} : f32[T,40]\n%a = param {name=\"a\"} : f32[T,96]\n"
         "%wd = weight {name=\"d\"} : f16[5,40,64]\n%ws = weight {name=\"s\"} : q8_0[40,96]\n"
         "%h = silu %h0\n%ids, %w = route %r {k=2, score=\"softmax\"}\n%o, %n = permute %ids "
         "{experts=5}\n"
         "%d = moe_matmul %x, %o, %n, %wd\n%c = combine %d, %w\n"
         "%q, %qs = quant %a {group=32}\n%s = qmatmul %q, %qs, %ws\n%y = add %c, %s\n"
         "%z = add %h, %y\n%v = silu %z\nreturn %v, %ids\n}\n",
    true},
   {"gated shared expert", "shared_expert_merge",
    HEAD "%x = param {name=\"x\"} : f32[T,64]\n%r = param {name=\"r\"} : f32[T,7]\n"
         "%g = param {name=\"g\"} : f32[T,1]\n%a = param {name=\"a\"} : f32[T,48]\n"
         "%wd = weight {name=\"d\"} : bf16[7,576,64]\n%ws = weight {name=\"s\"} : bf16[576,48]\n"
         "%ids, %w = route %r {k=3, score=\"sigmoid\"}\n%o, %n = permute %ids {experts=7}\n"
         "%d = moe_matmul %x, %o, %n, %wd\n%c = combine %d, %w\n%s = matmul %a, %ws\n"
         "%t = combine %s, %g\n%y = add %t, %c\nreturn %y, %ids\n}\n",
    false},
   {"router", "rmsnorm_router",
    HEAD "%x = param {name=\"x\"} : f32[T,100]\n%w = weight {name=\"w\"} : f32[100]\n"
         "%g = weight {name=\"g\"} : f32[37,100]\n%b = weight {name=\"b\"} : f32[37]\n"
         "%n = rmsnorm %x, %w {eps=0.0003}\n%m = matmul %n, %g\n%l = add %m, %b\n"
         "%ids, %p = route %l {k=4, score=\"sigmoid\"}\nreturn %p, %n, %ids\n}\n",
    true},
   {"router with long rows", "rmsnorm_router",
    HEAD "%x = param {name=\"x\"} : f32[T,4104]\n%w = weight {name=\"w\"} : f32[4104]\n"
         "%g = weight {name=\"g\"} : bf16[24,4104]\n%n = rmsnorm %x, %w {eps=1e-06, offset=1}\n"
         "%l = matmul %n, %g\n%ids, %p = route %l {k=4, score=\"softmax\"}\nreturn %p, %ids\n}\n",
    false},
};

/* A quant behind a matmul's kernel, like an add, keeps the name of that kernel. */
static bool has_rule(const harness *h, const char *rule)
{
   bool quant = strcmp(rule, "act_quant") == 0;

   ir_op_foreach (h->f, op) {
      const char *of = op->group ? op->group->rule : "";

      if (quant ? op->code == IR_OP_quant && (!strcmp(of, "act_mul") || !strcmp(of, "moe_grouped"))
                : !strcmp(of, rule))
         return true;
   }
   return false;
}

static const harness_step steps[] = {
   {.num_seqs = 1, .rows = {1}, .stored = {0}},
   {.num_seqs = 1, .rows = {1}, .stored = {300}},
   {.num_seqs = 2, .rows = {1, 1}, .stored = {5, 40}, .variant = "deep"},
   {.num_seqs = 2, .rows = {3, 5}, .stored = {0, 17}, .variant = "prefill"},
   {.num_seqs = 1, .rows = {69}, .stored = {0}, .variant = "prefill"},
};

/* Where rows are split for tiles, a router of bf16 takes none that its kernel norms; GPUs have no
 * kernels for norms in front, nor for sums of experts with something else. */
static bool declines(const form *w, isa_level level)
{
   if (harness_stand_in)
      return !strstr(w->rule, "quant");
   return isa_infos[level].amx && !strcmp(w->rule, "rmsnorm_router") && strstr(w->text, "bf16[24");
}

static void compare_as(const form *w, isa_level level, sinter_numerics numerics)
{
   harness *one = harness_compile(
      w->text,
      (harness_options){.level = level, .fuse = true, .numerics = numerics, .with = w->rule});
   harness *two = harness_compile(w->text, (harness_options){.level = level, .numerics = numerics});

   cr_assert(has_rule(one, w->rule) != declines(w, level), "%s: %s has %sfired", w->name, w->rule,
             declines(w, level) ? "" : "not ");
   for (size_t i = 0; i < countof(steps); i++) {
      harness_run *a = harness_bits(one, steps[i]), *b = harness_bits(two, steps[i]);

      for (int k = 0; k < 2; k++) {
         cr_assert_eq(a->out_bytes[k], b->out_bytes[k]);
         cr_assert(memcmp(a->out[k], b->out[k], a->out_bytes[k]) == 0,
                   "%s at %s, step %zu: result %d differs from that of kernels of their own",
                   w->name, isa_infos[level].name, i, k);
      }
      harness_end(a);
      harness_end(b);
   }
   harness_free(one);
   harness_free(two);
}

static void compare(const form *w, isa_level level)
{
   compare_as(w, level, SINTER_NUMERICS_exact);
}

/* The form with rows as its input at which roundings break: zeros, 1e-12, largest values at a power
 * of two and one ulp up and down, NaN beside them. */
static form at_edges(const form *w)
{
   static const char ordinary[] = "{name=\"x\"}", edges[] = "{name=\"edges\"}";
   const char *at = strstr(w->text, ordinary);
   static char text[4096];
   form out = *w;

   snprintf(text, sizeof text, "%.*s%s%s", (int)(at ? at - w->text : 0), w->text, at ? edges : "",
            at ? at + sizeof ordinary - 1 : w->text);
   out.text = text;
   return out;
}

/* Kills: a scale of an element's own in one kernel and of its group in the other; a largest value
 * one ulp off; a tiny row flushed by one of them; a NaN that reaches the next row. */
Test(fusion_bits, same_bits_at_edges)
{
   for (size_t i = 0; i < countof(forms); i += conform_every(4)) {
      const form w = at_edges(&forms[i]);
      if (strstr(w.text, "edges"))
         compare(&w, (isa_level)0);
   }
}

/* Kills: a quant of the value before its last step; codes of another row, head or panel; a scale of
 * half a group; sums that are not those of the codes; an odd number of panels in a tile; the shared
 * expert of another row; a sum that is read before it is complete; a residual that the sum was
 * written over; a norm of another row, or with its squares added in another order. */
Test(fusion_bits, same_bits_in_any_kernel)
{
   for (size_t i = 0; i < countof(forms); i++)
      for (int level = 0; level < ISA_LEVEL_COUNT; level++)
         if (conform_runs((isa_level)level) || (forms[i].small && conform_whole()))
            compare(&forms[i], (isa_level)level);
}
