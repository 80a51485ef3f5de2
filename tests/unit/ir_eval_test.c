// LINK: ir base
/* The interpreter: each op against values computed by hand, and a decoder layer whole against
 * split. */
#include "ir_support.h"

#include "ir/eval.h"

#include <math.h>

TestSuite(ir_eval, .init = open_arena, .fini = close_arena);

enum { MAX_INPUTS = 6, MAX_SEQS = 2, CAPACITY = 32 };

/* Inputs and weights by name, states by layer. */
typedef struct world {
   struct {
      const char *name;
      const double *data;
   } inputs[MAX_INPUTS];
   ir_kv kv;
   double *kv_rows[2][MAX_SEQS];
   uint32_t rows_read, wholes_read;
} world;

static const double *find_input(const world *w, const char *name)
{
   for (int i = 0; i < MAX_INPUTS && w->inputs[i].name; i++)
      if (strcmp(w->inputs[i].name, name) == 0)
         return w->inputs[i].data;
   return NULL;
}

static sinter_status give(world *w, const char *name, const ir_type *type, const ir_step *step,
                          ir_tensor *out)
{
   const double *data = find_input(w, name);

   cr_assert(data, "no input %s", name);
   out->rank = type->rank;
   for (uint32_t i = 0; i < type->rank; i++)
      out->dim[i] = ir_dim_eval(type->dim[i], step->sym);
   out->data = (double *)data;
   return SINTER_ok;
}

static const ir_step *the_step;

static sinter_status give_param(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   return give(user, name, type, the_step, out);
}

static sinter_status give_weight(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   ((world *)user)->wholes_read++;
   return give(user, name, type, the_step, out);
}

static sinter_status give_rows(void *user, const char *name, const ir_type *type, int64_t first,
                               int64_t count, double *out)
{
   const int64_t row = ir_type_row(type);

   ((world *)user)->rows_read += (uint32_t)count;
   memcpy(out, find_input(user, name) + first * row, (size_t)(count * row) * sizeof *out);
   return SINTER_ok;
}

static ir_kv *give_state(void *user, int64_t layer, const ir_type *type)
{
   world *w = user;

   (void)layer;
   if (w->kv.k)
      return &w->kv;
   w->kv = (ir_kv){.heads = ir_dim_const(type->dim[0]),
                   .width = ir_state_width(type),
                   .capacity = CAPACITY,
                   .num_seqs = MAX_SEQS,
                   .k = w->kv_rows[0],
                   .v = w->kv_rows[1]};
   for (int s = 0; s < MAX_SEQS; s++)
      for (int p = 0; p < 2; p++)
         w->kv_rows[p][s] =
            arena_array(the_arena, double, (size_t)(CAPACITY * w->kv.heads * w->kv.width));
   return &w->kv;
}

static sinter_status run(const ir_func *f, ir_eval_mode mode, const ir_step *step, world *w,
                         ir_tensor *results)
{
   const ir_env env = {.user = w,
                       .weight = give_weight,
                       .weight_rows = give_rows,
                       .param = give_param,
                       .state = give_state};

   the_step = step;
   return ir_eval_run(the_arena, f, mode, step, &env, results, NULL, NULL);
}

static void expect_values(const ir_tensor *t, const double *want, int64_t n, double tolerance,
                          const char *what)
{
   int64_t size = 1;

   for (uint32_t i = 0; i < t->rank; i++)
      size *= t->dim[i];
   cr_assert_eq(size, n, "%s: %d values", what, (int)size);
   for (int64_t i = 0; i < n; i++)
      cr_expect(fabs(t->data[i] - want[i]) <= tolerance, "%s: element %d is %.17g, not %.17g", what,
                (int)i, t->data[i], want[i]);
}

/* ---- single ops ---- */

#define LIST(...)                                                                                  \
   {                                                                                               \
      __VA_ARGS__                                                                                  \
   }

/* x is f32[2,4], w f32[4], m f32[3,4], idx i32[3]; the body defines %y. Values by Python's math and
 * fractions. Kills: another formula, another axis, another operand order in ref_<op>(). */
