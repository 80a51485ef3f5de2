// LINK: codegen runtime base
/* The artifact file: what is written is what is read, and damage is named before it does harm. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/artifact.h"
#include "runtime/elf.h"
#include "runtime/weights.h"
#include "tiny_artifact.h"

enum { BIG_ROWS = 70000 }; /* packed: more than two MiB */

static char folder[64];

static void enter_folder(void)
{
   snprintf(folder, sizeof folder, "/tmp/sinter-artifact-XXXXXX");
   cr_assert_not_null(mkdtemp(folder));
   cr_assert_eq(chdir(folder), 0);
   setenv("SINTER_CACHE", folder, 1);
}

static void leave_folder(void)
{
   char command[128];

   snprintf(command, sizeof command, "rm -rf %s", folder);
   cr_assert_eq(system(command), 0);
}

TestSuite(artifact, .init = enter_folder, .fini = leave_folder);

static void write_file(const char *path, uint64_t rows, uint32_t threads, uint32_t targets,
                       const char *weights_dir)
{
   compiler_request request = {
      .out_path = path, .key_json = "{\"k\":1}", .threads = threads, .weights_dir = weights_dir};
   tiny t;

   tiny_make(&t, rows, 7);
   cr_assert_eq(tiny_write(&t, &request, targets), SINTER_ok, "%s", sinter_error());
   arena_destroy(t.a);
}

typedef struct bytes {
   uint8_t *data;
   size_t size;
} bytes;

static bytes read_file(const char *path)
{
   FILE *f = fopen(path, "r");
   bytes b;

   cr_assert_not_null(f, "%s", path);
   fseek(f, 0, SEEK_END);
   b.size = (size_t)ftell(f);
   rewind(f);
   b.data = malloc(b.size + 1);
   cr_assert_eq(fread(b.data, 1, b.size, f), b.size);
   fclose(f);
   return b;
}

static void store_file(const char *path, bytes b)
{
   FILE *f = fopen(path, "w");

   cr_assert_not_null(f);
   cr_assert_eq(fwrite(b.data, 1, b.size, f), b.size);
   fclose(f);
}

