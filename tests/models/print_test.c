// LINK: models ir base
/* The graph of one checkpoint per architecture, as text: tests/models/<name>.ir. A change of a
 * family shows here line by line. SINTER_UPDATE=1 writes the files anew; an empty one is a new
 * case. Kills: a changed order of ops, attribute, type or name that happens to give the same
 * logits. */
#include "run.h"

#include <criterion/parameterized.h>
#include <glob.h>
#include <stdlib.h>

typedef struct print_case {
   char file[32], source[48];
} print_case;

/* Files that are not called like their folder; every other one is. */
static const print_case renamed[] = {
   {"llama_bias", "llama_bias_unigram"},
   {"llama_gguf", "gguf_llama_k/Q4_K_M_mix.gguf"},
   {"gemma3", "gemma3_mm_textonly"},
   {"exaone4", "exaone4_5"},
   {"llama_f8", "q_llama_fp8_block"},
   {"qwen3_5", "qwen3_5_text"},
   {"gemma4", "gemma4_ple"},
   {"gpt_oss", "q_gpt_oss_mxfp4"},
};

static print_case case_of(const char *file)
{
   print_case c;

   snprintf(c.file, sizeof c.file, "%.*s", (int)strcspn(file, "."), file);
   snprintf(c.source, sizeof c.source, "%s", c.file);
   for (size_t i = 0; i < countof(renamed); i++)
      if (strcmp(renamed[i].file, c.file) == 0)
         c = renamed[i];
   return c;
}

ParameterizedTestParameters(print, graph)
{
   static print_case cases[64];
   glob_t found;
   size_t n = 0;

   cr_assert_eq(glob(TEST_ROOT "/models/*.ir", 0, NULL, &found), 0);
   cr_assert_leq(found.gl_pathc, countof(cases));
   for (; n < found.gl_pathc; n++)
      cases[n] = case_of(strrchr(found.gl_pathv[n], '/') + 1);
   globfree(&found);
   return cr_make_param_array(print_case, cases, n);
}

ParameterizedTest(print_case *c, print, graph)
{
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   const char *path = arena_printf(a, "%s/models/%s.ir", TEST_ROOT, c->file);
   model *m = run_open(a, arena_printf(a, "%s/golden/%s", TEST_ROOT, c->source));
   text_buf t = {.a = a};
   ir_module again = {0};
   size_t size;

   ir_print(&t, m->f);
   cr_assert_eq(ir_parse(a, t.data, t.len, c->file, &again), SINTER_ok, "%s", sinter_error());
   if (getenv("SINTER_UPDATE")) {
      FILE *f = fopen(path, "wb");
      cr_assert(f && fwrite(t.data, 1, t.len, f) == t.len && fclose(f) == 0);
   }
   const char *want = golden_read(a, path, &size);
   for (size_t i = 0, line = 1; i < MAX(size, t.len); line += t.data[i] == '\n', i++)
      cr_assert(i < size && i < t.len && want[i] == t.data[i], "%s.ir: line %zu differs", c->file,
                line);
   model_close(m);
   arena_destroy(a);
}
