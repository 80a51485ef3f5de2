// LINK: ir base
/* docs/ops.md is written from the tables. With SINTER_UPDATE=1 this test writes the file instead of
 * comparing it.
 *
 * Kills: a row that was changed without its documentation. */
#include "ir_support.h"

#include <stdio.h>

static const struct {
   const char *name, *shape;
} shapes[] = {
#define OP(name, operands, results, attributes, shape, properties, meaning) {#name, #shape},
#include "ir/ops.def"
#undef OP
};

static void put_ops(text_buf *out)
{
   text_printf(out, "| op | operands | results | attributes | type rule | properties | meaning |\n"
                    "|---|---|---|---|---|---|---|\n");
   for (int code = 0; code < IR_OP_COUNT; code++) {
      const ir_op_info *info = &ir_op_infos[code];
      if (info->operands < 0) /* a list */
         text_printf(out, "| `%s` | n | %d |", info->name, info->results);
      else
         text_printf(out, "| `%s` | %d | %d |", info->name, info->operands, info->results);
      for (int key = 0; key < IR_ATTR_COUNT; key++) {
         if (info->required >> key & 1)
            text_printf(out, " %s", ir_attr_infos[key].name);
         if (info->optional >> key & 1)
            text_printf(out, " [%s]", ir_attr_infos[key].name);
      }
      text_printf(out, " | %s |", shapes[code].shape);
      for (int bit = 0; bit < IR_PROP_COUNT; bit++)
         if (info->props >> bit & 1)
            text_printf(out, " %s", ir_prop_names[bit]);
      for (int field = 0; field < IR_META_COUNT; field++)
         if (info->reads >> field & 1)
            text_printf(out, " `%s`", ir_meta_infos[field].name);
      text_printf(out, " | ");
      for (const char *s = info->meaning; *s; s++)
         text_printf(out, *s == '|' ? "\\%c" : "%c", *s);
      text_printf(out, " |\n");
   }
}

static void put_tables(text_buf *out)
{
   text_printf(out, "\n## Attributes\n\n| attribute | kind | what |\n|---|---|---|\n");
#define ATTR(name, kind, what) text_printf(out, "| `%s` | %s | %s |\n", #name, #kind, what);
#include "ir/attrs.def"
#undef ATTR
   text_printf(
      out,
      "\n## Properties\n\nAn op with a property that breaks is kept out of recorded segments.\n\n"
      "| property | breaks | what |\n|---|---|---|\n");
#define PROP(name, breaks, what)                                                                   \
   text_printf(out, "| `%s` | %s | %s |\n", #name, (breaks) ? "yes" : "no", what);
#include "ir/props.def"
#undef PROP
   text_printf(out, "\n## Symbols of extents\n\n| symbol | what |\n|---|---|\n");
#define SYM(name, what) text_printf(out, "| `%s` | %s |\n", #name, what);
#include "base/syms.def"
#undef SYM
   text_printf(out,
               "\n## States\n\n| kind | paged | window | rows | what |\n|---|---|---|---|---|\n");
#define STATE(name, paged, window, rows, what)                                                     \
   text_printf(out, "| `%s` | %s | %s | %d | %s |\n", #name, (paged) ? "yes" : "no",               \
               (window) ? "yes" : "no", rows, what);
#include "base/states.def"
#undef STATE
   text_printf(out,
               "\n## Metadata of a step\n\n| field | type | one per | what |\n|---|---|---|---|\n");
#define META(name, dtype, rank, dim0, dim1, per, what)                                             \
   text_printf(out, "| `%s` | %s[%s%s%s] | %s | %s |\n", #name, #dtype, #dim0,                     \
               (rank) > 1 ? "," : "", (rank) > 1 ? #dim1 : "", #per, what);
#include "base/meta.def"
#undef META
}

static const char *document(void)
{
   text_buf out = {.a = the_arena};

   text_printf(
      &out,
      "# Ops\n\nWritten from `ir/ops.def` and its neighbours by "
      "`tests/unit/ir_docs_test.c`; change "
      "the tables, then run\nthat test with `SINTER_UPDATE=1`. Optional attributes stand "
      "in brackets. "
      "The meaning of each op in code is\n`ref_<op>()` in `ir/ref/`; its type rule is "
      "`sh_<type rule>()` in `ir/shape*.c`. Where an op says `n` operands, it takes a list.\n\n");
   put_ops(&out);
   put_tables(&out);
   return out.data;
}

Test(ir_docs, ops_md_is_current, .init = open_arena, .fini = close_arena)
{
   const char *want = document(), *path = TEST_ROOT "/../docs/ops.md";
   FILE *file = fopen(path, getenv("SINTER_UPDATE") ? "w" : "r");

   cr_assert(file, "cannot open %s", path);
   if (getenv("SINTER_UPDATE")) {
      cr_assert_geq(fputs(want, file), 0);
   } else {
      const size_t cap = strlen(want) + 2;
      char *have = arena_alloc(the_arena, cap);
      have[fread(have, 1, cap - 1, file)] = 0;
      cr_assert_str_eq(have, want, "docs/ops.md is not what the tables say");
   }
   fclose(file);
}
