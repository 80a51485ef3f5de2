// LINK: codegen passes models ir runtime base
/* The compiler's entry: targets, levels, equal bytes, kernels once, objects that stand alone. */
#include <stdio.h>
#include <unistd.h>

#include "base/compiler_api.h"
#include "harness.h"

const compiler_api *sinter_compiler(void);

#define MODEL TEST_ROOT "/golden/gguf_llama/Q4_1.gguf"

static char *temporary(void)
{
   static char path[64];

   snprintf(path, sizeof path, "/tmp/sinter-compile-XXXXXX");
   int fd = mkstemp(path);
   cr_assert(fd >= 0);
   close(fd);
   return path;
}

/* Compiles what is asked for and returns the artifact's bytes. */
static uint8_t *bytes_of(compiler_request request, size_t *out_size)
{
   char path[64];
   uint8_t *bytes;

   snprintf(path, sizeof path, "%s", temporary());
   request.key_json = "{}";
   request.out_path = path;
   HARNESS_OK(sinter_compiler()->compile(&request));
   FILE *f = fopen(path, "rb");
   cr_assert(f && !fseek(f, 0, SEEK_END));
   *out_size = (size_t)ftell(f);
   rewind(f);
   bytes = malloc(*out_size);
   cr_assert(bytes && fread(bytes, 1, *out_size, f) == *out_size);
   (void)fclose(f);
   unlink(path);
   return bytes;
}

static uint8_t *bytes_for(const char *targets, uint32_t threads, size_t *out_size)
{
   return bytes_of((compiler_request){.model = MODEL, .targets = targets, .threads = threads},
                   out_size);
}

/* Kills: anything of the process (addresses, order of threads) in the artifact. */
Test(compile, equal_bytes)
{
   size_t na, nb;
   uint8_t *a = bytes_for("cpu:x86-64-v3,ref", 1, &na), *b = bytes_for("cpu:x86-64-v3,ref", 3, &nb);

   cr_assert(na == nb && memcmp(a, b, na) == 0);
   free(a);
   free(b);
}

/* Bytes of the artifact of a model whose head may have a top. */
static size_t size_for(const char *targets)
{
   size_t size;

   free(bytes_of((compiler_request){.model = TEST_ROOT "/golden/gguf_llama/Q8_0.gguf",
                                    .targets = targets,
                                    .with = "head_argmax"},
                 &size));
   return size;
}

/* Kills: a second copy of all weights for the sake of one target's top. */
Test(compile, weights_of_unlike_targets_once)
{
   const size_t cpu = size_for("cpu:x86-64-v3"), gpu = size_for("mock-cuda"),
                both = size_for("cpu:x86-64-v3,mock-cuda");
   const size_t null = size_for("null"); /* weights, and little else */

   cr_assert_lt(both + null / 2, cpu + gpu, "%zu of %zu and %zu", both, cpu, gpu);
}

/* Kills: a level that LLVM does not know; a kernel that cannot be selected at a level. */
Test(compile, every_level)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++) {
      char target[64];
      size_t size;
      snprintf(target, sizeof target, "cpu:%s,null", isa_infos[i].name);
      free(bytes_for(target, 2, &size));
   }
}

static void refused(const char *targets, sinter_status status, const char *word)
{
   compiler_request request = {
      .model = MODEL, .targets = targets, .key_json = "{}", .out_path = "/dev/null"};

   cr_assert(sinter_compiler()->compile(&request) == status, "%s", targets);
   cr_assert(strstr(sinter_error(), word), "%s: %s", targets, sinter_error());
}

/* Kills: an unknown target taken for cpu; a prefix taken for a name. */
Test(compile, targets_are_checked)
{
   refused("vulkan", SINTER_usage, "targets: cpu, cuda, hip, mock-cuda, mock-hip, ref, null");
   refused("cuda", SINTER_usage, "cuda:sm_90a");
   refused("cuda:gfx90a", SINTER_usage, "cuda:sm_90a");
   refused("hip:sm_90a", SINTER_usage, "hip:gfx90a");
   refused("mock-cuda:sm_90a", SINTER_usage, "targets");
   refused("cpu:x86-64", SINTER_usage, "x86-64-v3");
   refused("ref:x86-64-v3", SINTER_usage, "ref");
   refused("", SINTER_usage, "target");
   refused("cpu,", SINTER_usage, "target");
}

Test(compile, explain)
{
   compiler_request request = {.model = MODEL, .targets = "cpu"};
   char *json;

   HARNESS_OK(sinter_compiler()->explain(&request, &json));
   cr_assert(strstr(json, "\"fusions\"") && strstr(json, "\"kernels\""));
   sinter_compiler()->release(json);
}

