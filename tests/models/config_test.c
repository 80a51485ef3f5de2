// LINK: models ir base
/* Configurations in all their spellings, on the tiny checkpoint: what is read, what is refused and
 * how it is said. */
#include "models/model.h"
#include "tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A configuration of the tiny checkpoint: `%s` replaces the architecture, `extra` adds keys. */
static const char *config(arena *a, const char *arch, const char *extra)
{
   return arena_printf(
      a,
      "{\"architectures\":[\"%s\"],\"hidden_size\":8,\"intermediate_size\":8,"
      "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
      "\"head_dim\":4,\"max_position_embeddings\":64,\"vocab_size\":12,"
      "\"rms_norm_eps\":1e-5%s%s}",
      arch, *extra ? "," : "", extra);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
   FILE *f = fopen(path, "wb");

   cr_assert(f);
   cr_assert_eq(fwrite(bytes, 1, size, f), size);
   fclose(f);
}

/* A folder of the tiny weights with that config.json. */
static sinter_status open_config(arena *a, const char *json, model **out)
{
   static const model_options options = {.max_rows = 8, .max_wanted = 8, .max_sequences = 1};
   char dir[] = "/tmp/sinter_config_XXXXXX";
   tiny_file *f = arena_new(a, tiny_file);

   cr_assert(mkdtemp(dir));
   tiny_safetensors(f, a);
   write_file(arena_printf(a, "%s/model.safetensors", dir), f->bytes, f->size);
   write_file(arena_printf(a, "%s/config.json", dir), json, strlen(json));
   return model_open(a, dir, &options, out);
}

static arena *new_arena(void)
{
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   return a;
}

static model *opened(arena *a, const char *arch, const char *extra)
{
   model *m = NULL;

   cr_assert_eq(open_config(a, config(a, arch, extra), &m), SINTER_ok, "%s: %s", extra,
                sinter_error());
   return m;
}

static void refused(const char *arch, const char *extra, sinter_status status, const char *says)
{
   arena *a = new_arena();
   model *m;

   cr_expect_eq(open_config(a, config(a, arch, extra), &m), status, "%s", extra);
   cr_expect(strstr(sinter_error(), says), "%s: '%s' does not say '%s'", extra, sinter_error(),
             says);
   arena_destroy(a);
}

#define LLAMA "LlamaForCausalLM"
#define GEMMA4 "Gemma4ForCausalLM"

static void same_rope(const char *old, const char *new)
{
   arena *a = new_arena();
   model *x = opened(a, LLAMA, old), *y = opened(a, LLAMA, new);

   cr_expect_eq(memcmp(&x->ropes[0], &y->ropes[0], sizeof(rope_spec)), 0, "%s and %s differ", old,
                new);
   cr_expect_eq(x->num_ropes, 1);
   arena_destroy(a);
}

/* Kills: a kind read in one spelling only; rope_theta taken from one place only. */
Test(config, both_rope_spellings)
{
   same_rope("\"rope_theta\":500",
             "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":500}");
   same_rope("\"rope_theta\":500,\"rope_scaling\":{\"type\":\"linear\",\"factor\":3}",
             "\"rope_parameters\":{\"rope_type\":\"linear\",\"rope_theta\":500,\"factor\":3.0}");
   same_rope("\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}",
             "\"rope_parameters\":{\"rope_type\":\"dynamic\",\"factor\":2,\"rope_theta\":10000}");
   same_rope(
      "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":16}",
      "\"original_max_position_embeddings\":16,\"rope_parameters\":{\"rope_type\":\"yarn\"}");
   same_rope("\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_"
             "freq_factor\":4,"
             "\"original_max_position_embeddings\":32}",
             "\"rope_parameters\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_"
             "freq_factor\":4,"
             "\"original_max_position_embeddings\":32}");
   same_rope("\"original_max_position_embeddings\":16,\"rope_scaling\":{\"type\":\"longrope\","
             "\"short_factor\":[1,2],"
             "\"long_factor\":[3,4]}",
             "\"rope_parameters\":{\"rope_type\":\"longrope\",\"short_factor\":[1,2],\"long_"
             "factor\":[3,4],"
             "\"original_max_position_embeddings\":16,\"factor\":4}");
}

