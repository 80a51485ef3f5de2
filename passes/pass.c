/* pass.c - runs the passes of passes.def: each one between a look at the types before it and a
 * validation behind it. */
#include "run.h"

#include "base/clock.h"
#include "base/isa.h"

#include <stdio.h>

static bool has_tiles(const char *name)
{
   const char *colon = strchr(name, ':');
   isa_level level = isa_from_name(colon ? colon + 1 : name);

   return level < ISA_LEVEL_COUNT && isa_infos[level].amx;
}

pass_target pass_target_cpu(const char *name)
{
   return (pass_target){
      .name = name,
      .row_limit = 1 << 16,
      .max_pointers = KARGS_MAX_PTRS,
      .max_parts = 3,
      .max_steps = 8,
      .has_int8 = true,
      .reads_tops = true,
      .has_combine = true,
      .epilogue_quant = 32,
      .prologue_row = 10240,
      .repeat_ns = 20000,
      .splits_bf16 = has_tiles(name),
      .min_segment = 1,
      .launch_ns = 1000, /* these from bench/kernel_costs.py, two threads of AVX2 */
      .bytes_per_ns = 20,
      .float_ns = 0.0145,
      .int8_ns = 0.0072,
      .element_ns = 0.12,
      .attention_factor = 1.4,
      .exp_factor = 4,
      .select_factor = 60,
      .gather_factor = 14,
      .cost_rows = 32,
   };
}

/* Of a matmul's tile: the widest group that one block has whole. */
enum { ARCH_TILE_COLUMNS = 128 };

/* Products with weights whose codes are exact in bf16 multiply inputs in so many bf16 parts. */
enum { MATRIX_PARTS = 3 };

pass_target pass_target_arch(const char *name)
{
   pass_target t = pass_target_cpu(name);
   const arch_info *arch = arch_find(name);

   if (!arch)
      return t;
   t.arch = arch;
   t.reads_tops = false;
   t.has_combine = false; /* blocks would add to one row in an order of their own */
   t.epilogue_quant = ARCH_TILE_COLUMNS;
   t.row_limit = arch->shared_bytes / (int64_t)sizeof(float);
   t.float_ns = t.int8_ns = 2e-3 / arch->f32_tflops;
   t.peak_ns = 2e-3 / MAX(arch->f32_tflops, arch->bf16_tflops);
   if (arch->matrix) {
      t.matrix_ns = 2e-3 / arch->bf16_tflops;
      t.code_ns = MATRIX_PARTS * t.matrix_ns;
      t.int8_ns = t.matrix_ns; /* at most */
   }
   t.element_ns = 0;   /* rows of a row kernel hide behind their memory */
   t.prologue_row = 0; /* no kernel of ours norms what it multiplies */
   t.repeat_ns = 0;
   t.launch_ns = arch->launch_ns;
   t.bytes_per_ns = arch->bytes_per_ns;
   return t;
}

pass_target pass_target_ref(void)
{
   pass_target t = pass_target_cpu("ref");

   t.has_int8 = false;
   t.reads_tops = false;
   t.rows_only = true;
   return t;
}

ir_func *pass_func(const pass_run *run)
{
   return run->f;
}

const pass_target *pass_run_target(const pass_run *run)
{
   return run->options->target;
}

pass_layout *pass_run_layout(const pass_run *run)
{
   return run->layout;
}

void pass_fail(pass_run *run, sinter_status status, const char *where, const char *remedy,
               const char *fmt, ...)
{
   char text[512];
   va_list args;

   if (run->status != SINTER_ok)
      return;
   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   run->status = base_fail(status, where, remedy, "%s", text);
}

static sinter_status validate(pass_run *run)
{
   text_buf report = {.a = run->f->a};

   if (ir_validate(run->f, &report))
      return SINTER_ok;
   return base_fail(
      SINTER_failed, run->f->name, "This is a defect of the pass; skip it with --without.",
      "pass %s left the function invalid: %s", pass_infos[run->current].name, report.data);
}

static void tell(const pass_run *run, bool after)
{
   if (run->options->hook)
      run->options->hook(run->options->user, run->current, after, run->changed, run->f);
}

static bool runs(const pass_run *run, pass_id id)
{
   if (run->mode[id] == PASS_OFF)
      return false;
   return pass_infos[id].numerics == PASS_ANY || run->options->numerics == SINTER_NUMERICS_fast;
}

