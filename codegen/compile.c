/* compile.c - the compiler's entry: checkpoint to artifact, stage by stage.
 *
 *    model_open ─▶ per target: clone ─▶ passes ─▶ plan ─▶ kernels ─▶ object ─▶ cg_artifact_write
 *
 * Memory is one arena; what is not in it (mapped files) hangs in `compiling`, so that running out
 * of memory frees everything. */
#include <llvm-c/Core.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "artifact_write.h"
#include "base/artifact.h"
#include "disassemble.h"
#include "passes/pass.h"
#include "plan_build.h"
#include "ref_device.h"
#include "simt.h"
#include "target_cpu.h"

typedef enum target_id {
#define TARGET(id, ...) TARGET_##id,
#include "base/targets.def"
#undef TARGET
} target_id;

typedef enum target_levels { LEVELS_NONE, LEVELS_ISA, LEVELS_SM, LEVELS_GFX } target_levels;

typedef struct target_info {
   target_id id;
   const char *name;
   bool has_code;
   target_levels levels;
} target_info;

static const target_info targets[] = {
#define TARGET(id, name, has_code, levels, what) {TARGET_##id, name, has_code, LEVELS_##levels},
#include "base/targets.def"
#undef TARGET
};

/* One target of a request. */
typedef struct target {
   const target_info *info;
   const isa_info *isa;   /* NULL: no kernels */
   const arch_info *arch; /* NULL: no GPU, real or stood in for */
   const char *name;      /* as in the plan: "cpu:x86-64-v3" */
} target;

typedef struct compiling {
   const compiler_request *request;
   arena *a;
   model *m;
   uint32_t num_targets;
   target targets[ARTIFACT_MAX_TARGETS];
   cg_artifact_target made[ARTIFACT_MAX_TARGETS];
   char *json; /* explain only */
} compiling;

static void tell(const compiling *c, sinter_stage stage, uint64_t done, uint64_t total,
                 const char *detail)
{
   if (c->request->progress)
      c->request->progress(c->request->user, stage, done, total, detail);
}

/* ---- targets ---- */

static const char *target_names(arena *a)
{
   text_buf t = {.a = a};

   for (size_t i = 0; i < countof(targets); i++)
      text_printf(&t, "%s%s", i ? ", " : "", targets[i].name);
   return t.data;
}

static sinter_status find_level(arena *a, const char *name, const isa_info **out)
{
   isa_level level = name ? isa_from_name(name) : isa_best();
   text_buf t = {.a = a};

   if (level < ISA_LEVEL_COUNT) {
      *out = &isa_infos[level];
      return SINTER_ok;
   }
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      text_printf(&t, "%s%s", i ? ", " : "", isa_infos[i].name);
   return base_fail(name ? SINTER_usage : SINTER_unsupported, name ? name : "cpu",
                    arena_printf(a, "levels: %s", t.data),
                    name ? "there is no such CPU level"
                         : "this machine's CPU is older than x86-64-v3");
}

static bool is_mock(const target *t)
{
   return t->info->id == TARGET_mock_cuda || t->info->id == TARGET_mock_hip;
}

/* The mocks stand in for one machine each. */
static sinter_status find_arch(arena *a, target *t, const char *name)
{
   bool is_sm = t->info->id == TARGET_cuda || t->info->id == TARGET_mock_cuda;
   if (is_mock(t))
      name = is_sm ? "sm_90a" : "gfx950";
   t->arch = name ? arch_find(name) : NULL;
   if (t->arch && strcmp(arch_vendor(t->arch), is_sm ? "cuda" : "hip") != 0)
      t->arch = NULL;
   t->isa = &isa_infos[0]; /* launches have the shape of the lowest level's */
   if (t->arch)
      return SINTER_ok;
   return base_fail(SINTER_usage, t->info->name,
                    arena_printf(a, "name one of base/archs.def: %s:%s", t->info->name,
                                 is_sm ? "sm_90a" : "gfx90a"),
                    "the target needs an architecture");
}