/* Kills: a resolved value that differs from the published rules. */
Test(config, rope_values)
{
   arena *a = new_arena();
   const rope_spec *r =
      opened(a, LLAMA, "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}")->ropes;

   cr_expect_eq(r->original_context, 64);
   cr_expect_float_eq(r->attention_factor, 1.138629436111989, 1e-12);
   cr_expect_eq(r->beta_fast, 32);
   cr_expect_eq(r->beta_slow, 1);
   cr_expect(r->truncate);
   r =
      opened(a, LLAMA,
             "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"attn_factor\":0.8782488562869419}")
         ->ropes;
   cr_expect_float_eq(r->attention_factor, 1, 1e-12);
   r = opened(a, LLAMA,
              "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"truncate\":false,\"mscale\":2,"
              "\"mscale_all_dim\":1}")
          ->ropes;
   cr_expect_not(r->truncate);
   cr_expect_float_eq(r->attention_factor, 1.2772588722239781 / 1.138629436111989, 1e-12);
   r = opened(a, LLAMA,
              "\"original_max_position_embeddings\":16,\"rope_scaling\":{\"type\":\"longrope\","
              "\"short_factor\":[1,2],\"long_factor\":[3,4]}")
          ->ropes;
   cr_expect_eq(r->factor, 4);
   cr_expect_float_eq(r->attention_factor, 1.224744871391589, 1e-12);
   cr_expect_eq(r->long_factor[1], 4);
   r = opened(a, LLAMA, "\"partial_rotary_factor\":0.5")->ropes;
   cr_expect_eq(r->width, 2);
   arena_destroy(a);
}

/* Kills: a rope key that is skipped, a factor list of another length. */
Test(config, rope_refusals)
{
   refused(LLAMA, "\"rope_scaling\":{\"type\":\"spiral\",\"factor\":2}", SINTER_unsupported,
           "spiral");
   refused(LLAMA, "\"rope_scaling\":{\"type\":\"linear\"}", SINTER_bad_input, "factor");
   refused(LLAMA, "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"attn_factor\":1}",
           SINTER_unsupported, "attn_factor");
   refused(LLAMA, "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"twist\":1}",
           SINTER_unsupported, "twist");
   refused(LLAMA,
           "\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2],\"long_factor\":[3]}",
           SINTER_bad_input, "long_factor");
   refused(LLAMA, "\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2}", SINTER_bad_input,
           "low_freq_factor");
   refused(LLAMA, "\"rope_theta\":1e999", SINTER_bad_input, "");
   refused(LLAMA, "\"rope_theta\":-5", SINTER_bad_input, "base");
}

/* Kills: unknown keys in silence, null and false treated as set, a fixed key that is not compared;
 * configurations of Qwen3-Coder, which name what other families have and say 0, and say what the
 * architecture has anyway. */
Test(config, unknown_keys)
{
   arena *a = new_arena();

   refused(LLAMA, "\"attention_twist\":3", SINTER_unsupported, "attention_twist");
   refused(LLAMA, "\"hc_mult\":4", SINTER_unsupported, "hc_mult");
   refused("DeepseekV3ForCausalLM", "\"index_topk\":4", SINTER_unsupported, "index_topk");
   refused(GEMMA4, "\"query_pre_attn_scalar\":16", SINTER_unsupported, "query_pre_attn_scalar");
   refused(LLAMA, "\"num_local_experts\":4", SINTER_unsupported, "experts are not known");
   refused(LLAMA, "\"rope_interleaved\":true", SINTER_unsupported, "rope_interleaved");
   refused(LLAMA, "\"quantization_config\":{\"quant_method\":\"gptq\"}", SINTER_unsupported,
           "quantised");
   refused(LLAMA, "\"hidden_act\":\"relu\"", SINTER_unsupported, "relu");
   refused("MambaForCausalLM", "", SINTER_unsupported, "MambaForCausalLM");
   refused(LLAMA, "\"shared_expert_intermediate_size\":8", SINTER_unsupported, "shared_expert");
   refused(LLAMA, "\"use_qk_norm\":true", SINTER_unsupported, "use_qk_norm");
   refused("Qwen3ForCausalLM", "\"use_qk_norm\":true", SINTER_bad_input, "self_attn.q_norm.weight");
   (void)opened(a, LLAMA, "\"shared_expert_intermediate_size\":0");
   (void)opened(a, LLAMA,
                "\"attention_twist\":null,\"use_twist\":false,\"_note\":5,\"pretraining_tp\":1");
   arena_destroy(a);
}

