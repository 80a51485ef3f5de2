// LINK: models ir base
/* Damaged checkpoints: every truncation and many mutations end in a clear error or in a model, with
 * bounded memory. */
#include "models/model.h"
#include "tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MUTATIONS = 10000, FEW_MUTATIONS = 2000, MAX_MEMORY = 64 << 20 };

typedef struct tally {
   unsigned opened, refused;
} tally;

static const char *folder(void)
{
   static char dir[] = "/tmp/sinter_damage_XXXXXX";

   cr_assert(mkdtemp(dir));
   return dir;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
   /* a new file each time: some file systems flush a file that is cut and written again */
   remove(path);
   FILE *f = fopen(path, "wb");

   cr_assert(f);
   cr_assert_eq(fwrite(bytes, 1, size, f), size);
   fclose(f);
}

/* Opens, demands one of the statuses that tell the user something, counts. */
static void try_open(const char *path, tally *t)
{
   static const model_options options = {.max_rows = 8, .max_wanted = 8, .max_sequences = 1};
   arena *a;
   model *m;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   sinter_status status = model_open(a, path, &options, &m);
   cr_assert_leq(arena_used(a), MAX_MEMORY);
   if (status == SINTER_ok) {
      t->opened++;
      model_close(m);
   } else {
      t->refused++;
      cr_assert(status == SINTER_bad_input || status == SINTER_unsupported ||
                   status == SINTER_not_found,
                "%s: %s", sinter_status_name(status), sinter_error());
      cr_assert(strstr(sinter_error(), "\n"), "no place, no remedy: %s", sinter_error());
   }
   arena_destroy(a);
}

static void truncate_all(const tiny_file *f, const char *file, const char *path)
{
   tally t = {0};

   for (size_t n = 0; n < f->size; n++) {
      write_file(file, f->bytes, n);
      try_open(path, &t);
      cr_assert_eq(t.opened, 0, "cut to %zu of %zu bytes, it opens", n, f->size);
   }
   write_file(file, f->bytes, f->size);
   try_open(path, &t);
   cr_assert_eq(t.opened, 1, "%s", sinter_error());
}

