// LINK: ir base
/* Dims, builders, uses, groups, clone, patterns. */
#include "ir_support.h"

#include "ir/match.h"

#include <math.h>

TestSuite(ir_edit, .init = open_arena, .fini = close_arena);

/* ---- dims ---- */

static ir_dim affine(int64_t t, int64_t s, int64_t add)
{
   return ir_dim_add(ir_dim_add(ir_dim_mul(ir_dim_sym(SYM_T), t), ir_dim_mul(ir_dim_sym(SYM_S), s)),
                     ir_dim_of(add));
}

/* The same form under 64 values of T and S, computed apart. */
static void expect_rounded(int64_t t, int64_t s, int64_t add, int32_t by)
{
   const ir_dim up = ir_dim_ceil_div(affine(t, s, add), by);
   const ir_dim down = ir_dim_floor_div(affine(t, s, add), by);

   for (int64_t i = 0; i < 64; i++) {
      int64_t syms[SYM_COUNT] = {0};
      syms[SYM_T] = i % 8;
      syms[SYM_S] = i / 8;
      double x = (double)(t * syms[SYM_T] + s * syms[SYM_S] + add) / by;
      cr_assert_eq(ir_dim_eval(up, syms), (int64_t)ceil(x));
      cr_assert_eq(ir_dim_eval(down, syms), (int64_t)floor(x));
   }
}

/* Kills: a canonical form with another value; division that truncates. */
Test(ir_edit, dims_keep_their_value)
{
   for (int64_t t = -3; t <= 4; t++)
      for (int64_t s = -2; s <= 4; s += 2)
         for (int64_t add = -5; add <= 5; add++)
            for (int32_t by = 1; by <= 6; by++)
               expect_rounded(t, s, add, by);
}

/* Kills: two spellings of one dim that compare as different. */
Test(ir_edit, dims_are_canonical)
{
   cr_assert(
      ir_dim_equal(ir_dim_floor_div(affine(1, 0, 3), 4), ir_dim_ceil_div(affine(1, 0, 0), 4)));
   cr_assert(ir_dim_equal(ir_dim_floor_div(affine(4, 8, 3), 4), affine(1, 2, 0)));
   cr_assert(
      ir_dim_equal(ir_dim_ceil_div(affine(6, 0, 0), 4), ir_dim_ceil_div(affine(3, 0, 0), 2)));
   cr_assert(ir_dim_equal(ir_dim_ceil_div(ir_dim_ceil_div(affine(1, 0, 0), 2), 3),
                          ir_dim_ceil_div(affine(1, 0, 0), 6)));
   cr_assert(ir_dim_equal(ir_dim_add(affine(1, 0, 2), affine(-1, 0, 3)), ir_dim_of(5)));
   cr_assert(ir_dim_is_const(ir_dim_mul(ir_dim_sym(SYM_T), 0)));
   cr_assert_not(
      ir_dim_equal(ir_dim_floor_div(affine(1, 0, 0), 4), ir_dim_ceil_div(affine(1, 0, 0), 4)));
}

/* Kills: silent overflow, and forms that are not forms. */
Test(ir_edit, dims_have_bounds)
{
   int64_t syms[SYM_COUNT] = {0};

   cr_assert_not(ir_dim_is_valid(ir_dim_mul(ir_dim_sym(SYM_T), INT64_MAX)));
   cr_assert_not(ir_dim_is_valid(ir_dim_of(IR_MAX_EXTENT + 1)));
   cr_assert_not(ir_dim_is_valid(ir_dim_mul(ir_dim_ceil_div(ir_dim_sym(SYM_T), 2), 3)));
   cr_assert_not(ir_dim_is_valid(ir_dim_ceil_div(ir_dim_sym(SYM_T), 0)));
   syms[SYM_T] = INT64_MAX;
   cr_assert_eq(ir_dim_eval(ir_dim_mul(ir_dim_sym(SYM_T), 2), syms), -1);
}

