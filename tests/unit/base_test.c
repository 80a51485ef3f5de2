// LINK: base
/* Tests of base/: arena, map, json, hash, dtype. */
#include <criterion/criterion.h>

#include <math.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"

static arena *fresh(void)
{
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   return a;
}

static sinter_status exhaust(void *user)
{
   for (int i = 0; i < 100; i++)
      memset(arena_alloc(user, 1000), 1, 1000);
   return SINTER_ok;
}

/* Kills: an arena that returns NULL, a catch that does not restore the outer one. */
Test(arena, running_out_unwinds_to_the_catch)
{
   arena *a = fresh();

   arena_fail_after(50);
   cr_assert(arena_catch(exhaust, a) == SINTER_out_of_memory);
   cr_assert(arena_catch(exhaust, a) == SINTER_ok);
   arena_destroy(a);
}

/* Kills: memory that is not zeroed or not aligned; a large chunk that hides the rest of the small
 * one. */
Test(arena, memory_is_zero_and_aligned)
{
   arena *a = fresh();

   for (size_t size = 1; size < 1000000; size = size * 3 + 1) {
      unsigned char *p = arena_alloc(a, size);
      cr_assert((uintptr_t)p % 16 == 0);
      for (size_t i = 0; i < size; i++)
         cr_assert(p[i] == 0);
      memset(p, 0xff, size);
   }
   arena_destroy(a);
}

/* Kills: losing entries when the map grows; comparing keys by prefix. */
Test(map, keeps_every_entry)
{
   arena *a = fresh();
   map m = {.a = a};

   for (uintptr_t i = 1; i <= 10000; i++)
      cr_assert(map_set(&m, arena_printf(a, "k%zu", (size_t)i), (void *)i) == NULL);
   for (uintptr_t i = 1; i <= 10000; i++)
      cr_assert((uintptr_t)map_get(&m, arena_printf(a, "k%zu", (size_t)i)) == i);
   cr_assert(map_get(&m, "k") == NULL);
   cr_assert((uintptr_t)map_set(&m, "k7", (void *)9) == 7);
   arena_destroy(a);
}

static sinter_status parse(const char *text)
{
   arena *a = fresh();
   json *j;
   sinter_status status = json_parse(a, text, strlen(text), "test", &j);

   arena_destroy(a);
   return status;
}

/* Kills: accepting what strict JSON refuses. */
Test(json, refuses_what_is_not_json)
{
   static const char *const bad[] = {
      "",         "{",   "[1,]", "{\"a\":1,\"a\":2}", "01",      "1 2",     "1e400", "\"\xff\"",
      "\"a\nb\"", "nul", "[1}",  "{\"a\"}",           "// x\n1", "\"\\x\"",
   };

   for (size_t i = 0; i < countof(bad); i++)
      cr_expect(parse(bad[i]) == SINTER_bad_input, "accepted %s", bad[i]);
   char deep[200];
   memset(deep, '[', 100);
   memset(deep + 100, ']', 99);
   deep[199] = 0;
   cr_expect(parse(deep) == SINTER_bad_input);
   cr_expect(strstr(sinter_error(), "byte") != NULL);
}

/* Kills: int read through double; lookup that stops at the hashed size; NUL in strings cutting
 * them. */
Test(json, reads_values_exactly)
{
   arena *a = fresh();
   text_buf t = {.a = a};
   json *j;

   text_printf(&t, "{\"big\":9007199254740993,\"s\":\"a\\u0000b\",\"f\":0.1,\"l\":[true,null]");
   for (int i = 0; i < 50; i++)
      text_printf(&t, ",\"k%d\":%d", i, i);
   text_printf(&t, "}");
   cr_assert(json_parse(a, t.data, t.len, "test", &j) == SINTER_ok);
   cr_assert(json_get(j, "big")->integer == 9007199254740993);
   cr_assert(json_get(j, "s")->len == 3);
   cr_assert(json_get(j, "f")->number == 0.1);
   cr_assert(json_get(j, "l")->len == 2);
   cr_assert(json_get(j, "k49")->integer == 49);
   cr_assert(json_get(j, "k50") == NULL);
   arena_destroy(a);
}

