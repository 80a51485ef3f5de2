// LINK: codegen runtime base
/* The interpreter as a device: a compiled artifact, run through the device table, gives the
 * recorded logits. */
#include "codegen/ref_device.h"
#include "compiled.h"
#include "golden.h"

#include "ir/ir.h"
#include "runtime/artifact.h"

#include <stdlib.h>

enum { ROWS = 64, SEQS = 3 };

/* What the engine would fill. */
typedef struct bench {
   rt_device *d;
   const plan *plan;
   rt_step step;
   int32_t ids[ROWS], positions[ROWS], seq_of[ROWS], rows[ROWS];
   int64_t stored[SEQS];
   float *rope[2];
} bench;

static void open_bench(bench *b, arena *a, const sinter_artifact *artifact)
{
   const rt_artifact *r = rt_artifact_of(artifact);
   rt_limits limits = {.max_rows = ROWS,
                       .max_wanted = ROWS,
                       .max_sequences = SEQS,
                       .max_positions = 512,
                       .threads = 1};

   *b = (bench){.plan = rt_artifact_plan(r, 0)};
   b->step.meta[IR_META_token_ids][0] = b->ids;
   b->step.meta[IR_META_positions][0] = b->positions;
   b->step.meta[IR_META_seq_of][0] = b->seq_of;
   b->step.meta[IR_META_rows][0] = b->rows;
   b->step.stored = b->stored;
   for (uint32_t i = 0; i < b->plan->num_ropes; i++)
      b->step.meta[IR_META_rope][i] = b->rope[i] =
         arena_array(a, float, ROWS * b->plan->ropes[i].width);
   cr_assert_eq(cg_ref_device.open(r, &limits, &b->step, &b->d), SINTER_ok, "%s", sinter_error());
}

static void set_row(bench *b, int64_t row, int32_t seq, int32_t id, int32_t position, double length)
{
   double inv[ROPE_MAX_WIDTH / 2], scale;

   b->ids[row] = id;
   b->positions[row] = position;
   b->seq_of[row] = seq;
   b->rows[row] = (int32_t)row;
   for (uint32_t i = 0; i < b->plan->num_ropes; i++) {
      const rope_spec *spec = &b->plan->ropes[i];
      float *to = b->rope[i] + row * spec->width;
      rope_inv_freq(spec, length, inv, &scale);
      for (uint32_t k = 0; k < spec->width / 2; k++) {
         to[k] = (float)(cos(position * inv[k]) * scale);
         to[spec->width / 2 + k] = (float)(sin(position * inv[k]) * scale);
      }
   }
}

static const float *step(bench *b, int64_t rows)
{
   const float *logits;

   b->step.block.sym[SYM_T] = b->step.block.sym[SYM_R] = rows;
   b->step.block.sym[SYM_S] = SEQS;
   cr_assert_eq(cg_ref_device.run(b->d, &logits), SINTER_ok, "%s", sinter_error());
   return logits;
}

static void near(const float *got, const float *want, uint64_t n, double atol)
{
   for (uint64_t i = 0; i < n; i++)
      cr_assert(fabs(got[i] - want[i]) <= atol, "%llu: %g is not %g", (unsigned long long)i, got[i],
                want[i]);
}

/* The prompt of 70 in sequence 2, in two parts, beside another prompt in sequence 0.
 * Kills: states shared by sequences, states that lose their content when they grow past 64
 * positions, rows of a step taken as one sequence, a weight read from a wrong offset. */
static void check(const char *name)
{
   arena *a;
   golden g;
   bench b;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   golden_open(&g, a, name);
   golden_tensor ids = golden_get(&g, "prompt2.input_ids"), want = golden_get(&g, "prompt2.logits");
   golden_tensor other = golden_get(&g, "prompt1.input_ids"),
                 other_want = golden_get(&g, "prompt1.logits");
   int32_t n = (int32_t)ids.dim[0], first = 30, m = (int32_t)other.dim[0];
   uint64_t vocab = want.dim[1];
   sinter_artifact *artifact = compiled(g.dir, "ref", SINTER_NUMERICS_exact, NULL);

   open_bench(&b, a, artifact);
   for (int32_t i = 0; i < first; i++)
      set_row(&b, i, 2, ids.i[i], i, n);
   for (int32_t i = 0; i < m; i++)
      set_row(&b, first + i, 0, other.i[i], i, m);
   const float *logits = step(&b, first + m);
   near(logits, want.f, (uint64_t)first * vocab, golden_atol(&g, NULL));
   near(logits + (uint64_t)first * vocab, other_want.f, (uint64_t)m * vocab, golden_atol(&g, NULL));
   for (int32_t i = first; i < n; i++)
      set_row(&b, i - first, 2, ids.i[i], i, n);
   near(step(&b, n - first), want.f + (uint64_t)first * vocab, (uint64_t)(n - first) * vocab,
        golden_atol(&g, NULL));
   cg_ref_device.close(b.d);
   sinter_artifact_close(artifact);
   arena_destroy(a);
}

Test(ref_device, llama)
{
   check("llama");
}

Test(ref_device, gemma3)
{
   check("gemma3_text");
}

Test(ref_device, qwen2)
{
   check("qwen2");
}