/* ---- builders, uses ---- */

/* Kills: an attribute that AT() takes for set although nobody set it. */
Test(ir_edit, unset_attributes_are_absent)
{
   ir_func *f = ir_func_create(the_arena, "f");
   ir_builder b = {.f = f};

   cr_assert_eq(ir_build(&b, IR_OP_param, NULL, 0, AT(.name = NULL), NULL)->num_attrs, 0);
}

/* Kills: a builder with another op, operand order or type than its row. */
Test(ir_edit, builders_make_the_layer)
{
   ir_func *f = ir_func_create(the_arena, "main");
   ir_builder b = {.f = f};
   const ir_dim t = ir_dim_sym(SYM_T), r = ir_dim_sym(SYM_R);

#define N(n) ir_dim_of(n)
#define TYPE(dtype, ...)                                                                           \
   ir_type_make(dtype, countof(((ir_dim[]){__VA_ARGS__})), (ir_dim[]){__VA_ARGS__})
   ir_func_range(f, SYM_T, 1, 512);
   ir_func_range(f, SYM_R, 0, 64);
   ir_func_range(f, SYM_S, 1, 64);
   ir_value *ids = ir_meta(&b, IR_META_token_ids, IR_NO_I, TYPE(DT_i32, t));
   ir_value *cs = ir_meta(&b, IR_META_rope, 0, TYPE(DT_f32, t, N(8)));
   ir_value *rows = ir_meta(&b, IR_META_rows, IR_NO_I, TYPE(DT_i32, r));
   ir_value *emb = ir_weight(&b, "token_embd.weight", TYPE(DT_q8_0, N(64), N(32)));
   ir_value *h = ir_embed(&b, ids, emb);
   ir_value *x =
      ir_rmsnorm(&b, h, ir_weight(&b, "blk.0.attn_norm.weight", TYPE(DT_f32, N(32))), 1e-5, 0);
   ir_value *wq = ir_weight(&b, "blk.0.attn_q.weight", TYPE(DT_q4_0, N(32), N(32)));
   ir_value *wk = ir_weight(&b, "blk.0.attn_k.weight", TYPE(DT_q4_0, N(16), N(32)));
   ir_value *q = ir_matmul(&b, x, wq), *k = ir_matmul(&b, x, wk);
   ir_value *q3 = ir_reshape(&b, q, 3, (ir_dim[]){t, N(4), N(8)});
   ir_value *k3 = ir_reshape(&b, k, 3, (ir_dim[]){t, N(2), N(8)});
   ir_value *qr = ir_rope(&b, q3, cs, "half"), *kr = ir_rope(&b, k3, cs, "half");
   ir_type kind = TYPE(DT_f32, N(2), N(8));
   kind.state = IR_STATE_kv_full;
   ir_value *s1 = ir_kv_write(&b, ir_state(&b, 0, 0, kind), kr, k3);
   ir_value *m =
      ir_reshape(&b, ir_attention(&b, qr, s1, 0.35355339059327373, 0), 2, (ir_dim[]){t, N(32)});
   ir_op *quant = ir_quant(&b, ir_take_rows(&b, ir_add(&b, h, m), rows), 32);
   ir_func_return(f, ir_qmatmul(&b, quant->results[0], quant->results[1], emb));
   ir_func_return(f, s1);
   cr_assert_str_eq(report_on(f), "");

   /* The same text but for the names that the builders choose. */
   ir_func *want = parse_one(LAYER_IR);
   ir_op *op = f->first;
   ir_op_foreach (want, expected) {
      text_buf a = {.a = the_arena}, c = {.a = the_arena};
      for (uint32_t i = 0; i < expected->num_results; i++) {
         expected->results[i]->name = op->results[i]->name = NULL;
         cr_assert(ir_type_equal(&expected->results[i]->type, &op->results[i]->type));
      }
      ir_print_op(&a, expected);
      ir_print_op(&c, op);
      cr_assert_str_eq(a.data, c.data);
      op = op->next;
   }
   cr_assert_null(op);
}