/* Kills: a missing key or tensor that becomes zero, a shape that is not compared. */
Test(config, contradictions)
{
   arena *a = new_arena();
   model *m;

   cr_expect_eq(open_config(a, "{\"architectures\":[\"LlamaForCausalLM\"]}", &m), SINTER_bad_input);
   cr_expect(strstr(sinter_error(), "num_hidden_layers"), "%s", sinter_error());
   refused(LLAMA, "\"attention_bias\":true", SINTER_bad_input,
           "model.layers.0.self_attn.q_proj.bias");
   refused("Qwen3ForCausalLM", "", SINTER_bad_input, "model.layers.0.self_attn.q_norm.weight");
   refused("Qwen2ForCausalLM", "", SINTER_bad_input, "self_attn.q_proj.bias");
   refused(LLAMA, "\"eos_token_id\":12", SINTER_bad_input, "end-of-text");
   refused(LLAMA, "\"eos_token_id\":\"x\"", SINTER_bad_input, "eos_token_id");
   refused(LLAMA, "\"bos_token_id\":99", SINTER_bad_input, "bos_token_id");
   refused(LLAMA, "\"sliding_window\":4", SINTER_bad_input, "sliding_window");
   refused(LLAMA, "\"per_layer_config\":{\"0\":{\"head_dim\":8}}", SINTER_unsupported,
           "layers of llama");
   refused(GEMMA4, "\"use_bidirectional_attention\":\"all\"", SINTER_unsupported,
           "use_bidirectional");
   refused(GEMMA4, "\"use_bidirectional_attention\":true", SINTER_unsupported, "use_bidirectional");
   refused(GEMMA4, "\"per_layer_config\":{\"0\":{\"hidden_size\":8}}", SINTER_unsupported,
           "'hidden_size'");
   refused(GEMMA4, "\"per_layer_config\":{\"0\":{\"head_dim\":0}}", SINTER_bad_input, "head_dim");
   refused(GEMMA4,
           "\"layer_types\":[\"sliding_attention\"],\"per_layer_config\":{\"0\":{\"head_dim\":8}}",
           SINTER_unsupported, "1 kv heads of 8 elements, not 1 of 4");
   refused(LLAMA, "\"tie_word_embeddings\":true", SINTER_bad_input, "'lm_head.weight' is another");
   m = opened(a, LLAMA, "\"eos_token_id\":[3,4,3],\"bos_token_id\":1");
   cr_expect_eq(m->info.num_eos, 2);
   cr_expect_eq(m->info.bos, 1);
   cr_expect(ir_find(m->f, "output.weight"));
   arena_destroy(a);
}

static int64_t window_of(const model *m)
{
   for (const ir_op *op = m->f->first; op; op = op->next)
      if (op->code == IR_OP_state)
         return ir_attr_i(op, IR_ATTR_window, 0);
   return -1;
}

/* Kills: null taken as the default window, a window that ignores use_sliding_window. */
Test(config, windows)
{
   arena *a = new_arena();

   cr_expect_eq(window_of(opened(a, "MistralForCausalLM", "\"sliding_window\":16")), 16);
   cr_expect_eq(window_of(opened(a, "MistralForCausalLM", "\"sliding_window\":null")), 0);
   cr_expect_eq(window_of(opened(a, "MistralForCausalLM", "")), 4096);
   cr_expect_eq(window_of(opened(a, LLAMA, "\"sliding_window\":null")), 0);
   arena_destroy(a);
}