static const struct {
   const char *body;
   int n;
   double want[12];
} ops[] = {
   {"%y = add %x, %w", 8, LIST(11, 18, 33, 39.5, 10, 23, 28, 41.5)},
   {"%y = mul %x, %w", 8, LIST(10, -40, 90, -20, 0, 60, -60, 60)},
   {"%y = scale %x {scale=-2}", 8, LIST(-2, 4, -6, 1, 0, -6, 4, -3)},
   {"%y = silu %x", 8,
    LIST(0.7310585786300049, -0.2384058440442351, 2.8577223804673, -0.18877033439907284, 0,
         2.8577223804673, -0.2384058440442351, 1.2263617142904655)},
   {"%y = gelu %x", 8,
    LIST(0.8413447460685429, -0.04550026389635842, 2.9959503059049447, -0.15426876936299344, 0,
         2.9959503059049447, -0.04550026389635842, 1.399789198096713)},
   {"%y = gelu_tanh %x", 8,
    LIST(0.8411919906082768, -0.045402305912217546, 2.996362607918227, -0.15428599017516514, 0,
         2.996362607918227, -0.045402305912217546, 1.3995715769802328)},
   {"%y = softcap %x {cap=2}", 8,
    LIST(0.9242343145200195, -1.5231883119115297, 1.8102965072897329, -0.4898373248074135, 0,
         1.8102965072897329, -1.5231883119115297, 1.2702979047745746)},
   {"%y = relu2 %x", 8, LIST(1, 0, 9, 0, 0, 9, 0, 2.25)},
   {"%y = rmsnorm %x, %w {eps=0.4375}", 8,
    LIST(5, -20, 45, -10, 0, 29.104275004359955, -29.104275004359955, 29.104275004359955)},
   {"%y = rmsnorm %x, %w {eps=0.4375, offset=1}", 8,
    LIST(5.5, -21, 46.5, -10.25, 0, 30.559488754577956, -30.074417504505288, 29.831881879468956)},
   {"%y = take_rows %m, %idx", 12, LIST(9, 10, 11, 12, 1, 2, 3, 4, 9, 10, 11, 12)},
   {"%h = reshape %m : f32[6,2]\n %y = take_rows %h, %idx {size=2}", 12,
    LIST(5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8)},
   {"%y = center %x", 8, LIST(0.625, -2.375, 2.625, -0.875, -0.625, 2.375, -2.625, 0.875)},
   {"%y = reshape %x : f32[4,2]", 8, LIST(1, -2, 3, -0.5, 0, 3, -2, 1.5)},
   {"%y = slice %x {axis=1, start=1, size=2}", 4, LIST(-2, 3, 3, -2)},
   {"%y = slice %x {axis=0, start=1, size=1}", 4, LIST(0, 3, -2, 1.5)},
   {"%y = cast %x : i8[2,4]", 8, LIST(1, -2, 3, 0, 0, 3, -2, 2)},
   {"%y = matmul %x, %m", 6, LIST(4, 10, 16, 6, 16, 26)},
   {"%y, %s = quant %x {group=2}", 8, LIST(64, -127, 127, -21, 0, 127, -127, 95)},
   {"%q, %y = quant %x {group=2}", 4, LIST(2 / 127.0, 3 / 127.0, 3 / 127.0, 2 / 127.0)},
   {"%q, %s = quant %x {group=2}\n %y = qmatmul %q, %s, %m", 6,
    LIST(0, 0, 0, 0, 0, 0)}, /* filled in below */
   {"%y = embed %idx, %m", 12, LIST(9, 10, 11, 12, 1, 2, 3, 4, 9, 10, 11, 12)},
};

static const double x_data[] = {1, -2, 3, -0.5, 0, 3, -2, 1.5}, w_data[] = {10, 20, 30, 40},
                    m_data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, idx_data[] = {2, 0, 2};

static ir_func *op_case(const char *body)
{
   return parse_one(arena_printf(the_arena,
                                 "func @f() {\n %%x = param {name=\"x\"} : f32[2,4]\n"
                                 " %%w = weight {name=\"w\"} : f32[4]\n"
                                 " %%m = weight {name=\"m\"} : f32[3,4]\n"
                                 " %%idx = param {name=\"idx\"} : i32[3]\n %s\n return %%y\n}",
                                 body));
}

static world op_world(void)
{
   return (world){.inputs = {{"x", x_data}, {"w", w_data}, {"m", m_data}, {"idx", idx_data}}};
}