/* ---- equal layers ---- */

static harness *stack(uint32_t layers)
{
   static char text[1 << 14];
   size_t n = 0;

#define ADD(...) n += (size_t)snprintf(text + n, sizeof text - n, __VA_ARGS__)
   ADD("func @f(T in 1..64, R in 0..16, S in 1..4) {\n%%h0 = param {name=\"x\"} : f32[T,64]\n"
       "%%cs = meta {field=rope, index=0} : f32[T,16]\n");
   for (uint32_t i = 0; i < layers; i++)
      ADD("%%w%u = weight {name=\"n%u\"} : f32[64]\n%%q%u = weight {name=\"q%u\"} : f32[64,64]\n"
          "%%a%u = rmsnorm %%h%u, %%w%u {eps=1e-05}\n%%m%u = matmul %%a%u, %%q%u\n%%r%u = reshape "
          "%%m%u : f32[T,4,16]\n"
          "%%o%u = rope %%r%u, %%cs {style=\"half\"}\n%%z%u = reshape %%o%u : f32[T,64]\n"
          "%%h%u = add %%h%u, %%z%u\n",
          i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i + 1, i, i);
   ADD("return %%h%u\n}\n", layers);
#undef ADD
   return harness_compile(text, (harness_options){.fuse = true});
}

/* Kills: a kernel key with a layer's number, name or address in it. */
Test(compile, equal_layers_share_kernels)
{
   harness *two = stack(2), *six = stack(6);

   cr_assert(two->plan.plan.num_kernels == six->plan.plan.num_kernels,
             "%u kernels for 2 layers, %u for 6", two->plan.plan.num_kernels,
             six->plan.plan.num_kernels);
   cr_assert(six->plan.plan.variants[0].num_launches > two->plan.plan.variants[0].num_launches);
   harness_free(two);
   harness_free(six);
}

/* ---- tile registers ---- */

/* One split for q, one for k, one for gate and up together, none for the f16 weight. Kills: parts
 * made after their product, or left from another x; a product with f16 taken for one of parts. */
Test(compile, bf16_products_on_tiles_read_parts)
{
   static const char text[] =
      "func @f(T in 1..64, R in 0..16, S in 1..4) {\n%x = param {name=\"x\"} : f32[T,72]\n"
      "%wq = weight {name=\"q\"} : bf16[48,72]\n%wk = weight {name=\"k\"} : bf16[24,72]\n"
      "%wg = weight {name=\"g\"} : bf16[40,48]\n%wu = weight {name=\"u\"} : bf16[40,48]\n"
      "%wd = weight {name=\"d\"} : f16[32,40]\n"
      "%q = matmul %x, %wq\n%k = matmul %x, %wk\n%g = matmul %q, %wg\n%u = matmul %q, %wu\n"
      "%s = silu %g\n%m = mul %s, %u\n%d = matmul %m, %wd\nreturn %k, %m, %d\n}\n";
   static const int64_t rows[] = {1, 5, 33};
   harness *h = harness_compile(text, (harness_options){.level = ISA_LEVEL_v4_amx, .fuse = true});
   const plan *p = &h->plan.plan;
   uint32_t splits = 0;

   for (uint32_t i = 0; i < p->variants[0].num_launches; i++)
      splits += strcmp(p->kernels[p->variants[0].launches[i].kernel].symbol, "gemm_split") == 0;
   cr_assert(splits == 3, "%u splits", splits);
   for (size_t i = 0; i < countof(rows); i++) {
      harness_step step = {.num_seqs = 1, .rows = {rows[i]}, .wanted = 1};
      step.variant = rows[i] > CG_DECODE_ROWS ? "prefill" : "decode";
      harness_run *r = harness_go(h, step);
      for (uint32_t k = 0; k < 3; k++)
         for (int64_t e = 0; e < harness_count(&r->want[k]); e++) {
            float got;
            memcpy(&got, r->out[k] + 4 * e, 4);
            cr_assert(fabs(got - r->want[k].data[e]) <= 1e-5, "%lld rows, result %u [%lld]: %g, %g",
                      (long long)rows[i], k, (long long)e, got, r->want[k].data[e]);
         }
      harness_end(r);
   }
   harness_free(h);
}

/* ---- large shapes ---- */