/* Kills: a name given twice; one that cannot be parsed. */
Test(ir_edit, names_are_made_legal_and_unique)
{
   ir_func *f = ir_func_create(the_arena, "f");
   ir_builder b = {.f = f};
   const ir_type type = ir_type_make(DT_f32, 0, NULL);
   static const char *const want[] = {"a_b", "a_b.2", "_1x", "_"};
   static const char *const given[] = {"a b", "a/b", "1x", ""};

   for (size_t i = 0; i < countof(want); i++)
      cr_assert_str_eq(ir_param(&b, given[i], type)->name, want[i]);
   ir_erase(f, op_named(f, "a_b"));
   cr_assert_null(ir_find(f, "a_b"));
   cr_assert_str_eq(ir_param(&b, "a b", type)->name, "a_b");
}

/* Kills: uses or returns left behind by an edit. */
Test(ir_edit, replacing_and_erasing)
{
   ir_func *f =
      parse_one("func @f() {\n %x = param {name=\"x\"} : f32[4]\n %a = silu %x\n %b = gelu %x\n"
                " %c = mul %a, %a\n return %a, %c\n}");
   ir_value *a = ir_find(f, "a"), *b = ir_find(f, "b"), *x = ir_find(f, "x");

   ir_move_before(f, b->def, a->def);
   cr_assert_eq(ir_use_count(a), 3);
   cr_assert_null(ir_only_user(a));
   ir_replace_uses(f, a, b);
   cr_assert_eq(ir_use_count(a), 0);
   cr_assert_eq(ir_use_count(b), 3);
   cr_assert_eq(ir_use_count(x), 2);
   ir_erase(f, a->def);
   cr_assert_eq(ir_only_user(x), b->def);
   ir_set_operand(f, op_named(f, "c"), 1, x);
   cr_assert_str_eq(report_on(f), "");
   cr_assert_str_eq(print_one(f), "func @f() {\n  %x = param {name=\"x\"} : f32[4]\n"
                                  "  %b = gelu %x : f32[4]\n  %c = mul %b, %x : f32[4]\n"
                                  "  return %b, %c\n}\n");
}

/* Kills: an erased op that leads its readers nowhere, so that the next pattern to look at one
 * crashes before the validator can name it. */
Test(ir_edit, erasing_what_is_read)
{
   ir_func *f =
      parse_one("func @f() {\n %x = param {name=\"x\"} : f32[4]\n %a = silu %x\n %b = gelu %a\n"
                " return %b\n}");
   ir_match m;

   ir_erase(f, op_named(f, "a"));
   cr_assert(ir_match_op(PAT(gelu, SUB(silu, SUB(param, .as = 0))), op_named(f, "b"), &m));
   cr_assert_str_eq(report_on(f), "@f: %b = gelu: operand 0, %a, is not defined before it\n");
}

/* What is asked for with no value changes nothing and is told, the first time. Kills: a NULL that
 * is followed; one that ends in the graph; a graph that passes for valid. */
Test(ir_edit, replacing_by_nothing)
{
   static const char text[] = "func @f() {\n  %x = param {name=\"x\"} : f32[4]\n"
                              "  %a = silu %x : f32[4]\n  return %a\n}\n";
   ir_func *f = parse_one(text);
   ir_value *a = ir_find(f, "a");
   ir_match m;

   ir_replace_uses(f, a, NULL);
   ir_replace_uses(f, NULL, a);
   ir_set_operand(f, a->def, 0, NULL);
   cr_assert_str_eq(print_one(f), text);
   cr_assert_str_eq(report_on(f), "@f: ir_replace_uses was given no value (NULL), at %a\n");
   f = parse_one(text);
   ir_builder b = {.f = f};
   ir_func_return(f, ir_silu(&b, NULL));
   cr_assert(!ir_match_op(PAT(silu, SUB(param, .as = 0)), f->last, &m));
   cr_assert(strstr(report_on(f), "operand 0 is missing"));
}