/* A folder with the weights of a recorded checkpoint and another configuration. */
static sinter_status open_golden(arena *a, const char *name, const char *json, model **out)
{
   static const model_options options = {.max_rows = 8, .max_wanted = 8, .max_sequences = 1};
   char dir[] = "/tmp/sinter_config_XXXXXX";

   cr_assert(mkdtemp(dir));
   cr_assert_eq(symlink(arena_printf(a, "%s/golden/%s/model.safetensors", TEST_ROOT, name),
                        arena_printf(a, "%s/model.safetensors", dir)),
                0);
   write_file(arena_printf(a, "%s/config.json", dir), json, strlen(json));
   return model_open(a, dir, &options, out);
}

static model *opened_golden(arena *a, const char *name, const char *json)
{
   model *m = NULL;

   cr_assert_eq(open_golden(a, name, json, &m), SINTER_ok, "%s: %s", json, sinter_error());
   return m;
}

/* Windows of all layers as text, "0 8 ": 0 sees everything. */
static const char *windows_of(arena *a, const model *m)
{
   text_buf t = {.a = a};

   for (const ir_op *op = m->f->first; op; op = op->next)
      if (op->code == IR_OP_state)
         text_printf(&t, "%lld ", (long long)ir_attr_i(op, IR_ATTR_window, 0));
   return t.data;
}

static void qwen2_windows(const char *extra, const char *want)
{
   arena *a = new_arena();
   const char *json = arena_printf(
      a,
      "{\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":112,"
      "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":"
      "384,"
      "\"max_position_embeddings\":512,\"rms_norm_eps\":1e-6,\"tie_word_embeddings\":true,%s}",
      extra);

   cr_expect_str_eq(windows_of(a, opened_golden(a, "qwen2", json)), want, "%s", extra);
   arena_destroy(a);
}

/* Kills: max_window_layers off by one, layer_types that do not override it, windows without
 * use_sliding_window. */
Test(config, late_windows)
{
   qwen2_windows("\"sliding_window\":8,\"max_window_layers\":1", "0 0 ");
   qwen2_windows("\"use_sliding_window\":true,\"sliding_window\":8,\"max_window_layers\":1",
                 "0 8 ");
   qwen2_windows("\"use_sliding_window\":true,\"sliding_window\":8,\"max_window_layers\":2",
                 "0 0 ");
   qwen2_windows("\"use_sliding_window\":true,\"sliding_window\":8,\"max_window_layers\":0,"
                 "\"layer_types\":[\"sliding_attention\",\"full_attention\"]",
                 "8 0 ");
   qwen2_windows("\"use_sliding_window\":true", "0 0 ");
}

static const char *gemma_config(arena *a, const char *extra)
{
   return arena_printf(
      a,
      "{\"architectures\":[\"Gemma3ForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":96,"
      "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
      "\"head_dim\":32,\"vocab_size\":384,\"sliding_window\":16%s%s}",
      *extra ? "," : "", extra);
}

/* Kills: the pattern counted from the wrong end, scaling applied to the sliding layers, a lost
 * default. */