static void check_weights(const sinter_artifact *a, uint64_t rows, uint32_t target)
{
   const rt_artifact *r = rt_artifact_of(a);
   const plan *p = rt_artifact_plan(r, target);
   rt_bytes w;
   tiny t;
   float got[TINY_COLS];

   tiny_make(&t, rows, 7);
   cr_assert_eq(rt_artifact_weights(r, target, &w), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(w.size, t.p.weight_bytes);
   cr_assert_eq((uintptr_t)w.data % 4096, 0);
   cr_assert_arr_eq(w.data + p->weights[1].offset, t.tensors[1].data, t.tensors[1].bytes);
   /* The last row went through panels, cut at a MiB, and a padded last panel. */
   uint64_t size;
   cr_assert(pack_size((panel_layout)p->weights[0].layout, rows, TINY_COLS, &size));
   pack_unpack_row((panel_layout)p->weights[0].layout, w.data, rows, TINY_COLS, rows - 1, got);
   uint16_t d;
   const uint8_t *block = t.tensors[0].data + (rows * TINY_COLS / 32 - 1) * 18;
   memcpy(&d, block, sizeof d);
   float want = f16_to_f32(d) * (float)((block[2] & 15) - 8);
   cr_assert(memcmp(&got[32], &want, sizeof want) == 0 || (want != want && got[32] != got[32]));
   arena_destroy(t.a);
}

/* Kills: sections swapped or cut, weights at the wrong place, targets mixed up. */
Test(artifact, round_trip)
{
   sinter_artifact *a;
   sinter_model_info info = SINTER_INIT(sinter_model_info);
   uint32_t target;
   rt_elf *e;

   write_file("a.sinter", BIG_ROWS, 2, 2, NULL);
   cr_assert_eq(sinter_artifact_open("a.sinter", &a), SINTER_ok, "%s", sinter_error());
   const rt_artifact *r = rt_artifact_of(a);
   cr_assert_eq(rt_artifact_num_targets(r), 2);
   cr_assert_eq(rt_artifact_target(r, "ref", false, &target), SINTER_ok);
   cr_assert_eq(target, 1);
   cr_assert_eq(rt_artifact_target(r, "cuda", false, &target), SINTER_unsupported);
   cr_assert(strstr(sinter_error(), "cpu:x86-64-v3, ref"));
   check_weights(a, BIG_ROWS, 0);
   check_weights(a, BIG_ROWS, 1);
   sinter_artifact_info(a, &info);
   cr_assert_eq(info.vocab, TINY_VOCAB);
   cr_assert_eq(info.num_eos, 1);
   cr_assert_eq(info.weight_elements, (uint64_t)BIG_ROWS * TINY_COLS);
   cr_assert(info.has_chat_template);
   cr_assert_str_eq(sinter_artifact_document(a, "template"), "{{ messages }}");
   cr_assert_str_eq(sinter_artifact_document(a, "explain"), "{\"fusions\":[]}");
   cr_assert_null(sinter_artifact_document(a, "weights"));
   cr_assert(strstr(sinter_artifact_document(a, "manifest"), "\"key\":{\"k\":1}"));
   cr_assert(strstr(sinter_artifact_document(a, "plan"), "\"tiles\":\"3*ceil(T/4)\""));
   rt_bytes vocab = rt_artifact_section(r, ARTIFACT_vocab, 0);
   cr_assert(vocab.size == 10 && memcmp(vocab.data, "vocabulary", 10) == 0);
   rt_bytes code = rt_artifact_section(r, ARTIFACT_code, 0);
   cr_assert_eq(rt_elf_load(code.data, code.size, "code", &e), SINTER_ok, "%s", sinter_error());
   rt_elf_unload(e);
   cr_assert_null(rt_artifact_section(r, ARTIFACT_code, 1).data);
   sinter_artifact_close(a);
   cr_assert_eq(sinter_artifact_verify("a.sinter"), SINTER_ok, "%s", sinter_error());
}

/* Kills: bytes that depend on threads, on time, on the path, or on whether weights are shared late.
 */
Test(artifact, same_bytes)
{
   cr_assert_eq(mkdir("other", 0700), 0);
   write_file("a.sinter", BIG_ROWS, 1, 2, NULL);
   write_file("other/b.sinter", BIG_ROWS, 3, 2, NULL);
   bytes a = read_file("a.sinter"), b = read_file("other/b.sinter");
   cr_assert_eq(a.size, b.size);
   cr_assert_arr_eq(a.data, b.data, a.size);
   /* Two targets with equal weights hold them once. */
   write_file("one.sinter", BIG_ROWS, 1, 1, NULL);
   bytes one = read_file("one.sinter");
   cr_assert_lt(a.size, one.size + 65536);
   free(a.data);
   free(b.data);
   free(one.data);
}

/* Kills: looking for external weights elsewhere than beside the artifact, or trusting their size.
 */
Test(artifact, external_weights)
{
   sinter_artifact *a;
   rt_bytes w;

   cr_assert_eq(mkdir("weights", 0700), 0);
   write_file("a.sinter", BIG_ROWS, 2, 1, "weights");
   cr_assert_eq(sinter_artifact_verify("a.sinter"), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(sinter_artifact_open("a.sinter", &a), SINTER_ok);
   check_weights(a, BIG_ROWS, 0);
   sinter_artifact_close(a);
   cr_assert_eq(system("truncate -s -1 weights/*.weights"), 0);
   cr_assert_eq(sinter_artifact_open("a.sinter", &a), SINTER_ok);
   cr_assert_eq(rt_artifact_weights(rt_artifact_of(a), 0, &w), SINTER_bad_input);
   sinter_artifact_close(a);
   cr_assert_eq(system("rm weights/*.weights"), 0);
   cr_assert_eq(sinter_artifact_verify("a.sinter"), SINTER_not_found);
}

static sinter_status open_and_load(const char *path)
{
   sinter_artifact *a;
   rt_bytes w;

   SINTER_TRY(sinter_artifact_open(path, &a));
   sinter_status status = SINTER_ok;
   for (uint32_t t = 0; status == SINTER_ok && t < rt_artifact_num_targets(rt_artifact_of(a)); t++)
      status = rt_artifact_weights(rt_artifact_of(a), t, &w);
   sinter_artifact_close(a);
   return status;
}

/* The fuzz target starts from an artifact that is read. SINTER_RECORD=1 writes it again. Kills: a
 * format that moved on without its seed. */
Test(artifact, seed)
{
   static const char path[] = TEST_ROOT "/fuzz/corpus/artifact/tiny";

   if (getenv("SINTER_RECORD"))
      write_file(path, 8, 1, 1, NULL);
   cr_assert_eq(open_and_load(path), SINTER_ok,
                "%s\nSINTER_RECORD=1 build/tests/artifact_test --filter=artifact/seed",
                sinter_error());
}

/* A flipped bit of the weights is found on first use, in the first, a middle and the last MiB. */
Test(artifact, damaged_weights)
{
   write_file("a.sinter", BIG_ROWS, 2, 1, NULL);
   bytes b = read_file("a.sinter");
   const size_t places[] = {b.size - 1, b.size - (1 << 20), b.size - (2 << 20)};

   for (size_t i = 0; i < countof(places); i++) {
      b.data[places[i]] ^= 4;
      store_file("b.sinter", b);
      cr_assert_eq(open_and_load("b.sinter"), SINTER_verify_failed);
      cr_assert(strstr(sinter_error(), "damaged at byte"), "%s", sinter_error());
      b.data[places[i]] ^= 4;
   }
   store_file("b.sinter", b);
   cr_assert_eq(open_and_load("b.sinter"), SINTER_ok);
   free(b.data);
}

/* Kills: a mapping, which dies of a file that loses its end (the size is that of an earlier look);
 * other bytes than those of the part. */
Test(artifact, sources_that_become_shorter)
{
   enum { FROM = 77, WHOLE = 2 * ARTIFACT_CHUNK + 5 };
   static uint8_t text[FROM + WHOLE];
   digest leaves[3], want, read;
   int fd = open("source", O_RDWR | O_CREAT, 0600);

   for (size_t i = 0; i < sizeof text; i++)
      text[i] = (uint8_t)(i * 2654435761u >> 11);
   cr_assert_eq(write(fd, text, sizeof text), sizeof text);
   for (size_t i = 0; i < 3; i++)
      leaves[i] = artifact_leaf(text + FROM + i * ARTIFACT_CHUNK, i < 2 ? ARTIFACT_CHUNK : 5);
   want = artifact_root(leaves, 3);
   cr_assert_eq(rt_weights_digest(fd, FROM, WHOLE, "source", &read), SINTER_ok);
   cr_assert(digest_equal(&want, &read));
   cr_assert_eq(ftruncate(fd, ARTIFACT_CHUNK + 1), 0);
   cr_assert_eq(rt_weights_digest(fd, FROM, WHOLE, "source", &read), SINTER_io);
   cr_assert(strstr(sinter_error(), "shorter"), "%s", sinter_error());
   close(fd);
}

/* Every byte of the file counts: no flipped one passes `verify`, and none does more than fail. */
Test(artifact, every_byte)
{
   write_file("a.sinter", 40, 1, 2, NULL);
   bytes b = read_file("a.sinter");
   int fd = open("a.sinter",
                 O_WRONLY); /* bytes are changed in place: a file written anew waits for the disk */

   cr_assert(fd >= 0);
   for (size_t at = 0; at < b.size; at++) {
      uint8_t flipped = b.data[at] ^ (uint8_t)(1 << at % 8);
      cr_assert_eq(pwrite(fd, &flipped, 1, (off_t)at), 1);
      sinter_status status = sinter_artifact_verify("a.sinter");
      cr_assert(status == SINTER_verify_failed || status == SINTER_bad_input ||
                   status == SINTER_unsupported,
                "byte %zu: %s", at, sinter_status_name(status));
      cr_assert_eq(pwrite(fd, &b.data[at], 1, (off_t)at), 1);
   }
   cr_assert_eq(sinter_artifact_verify("a.sinter"), SINTER_ok);
   close(fd);
   free(b.data);
}

/* Every length but the right one is declined. */
Test(artifact, every_cut)
{
   write_file("a.sinter", 40, 1, 1, NULL);
   bytes b = read_file("a.sinter");
   size_t whole = b.size;

   store_file("b.sinter", b);
   for (b.size = whole; b.size-- > 0;) {
      cr_assert_eq(truncate("b.sinter", (off_t)b.size), 0);
      cr_assert_eq(open_and_load("b.sinter"), SINTER_bad_input, "%zu bytes", b.size);
   }
   b.size = whole;
   store_file("b.sinter", b);
   cr_assert_eq(truncate("b.sinter", (off_t)whole + 1), 0);
   cr_assert_eq(open_and_load("b.sinter"), SINTER_bad_input);
   free(b.data);
}

static sinter_status open_page(const artifact_toc *toc, bytes b)
{
   sinter_artifact *a;

   artifact_encode(toc, b.data);
   store_file("b.sinter", b);
   SINTER_TRY(sinter_artifact_open("b.sinter", &a));
   sinter_artifact_close(a);
   return SINTER_ok;
}

/* A table with a good digest but bad extents, as an attacker would write it. */
Test(artifact, hostile_table)
{
   artifact_toc toc, bad;

   write_file("a.sinter", 40, 1, 1, NULL);
   bytes b = read_file("a.sinter");
   cr_assert_eq(artifact_decode(b.data, b.size, b.size, "a", &toc), SINTER_ok);
   cr_assert_eq(open_page(&toc, b), SINTER_ok, "%s", sinter_error());
#define CASE(change)                                                                               \
   bad = toc;                                                                                      \
   change;                                                                                         \
   cr_assert_eq(open_page(&bad, b), SINTER_bad_input, #change)
   CASE(bad.sections[0].size = UINT64_MAX);
   CASE(bad.sections[0].size += 64);
   CASE(bad.sections[1].offset = 0);
   CASE(bad.sections[1].offset = UINT64_MAX - 8);
   CASE(bad.sections[1].offset = bad.sections[0].offset);
   CASE(bad.sections[0].id = ARTIFACT_SECTION_COUNT);
   CASE(bad.sections[0].target = 1);
   CASE(bad.sections[1].id = bad.sections[0].id);
   CASE(bad.sections[3].external = true);
   CASE(bad.num_sections--);
   CASE(bad.num_targets = 2);
   CASE(bad.num_targets = 0);
   CASE(bad.file_size++);
#undef CASE
   free(b.data);
}

static sinter_status make_once(const rt_artifact *a, void **out)
{
   static int made;

   (void)a;
   if (made++ == 0)
      return base_fail(SINTER_failed, "", "", "first time");
   *out = &made;
   return SINTER_ok;
}

/* Kills: remembering a failed make, making twice. */
Test(artifact, attach)
{
   const rt_attachment kind = {make_once, NULL};
   sinter_artifact *a;
   void *one, *two;

   write_file("a.sinter", 40, 1, 1, NULL);
   cr_assert_eq(sinter_artifact_open("a.sinter", &a), SINTER_ok);
   const rt_artifact *r = rt_artifact_of(a);
   cr_assert_eq(rt_artifact_attach(r, RT_SLOT_text, &kind, &one), SINTER_failed);
   cr_assert_eq(rt_artifact_attach(r, RT_SLOT_text, &kind, &one), SINTER_ok);
   cr_assert_eq(rt_artifact_attach(r, RT_SLOT_text, &kind, &two), SINTER_ok);
   cr_assert_eq(one, two);
   cr_assert_eq(*(int *)one, 2);
   sinter_artifact_close(a);
}

/* Each allocation of opening fails once: an error, nothing leaked, and the next open works. */
Test(artifact, out_of_memory)
{
   sinter_artifact *a;
   size_t failures = 0;

   write_file("a.sinter", 40, 1, 2, NULL);
   for (size_t n = 1;; n++) {
      arena_fail_after(n);
      sinter_status status = sinter_artifact_open("a.sinter", &a);
      if (status == SINTER_ok)
         break;
      cr_assert_eq(status, SINTER_out_of_memory);
      failures++;
   }
   arena_fail_after(0);
   sinter_artifact_close(a);
   cr_assert_gt(failures, 20);
}