/* Kills: insertion at the wrong place; running out of order numbers. */
Test(ir_edit, inserting_before)
{
   ir_func *f =
      parse_one("func @f() {\n %x = param {name=\"x\"} : f32[4]\n %y = silu %x\n return %y\n}");
   ir_builder b = {.f = f, .before = op_named(f, "y")};
   ir_value *x = ir_find(f, "x");

   for (int i = 0; i < 500; i++)
      x = ir_gelu(&b, x);
   ir_set_operand(f, b.before, 0, x);
   cr_assert_str_eq(report_on(f), "");
   cr_assert(ir_precedes(x->def, b.before));
   cr_assert_eq(f->last, b.before);
}

/* Kills: retyping a value and not what must follow it. */
Test(ir_edit, retype_follows_states_and_views)
{
   ir_func *f = parse_one(LAYER_IR);

   ir_retype(f, ir_find(f, "s0"), DT_f16);
   ir_retype(f, ir_find(f, "o"), DT_bf16);
   cr_assert_eq(ir_find(f, "s1")->type.dtype, DT_f16);
   cr_assert_eq(ir_find(f, "last")->type.dtype, DT_bf16);
   cr_assert_eq(ir_find(f, "a")->type.dtype, DT_f32);
   cr_assert_str_eq(report_on(f), "");
}

/* ---- groups ---- */

static ir_func *diamond(void)
{
   return parse_one(
      "func @f() {\n %x = param {name=\"x\"} : f32[4]\n %a = silu %x\n %u = gelu %x\n"
      " %b = silu %a\n %v = silu %u\n %c = mul %b, %v\n %d = add %a, %c\n return %d\n}");
}

/* Kills: a cycle through an op outside; one through another group. */
Test(ir_edit, groups_are_convex)
{
   ir_func *f = diamond();
   ir_op *a = op_named(f, "a"), *b = op_named(f, "b"), *c = op_named(f, "c"), *d = op_named(f, "d");
   ir_op *u = op_named(f, "u"), *v = op_named(f, "v");

   cr_assert_not(ir_can_group(f, NULL, 0));
   cr_assert_not(ir_can_group(f, (ir_op *[]){a, c}, 2));
   cr_assert_not(ir_can_group(f, (ir_op *[]){a, d}, 2));
   cr_assert(ir_can_group(f, (ir_op *[]){a, u}, 2));
   cr_assert(ir_can_group(f, (ir_op *[]){a, v}, 2));
   cr_assert(ir_can_group(f, (ir_op *[]){a, b, c, d}, 4));
   /* With {a, v} one kernel, {u, b} would need it and be needed by it. */
   cr_assert_not_null(ir_group_make(f, "k", (ir_op *[]){a, v}, 2));
   cr_assert_not(ir_can_group(f, (ir_op *[]){u, b}, 2));
   cr_assert_null(ir_group_make(f, "k", (ir_op *[]){u, b}, 2));
   cr_assert_str_eq(report_on(f), "");
}

/* Kills: members that are not contiguous afterwards; another order of what depends on them. */
Test(ir_edit, members_become_contiguous)
{
   ir_func *f = diamond();
   ir_group *g = ir_group_make(f, "pair", (ir_op *[]){op_named(f, "a"), op_named(f, "v")}, 2);

   cr_assert_str_eq(g->name, "pair0");
   cr_assert_eq(ir_group_first(f, g), op_named(f, "a"));
   cr_assert_str_eq(print_one(f), "func @f() {\n  %x = param {name=\"x\"} : f32[4]\n"
                                  "  %u = gelu %x : f32[4]\n  kernel pair0 {\n"
                                  "    %a = silu %x : f32[4]\n    %v = silu %u : f32[4]\n  }\n"
                                  "  %b = silu %a : f32[4]\n  %c = mul %b, %v : f32[4]\n"
                                  "  %d = add %a, %c : f32[4]\n  return %d\n}\n");
   cr_assert_str_eq(report_on(f), "");
}

