// LINK: codegen passes models runtime ir base
/* Quantisation where a value is made: the same bits as in a kernel of its own. */
#include <stdio.h>

#include "harness.h"

typedef struct form {
   const char *name, *rule; /* the fusion that must have fired */
   const char *text;        /* returns codes and scales first */
   bool small;              /* also at levels that are emulated */
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
};

static bool has_rule(const harness *h, const char *rule)
{
   ir_op_foreach (h->f, op) {
      const char *of = op->code == IR_OP_quant && op->group ? op->group->rule : "";

      /* a quant behind a matmul's kernel keeps the name of that kernel */
      if (!strcmp(of, rule) ||
          (!strcmp(rule, "act_quant") && (!strcmp(of, "act_mul") || !strcmp(of, "moe_grouped"))))
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

static void compare(const form *w, isa_level level)
{
   harness *one = harness_compile(
      w->text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_EXACT});
   harness *two =
      harness_compile(w->text, (harness_options){.level = level, .numerics = SINTER_EXACT});

   cr_assert(has_rule(one, w->rule), "%s: %s has not fired", w->name, w->rule);
   for (size_t i = 0; i < countof(steps); i++) {
      harness_run *a = harness_go(one, steps[i]), *b = harness_go(two, steps[i]);

      for (int k = 0; k < 2; k++) {
         cr_assert_eq(a->out_bytes[k], b->out_bytes[k]);
         cr_assert(memcmp(a->out[k], b->out[k], a->out_bytes[k]) == 0,
                   "%s at %s, step %zu: %s differ from those of a kernel of its own", w->name,
                   isa_infos[level].name, i, k ? "scales" : "codes");
      }
      harness_end(a);
      harness_end(b);
   }
   harness_free(one);
   harness_free(two);
}

/* Kills: a quant of the value before its last step; codes of another row, head or panel; a scale of
 * half a group; sums that are not those of the codes; an odd number of panels in a tile. */
Test(quant_kernels, same_bits_in_any_kernel)
{
   for (size_t i = 0; i < countof(forms); i++)
      for (int level = 0; level < ISA_LEVEL_COUNT; level++)
         if (isa_runs((isa_level)level) || forms[i].small)
            compare(&forms[i], (isa_level)level);
}

/* ---- every form ---- */

typedef struct shape {
   int k, group;
   const char *code, *more; /* type of the codes; attributes */
   bool given;              /* the scale is an operand */
} shape;

static const shape shapes[] = {
   {64, 64, "i8", "", false},
   {100, 32, "i8", "", false},
   {37, 37, "i8", ", floor=1e-10", false},
   {256, 128, "f8e4m3", "", false},
   {200, 128, "f8e4m3", ", floor=4.3596540178571426e-06", false},
   {257, 64, "f8e4m3", ", scale_fn=\"ue8m0\"", false},
   {96, 64, "f8e4m3fnuz", "", false},
   {131, 131, "f8e4m3fnuz", ", scale_fn=\"ue8m0\"", false},
   {256, 128, "f8e4m3", ", layout=\"col\"", false},
   {70, 32, "i8", ", layout=\"col\", scale_fn=\"ue8m0\"", false},
   {90, 90, "f8e4m3", "", true},
   {48, 48, "i8", "", true},
};

static int64_t num_groups(const shape *s)
{
   return (s->k + s->group - 1) / s->group;
}

static void text_of(const shape *s, bool normed, char *out, size_t size)
{
   bool col = strstr(s->more, "col") != NULL;
   char scales[32];

   snprintf(scales, sizeof scales, col ? "%lld,T" : "T,%lld", (long long)num_groups(s));
   snprintf(out, size,
            "func @f(T in 1..24, R in 0..16, S in 1..4) {\n%%x = param {name=\"%s\"} : f32[T,%d]\n"
            "%%w = weight {name=\"w\"} : f32[%d]\n%%g = param {name=\"given\"} : f32[1]\n"
            "%%n = rmsnorm %%x, %%w {eps=0.002}\n%%t = add %%g, %%g\n%%q, %%s = quant %s%s "
            "{group=%d%s} : %s[T,%d], f32[%s]\n"
            "return %%q, %%s, %%n, %%t\n}\n",
            normed ? "x" : "edges", s->k, s->k, normed ? "%n" : "%x", s->given ? ", %g" : "",
            s->group, s->more, s->code, s->k, scales);
}

/* The next value of the type of codes that is further from zero is at most this far. */
static double step_at(dtype code, double v)
{
   return code == DT_i8 ? 1 : fmax(fabs(v) * 0x1p-3, 0x1p-9);
}

static bool is_nan_row(bool normed, int64_t t)
{
   return !normed && t % HARNESS_EDGES == HARNESS_EDGES - 1;
}

static int64_t compare_row(const harness_run *r, const shape *s, int64_t t, int64_t rows)
{
   dtype code = dtype_from_name(s->code, strlen(s->code));
   bool col = strstr(s->more, "col") != NULL, powers = strstr(s->more, "ue8m0") != NULL;
   int64_t groups = num_groups(s), off = 0;

   for (int64_t g = 0; g < groups; g++) {
      int64_t at = col ? g * rows + t : t * groups + g;
      double want = r->want[1].data[at], got = ((const float *)(const void *)r->out[1])[at];
      cr_assert(powers && want > 1e-30 ? got == want : fabs(got - want) <= 0x1p-22 * fabs(want),
                "%s K %d: scale [%lld,%lld] is %.9g, should be %.9g", s->code, s->k, (long long)t,
                (long long)g, got, want);
   }
   for (int64_t i = 0; i < s->k; i++) {
      double want = r->want[0].data[t * s->k + i], got;
      dtype_load(code, r->out[0] + t * s->k + i, 1, &got);
      cr_assert(fabs(got - want) <= step_at(code, want),
                "%s K %d: code [%lld,%lld] is %g, should be %g", s->code, s->k, (long long)t,
                (long long)i, got, want);
      off += got != want;
   }
   return off;
}

static void check_shape(const shape *s, bool normed, isa_level level)
{
   char text[1024];

   text_of(s, normed, text, sizeof text);

   harness *h = harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_EXACT});
   for (int64_t rows = 1; rows <= 2 * HARNESS_EDGES; rows += 2 * HARNESS_EDGES - 1) {
      harness_run *r = harness_go(h, (harness_step){.num_seqs = 1, .rows = {rows}});
      int64_t off = 0;

      for (int64_t t = 0; t < rows; t++)
         if (!is_nan_row(normed, t))
            off += compare_row(r, s, t, rows);
      cr_assert(off <= 1 + rows * s->k / 50, "%s: %lld of %lld codes differ", text, (long long)off,
                (long long)(rows * s->k));
      harness_end(r);
   }
   harness_free(h);
}

/* Zero and tiny rows, largest values at powers of two one ulp up and down, NaN in the next row, last
 * groups of any length. Kills: a floor that is not there; a scale of the row for every group; the
 * largest of a group without its tail; e4m3fnuz up to 240; a power of two below the scale; scales by
 * row where they go by column; codes without saturation; a NaN that reaches another row. */
Test(quant_kernels, every_form)
{
   for (size_t i = 0; i < countof(shapes); i++)
      for (int level = 0; level < ISA_LEVEL_COUNT; level++)
         for (int normed = 0; normed < 2; normed++)
            if (isa_runs((isa_level)level) || i % 4 == 0)
               check_shape(&shapes[i], normed, (isa_level)level);
}
