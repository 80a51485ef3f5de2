/* ir_support.h - what the tests of ir/ share. */
#ifndef TESTS_IR_SUPPORT_H
#define TESTS_IR_SUPPORT_H

#include "ir/ir.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static arena *the_arena;

static inline void open_arena(void)
{
   cr_assert_eq(arena_create(&the_arena), SINTER_ok);
}

static inline void close_arena(void)
{
   arena_destroy(the_arena);
   the_arena = NULL;
}

/* The only function of a text that must parse. */
static inline ir_func *parse_one(const char *text)
{
   ir_module m;

   cr_assert_eq(ir_parse(the_arena, text, strlen(text), "test", &m), SINTER_ok, "%s\n%s",
                sinter_error(), text);
   cr_assert_eq(m.funcs.count, 1);
   return m.funcs.data[0];
}

static inline const char *print_one(const ir_func *f)
{
   text_buf out = {.a = the_arena};

   ir_print(&out, f);
   return out.data;
}

/* The report on f, "" when it is valid. */
static inline const char *report_on(const ir_func *f)
{
   text_buf report = {.a = the_arena};
   bool valid = ir_validate(f, &report);

   cr_assert_eq(valid, report.len == 0, "verdict and report differ");
   return valid ? "" : report.data;
}

static inline size_t num_lines(const char *s)
{
   size_t n = 0;

   for (; *s; s++)
      n += *s == '\n';
   return n;
}

static inline ir_op *op_named(const ir_func *f, const char *result)
{
   ir_value *v = ir_find(f, result);

   cr_assert(v, "no value %%%s", result);
   return v->def;
}

/* A layer with every part a decoder has; several tests vary it. */
#define LAYER_IR                                                                                   \
   "func @main(T in 1..512, R in 0..64, S in 1..64) {\n"                                           \
   "  %ids = meta {field=token_ids} : i32[T]\n"                                                    \
   "  %cs = meta {field=rope, index=0} : f32[T,8]\n"                                               \
   "  %rows = meta {field=rows} : i32[R]\n"                                                        \
   "  %emb = weight {name=\"token_embd.weight\"} : q8_0[64,32]\n"                                  \
   "  %h = embed %ids, %emb : f32[T,32]\n"                                                         \
   "  %norm = weight {name=\"blk.0.attn_norm.weight\"} : f32[32]\n"                                \
   "  %x = rmsnorm %h, %norm {eps=1e-05} : f32[T,32]\n"                                            \
   "  %wq = weight {name=\"blk.0.attn_q.weight\"} : q4_0[32,32]\n"                                 \
   "  %wk = weight {name=\"blk.0.attn_k.weight\"} : q4_0[16,32]\n"                                 \
   "  %q = matmul %x, %wq : f32[T,32]\n"                                                           \
   "  %k = matmul %x, %wk : f32[T,16]\n"                                                           \
   "  %q3 = reshape %q : f32[T,4,8]\n"                                                             \
   "  %k3 = reshape %k : f32[T,2,8]\n"                                                             \
   "  %qr = rope %q3, %cs {style=\"half\"} : f32[T,4,8]\n"                                         \
   "  %kr = rope %k3, %cs {style=\"half\"} : f32[T,2,8]\n"                                         \
   "  %s0 = state {layer=0} : f32 kv_full[2,8]\n"                                                  \
   "  %s1 = kv_write %s0, %kr, %k3 : f32 kv_full[2,8]\n"                                           \
   "  %a = attention %qr, %s1 {scale=0.35355339059327373} : f32[T,4,8]\n"                          \
   "  %m = reshape %a : f32[T,32]\n"                                                               \
   "  %o = add %h, %m : f32[T,32]\n"                                                               \
   "  %last = take_rows %o, %rows : f32[R,32]\n"                                                   \
   "  %c, %sc = quant %last {group=32} : i8[R,32], f32[R,1]\n"                                     \
   "  %logits = qmatmul %c, %sc, %emb : f32[R,64]\n"                                               \
   "  return %logits, %s1\n"                                                                       \
   "}\n"

#endif