/* Kills: leaving an absorbed group in the list, or some of its members outside. */
Test(ir_edit, groups_absorb_groups)
{
   ir_func *f = diamond();
   ir_op *a = op_named(f, "a"), *u = op_named(f, "u"), *v = op_named(f, "v"), *b = op_named(f, "b");

   ir_group_make(f, "first", (ir_op *[]){u, v}, 2);
   ir_group_make(f, "second", (ir_op *[]){a}, 1);
   ir_group *g = ir_group_make(f, "both", (ir_op *[]){v, a, b}, 3);
   cr_assert_eq(f->groups.count, 1);
   cr_assert_eq(g->num_ops, 4);
   cr_assert_eq(u->group, g);
   cr_assert_str_eq(g->rule, "both");
   cr_assert_str_eq(report_on(f), "");
   ir_erase(f, op_named(f, "d"));
   cr_assert_eq(g->num_ops, 4);
}

/* Kills: a reader of a state moved behind the op that consumes it. */
Test(ir_edit, groups_keep_states_linear)
{
   ir_func *f = parse_one("func @f(T in 1..4) {\n %k = param {name=\"k\"} : f32[T,1,8]\n"
                          " %s = state {layer=0} : f32 kv_full[1,8]\n"
                          " %p = silu %k\n %r = attention %p, %s {scale=1}\n"
                          " %n = kv_write %s, %k, %k\n return %r, %n\n}");
   ir_op *p = op_named(f, "p"), *n = op_named(f, "n");

   cr_assert_not(ir_can_group(f, (ir_op *[]){p, n}, 2));
   cr_assert(ir_can_group(f, (ir_op *[]){op_named(f, "r"), n}, 2));
}

/* ---- clone ---- */

/* Kills: a clone that shares anything with its source. */
Test(ir_edit, clone_stands_alone)
{
   ir_func *f = diamond();
   arena *other;

   ir_group_make(f, "pair", (ir_op *[]){op_named(f, "a"), op_named(f, "v")}, 2);
   ir_erase(f, ir_build(&(ir_builder){.f = f}, IR_OP_silu, &(ir_value *){ir_find(f, "x")}, 1,
                        AT(.name = NULL), NULL));
   cr_assert_eq(arena_create(&other), SINTER_ok);
   ir_func *copy = ir_func_clone(other, f);
   const char *text = print_one(f);
   close_arena();
   open_arena();
   cr_assert_str_eq(report_on(copy), "");
   cr_assert_eq(copy->num_ops, 7, "ids are not dense");
   cr_assert_not_null(strstr(print_one(copy), "kernel pair0"));
   (void)text;
   arena_destroy(other);
}

/* ---- patterns ---- */

enum { X, Y, W, M, Q, S };

static bool is_named_b(const ir_value *v)
{
   return v->name && strcmp(v->name, "b") == 0;
}

