// LINK: models ir base
/* The GGUF reader alone: each way in which a table can lie is refused, at its place. */
#include "models/import/gguf.h"
#include "tiny.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* One key and two tensors; a test changes a field. */
typedef struct plan_of_file {
   const char *magic;
   uint64_t version, num_tensors, num_keys;
   const char *key;
   uint64_t key_len, key_type, item_type, count, value; /* item_type, count: arrays only */
   const char *names[2];
   uint64_t rank, dim[2], type, offset[2];
} file_plan;

static const file_plan good = {
   .magic = "GGUF",
   .version = 3,
   .num_tensors = 2,
   .num_keys = 1,
   .key = "general.alignment",
   .key_len = 17,
   .key_type = 4,
   .value = 64,
   .names = {"a", "b"},
   .rank = 2,
   .dim = {32, 2},
   .type = 2,
   .offset = {0, 64},
};

static void write_plan(tiny_file *f, const file_plan *p)
{
   f->size = 0;
   tiny_put(f, p->magic, 4);
   tiny_int(f, p->version, 4);
   tiny_int(f, p->num_tensors, 8);
   tiny_int(f, p->num_keys, 8);
   tiny_int(f, p->key_len, 8);
   tiny_put(f, p->key, strlen(p->key));
   tiny_int(f, p->key_type, 4);
   if (p->key_type == 9) {
      tiny_int(f, p->item_type, 4);
      tiny_int(f, p->count, 8);
   }
   tiny_int(f, p->value, p->key_type == 8 || p->item_type == 8 ? 8 : 4);
   for (int i = 0; i < 2; i++) {
      tiny_string(f, p->names[i]);
      tiny_int(f, p->rank, 4);
      tiny_int(f, p->dim[0], 8);
      tiny_int(f, p->dim[1], 8);
      tiny_int(f, p->type, 4);
      tiny_int(f, p->offset[i], 8);
   }
   while (f->size % 64)
      tiny_int(f, 0, 1);
   for (int i = 0; i < 64 + 36; i++)
      tiny_int(f, (uint64_t)i, 1);
}

typedef struct reading {
   const uint8_t *bytes;
   size_t size;
   arena *a;
   gguf_file *g;
} reading;

static sinter_status read_body(void *user)
{
   reading *r = user;

   return gguf_read(r->a, r->bytes, r->size, "test.gguf", &r->g);
}

/* Reads from a block that ends where the file ends, so that the sanitizers see an overread. */
static sinter_status read_plan(const file_plan *p, reading *r)
{
   static tiny_file f;

   write_plan(&f, p);
   uint8_t *exact = malloc(f.size);
   memcpy(exact, f.bytes, f.size);
   *r = (reading){.bytes = exact, .size = f.size};
   cr_assert_eq(arena_create(&r->a), SINTER_ok);
   return arena_catch(read_body, r);
}

static void end(reading *r)
{
   cr_expect_lt(arena_used(r->a), 1 << 20, "%zu bytes for a file of %zu", arena_used(r->a),
                r->size);
   arena_destroy(r->a);
   free((void *)r->bytes);
}

/* Kills: data placed without the alignment, extents in the wrong order, bytes not by blocks. */
Test(gguf, good_file)
{
   reading r;

   cr_assert_eq(read_plan(&good, &r), SINTER_ok, "%s", sinter_error());
   cr_expect_eq(r.g->alignment, 64);
   cr_expect_eq(r.g->num_tensors, 2);
   cr_expect_eq(r.g->tensors[0].dim[0], 32);
   cr_expect_eq(r.g->tensors[0].bytes, 36);
   cr_expect_eq(r.g->tensors[1].file_offset, r.g->tensors[0].file_offset + 64);
   cr_expect_eq(r.g->tensors[1].data[0], 64);
   cr_expect_eq(r.g->tensors[0].file_offset % 64, 0);
   end(&r);
}

