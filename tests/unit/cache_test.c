// LINK: codegen runtime base
/* The cache: hits without reading, misses for every reason there is, and what is left when things
 * go wrong. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/cache.h"
#include "runtime/compile.h"
#include "runtime/memo.h"
#include "tiny_artifact.h"

static char folder[64], model_path[96];
static int compiles;

static sinter_status counting_compile(const compiler_request *request)
{
   compiles++;
   return tiny_compile(request);
}

static compiler_api counting;

static void write_text(const char *path, const char *text)
{
   FILE *f = fopen(path, "w");

   cr_assert_not_null(f, "%s", path);
   fputs(text, f);
   fclose(f);
}

/* As if the file had been there for an hour, but for its ctime, which no one can set. */
static void age(const char *path)
{
   struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

   cr_assert_eq(utimensat(AT_FDCWD, path, old, 0), 0);
}

static void begin(void)
{
   counting = tiny_compiler;
   counting.compile = counting_compile;
   rt_compiler_replace(&counting, "build 1");
   snprintf(folder, sizeof folder, "/tmp/sinter-cache-XXXXXX");
   cr_assert_not_null(mkdtemp(folder));
   snprintf(model_path, sizeof model_path, "%s/model.gguf", folder);
   write_text(model_path, "40\n");
   char cache[96];
   snprintf(cache, sizeof cache, "%s/cache", folder);
   setenv("SINTER_CACHE", cache, 1);
   unsetenv("SINTER_SKIP");
   unsetenv("SINTER_CACHE_MAX");
}

static void end(void)
{
   char command[256];

   snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", folder, folder);
   cr_assert_eq(system(command), 0);
}

TestSuite(cache, .init = begin, .fini = end);

static sinter_compile_options options_of(const char *source)
{
   sinter_compile_options o = SINTER_INIT(sinter_compile_options);

   o.model = source;
   o.targets = "cpu:x86-64-v3";
   o.threads = 1;
   return o;
}