static const struct {
   const char *what;
   const ir_pat *pattern;
   bool matches;
} patterns[] = {
   {"wildcards", PAT(mul, ANY(X), ANY(Y)), true},
   {"sub", PAT(mul, SUB(silu, ANY(X)), ANY(Y)), true},
   {"commutes", PAT(mul, ANY(Y), SUB(silu, ANY(X))), true},
   {"same value twice", PAT(mul, SUB(silu, ANY(X)), ANY(X)), false},
   {"same value twice, backwards", PAT(mul, ANY(X), SUB(gelu, ANY(Y))), true},
   {"set", PAT(mul, SUBS(IR_SET(gelu_tanh) | IR_SET(silu), ANY(X)), ANY(Y)), true},
   {"other op", PAT(mul, SUB(softcap, ANY(X)), ANY(Y)), false},
   {"only use", PAT(mul, SUB(silu, ANY(X), .only_use = true), ANY(Y)), false},
   {"only use of the other", PAT(mul, SUB(gelu, ANY(X), .only_use = true), ANY(Y)), true},
   {"dtype", PAT(mul, ANY(X, .dtype = DT_f16), ANY(Y)), false},
   {"kind", PAT(mul, ANY(X, .kind = DTYPE_FLOAT), ANY(Y, .kind = DTYPE_FLOAT)), true},
   {"rank", PAT(mul, ANY(X, .rank = 2), ANY(Y)), false},
   {"predicate", PAT(mul, ANY(X, .where = is_named_b), ANY(Y)), true},
   {"nested commuting", PAT(mul, ANY(Y), SUB(silu, SUB(add, ANY(W), SUB(scale, ANY(X))))), true},
};

/* Kills: each kind of condition; commuting only at the root. */
Test(ir_edit, patterns_match)
{
   ir_func *f =
      parse_one("func @f() {\n %x = param {name=\"x\"} : f32[4]\n %s = scale %x {scale=2}\n"
                " %t = add %s, %x\n %a = silu %t\n %b = gelu %x\n %m = mul %a, %b\n"
                " return %m, %a\n}");

   for (size_t i = 0; i < countof(patterns); i++) {
      ir_match m;
      cr_expect_eq(ir_match_op(patterns[i].pattern, op_named(f, "m"), &m), patterns[i].matches,
                   "%s", patterns[i].what);
   }
   ir_match m;
   cr_assert(ir_match_op(patterns[13].pattern, op_named(f, "m"), &m));
   cr_assert_eq(m.cap[W], ir_find(f, "x"));
   cr_assert_eq(m.cap[Y], ir_find(f, "b"));
   cr_assert_eq(m.num_ops, 4);
   cr_assert_eq(m.ops[0], op_named(f, "s"));
   cr_assert_eq(m.ops[3], op_named(f, "m"));
}

/* Kills: choices of one op that are not undone when a later operand fails. */
Test(ir_edit, patterns_try_every_order)
{
   const ir_pat *p = PAT(mul, SUB(add, ANY(X), ANY(Y)), ANY(Y));
   ir_func *f = parse_one("func @f() {\n %x = param {name=\"x\"} : f32[4]\n %y = silu %x\n"
                          " %a = add %y, %x\n %m = mul %y, %a\n return %m\n}");
   ir_match m;

   cr_assert(ir_match_op(p, op_named(f, "m"), &m));
   cr_assert_eq(m.cap[X], ir_find(f, "x"));
   cr_assert_eq(m.cap[Y], ir_find(f, "y"));
}

/* Kills: taking the scales of a quant for its codes. */
Test(ir_edit, patterns_know_results)
{
   const ir_pat *whole = PAT(quant, SUB(take_rows, ANY(X), ANY(Y)), .as = Q, .as2 = S);
   const ir_pat *codes = PAT(qmatmul, SUB(quant, ANY(X), .as = Q), ANY(S), ANY(W));
   const ir_pat *wrong = PAT(qmatmul, SUB(quant, ANY(X), .result = 1), ANY(S), ANY(W));
   ir_func *f = parse_one(LAYER_IR);
   ir_match m;

   cr_assert(ir_match_op(whole, op_named(f, "c"), &m));
   cr_assert_eq(m.cap[Q], ir_find(f, "c"));
   cr_assert_eq(m.cap[S], ir_find(f, "sc"));
   cr_assert(ir_match_op(codes, op_named(f, "logits"), &m));
   cr_assert_eq(m.cap[S], ir_find(f, "sc"));
   cr_assert_not(ir_match_op(wrong, op_named(f, "logits"), &m));
}