/* One layer with the given sizes, lowered and emitted; its weights are never made. */
static void large(int width, int heads, int groups, int d, int ffn, const char *kind)
{
   static char text[1 << 13];
   pass_target target = pass_target_cpu("cpu:test");
   pass_options options = {.target = &target, .numerics = SINTER_NUMERICS_fast};
   model m = {.info = {.name = "large", .vocab = 64}};
   ir_module module = {0};
   pass_layout layout = {0};
   cg_plan built;
   const uint8_t *object;
   size_t size;
   arena *a;

   snprintf(text, sizeof text,
            "func @f(T in 1..512, R in 0..64, S in 1..64) {\n%%x = param {name=\"x\"} : f32[T,%d]\n"
            "%%cs = meta {field=rope, index=0} : f32[T,%d]\n%%n = weight {name=\"n\"} : f32[%d]\n"
            "%%hn = weight {name=\"hn\"} : f32[%d]\n%%wq = weight {name=\"q\"} : %s[%d,%d]\n"
            "%%wk = weight {name=\"k\"} : %s[%d,%d]\n%%wg = weight {name=\"g\"} : %s[%d,%d]\n"
            "%%wu = weight {name=\"u\"} : %s[%d,%d]\n%%wd = weight {name=\"d\"} : %s[%d,%d]\n"
            "%%wo = weight {name=\"o\"} : %s[%d,%d]\n%%s = state {layer=0} : f32 kv_full[%d,%d]\n"
            "%%a = rmsnorm %%x, %%n {eps=1e-05}\n%%q = matmul %%a, %%wq\n%%k = matmul %%a, %%wk\n"
            "%%qh = reshape %%q : f32[T,%d,%d]\n%%kh = reshape %%k : f32[T,%d,%d]\n"
            "%%qn = rmsnorm %%qh, %%hn {eps=1e-05}\n%%kn = rmsnorm %%kh, %%hn {eps=1e-05}\n"
            "%%qr = rope %%qn, %%cs {style=\"half\"}\n%%kr = rope %%kn, %%cs {style=\"half\"}\n"
            "%%s1 = kv_write %%s, %%kr, %%kh\n%%t = attention %%qr, %%s1 {scale=0.1}\n"
            "%%tf = reshape %%t : f32[T,%d]\n%%o = matmul %%tf, %%wo\n%%h = add %%x, %%o\n"
            "%%b = rmsnorm %%h, %%n {eps=1e-05}\n%%g = matmul %%b, %%wg\n%%u = matmul %%b, %%wu\n"
            "%%c = silu %%g\n%%e = mul %%c, %%u\n%%d = matmul %%e, %%wd\n%%y = add %%h, %%d\n"
            "return %%y, %%s1\n}\n",
            width, d, width, d, kind, heads * d, width, kind, groups * d, width, kind, ffn, width,
            kind, ffn, width, kind, width, ffn, kind, width, heads * d, groups, d, heads, d, groups,
            d, heads * d);
   HARNESS_OK(arena_create(&a));
   pass_report *report = arena_new(a, pass_report);
   HARNESS_OK(ir_parse(a, text, strlen(text), "large", &module));
   ir_func *f = module.funcs.data[0];
   HARNESS_OK(pass_run_all(f, &options, report));
   HARNESS_OK(pass_finish(f, &options, report, &layout));
   HARNESS_OK(cg_plan_build(a, &m, &(cg_form){f, &layout, NULL}, NULL, "cpu:test", &isa_infos[0],
                            SINTER_NUMERICS_fast, &built));
   HARNESS_OK(cg_cpu_object(a, &isa_infos[0], built.kernels, built.plan.num_kernels, NULL, NULL,
                            &object, &size));
   arena_destroy(a);
}

/* Kills: a row that no longer fits a kernel's stack; a size computed in 32 bits. */
Test(compile, large_shapes)
{
   large(8192, 64, 8, 128, 28672, "q4_k");
   large(16384, 128, 8, 128, 53248, "q4_0");
   large(5376, 32, 16, 128, 21504, "q6_k");
   large(4096, 32, 32, 128, 11008, "q8_0");
   large(3072, 16, 16, 256, 24576, "bf16");
}

/* ---- objects ---- */

/* Kills: an object checked without its symbols. */
Test(compile, undefined_symbols_are_refused)
{
   vec_module *m;
   uint8_t *object;
   size_t size;

   HARNESS_OK(vec_module_create(&isa_infos[0], &m));
   vec_fn *f = vec_kernel(m, "needs");
   vec_value x = vec_load(f, VEC_f64, 1, vec_karg_ptr(f, 0), 8);
   x = vec_fconv(f, x, VEC_bf16); /* a call of the compiler's run-time library */
   vec_store(f, x, vec_karg_ptr(f, 0), 2);
   vec_end(f);
   HARNESS_OK(vec_module_object(m, &object, &size));
   cr_assert(cg_check_object(object, size, "test") == SINTER_failed);
   cr_assert(strstr(sinter_error(), "undefined symbol"), "%s", sinter_error());
   free(object);
   vec_module_destroy(m);
}