static void compile(const sinter_compile_options *o, char *path, bool want_hit)
{
   bool hit = !want_hit;

   cr_assert_eq(sinter_compile(o, path, 4096, &hit), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(hit, want_hit);
   cr_assert_eq(sinter_artifact_verify(path), SINTER_ok, "%s", sinter_error());
}

/* Kills: compiling again, or answering with another model's artifact. */
Test(cache, hit_and_miss)
{
   sinter_compile_options o = options_of(model_path);
   char first[4096], again[4096], other[4096];

   compile(&o, first, false);
   compile(&o, again, true);
   cr_assert_str_eq(first, again);
   write_text(model_path, "41\n");
   compile(&o, other, false);
   cr_assert_str_neq(first, other);
   cr_assert_eq(compiles, 2);
   compile(&o, other, true);
   write_text(model_path, "40\n");
   compile(&o, again, true);
   cr_assert_str_eq(first, again);
}

/* An artifact is its own artifact. */
Test(cache, artifact_as_model)
{
   sinter_compile_options o = options_of(model_path);
   char path[4096], same[4096];

   compile(&o, path, false);
   o.model = path;
   compile(&o, same, true);
   cr_assert_str_eq(path, same);
   o.output = "x.sinter";
   cr_assert_eq(sinter_compile(&o, same, sizeof same, NULL), SINTER_usage);
}

static void expect_miss(sinter_compile_options o, const char *field)
{
   char path[4096], *json;

   cr_assert_eq(sinter_cache_why(&o, &json), SINTER_ok, "%s", sinter_error());
   char want[64];
   snprintf(want, sizeof want, "\"differs\":[{\"field\":\"%s\"", field);
   cr_assert(strstr(json, "\"hit\":false") && strstr(json, want), "%s", json);
   sinter_free(json);
   compile(&o, path, false);
   compile(&o, path, true);
}

/* Every input of a compile is in its key, and `why` names it. Kills: leaving one out. */
Test(cache, key_fields)
{
   sinter_compile_options o = options_of(model_path), changed;
   char path[4096];

   compile(&o, path, false);
   changed = o, changed.numerics = SINTER_NUMERICS_exact;
   expect_miss(changed, "numerics");
   changed = o, changed.targets = "ref";
   expect_miss(changed, "targets");
   changed = o, changed.with = "epilogue";
   expect_miss(changed, "with");
   changed = o, changed.without = "epilogue";
   expect_miss(changed, "without");
   setenv("SINTER_SKIP", "epilogue:3", 1);
   expect_miss(o, "skip");
   unsetenv("SINTER_SKIP");
   rt_compiler_replace(&counting, "build 2");
   expect_miss(o, "build");
   write_text(model_path, "42\n");
   expect_miss(o, "source");
   /* What says the same is the same: order and repetition of lists, threads. */
   changed = o, changed.without = "a,b";
   compile(&changed, path, false);
   changed.without = "b,,a,b", changed.threads = 3;
   compile(&changed, path, true);
}

/* A folder's key covers the files an importer may read, and only their names and contents. */
Test(cache, folder)
{
   char dir[96], file[128], first[4096], path[4096];
   sinter_compile_options o = options_of(dir);

   counting.compile = tiny_compile;
   snprintf(dir, sizeof dir, "%s/checkpoint", folder);
   cr_assert_eq(mkdir(dir, 0700), 0);
   cr_assert_eq(sinter_compile(&o, path, sizeof path, NULL), SINTER_bad_input);
   snprintf(file, sizeof file, "%s/config.json", dir);
   write_text(file, "{}");
   char *before, *after;
   cr_assert_eq(sinter_cache_why(&o, &before), SINTER_ok);
   snprintf(file, sizeof file, "%s/README.md", dir);
   write_text(file, "hello");
   cr_assert_eq(sinter_cache_why(&o, &after), SINTER_ok);
   cr_assert_str_eq(before, after);
   sinter_free(after);
   snprintf(file, sizeof file, "%s/model.safetensors", dir);
   write_text(file, "x");
   cr_assert_eq(sinter_cache_why(&o, &after), SINTER_ok);
   cr_assert_str_neq(before, after);
   sinter_free(before);
   sinter_free(after);
   (void)first;
}

/* Digests are remembered by stat, never for a file changed less than two seconds ago. */
Test(cache, memo)
{
   char cache[RT_CACHE_PATH];
   struct stat s;
   digest d = digest_bytes("x", 1), got;

   cr_assert_eq(rt_cache_folder(NULL, cache), SINTER_ok);
   cr_assert_eq(rt_cache_make(cache), SINTER_ok);
   cr_assert_eq(stat(model_path, &s), 0);
   rt_memo_put(cache, "source", &s, &d, rt_memo_now());
   cr_assert_not(rt_memo_get(cache, "source", &s, &got), "a fresh file was remembered");
   s.st_mtim.tv_sec -= 3;
   rt_memo_put(cache, "source", &s, &d, rt_memo_now());
   cr_assert_not(rt_memo_get(cache, "source", &s, &got), "its change time was not looked at");
   s.st_ctim.tv_sec -= 3;
   rt_memo_put(cache, "source", &s, &d, rt_memo_now() - 2000000000);
   cr_assert_not(rt_memo_get(cache, "source", &s, &got), "reading began too early");
   rt_memo_put(cache, "source", &s, &d, rt_memo_now());
   cr_assert(rt_memo_get(cache, "source", &s, &got));
   cr_assert(digest_equal(&d, &got));
   cr_assert_not(rt_memo_get(cache, "weights", &s, &got));
#define DIFFERS(field, by)                                                                         \
   s.field += by;                                                                                  \
   cr_assert_not(rt_memo_get(cache, "source", &s, &got), #field);                                  \
   s.field -= by
   DIFFERS(st_dev, 1);
   DIFFERS(st_ino, 1);
   DIFFERS(st_size, 1);
   DIFFERS(st_mtim.tv_nsec, 1);
   DIFFERS(st_ctim.tv_nsec, 1);
#undef DIFFERS
   cr_assert_eq(
      system("for f in \"$SINTER_CACHE\"/memo/source-*; do printf 1 | dd of=$f bs=1 seek=90 "
             "conv=notrunc "
             "status=none; printf 2 | dd of=$f bs=1 seek=91 conv=notrunc status=none; done"),
      0);
   cr_assert_not(rt_memo_get(cache, "source", &s, &got), "an edited entry counted");
}

/* A remembered source is not opened: a hit works when it cannot be read at all. */
Test(cache, hit_opens_nothing)
{
   sinter_compile_options o = options_of(model_path);
   char path[4096];

   age(model_path);
   sleep(3);
   compile(&o, path, false);
   cr_assert_eq(compiles, 1);
   /* Same size and times, other bytes: only a reader would notice. Root reads everything, so chmod
    * cannot tell. */
   char cache[RT_CACHE_PATH];
   struct stat s;
   digest d = digest_bytes("planted", 7);
   cr_assert_eq(rt_cache_folder(NULL, cache), SINTER_ok);
   cr_assert_eq(stat(model_path, &s), 0);
   rt_memo_put(cache, "source", &s, &d, rt_memo_now());
   compile(&o, path, false);
   compile(&o, path, true);
}

/* -o writes one self-contained file, the same bytes from any folder, home and number of threads. */
Test(cache, output)
{
   sinter_compile_options o = options_of(model_path);
   char one[128], two[128], copy[128], other[128], path[4096], command[512];

   write_text(model_path, "70000\n");
   snprintf(one, sizeof one, "%s/one.sinter", folder);
   snprintf(two, sizeof two, "%s/deeper/two.sinter", folder);
   snprintf(copy, sizeof copy, "%s/deeper/copy.gguf", folder);
   snprintf(command, sizeof command, "mkdir %s/deeper; cp %s %s", folder, model_path, copy);
   cr_assert_eq(system(command), 0);
   o.output = one;
   compile(&o, path, false);
   cr_assert_str_eq(path, one);
   snprintf(other, sizeof other, "%s/\xc3\xa4", folder);
   setenv("SINTER_CACHE", other, 1);
   o.output = two;
   o.model = copy;
   o.threads = 3;
   compile(&o, path, false);
   snprintf(command, sizeof command, "cmp %s %s", one, two);
   cr_assert_eq(system(command), 0);
}

/* A damaged entry is not a hit, is named by verify, and is repaired by the next compile. */
Test(cache, repair)
{
   sinter_compile_options o = options_of(model_path);
   char path[4096], command[16384], *json;

   compile(&o, path, false);
   snprintf(command, sizeof command, "printf x | dd of=%s bs=1 seek=80 conv=notrunc status=none",
            path);
   cr_assert_eq(system(command), 0);
   cr_assert_eq(sinter_cache_verify(NULL, &json), SINTER_verify_failed);
   cr_assert(strstr(json, path), "%s", json);
   sinter_free(json);
   compile(&o, path, false);
   cr_assert_eq(sinter_cache_verify(NULL, &json), SINTER_ok, "%s", sinter_error());
   sinter_free(json);
   /* One bit of the code, which is behind the plan and its kernel names. */
   snprintf(
      command, sizeof command,
      "at=$(grep -obUaP '\\x7fELF' %s | cut -d: -f1); printf x | dd of=%s bs=1 seek=$((at + 70)) "
      "conv=notrunc status=none",
      path, path);
   cr_assert_eq(system(command), 0);
   compile(&o, path, false);
   cr_assert_eq(system("rm \"$SINTER_CACHE\"/artifacts/weights/*"), 0);
   compile(&o, path, false);
   cr_assert_eq(system("printf x | dd of=\"$(ls \"$SINTER_CACHE\"/artifacts/weights/*)\" bs=1 "
                       "conv=notrunc status=none"),
                0);
   compile(&o, path, false);
   compile(&o, path, true);
}

/* Code is run from the cache: one that others can write to is refused. */
Test(cache, trust)
{
   sinter_compile_options o = options_of(model_path);
   char path[4096];

   compile(&o, path, false);
   cr_assert_eq(system("chmod 0770 \"$SINTER_CACHE\"/artifacts"), 0);
   cr_assert_eq(sinter_compile(&o, path, sizeof path, NULL), SINTER_io);
   cr_assert(strstr(sinter_error(), "chmod go-w"), "%s", sinter_error());
   cr_assert_eq(system("chmod 0755 \"$SINTER_CACHE\"/artifacts"), 0);
   compile(&o, path, true);
}

/* Entries share packed weights; gc takes the least recently used first, and orphans with them. */
Test(cache, collect)
{
   sinter_compile_options o = options_of(model_path);
   char a[4096], b[4096], c[4096], *json;

   compile(&o, a, false);
   o.numerics = SINTER_NUMERICS_exact;
   compile(&o, b, false);
   cr_assert_eq(system("test $(ls \"$SINTER_CACHE\"/artifacts/weights | wc -l) = 1"), 0);
   write_text(model_path, "80\n");
   compile(&o, c, false);
   write_text(model_path, "40\n");
   o.numerics = SINTER_NUMERICS_fast;
   compile(&o, a, true); /* used last */
   cr_assert_eq(
      system("touch \"$SINTER_CACHE\"/artifacts/.tmp-1 \"$SINTER_CACHE\"/artifacts/weights/.tmp-2"),
      0);
   cr_assert_eq(system("echo x > \"$SINTER_CACHE\"/artifacts/$(printf %064d 7).json"), 0);
   struct stat s;
   cr_assert_eq(stat(a, &s), 0);
   cr_assert_eq(sinter_cache_gc(NULL, (uint64_t)s.st_size + 3000, &json), SINTER_ok);
   cr_assert(strstr(json, "\"removed_entries\":2"), "%s", json);
   sinter_free(json);
   cr_assert(access(a, F_OK) == 0 && access(b, F_OK) != 0 && access(c, F_OK) != 0);
   cr_assert_eq(sinter_artifact_verify(a), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(system("test $(ls -A \"$SINTER_CACHE\"/artifacts/weights | wc -l) = 1"), 0);
   cr_assert_eq(system("test ! -e \"$SINTER_CACHE\"/artifacts/.tmp-1"), 0);
   cr_assert_eq(system("test $(ls \"$SINTER_CACHE\"/artifacts/*.json | wc -l) = 1"), 0);
   cr_assert_eq(sinter_cache_list(NULL, &json), SINTER_ok);
   cr_assert(strstr(json, a) && strstr(json, "\"model\":\"tiny\"") &&
                strstr(json, "\"target\":\"cpu:x86-64-v3\""),
             "%s", json);
   sinter_free(json);
}

/* Objects of kernels stay as long as something takes them, and there is room. Kills: a folder that
 * only grows; kernels that go with the artifacts that they were made for; half a file that
 * stays. */
Test(cache, kernels)
{
   sinter_compile_options o = options_of(model_path);
   char a[4096], old[256], new[256], half[256], *json;

   compile(&o, a, false);
   snprintf(old, sizeof old, "%s/cache/artifacts/kernels/old.kernel", folder);
   snprintf(new, sizeof new, "%s/cache/artifacts/kernels/new.kernel", folder);
   snprintf(half, sizeof half, "%s/cache/artifacts/kernels/new.kernel.tmp-1", folder);
   write_text(old, "x");
   age(old);
   write_text(new, "xx");
   write_text(half, "x");
   cr_assert_eq(sinter_cache_gc(NULL, 1 << 30, &json), SINTER_ok);
   sinter_free(json);
   cr_assert(access(old, F_OK) != 0 && access(half, F_OK) != 0);
   cr_assert(access(new, F_OK) == 0 && access(a, F_OK) == 0);
   cr_assert_eq(sinter_cache_gc(NULL, 1, &json), SINTER_ok);
   sinter_free(json);
   cr_assert(access(new, F_OK) != 0 && access(a, F_OK) != 0);
}

/* The bound holds after every compile, and the entry just made stays. */
Test(cache, bound)
{
   sinter_compile_options o = options_of(model_path);
   char a[4096], b[4096];

   setenv("SINTER_CACHE_MAX", "1", 1);
   write_text(model_path, "20000\n");
   compile(&o, a, false);
   write_text(model_path, "20001\n");
   compile(&o, b, false);
   cr_assert(access(a, F_OK) != 0 && access(b, F_OK) == 0);
}

/* Kills: a bound that is no number taken for the usual one. */
Test(cache, bound_is_a_number)
{
   static const char *const wrong[] = {"lots", "-1", "1 GiB", "99999999999999999999"};
   char *json;

   for (size_t i = 0; i < countof(wrong); i++) {
      setenv("SINTER_CACHE_MAX", wrong[i], 1);
      cr_assert_eq(sinter_cache_gc(NULL, 0, &json), SINTER_usage, "%s", wrong[i]);
      cr_assert(strstr(sinter_error(), "SINTER_CACHE_MAX"));
   }
}

/* Errors say what to do, and an absent cache is an empty one. */
Test(cache, errors)
{
   sinter_compile_options o = options_of("/nonexistent/model.gguf");
   char path[4096], *json;

   cr_assert_eq(sinter_cache_list(NULL, &json), SINTER_ok);
   cr_assert_str_eq(json, "[]");
   sinter_free(json);
   cr_assert_eq(sinter_compile(&o, path, sizeof path, NULL), SINTER_not_found);
   o.model = NULL;
   cr_assert_eq(sinter_compile(&o, path, sizeof path, NULL), SINTER_usage);
   o.model = model_path;
   o.targets = "cpu:pentium";
   cr_assert_eq(sinter_compile(&o, path, sizeof path, NULL), SINTER_usage);
   o.targets = "cpu:x86-64-v3";
   cr_assert_eq(sinter_compile(&o, path, 8, NULL), SINTER_usage);
   o.cache_dir = "/proc/none";
   cr_assert_eq(sinter_compile(&o, path, sizeof path, NULL), SINTER_io);
   cr_assert(strstr(sinter_error(), "try: "), "%s", sinter_error());
}