static sinter_status parse_target(compiling *c, const char *text, size_t len)
{
   const char *colon = memchr(text, ':', len);
   size_t base = colon ? (size_t)(colon - text) : len;
   target *t = &c->targets[c->num_targets];

   if (c->num_targets == countof(c->targets))
      return base_fail(SINTER_usage, c->request->targets, "", "there are too many targets");
   for (size_t i = 0; i < countof(targets); i++)
      if (strlen(targets[i].name) == base && memcmp(targets[i].name, text, base) == 0)
         t->info = &targets[i];
   if (!t->info || (colon && !t->info->levels))
      return base_fail(SINTER_usage, arena_strndup(c->a, text, len),
                       arena_printf(c->a, "targets: %s", target_names(c->a)),
                       "there is no such target");
   const char *level = colon ? arena_strndup(c->a, colon + 1, len - base - 1) : NULL;
   t->name = arena_strndup(c->a, text, len);
   if (t->info->levels == LEVELS_ISA) {
      SINTER_TRY(find_level(c->a, level, &t->isa));
      t->name = arena_printf(c->a, "%s:%s", t->info->name, t->isa->name);
   } else if (t->info->levels != LEVELS_NONE || is_mock(t)) {
      SINTER_TRY(find_arch(c->a, t, level));
   }
   for (uint32_t i = 0; i < c->num_targets; i++)
      if (strcmp(c->targets[i].name, t->name) == 0)
         return SINTER_ok;
   c->num_targets++;
   return SINTER_ok;
}

static sinter_status parse_targets(compiling *c)
{
   const char *at = c->request->targets ? c->request->targets : "cpu";

   for (;;) {
      size_t len = strcspn(at, ",");
      SINTER_TRY(parse_target(c, at, len));
      if (!at[len])
         return SINTER_ok;
      at += len + 1;
   }
}

/* ---- one target ---- */

typedef struct passed {
   ir_func *f;
   pass_layout layout;
   ir_func *prompts; /* the form of the prefill variant, NULL: the same */
   pass_layout prompt_layout;
   const char *ir, *explain;
} passed;

/* What only prompts are worth (--variant-per-bucket). */
static const char prompt_passes[] = "mla_expand";

/* The form of prompts: the function as it was imported, with passes that change its bits. */
static sinter_status run_prompt_passes(compiling *c, const model *m, const pass_options *from,
                                       pass_report *report, passed *out)
{
   pass_options options = *from;
   pass_report *own = arena_new(c->a, pass_report);
   ir_func *f = ir_func_clone(c->a, m->f);

   options.with =
      from->with ? arena_printf(c->a, "%s,%s", from->with, prompt_passes) : prompt_passes;
   options.shares = &out->layout;
   SINTER_TRY(pass_run_all(f, &options, own));
   const pass_entry *e = &own->entry[pass_find(prompt_passes, strlen(prompt_passes))];
   const char *why = e->sites.count ? e->sites.data[0]->reason : NULL;
   *vec_push(c->a, &report->notes) =
      e->fired ? arena_printf(c->a, "prompts have a form of their own: %s at %u places",
                              prompt_passes, e->fired)
      : why ? arena_printf(c->a, "--variant-per-bucket: prompts have no form of their own: %s", why)
            : "--variant-per-bucket: prompts have no form of their own in this model";
   if (!e->fired)
      return SINTER_ok;
   const size_t known = own->notes.count; /* of the passes that the other form went through, too */
   SINTER_TRY(pass_finish(f, &options, own, &out->prompt_layout));
   for (size_t i = known; i < own->notes.count; i++)
      *vec_push(c->a, &report->notes) = own->notes.data[i];
   f->name = "prefill";
   out->prompts = f;
   out->layout.prompts = &out->prompt_layout;
   return SINTER_ok;
}

static bool has_expanded(const pass_layout *l)
{
   uint32_t i = 0;

   while (l && i < l->num_attentions && !(l->attentions[i].query.wants & ATTENTION_EXPANDED))
      i++;
   return l && i < l->num_attentions;
}

/* A kernel for expanded latents that was asked for, where none are expanded: said, or an error when
 * no other will do. */
static sinter_status check_expanded(compiling *c, const pass_layout *l, pass_report *report)
{
   bool strict, per_bucket = c->request->variant_per_bucket;
   attention_backend asked;

   SINTER_TRY(attention_read(c->request->attention, &asked, &strict));
   if (asked == ATTENTION_BACKENDS || pass_attention_concerns(asked, ATTENTION_KV) ||
       has_expanded(l) || has_expanded(l->prompts))
      return SINTER_ok;
   const char *why = per_bucket ? report->notes.data[report->notes.count - 1]
                                : "prompts have a form of their own only with --variant-per-bucket";
   if (strict)
      return base_fail(SINTER_unsupported, "--attention",
                       "leave the ! out: then another kernel is taken, and said",
                       "%s has nothing to do: %s", attention_name(asked), why);
   if (!per_bucket) /* else that note is there already */
      *vec_push(c->a, &report->notes) =
         arena_printf(c->a, "--attention %s: %s", attention_name(asked), why);
   return SINTER_ok;
}