static sinter_status run_one(pass_run *run, pass_id id, void (*body)(pass_run *run))
{
   pass_entry *entry = &run->report->entry[id];
   pass_types before = pass_types_of(run->f->a, run->f);
   double start;

   pass_begin(run, id);
   run->changed = false;
   tell(run, false);
   start = clock_now();
   if (pass_infos[id].phase == PASS_CLEAN || pass_infos[id].phase == PASS_REST)
      SINTER_TRY(pass_refuse_narrowing(run, id, body));
   body(run);
   entry->seconds += clock_now() - start;
   SINTER_TRY(run->status);
   entry->ran = true;
   if (run->changed || run->f->misuse) {
      entry->changed = true;
      entry->rounding = pass_rounding_since(run->f, &before);
      SINTER_TRY(validate(run));
   }
   tell(run, true);
   return SINTER_ok;
}

static void apply_proposals(pass_run *run)
{
   for (size_t i = 0; i < run->proposals.count; i++) {
      pass_site *s = run->proposals.data[i];

      if (s->pass == run->current && s->verdict == PASS_OPEN)
         (void)pass_group_now(s);
   }
}

/* A fusion only proposes: what is narrower afterwards was narrowed behind the driver's back. */
static sinter_status propose(pass_run *run, pass_id id)
{
   pass_types before = pass_types_of(run->f->a, run->f);
   double start = clock_now();

   pass_begin(run, id);
   run->refused.count = 0;
   pass_bodies[id](run);
   run->report->entry[id].seconds += clock_now() - start;
   SINTER_TRY(run->status);
   if (run->f->misuse)
      return validate(run);
   if (!pass_narrows(run->f, &before))
      return SINTER_ok;
   return base_fail(SINTER_failed, run->f->name,
                    "This is a defect of the pass; skip it with --without.",
                    "pass %s narrows values while it proposes sites", pass_infos[id].name);
}

/* Fusions propose on the same ungrouped function; only then the sites that won are carried out. */
static sinter_status run_fusions(pass_run *run)
{
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase == PASS_FUSE && runs(run, id))
         SINTER_TRY(propose(run, id));
   pass_resolve(run->f->a, run->f, run->proposals.data, run->proposals.count);
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase == PASS_FUSE && runs(run, id))
         SINTER_TRY(run_one(run, id, apply_proposals));
   return SINTER_ok;
}

static sinter_status run_phase(pass_run *run, pass_phase phase)
{
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase == phase && runs(run, id))
         SINTER_TRY(run_one(run, id, pass_bodies[id]));
   return SINTER_ok;
}

static sinter_status run_all(pass_run *run)
{
   SINTER_TRY(run_phase(run, PASS_CLEAN));
   SINTER_TRY(run_fusions(run));
   return run_phase(run, PASS_REST);
}

static void note_unmatched(pass_run *run)
{
   for (pass_id id = 0; id < pass_count(); id++) {
      const char *name = pass_infos[id].name;

      if (run->mode[id] != PASS_FORCED || run->report->entry[id].matched)
         continue;
      *vec_push(run->f->a, &run->report->notes) =
         arena_printf(run->f->a, "--with %s: nothing in this model matches", name);
   }
}

static sinter_status start(pass_run *run, ir_func *f, const pass_options *options,
                           pass_report *report, pass_layout *layout)
{
   *run = (pass_run){.f = f, .options = options, .report = report, .layout = layout};
   run->skip.a = f->a;
   for (pass_id id = 0; id < pass_count(); id++)
      report->entry[id].id = id;
   return pass_select(run);
}

sinter_status pass_run_all(ir_func *f, const pass_options *options, pass_report *report)
{
   pass_run run;

   *report = (pass_report){0};
   SINTER_TRY(start(&run, f, options, report, NULL));
   SINTER_TRY_IN("passes", run_all(&run));
   note_unmatched(&run);
   return SINTER_ok;
}

sinter_status pass_finish(ir_func *f, const pass_options *options, pass_report *report,
                          pass_layout *out)
{
   pass_run run;

   *out = (pass_layout){0};
   SINTER_TRY(start(&run, f, options, report, out));
   SINTER_TRY_IN("passes", run_phase(&run, PASS_FINISH));
   return SINTER_ok;
}