/* y = sum over k of code * scale * weight, with the codes of the quant case above. */
static void dequantised_product(double out[6])
{
   static const double codes[] = {64, -127, 127, -21, 0, 127, -127, 95};
   static const double most[] = {2, 3, 3, 2};

   for (int t = 0; t < 2; t++)
      for (int n = 0; n < 3; n++) {
         out[t * 3 + n] = 0;
         for (int k = 0; k < 4; k++)
            out[t * 3 + n] += codes[t * 4 + k] * most[t * 2 + k / 2] / 127 * m_data[n * 4 + k];
      }
}

Test(ir_eval, every_op_by_hand)
{
   const ir_step step = {0};

   for (size_t i = 0; i < countof(ops); i++) {
      world w = op_world();
      double want[12];
      ir_tensor y;
      memcpy(want, ops[i].want, sizeof want);
      if (strstr(ops[i].body, "qmatmul"))
         dequantised_product(want);
      cr_assert_eq(run(op_case(ops[i].body), IR_EVAL_f64, &step, &w, &y), SINTER_ok, "%s: %s",
                   ops[i].body, sinter_error());
      expect_values(&y, want, ops[i].n, 1e-12, ops[i].body);
   }
}

/* Kills: rounding in f64 mode; not rounding, or rounding elsewhere, in declared mode. */
Test(ir_eval, declared_mode_rounds_each_result)
{
   const ir_step step = {0};
   world w = op_world();
   ir_func *f =
      op_case("%h = scale %x {scale=0.1} : bf16[2,4]\n %y = scale %h {scale=3} : f32[2,4]");
   ir_tensor exact, rounded;

   cr_assert_eq(run(f, IR_EVAL_f64, &step, &w, &exact), SINTER_ok);
   cr_assert_eq(run(f, IR_EVAL_declared, &step, &w, &rounded), SINTER_ok);
   cr_assert_float_eq(exact.data[0], 0.3, 1e-15);
   cr_assert_eq(rounded.data[0], (double)(float)(0.10009765625 * 3));
   cr_assert_eq(rounded.data[1], (double)(float)(-0.2001953125 * 3));
}

/* Kills: scales that are not rounded before codes follow from them; a zero group that divides by
 * zero. */
Test(ir_eval, quant_in_declared_mode)
{
   const ir_step step = {0};
   const double x[] = {0, 0, 0, 0, 0.1, 1e-3, 7, -7};
   world w = {.inputs = {{"x", x}}};
   ir_func *f =
      parse_one("func @f() {\n %x = param {name=\"x\"} : f32[2,4]\n %q, %s = quant %x {group=4}\n"
                " return %q, %s\n}");
   ir_tensor out[2];

   cr_assert_eq(run(f, IR_EVAL_declared, &step, &w, out), SINTER_ok);
   expect_values(&out[0], (double[]){0, 0, 0, 0, 2, 0, 127, -127}, 8, 0, "codes");
   expect_values(&out[1], (double[]){0, (double)(float)(7 / 127.0)}, 2, 0, "scales");
}

/* Kills: pairs of the other style; turning the wrong way; touching elements past n. */
Test(ir_eval, rope_styles)
{
   const double x[] = {1, 2, 3, 4, 5, 6}, table[] = {0.6, 0, 0.8, 1};
   const ir_tensor rope = {.rank = 2, .dim = {1, 4}, .data = (double *)table};
   const ir_step step = {.sym = {[SYM_T] = 1}, .num_rope = 1, .rope = &rope};
   static const double want[2][6] = {{1 * 0.6 - 3 * 0.8, -4, 3 * 0.6 + 1 * 0.8, 2, 5, 6},
                                     {1 * 0.6 - 2 * 0.8, 2 * 0.6 + 1 * 0.8, -4, 3, 5, 6}};
   static const char *const styles[] = {"half", "pair"};

   for (int i = 0; i < 2; i++) {
      world w = {.inputs = {{"x", x}}};
      ir_tensor y;
      const char *text =
         arena_printf(the_arena,
                      "func @f(T in 1..4) {\n %%x = param {name=\"x\"} : f32[T,1,6]\n"
                      " %%cs = meta {field=rope, index=0} : f32[T,4]\n"
                      " %%y = rope %%x, %%cs {style=\"%s\"}\n return %%y\n}",
                      styles[i]);
      cr_assert_eq(run(parse_one(text), IR_EVAL_f64, &step, &w, &y), SINTER_ok);
      expect_values(&y, want[i], 6, 1e-15, styles[i]);
   }
}