/* Kills: a seed that is ignored, a digest of another length. */
Test(hash, seeds_and_digests)
{
   hash128 a = hash_bytes("x", 1, (hash128){0, 0}), b = hash_bytes("x", 1, (hash128){0, 1});
   char hex[65];
   digest d = digest_bytes("abc", 3);

   cr_assert(a.lo != b.lo);
   digest_hex(&d, hex);
   /* BLAKE2b-256 of "abc", RFC 7693 parameters with a 32-byte digest. */
   cr_assert(strcmp(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319") == 0);
}

/* Kills: truncation instead of ties-to-even; wrong subnormals; double rounding. */
Test(dtype, f16_round_trips_and_rounds_to_even)
{
   for (uint32_t h = 0; h < 65536; h++) {
      float v = f16_to_f32((uint16_t)h);
      if (v == v)
         cr_assert(f16_from_f32(v) == h);
   }
   cr_assert(f16_from_f32(1 + 0x1p-11f) == 0x3c00);
   cr_assert(f16_from_f32(1 + 0x1.8p-10f) == 0x3c02);
   cr_assert(f16_from_f32(0x1p-25f) == 0);
   cr_assert(f16_from_f32(0x1.8p-25f) == 1);
   cr_assert(f16_from_f32(65520) == 0x7c00);
   cr_assert(dtype_round(DT_f16, 1 + 0x1p-11 + 0x1p-40) == 1 + 0x1p-10);
   cr_assert(dtype_round(DT_i8, 300) == 127 && dtype_round(DT_i8, -0.5) == 0);
}

/* Kills: codes of e4m3fnuz up to what the type holds. */
Test(dtype, code_max)
{
   cr_assert(dtype_code_max(DT_i8) == 127 && dtype_code_max(DT_f8e4m3) == 448);
   cr_assert(dtype_code_max(DT_f8e4m3fnuz) == 224 && dtype_code_max(DT_f16) == 0);
   cr_assert(dtype_round(DT_f8e4m3fnuz, 1000) == 240);
}

/* As PTX's satfinite and the saturating conversions of OCP's FP8 have it. Kills: an infinity that
 * becomes NaN; a NaN that becomes a number. */
Test(dtype, bytes_saturate)
{
   cr_assert(dtype_round(DT_f8e4m3, 449) == 448 && dtype_round(DT_f8e4m3, -1e300) == -448);
   cr_assert(dtype_round(DT_f8e4m3, INFINITY) == 448);
   cr_assert(dtype_round(DT_f8e4m3fnuz, -INFINITY) == -240);
   cr_assert(isnan(dtype_round(DT_f8e4m3, NAN)) && isnan(dtype_round(DT_f8e4m3fnuz, NAN)));
}

/* Every code but the one of minus zero, which is the only NaN. */
Test(dtype, f8e4m3fnuz_round_trips)
{
   for (int c = 0; c < 256; c++) {
      uint8_t code = (uint8_t)c, back;
      double v;

      dtype_load(DT_f8e4m3fnuz, &code, 1, &v);
      cr_assert_eq(isnan(v), c == 0x80);
      dtype_store(DT_f8e4m3fnuz, &back, &v, 1);
      cr_assert_eq(back, code, "%02x came back as %02x", code, back);
   }
}

/* Kills: an FP8 encoder that does not invert the decoder, or overflows to NaN instead of 448. */
Test(dtype, f8e4m3_round_trips)
{
   for (int c = 0; c < 256; c++) {
      uint8_t code = (uint8_t)c, back;
      double v;
      dtype_load(DT_f8e4m3, &code, 1, &v);
      if (isnan(v))
         continue;
      dtype_store(DT_f8e4m3, &back, &v, 1);
      cr_assert(back == code);
   }
   double big = 1e9;
   uint8_t code;
   dtype_store(DT_f8e4m3, &code, &big, 1);
   cr_assert(code == 0x7e);
}

/* Kills: a failure without a remedy where the caller has none of its own. */
Test(status, every_failure_has_a_remedy)
{
   for (int s = SINTER_failed; s <= SINTER_cancelled; s++) {
      cr_assert(base_fail((sinter_status)s, "here", "", "x") == (sinter_status)s);
      cr_assert(strstr(sinter_error(), "\n  try: "), "%s", sinter_error());
   }
}
