// LINK: base
/* RoPE kinds against recorded inverse frequencies and scalings. */
#include "recorded.h"

#include "base/rope.h"

#include <math.h>

static double number(const json *j, const char *key, double otherwise)
{
   const json *v = json_get(j, key);

   return v && v->kind != JSON_null ? v->number : otherwise;
}

static void factors(const json *p, const char *key, double *out)
{
   const json *v = json_get(p, key);

   for (size_t i = 0; v && i < v->len; i++)
      out[i] = v->items[i]->number;
}

static rope_kind kind_of(const char *name)
{
   static const char *const names[] = {"default", "linear", "dynamic",
                                       "yarn",    "llama3", "longrope"};

   for (size_t i = 0; i < countof(names); i++)
      if (strcmp(names[i], name) == 0)
         return (rope_kind)i;
   cr_assert_fail("unknown kind %s", name);
   return ROPE_default;
}

static rope_spec spec_of(const json *c)
{
   const json *p = json_get(c, "rope_parameters");
   rope_spec r = {.kind = kind_of(json_get(p, "rope_type")->string)};
   const json *truncate = json_get(p, "truncate");

   r.width = (uint32_t)json_get(c, "head_dim")->integer;
   r.base = number(p, "rope_theta", 0);
   r.factor = number(p, "factor", 1);
   r.max_context = number(c, "max_position_embeddings", 0);
   r.original_context = number(p, "original_max_position_embeddings", 0);
   r.beta_fast = number(p, "beta_fast", 32);
   r.beta_slow = number(p, "beta_slow", 1);
   r.truncate = !truncate || truncate->boolean;
   r.low_freq_factor = number(p, "low_freq_factor", 0);
   r.high_freq_factor = number(p, "high_freq_factor", 0);
   r.attention_factor = number(c, "attention_scaling", 1);
   factors(p, "short_factor", r.short_factor);
   factors(p, "long_factor", r.long_factor);
   return r;
}

/* Kills: a ramp over the wrong index, floor/ceil ignoring truncate, dynamic without the length,
 * long factors one token early, llama3 with swapped bounds. */
Test(rope, recorded_tables)
{
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   const json *cases = json_get(recorded(a, "rope.json"), "cases");
   cr_assert_eq(cases->len, 16);
   for (size_t i = 0; i < cases->len; i++) {
      const json *c = cases->items[i], *want = json_get(c, "inv_freq");
      rope_spec r = spec_of(c);
      double inv[ROPE_MAX_WIDTH / 2], scale;

      rope_inv_freq(&r, number(c, "seq_len", 1), inv, &scale);
      cr_assert_eq(want->len, r.width / 2);
      for (size_t k = 0; k < want->len; k++) {
         double w = want->items[k]->number;
         cr_expect(fabs(inv[k] - w) <= 1e-6 * fabs(w), "case %zu, %zu: %.9g is not %.9g", i, k,
                   inv[k], w);
      }
      cr_expect_eq(scale, r.attention_factor);
   }
   arena_destroy(a);
}

/* Kills: GGUF frequency factors multiplied instead of divided, or dropped for a scaled kind. */
Test(rope, frequency_factors_divide)
{
   rope_spec r = {
      .kind = ROPE_linear, .width = 8, .base = 10000, .factor = 2, .attention_factor = 1};
   double plain[4], with[4], scale;

   rope_inv_freq(&r, 1, plain, &scale);
   r.has_freq_factors = true;
   for (int i = 0; i < 4; i++)
      r.long_factor[i] = 1 + i;
   rope_inv_freq(&r, 1, with, &scale);
   for (int i = 0; i < 4; i++)
      cr_expect_float_eq(with[i], plain[i] / (1 + i), 1e-15);
   cr_expect_not(rope_depends_on_length(&r));
}