/* ---- attention ---- */

enum { ROWS = 12, HEADS = 4, KV_HEADS = 2, WIDTH = 8 };

static double q_data[ROWS * HEADS * WIDTH], k_data[ROWS * KV_HEADS * WIDTH],
   v_data[ROWS * KV_HEADS * WIDTH];

static void fill(double *data, size_t n, uint32_t seed)
{
   for (size_t i = 0; i < n; i++) {
      seed = seed * 1664525 + 1013904223;
      data[i] = (double)(seed >> 8) / (1 << 23) - 1;
   }
}

static ir_func *attention_case(int window, double cap)
{
   return parse_one(arena_printf(
      the_arena,
      "func @f(T in 0..64) {\n %%q = param {name=\"q\"} : f32[T,4,8]\n"
      " %%k = param {name=\"k\"} : f32[T,2,8]\n %%v = param {name=\"v\"} : f32[T,2,8]\n"
      " %%s = state {layer=0%s} : f32 %s[2,8]\n %%n = kv_write %%s, %%k, %%v\n"
      " %%y = attention %%q, %%n {scale=0.5%s}\n return %%y\n}",
      window ? arena_printf(the_arena, ", window=%d", window) : "",
      window ? "kv_window" : "kv_full", cap > 0 ? arena_printf(the_arena, ", cap=%g", cap) : ""));
}

/* Attention written out once more, over whole sequences: row t of sequence s sees rows of s at
 * positions <= its own. */
static void attend_plainly(const int32_t *seq, const int32_t *pos, int window, double cap, int t,
                           int head, double out[WIDTH])
{
   const int g = head / (HEADS / KV_HEADS);
   double sum = 0;

   memset(out, 0, WIDTH * sizeof *out);
   for (int u = 0; u < ROWS; u++) {
      double score = 0;
      if (seq[u] != seq[t] || pos[u] > pos[t] || (window && pos[u] <= pos[t] - window))
         continue;
      for (int i = 0; i < WIDTH; i++)
         score +=
            0.5 * q_data[(t * HEADS + head) * WIDTH + i] * k_data[(u * KV_HEADS + g) * WIDTH + i];
      score = exp(cap > 0 ? cap * tanh(score / cap) : score);
      sum += score;
      for (int i = 0; i < WIDTH; i++)
         out[i] += score * v_data[(u * KV_HEADS + g) * WIDTH + i];
   }
   for (int i = 0; i < WIDTH; i++)
      out[i] /= sum;
}

/* Runs rows from..to as one step and checks each against the plain form. */
static void check_rows(ir_func *f, world *w, const int32_t *seq, const int32_t *pos, int from,
                       int to, int window, double cap)
{
   const ir_step step = {
      .sym = {[SYM_T] = to - from}, .positions = pos + from, .seq_of = seq + from};
   ir_tensor y;

   w->inputs[0].name = "q", w->inputs[0].data = q_data + from * HEADS * WIDTH;
   w->inputs[1].name = "k", w->inputs[1].data = k_data + from * KV_HEADS * WIDTH;
   w->inputs[2].name = "v", w->inputs[2].data = v_data + from * KV_HEADS * WIDTH;
   cr_assert_eq(run(f, IR_EVAL_f64, &step, w, &y), SINTER_ok, "%s", sinter_error());
   for (int t = from; t < to; t++)
      for (int head = 0; head < HEADS; head++) {
         double want[WIDTH];
         attend_plainly(seq, pos, window, cap, t, head, want);
         for (int i = 0; i < WIDTH; i++)
            cr_expect_float_eq(y.data[((t - from) * HEADS + head) * WIDTH + i], want[i], 1e-13,
                               "row %d, head %d", t, head);
      }
}

/* Kills: looking ahead; the other kv head; another sequence's keys; a window off by one; forgetting
 * earlier chunks. */