Test(config, gemma_layers)
{
   arena *a = new_arena();
   model *m = opened_golden(a, "gemma3_text", gemma_config(a, ""));

   cr_expect_str_eq(windows_of(a, m), "16 16 16 16 ");
   cr_expect_eq(m->num_ropes, 2);
   cr_expect_eq(m->ropes[0].base, 1e6);
   cr_expect_eq(m->ropes[1].base, 1e4);
   m = opened_golden(a, "gemma3_text",
                     gemma_config(a, "\"_sliding_window_pattern\":2,\"sliding_window_pattern\":3"));
   cr_expect_str_eq(windows_of(a, m), "16 16 0 16 ");
   m = opened_golden(a, "gemma3_text",
                     gemma_config(a, "\"rope_theta\":5e5,\"rope_local_base_freq\":300,"
                                     "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}"));
   cr_expect_eq(m->ropes[0].kind, ROPE_linear);
   cr_expect_eq(m->ropes[0].base, 5e5);
   cr_expect_eq(m->ropes[1].kind, ROPE_default);
   cr_expect_eq(m->ropes[1].base, 300);
   m = opened_golden(
      a, "gemma3_text",
      gemma_config(a,
                   "\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\","
                   "\"full_attention\"],\"final_logit_softcapping\":30,"
                   "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"yarn\","
                   "\"factor\":4,\"rope_theta\":2e6,\"truncate\":false}}"));
   cr_expect_str_eq(windows_of(a, m), "0 16 0 0 ");
   cr_expect_eq(m->ropes[0].kind, ROPE_yarn);
   cr_expect(m->ropes[0].truncate, "truncate counts beside the nested dictionaries only");
   cr_expect_eq(m->ropes[1].base, 1e4);
   cr_expect_eq(ir_find(m->f, "logits")->def->code, IR_OP_softcap);
   arena_destroy(a);
}

/* Kills: a cap that the library's class with images reads and never applies. */
Test(config, gemma_with_images_is_not_capped)
{
   arena *a = new_arena();
   const char *json =
      "{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"text_config\":{"
      "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":4,"
      "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":384,"
      "\"sliding_window\":16,\"final_logit_softcapping\":5}}";
   const model *m = opened_golden(a, "gemma3_mm_textonly", json);

   cr_expect_eq(ir_find(m->f, "logits")->def->code, IR_OP_matmul);
   arena_destroy(a);
}

static const char *exaone_config(arena *a, const char *extra)
{
   return arena_printf(a,
                       "{\"architectures\":[\"Exaone4ForCausalLM\"],\"hidden_size\":64,"
                       "\"intermediate_size\":96,\"num_hidden_layers\":4,\"num_attention_heads\":4,"
                       "\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":384,%s}",
                       extra);
}

static uint32_t count_ops(const model *m, ir_opcode code)
{
   uint32_t n = 0;

   ir_op_foreach (m->f, op)
      n += op->code == code;
   return n;
}

/* Kills: rotation that does not follow the windows, a pattern of letters read from the wrong end,
 * a last layer that slides with it, the default pattern kept beside a null window. */
Test(config, exaone_layers)
{
   static const struct {
      const char *extra, *windows;
      uint32_t ropes;
   } cases[] = {
      {"\"sliding_window\":8", "8 8 8 0 ", 6},
      {"\"sliding_window\":8,\"sliding_window_pattern\":2", "8 0 8 0 ", 4},
      {"\"sliding_window\":8,\"sliding_window_pattern\":\"LLG\"", "8 8 0 0 ", 4},
      {"\"sliding_window\":8,\"layer_types\":[\"full_attention\",\"sliding_attention\","
       "\"full_attention\",\"full_attention\"]",
       "0 8 0 0 ", 2},
      {"\"sliding_window\":null,\"sliding_window_pattern\":null", "0 0 0 0 ", 8},
   };
   arena *a = new_arena();

   for (size_t i = 0; i < countof(cases); i++) {
      model *m = opened_golden(a, "exaone4", exaone_config(a, cases[i].extra));
      cr_expect_str_eq(windows_of(a, m), cases[i].windows, "%s", cases[i].extra);
      cr_expect_eq(count_ops(m, IR_OP_rope), cases[i].ropes, "%s", cases[i].extra);
   }
   refused("Exaone4ForCausalLM", "\"sliding_window_pattern\":\"LXG\"", SINTER_bad_input,
           "made of L and G");
   arena_destroy(a);
}

static const char *f8_config(arena *a, const char *quantization)
{
   return arena_printf(
      a,
      "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":128,\"intermediate_size\":160,"
      "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
      "\"head_dim\":32,\"vocab_size\":384,\"max_position_embeddings\":512,"
      "\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":true,\"quantization_config\":{%s}}",
      quantization);
}