static void mutate(const tiny_file *f, size_t head, int count, const char *file, const char *path)
{
   static const uint8_t special[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', ','};
   tally t = {0};
   uint32_t seed = 99;
   tiny_file copy;

   for (int i = 0; i < count; i++) {
      copy = *f;
      for (uint32_t k = 0, n = 1 + i % 3; k < n; k++) {
         seed = seed * 1664525 + 1013904223;
         uint32_t at = (seed >> 8) % (uint32_t)head;
         seed = seed * 1664525 + 1013904223;
         uint32_t r = seed >> 16;
         copy.bytes[at] = r & 1 ? (uint8_t)(r >> 1) : special[(r >> 1) % countof(special)];
      }
      write_file(file, copy.bytes, copy.size);
      try_open(path, &t);
   }
   cr_assert_eq(t.opened + t.refused, (unsigned)count);
   cr_assert_gt(t.refused, (unsigned)count / 4, "only %u of %d mutations were noticed", t.refused,
                count);
}

/* Kills: any read before its bounds check (under the sanitizers), a tensor range checked without
 * its offset. */
Test(damage, gguf)
{
   static tiny_file f;
   char path[256];

   snprintf(path, sizeof path, "%s/m.gguf", folder());
   tiny_gguf(&f, 2, &(tiny_extra){0});
   mutate(&f, f.size - 3000, FEW_MUTATIONS, path, path);
   tiny_gguf(&f, 3, &(tiny_extra){0});
   truncate_all(&f, path, path);
   mutate(&f, f.size - 3000, MUTATIONS, path, path);
}

/* Kills: a hole or overlap between ranges that is let through, a header length that is trusted. */
Test(damage, safetensors)
{
   static tiny_file f;
   char path[256], weights[300], config[300];
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   snprintf(path, sizeof path, "%s", folder());
   snprintf(weights, sizeof weights, "%s/model.safetensors", path);
   snprintf(config, sizeof config, "%s/config.json", path);
   write_file(config, TINY_CONFIG, strlen(TINY_CONFIG));
   tiny_safetensors(&f, a);
   truncate_all(&f, weights, path);
   mutate(&f, f.size - 2200, MUTATIONS, weights, path);
   arena_destroy(a);
}

/* Kills: a configuration value used before it is checked (zero heads, huge widths, wrong kinds of
 * JSON). */
Test(damage, config)
{
   static tiny_file f, c;
   char path[256], weights[300], config[300];
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   snprintf(path, sizeof path, "%s", folder());
   snprintf(weights, sizeof weights, "%s/model.safetensors", path);
   snprintf(config, sizeof config, "%s/config.json", path);
   tiny_safetensors(&f, a);
   write_file(weights, f.bytes, f.size);
   tiny_put(&c, TINY_CONFIG, strlen(TINY_CONFIG));
   truncate_all(&c, config, path);
   mutate(&c, c.size, FEW_MUTATIONS, config, path);
   arena_destroy(a);
}

static unsigned mapped_files(const char *path)
{
   FILE *f = fopen("/proc/self/maps", "r");
   char line[512];
   unsigned n = 0;

   cr_assert(f);
   while (fgets(line, sizeof line, f))
      n += strstr(line, path) != NULL;
   fclose(f);
   return n;
}

/* Fails the first, second, … allocation of an open until one succeeds. */
static void starve(const char *path)
{
   static const model_options options = {.max_rows = 8, .max_wanted = 8, .max_sequences = 1};
   sinter_status status = SINTER_failed;
   size_t n = 0;

   while (status != SINTER_ok) {
      arena *a;
      model *m;
      cr_assert_eq(arena_create(&a), SINTER_ok);
      arena_fail_after(++n);
      status = model_open(a, path, &options, &m);
      arena_fail_after(0);
      cr_assert(status == SINTER_ok || status == SINTER_out_of_memory, "%s", sinter_error());
      cr_assert_lt(n, 100000);
      if (status == SINTER_ok)
         model_close(m);
      cr_assert_eq(mapped_files(path), 0, "allocation %zu: a file stays mapped", n);
      arena_destroy(a);
   }
   cr_assert_gt(n, 100, "only %zu allocations", n);
}

/* Kills: an allocation outside arena_catch, a mapping that is lost when memory runs out. */
Test(damage, memory)
{
   static tiny_file f;
   char path[256], file[300];
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   snprintf(path, sizeof path, "%s", folder());
   snprintf(file, sizeof file, "%s/m.gguf", path);
   tiny_gguf(&f, 3, &(tiny_extra){0});
   write_file(file, f.bytes, f.size);
   starve(file);
   snprintf(file, sizeof file, "%s/config.json", path);
   write_file(file, TINY_CONFIG, strlen(TINY_CONFIG));
   snprintf(file, sizeof file, "%s/model.safetensors", path);
   tiny_safetensors(&f, a);
   write_file(file, f.bytes, f.size);
   starve(path);
   arena_destroy(a);
}

/* Kills: a shard outside the folder, a tensor of the index that is in no shard, shards read twice.
 */
Test(damage, index)
{
   static tiny_file f, index;
   char path[256], part[300], list[300];
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   snprintf(path, sizeof path, "%s", folder());
   snprintf(part, sizeof part, "%s/config.json", path);
   write_file(part, TINY_CONFIG, strlen(TINY_CONFIG));
   snprintf(part, sizeof part, "%s/part.safetensors", path);
   snprintf(list, sizeof list, "%s/model.safetensors.index.json", path);
   tiny_safetensors(&f, a);
   write_file(part, f.bytes, f.size);
   tiny_put(&index, "{\"weight_map\":{", 15);
   for (size_t i = 0; i < countof(tiny_tensors); i++) {
      char row[128];
      int n = snprintf(row, sizeof row, "%s\"%s\":\"part.safetensors\"", i ? "," : "",
                       tiny_tensors[i].hf);
      tiny_put(&index, row, (size_t)n);
   }
   tiny_put(&index, "}}", 2);
   truncate_all(&index, list, path);
   mutate(&index, index.size, FEW_MUTATIONS, list, path);
   arena_destroy(a);
}