Test(ir_eval, attention_sees_what_it_should)
{
   static const int32_t seq[ROWS] = {0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0};
   static const int32_t pos[ROWS] = {0, 1, 2, 0, 1, 3, 4, 2, 3, 4, 5, 6};
   static const int splits[][4] = {{0, ROWS, ROWS, ROWS}, {0, 5, ROWS, ROWS}, {0, 3, 4, ROWS}};

   fill(q_data, countof(q_data), 1);
   fill(k_data, countof(k_data), 2);
   fill(v_data, countof(v_data), 3);
   for (size_t i = 0; i < countof(splits); i++)
      for (int window = 0; window <= 3; window++)
         for (double cap = 0; cap <= 2; cap += 2) {
            world w = {0};
            ir_func *f = attention_case(window, cap);
            for (int part = 0; part < 3; part++)
               if (splits[i][part] < splits[i][part + 1])
                  check_rows(f, &w, seq, pos, splits[i][part], splits[i][part + 1], window, cap);
         }
}

/* Kills: writing rows whose slot is -1; states that are not rounded to their storage type, or are
 * in f64 mode. */
Test(ir_eval, kv_write)
{
   static const bool writes[] = {true, false};
   const int32_t pos[] = {3, 4}, seq[] = {1, 1};
   ir_step step = {.sym = {[SYM_T] = 2}, .positions = pos, .seq_of = seq, .writes = writes};
   ir_func *f = parse_one("func @f(T in 0..64) {\n %k = param {name=\"k\"} : f32[T,1,2]\n"
                          " %s = state {layer=0} : f16 kv_full[1,2]\n %n = kv_write %s, %k, %k\n"
                          " return %n\n}");
   const double k[] = {0.1, 1, 2, 3};
   ir_tensor out;

   for (int mode = IR_EVAL_f64; mode <= IR_EVAL_declared; mode++) {
      world w = {.inputs = {{"k", k}}};
      cr_assert_eq(run(f, (ir_eval_mode)mode, &step, &w, &out), SINTER_ok);
      cr_assert_eq(w.kv_rows[0][1][6], mode == IR_EVAL_f64 ? 0.1 : dtype_round(DT_f16, 0.1));
      cr_assert_eq(w.kv_rows[1][1][7], 1);
      cr_assert_eq(w.kv_rows[0][1][8], 0);
      cr_assert_eq(w.kv_rows[0][0][6], 0);
      cr_assert_null(out.data);
   }
}

/* ---- as a whole ---- */

/* Kills: a tile of the matmul that adds in another order than a single row, or mixes panels.
 * Extents are ragged on every side of the tiling. */
Test(ir_eval, matmul_rows_are_independent)
{
   enum { T = 7, K = 1030, N = 67 };
   double *x = arena_array(the_arena, double, T *K), *m = arena_array(the_arena, double, N *K);
   ir_func *f =
      parse_one("func @f(T in 1..8) {\n %x = param {name=\"x\"} : f32[T,1030]\n"
                " %m = weight {name=\"m\"} : f32[67,1030]\n %y = matmul %x, %m\n return %y\n}");
   ir_tensor all, one;

   fill(x, T * K, 5);
   fill(m, N * K, 6);
   world w = {.inputs = {{"x", x}, {"m", m}}};
   ir_step step = {.sym = {[SYM_T] = T}};
   cr_assert_eq(run(f, IR_EVAL_f64, &step, &w, &all), SINTER_ok);
   step.sym[SYM_T] = 1;
   for (int t = 0; t < T; t++) {
      w.inputs[0].data = x + t * K;
      cr_assert_eq(run(f, IR_EVAL_f64, &step, &w, &one), SINTER_ok);
      for (int n = 0; n < N; n++) {
         double sum = 0;
         for (int k = 0; k < K; k++)
            sum += x[t * K + k] * m[n * K + k];
         cr_assert_eq(one.data[n], sum);
         cr_assert_eq(all.data[t * N + n], sum);
      }
   }
}

/* Kills: widening a table whole that is only read by rows; reading rows of what something else
 * needs whole. */
Test(ir_eval, weights_are_read_by_rows)
{
   const ir_step step = {0};
   world w = op_world();
   ir_tensor y;

   cr_assert_eq(
      run(op_case("%z = matmul %x, %m\n %y = embed %idx, %m"), IR_EVAL_f64, &step, &w, &y),
      SINTER_ok);
   cr_assert_eq(w.rows_read, 3 + 3);
   cr_assert_eq(w.wholes_read, 0);
   w = op_world();
   cr_assert_eq(run(op_case("%z = matmul %x, %m\n %y = silu %m"), IR_EVAL_f64, &step, &w, &y),
                SINTER_ok);
   cr_assert_eq(w.rows_read, 0);
   cr_assert_eq(w.wholes_read, 1);
}