static void f8_refused(const char *quantization, sinter_status status, const char *says)
{
   arena *a = new_arena();
   model *m;

   cr_expect_eq(open_golden(a, "q_llama_fp8_block", f8_config(a, quantization), &m), status, "%s",
                quantization);
   cr_expect(strstr(sinter_error(), says), "%s: '%s' does not say '%s'", quantization,
             sinter_error(), says);
   arena_destroy(a);
}

/* Kills: a method, format, key or block that is taken for another in silence; scales that are not
 * those of their weight; codes without scales. */
Test(config, quantised)
{
   arena *a = new_arena();
   model *m = opened_golden(a, "q_llama_fp8_block",
                            f8_config(a, "\"quant_method\":\"fp8\",\"weight_block_size\":[128,128],"
                                         "\"modules_to_not_convert\":[\"lm_head\"]"));

   cr_expect_eq(ir_find(m->f, "blk.0.ffn_down.weight")->type.dtype, DT_f8_128);
   cr_expect_eq(ir_find(m->f, "token_embd.weight")->type.dtype, DT_bf16);
   f8_refused("\"quant_method\":\"fp8\",\"weight_block_size\":[64,128]", SINTER_bad_input,
              "do not belong together");
   f8_refused("\"quant_method\":\"fp8\",\"weight_block_size\":[128,80]", SINTER_unsupported,
              "no multiple of 128");
   f8_refused("\"quant_method\":\"fp8\",\"weight_block_size\":[128]", SINTER_bad_input,
              "two positive numbers");
   f8_refused("\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"", SINTER_unsupported, "e5m2");
   f8_refused("\"quant_method\":\"fp8\",\"twist\":true", SINTER_unsupported, "twist");
   f8_refused("\"quant_method\":\"mxfp4\"", SINTER_bad_input, "has no scales");
   f8_refused("\"quant_method\":\"awq\"", SINTER_unsupported, "'awq'");
   f8_refused("\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\"",
              SINTER_unsupported, "pack-quantized");
   arena_destroy(a);
}

/* ---- GGUF ---- */

static sinter_status open_gguf(arena *a, const tiny_extra *extra, model **out)
{
   static const model_options options = {.max_rows = 8, .max_wanted = 8, .max_sequences = 1};
   char path[] = "/tmp/sinter_gguf_XXXXXX";
   tiny_file *f = arena_new(a, tiny_file);
   int fd = mkstemp(path);

   cr_assert_geq(fd, 0);
   close(fd);
   tiny_gguf(f, 3, extra);
   write_file(path, f->bytes, f->size);
   sinter_status status = model_open(a, path, &options, out);
   unlink(path);
   return status;
}

static const rope_spec *gguf_rope(arena *a, const tiny_key *keys, size_t num_keys)
{
   model *m = NULL;

   cr_assert_eq(open_gguf(a, &(tiny_extra){.num_keys = num_keys, .keys = keys}, &m), SINTER_ok,
                "%s: %s", keys->name, sinter_error());
   return m->ropes;
}

/* Kills: GGUF's scaling keys unread, YaRN without its attention factor or
 * with it on top of the one a file gives, frequency factors dropped
 * or left unread. */
Test(config, gguf_rope)
{
   static const tiny_key base[] = {{"llama.rope.freq_base", 6, 500, NULL},
                                   {"llama.rope.dimension_count", 4, 2, NULL}};
   static const tiny_key old[] = {{"llama.rope.scale_linear", 6, 2, NULL}};
   static const tiny_key linear[] = {{"llama.rope.scaling.type", 8, 0, "linear"},
                                     {"llama.rope.scaling.factor", 6, 3, NULL}};
   static const tiny_key yarn[] = {{"llama.rope.scaling.type", 8, 0, "yarn"},
                                   {"llama.rope.scaling.factor", 6, 4, NULL},
                                   {"llama.rope.scaling.original_context_length", 4, 16, NULL},
                                   {"llama.rope.scaling.yarn_attn_factor", 6, 1.5, NULL},
                                   {"llama.rope.scaling.attn_factor", 6, 2, NULL}};
   arena *a = new_arena();
   model *m = NULL;
   const rope_spec *r = gguf_rope(a, base, 2);

   cr_expect(r->kind == ROPE_default && r->base == 500 && r->width == 2);
   r = gguf_rope(a, old, 1);
   cr_expect(r->kind == ROPE_linear && r->factor == 2 && r->base == 10000);
   r = gguf_rope(a, linear, 2);
   cr_expect(r->kind == ROPE_linear && r->factor == 3);
   r = gguf_rope(a, yarn, 3);
   cr_expect(r->kind == ROPE_yarn && r->factor == 4 && r->original_context == 16);
   cr_expect_float_eq(r->attention_factor, 1.138629436111989, 1e-12);
   cr_expect_eq(gguf_rope(a, yarn, 4)->attention_factor, 1.5);
   cr_expect_eq(gguf_rope(a, yarn, 5)->attention_factor, 3);
   cr_assert_eq(open_gguf(a, &(tiny_extra){.freqs = true}, &m), SINTER_ok, "%s", sinter_error());
   cr_expect(m->ropes[0].has_freq_factors && m->ropes[0].long_factor[0] == 1 &&
             m->ropes[0].long_factor[1] == 2);
   arena_destroy(a);
}

static void gguf_refused(const tiny_extra *extra, sinter_status status, const char *says)
{
   arena *a = new_arena();
   model *m;

   cr_expect_eq(open_gguf(a, extra, &m), status, "%s", says);
   cr_expect(strstr(sinter_error(), says), "'%s' does not say '%s'", sinter_error(), says);
   arena_destroy(a);
}

/* Kills: unknown keys of the architecture, keys that only other architectures have, and unread
 * tensors in silence; a tied head that is demanded. */
Test(config, gguf_contradictions)
{
   static const tiny_key unknown = {"llama.attention.twist", 4, 1, NULL},
                         other = {"tool.note", 4, 1, NULL};
   static const tiny_key experts = {"llama.expert_count", 4, 8, NULL},
                         split = {"split.count", 4, 2, NULL};
   static const tiny_key wide = {"llama.attention.value_length", 4, 8, NULL};
   static const tiny_key kind = {"llama.rope.scaling.type", 8, 0, "spiral"};
   static const tiny_key foreign[] = {{"llama.attention.kv_lora_rank", 4, 8, NULL},
                                      {"llama.expert_gating_func", 4, 2, NULL},
                                      {"llama.nextn_predict_layers", 4, 1, NULL},
                                      {"llama.attention.key_length_swa", 4, 8, NULL}};
   arena *a = new_arena();
   model *m = NULL;

   gguf_refused(&(tiny_extra){.num_keys = 1, .keys = &unknown}, SINTER_unsupported,
                "llama.attention.twist");
   for (size_t i = 0; i < countof(foreign); i++)
      gguf_refused(&(tiny_extra){.num_keys = 1, .keys = &foreign[i]}, SINTER_unsupported,
                   foreign[i].name);
   gguf_refused(&(tiny_extra){.num_keys = 1, .keys = &experts}, SINTER_bad_input, "0 of 8 experts");
   gguf_refused(&(tiny_extra){.num_keys = 1, .keys = &split}, SINTER_unsupported, "split over 2");
   gguf_refused(&(tiny_extra){.num_keys = 1, .keys = &wide}, SINTER_unsupported, "values");
   gguf_refused(&(tiny_extra){.num_keys = 1, .keys = &kind}, SINTER_unsupported, "spiral");
   gguf_refused(&(tiny_extra){.tensor = "blk.0.attn_sinks.weight"}, SINTER_unsupported,
                "attn_sinks");
   cr_assert_eq(open_gguf(a, &(tiny_extra){.no_head = true, .num_keys = 1, .keys = &other}, &m),
                SINTER_ok, "%s", sinter_error());
   cr_expect_not(ir_find(m->f, "output.weight"));
   arena_destroy(a);
}