#define REFUSED(status, says, ...)                                                                 \
   do {                                                                                            \
      file_plan p = good;                                                                          \
      reading r;                                                                                   \
      __VA_ARGS__;                                                                                 \
      cr_expect_eq(read_plan(&p, &r), SINTER_##status, "%s", #__VA_ARGS__);                        \
      cr_expect(strstr(sinter_error(), says), "%s: '%s'", #__VA_ARGS__, sinter_error());           \
      cr_expect(strstr(sinter_error(), "test.gguf") || strstr(sinter_error(), "at: a"),            \
                "no place");                                                                       \
      end(&r);                                                                                     \
   } while (0)

/* Kills: any single check of the header and of the keys. */
Test(gguf, lying_header)
{
   REFUSED(bad_input, "GGUF", p.magic = "GGML");
   REFUSED(unsupported, "version 0", p.version = 0);
   REFUSED(unsupported, "version 1", p.version = 1);
   REFUSED(unsupported, "big-endian", p.version = 0x03000000);
   REFUSED(unsupported, "big-endian", p.version = 0x02000000);
   REFUSED(bad_input, "tensors", p.num_tensors = UINT64_C(1) << 63);
   REFUSED(bad_input, "keys", p.num_keys = UINT64_C(1) << 63);
   REFUSED(bad_input, "", p.num_keys = 2);
   REFUSED(bad_input, "limit", p.key_len = UINT64_MAX);
   REFUSED(bad_input, "missing", p.key_len = 60000);
   REFUSED(bad_input, "limit", p.key_type = 8, p.value = 1 << 30);
   REFUSED(bad_input, "missing", p.key_type = 8, p.value = 1 << 20);
   REFUSED(bad_input, "type 255", p.key_type = 255);
   REFUSED(bad_input, "type 255", p.key_type = 9, p.item_type = 255, p.count = 1);
   REFUSED(bad_input, "arrays of arrays", p.key_type = 9, p.item_type = 9, p.count = 1);
   REFUSED(bad_input, "limit", p.key_type = 9, p.item_type = 0, p.count = UINT64_MAX);
   REFUSED(bad_input, "missing", p.key_type = 9, p.item_type = 12, p.count = 1 << 20);
   REFUSED(bad_input, "alignment", p.value = 0);
   REFUSED(bad_input, "alignment", p.value = 3);
   REFUSED(bad_input, "alignment", p.value = 1 << 30);
   REFUSED(bad_input, "alignment", p.key_type = 5);
}

/* Kills: any single check of the tensor table. */
Test(gguf, lying_tensors)
{
   REFUSED(bad_input, "dimensions", p.rank = 0);
   REFUSED(bad_input, "dimensions", p.rank = 5);
   REFUSED(bad_input, "dimensions", p.rank = UINT32_MAX);
   REFUSED(bad_input, "overflow", p.dim[0] = 0);
   REFUSED(bad_input, "overflow", p.dim[0] = UINT64_C(1) << 32, p.dim[1] = UINT64_C(1) << 32);
   REFUSED(bad_input, "end of the file", p.dim[1] = SIZE_MAX / 64);
   REFUSED(bad_input, "overflow", p.dim[1] = SIZE_MAX / 4);
   REFUSED(bad_input, "blocks", p.dim[0] = 16, p.dim[1] = 4);
   REFUSED(unsupported, "type 40", p.type = 40);
   REFUSED(unsupported, "type", p.type = UINT32_MAX);
   REFUSED(bad_input, "end of the file", p.offset[1] = 128);
   REFUSED(bad_input, "end of the file", p.offset[1] = UINT64_MAX - 63);
   REFUSED(bad_input, "multiple", p.offset[1] = 32);
   REFUSED(bad_input, "overlap", p.offset[1] = 0);
   REFUSED(bad_input, "twice", p.names[1] = "a");
   REFUSED(bad_input, "empty", p.names[1] = "");
}

/* Kills: signs lost in narrow types, bool taken as a number of its own, an index behind the end. */
Test(gguf, values)
{
   static const uint8_t bytes[8] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
   gguf_value v = {.type = GGUF_i8, .count = 8, .data = bytes};
   int64_t n;
   double x;

   cr_expect(gguf_int(&v, 0, &n) && n == -2);
   cr_expect_not(gguf_int(&v, 8, &n));
   v = (gguf_value){.type = GGUF_u8, .count = 8, .data = bytes};
   cr_expect(gguf_int(&v, 0, &n) && n == 254);
   v = (gguf_value){.type = GGUF_bool, .count = 8, .data = bytes};
   cr_expect(gguf_int(&v, 0, &n) && n == 1);
   v = (gguf_value){.type = GGUF_i64, .count = 1, .data = bytes};
   cr_expect(gguf_int(&v, 0, &n) && n == -2);
   cr_expect(gguf_float(&v, 0, &x) && x == -2);
   v = (gguf_value){.type = GGUF_u64, .count = 1, .data = bytes};
   cr_expect_not(gguf_int(&v, 0, &n));
   v = (gguf_value){.type = GGUF_string, .count = 1, .data = bytes};
   cr_expect_not(gguf_int(&v, 0, &n));
   cr_expect_not(gguf_float(&v, 0, &x));
}