/* Kills: buffers given back while somebody still reads them: a long chain where each value is used
 * twice, late. */
Test(ir_eval, buffers_live_as_long_as_their_values)
{
   text_buf text = {.a = the_arena};
   const ir_step step = {0};
   world w = op_world();
   double want[2] = {1, 1};
   ir_tensor y;

   text_printf(&text,
               "func @f() {\n %%0 = param {name=\"x\"} : f32[2,4]\n %%1 = scale %%0 {scale=1}\n");
   for (int i = 2; i < 40; i++) {
      double next = 0.5 * (want[0] + want[1]);
      text_printf(&text, " %%%d = add %%%d, %%%d\n %%%d = scale %%%d {scale=0.5}\n", 100 + i, i - 1,
                  i - 2, i, 100 + i);
      want[0] = want[1], want[1] = next;
   }
   text_printf(&text, " return %%39\n}");
   cr_assert_eq(run(parse_one(text.data), IR_EVAL_f64, &step, &w, &y), SINTER_ok);
   for (int i = 0; i < 8; i++)
      cr_expect_float_eq(y.data[i], x_data[i] * want[1], 1e-12);
}

static void count_value(void *user, const ir_value *v, const ir_tensor *t)
{
   (void)t;
   *(uint32_t *)user += v->id + 1;
}

/* Kills: a trace that misses a value or sees one twice. */
Test(ir_eval, trace_sees_every_value)
{
   const ir_step step = {0};
   world w = op_world();
   ir_func *f = op_case("%q, %s = quant %x {group=2}\n %y = qmatmul %q, %s, %m");
   const ir_env env = {.user = &w,
                       .weight = give_weight,
                       .weight_rows = give_rows,
                       .param = give_param,
                       .state = give_state};
   uint32_t seen = 0;
   ir_tensor y;

   the_step = &step;
   cr_assert_eq(ir_eval_run(the_arena, f, IR_EVAL_f64, &step, &env, &y, count_value, &seen),
                SINTER_ok);
   cr_assert_eq(seen, 1 + 2 + 3 + 4 + 5 + 6 + 7);
}

/* Kills: running what is out of range instead of saying so. */
Test(ir_eval, errors)
{
   static const int32_t far[] = {CAPACITY}, zero[] = {0}, two[] = {MAX_SEQS};
   static const double wrong_idx[] = {2, 3, 0};
   ir_step step = {.sym = {[SYM_T] = 1}, .positions = far, .seq_of = zero};
   world w = {.inputs = {{"q", q_data}, {"k", k_data}, {"v", v_data}}};
   ir_tensor y;

   cr_assert_eq(run(attention_case(0, 0), IR_EVAL_f64, &step, &w, &y), SINTER_exhausted);
   cr_assert(strstr(sinter_error(), "kv_write"), "%s", sinter_error());
   step.positions = zero, step.seq_of = two;
   cr_assert_eq(run(attention_case(0, 0), IR_EVAL_f64, &step, &w, &y), SINTER_exhausted);
   step.positions = NULL;
   cr_assert_eq(run(attention_case(0, 0), IR_EVAL_f64, &step, &w, &y), SINTER_usage);
   step.sym[SYM_T] = 65;
   cr_assert_eq(run(attention_case(0, 0), IR_EVAL_f64, &step, &w, &y), SINTER_usage);
   cr_assert(strstr(sinter_error(), "T is 65"), "%s", sinter_error());
   step.sym[SYM_T] = 1;
   w = op_world();
   w.inputs[3].data = wrong_idx;
   cr_assert_eq(run(op_case("%y = take_rows %m, %idx"), IR_EVAL_f64, &step, &w, &y), SINTER_usage);
   cr_assert(strstr(sinter_error(), "index 3"), "%s", sinter_error());
   cr_assert_eq(run(op_case("%y = silu %idx : f32[3]"), IR_EVAL_f64, &step, &w, &y),
                SINTER_bad_input);
   cr_assert_eq(run(parse_one("func @f(S in 1..4, B in 1..4) {\n"
                              " %y = meta {field=block_table, index=0} : i32[S,B]\n return %y\n}"),
                    IR_EVAL_f64, &(ir_step){.sym = {[SYM_S] = 1, [SYM_B] = 1}}, &w, &y),
                SINTER_unsupported);
}