/* Tops would be in the weights of some targets only, which then could not be shared. */
static bool some_read_no_tops(const compiling *c)
{
   for (uint32_t i = 0; i < c->num_targets; i++)
      if (c->targets[i].arch)
         return true;
   return false;
}

static sinter_status run_passes(compiling *c, const target *t, const model *m, passed *out)
{
   bool ref = t->info->id == TARGET_ref;
   const char *arch = c->request->arch;
   pass_target pt = arch      ? pass_target_arch(arch)
                    : t->arch ? pass_target_arch(t->arch->name)
                    : ref     ? pass_target_ref()
                              : pass_target_cpu(t->name);
   pass_options options = {.target = &pt,
                           .numerics = c->request->numerics,
                           .with = c->request->with,
                           .without = c->request->without,
                           .attention = c->request->attention,
                           .skip = getenv("SINTER_SKIP")};
   if (c->request->numerics != SINTER_NUMERICS_fast)
      pt.code_ns = 0; /* products stay plain */
   pt.reads_tops &= !some_read_no_tops(c);
   pass_report *report = arena_new(c->a, pass_report);
   text_buf ir = {.a = c->a}, json = {.a = c->a}, start = {.a = c->a};

   tell(c, SINTER_STAGE_passes, 0, 1, t->name);
   out->f = ir_func_clone(c->a, m->f);
   ir_print(&start, out->f);
   SINTER_TRY(cg_dump(t->name, "before.ir", start.data, start.len));
   if (ref)
      ir = start;
   else
      SINTER_TRY(pass_run_all(out->f, &options, report));
   SINTER_TRY(pass_finish(out->f, &options, report, &out->layout));
   if (c->request->variant_per_bucket && !ref && m == c->m)
      SINTER_TRY(run_prompt_passes(c, m, &options, report, out));
   if (!ref && m == c->m)
      SINTER_TRY(check_expanded(c, &out->layout, report));
   if (!ref)
      ir_print(&ir, out->f);
   if (out->prompts)
      ir_print(&ir, out->prompts);
   SINTER_TRY(cg_dump(t->name, "after.ir", ir.data, ir.len));
   for (size_t i = 0; i < m->notes.count; i++)
      *vec_push(c->a, &report->notes) = m->notes.data[i];
   pass_explain(&json, out->f, &pt, report, &out->layout);
   out->ir = ir.data;
   out->explain = json.data;
   tell(c, SINTER_STAGE_passes, 1, 1, t->name);
   return SINTER_ok;
}

/* Kernels as SIMT text, compiled for the target. */
static sinter_status make_simt(compiling *c, const target *t, const cg_plan *cp,
                               cg_artifact_target *out)
{
   cg_dialect dialect = is_mock(t) ? CG_HOST : t->info->id == TARGET_cuda ? CG_CUDA : CG_HIP;
   text_buf text = {.a = c->a};

   const cg_machine machine = {t->arch,
                               t->arch->matrix && c->request->numerics == SINTER_NUMERICS_fast};
   SINTER_TRY(
      cg_simt_text(c->a, dialect, machine, t->name, cp->kernels, cp->plan.num_kernels, &text));
   SINTER_TRY(cg_simt_substitute(c->a, t->name, &text));
   SINTER_TRY(cg_dump(t->name, "simt", text.data, text.len));
   const cg_simt_request request = {c->request, dialect, t->arch, t->name};
   tell(c, SINTER_STAGE_codegen, 0, cp->plan.num_kernels, t->name);
   SINTER_TRY(cg_simt_objects(c->a, &request, &text, cp->kernels, cp->plan.num_kernels, &out->code,
                              &out->code_size));
   tell(c, SINTER_STAGE_codegen, cp->plan.num_kernels, cp->plan.num_kernels, "");
   return SINTER_ok;
}

static sinter_status make_target(compiling *c, const target *t, const model *m,
                                 cg_artifact_target *out)
{
   passed p = {0};
   cg_plan *cp = arena_new(c->a, cg_plan);
   const isa_info *isa = t->isa;

   SINTER_TRY(run_passes(c, t, m, &p));
   if (t->info->id == TARGET_null)
      isa = &isa_infos[0]; /* the launches of the lowest level, without their code */
   const cg_form form = {p.f, &p.layout, t->arch}, prompts = {p.prompts, &p.prompt_layout, t->arch};
   SINTER_TRY(cg_plan_build(c->a, m, &form, p.prompts ? &prompts : NULL, t->name, isa,
                            c->request->numerics, cp));
   *out = (cg_artifact_target){.m = m, .plan = &cp->plan, .ir = p.ir, .explain = p.explain};
   if (!t->info->has_code)
      return SINTER_ok;
   if (t->arch)
      return make_simt(c, t, cp, out);
   return cg_cpu_object(c->a, isa, cp->kernels, cp->plan.num_kernels, c->request->progress,
                        c->request->user, &out->code, &out->code_size);
}

/* ---- entries ---- */

static char llvm_version[32];

static void find_llvm_version(void)
{
   unsigned major, minor, patch;

   LLVMGetVersion(&major, &minor, &patch);
   snprintf(llvm_version, sizeof llvm_version, "%u.%u.%u", major, minor, patch);
}

static sinter_status check_body(void *user)
{
   compiling *c = user;
   const pass_options options = {
      .with = c->request->with, .without = c->request->without, .skip = getenv("SINTER_SKIP")};

   return pass_check_names(c->a, &options);
}

static sinter_status open_model(compiling *c)
{
   const model_options options = {.max_rows = 512,
                                  .max_wanted = 64,
                                  .max_sequences = 64,
                                  .draft = c->request->draft,
                                  .experts = c->request->experts,
                                  .hidden = c->request->hidden};

   SINTER_TRY(check_body(c));
   SINTER_TRY(parse_targets(c));
   tell(c, SINTER_STAGE_import, 0, 1, c->request->model);
   SINTER_TRY(model_open(c->a, c->request->model, &options, &c->m));
   tell(c, SINTER_STAGE_import, 1, 1, c->m->info.name ? c->m->info.name : "");
   return SINTER_ok;
}

static sinter_status compile_body(void *user)
{
   compiling *c = user;

   SINTER_TRY(open_model(c));
   if (c->m->tower && 2 * c->num_targets > ARTIFACT_MAX_TARGETS)
      return base_fail(SINTER_usage, c->request->targets, "name fewer",
                       "there are too many targets for a model and its vision tower");
   uint32_t made = 0;
   for (const model *m = c->m; m; m = m->tower)
      for (uint32_t i = 0; i < c->num_targets; i++)
         SINTER_TRY(make_target(c, &c->targets[i], m, &c->made[made++]));
   return cg_artifact_write(c->request, c->m, c->made, made, llvm_version);
}

static sinter_status explain_body(void *user)
{
   compiling *c = user;
   passed p = {0};

   SINTER_TRY(open_model(c));
   SINTER_TRY(run_passes(c, &c->targets[0], c->m, &p));
   c->json = strdup(p.explain);
   return c->json ? SINTER_ok
                  : base_fail(SINTER_out_of_memory, "", "", "no memory for the explanation");
}

static sinter_status run(const compiler_request *request, sinter_status (*body)(void *),
                         char **out_json)
{
   compiling c = {.request = request};

   SINTER_TRY(arena_create(&c.a));
   sinter_status status = arena_catch(body, &c);
   if (c.m)
      model_close(c.m);
   arena_destroy(c.a);
   if (out_json)
      *out_json = c.json;
   return status;
}

static sinter_status check(const compiler_request *request)
{
   return run(request, check_body, NULL);
}

static sinter_status compile(const compiler_request *request)
{
   return run(request, compile_body, NULL);
}

static sinter_status explain(const compiler_request *request, char **out_json)
{
   return run(request, explain_body, out_json);
}

static void release(char *json)
{
   free(json);
}

/* What base/compiler_api.h calls compiler_entry. */
__attribute__((visibility("default"))) const compiler_api *sinter_compiler(void);

const compiler_api *sinter_compiler(void)
{
   static pthread_once_t once = PTHREAD_ONCE_INIT;
   static const compiler_api api = {.abi = COMPILER_ABI,
                                    .llvm_version = llvm_version,
                                    .check = check,
                                    .compile = compile,
                                    .explain = explain,
                                    .release = release,
                                    .disassemble = cg_disassemble,
                                    .ref_device = &cg_ref_device};

   pthread_once(&once, find_llvm_version);
   return &api;
}
