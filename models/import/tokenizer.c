/* tokenizer.c - the text side of a checkpoint: finds its parts, has the blob built, gathers special
 * ids. */
#include "tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "vocab_build.h"
#include "vocab_gguf.h"
#include "vocab_hf.h"

enum { MAX_FILE = 128 << 20, MAX_TEMPLATE = 1 << 20, MAX_TEXT = 256 << 20 };

/* Control tokens that end a text or a turn, by name: checkpoints often list only one of theirs. */
static const char *const end_names[] = {
   "<|im_end|>",
   "<|eot_id|>",
   "<|eom_id|>",
   "<end_of_turn>",
   "<|end|>",
   "<|endoftext|>",
   "<|end_of_text|>",
   "<turn|>",
   "<|return|>",
   "<|call|>",
   "</s>",
   "<eos>",
   "<|eot|>",
   "<|end_of_turn|>",
   ("<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
};

static void add_eos(model_text *t, int64_t id)
{
   for (uint32_t i = 0; i < t->num_eos; i++)
      if (t->eos[i] == id)
         return;
   if (id >= 0 && id <= INT32_MAX && t->num_eos < PLAN_MAX_EOS)
      t->eos[t->num_eos++] = (int32_t)id;
}

/* The id of a control token by spelling, -1 when there is none. */
static int64_t control_id(const vocab_build *b, const char *text, size_t len)
{
   for (size_t i = 0; i < b->pieces.count; i++) {
      const build_piece *p = &b->pieces.data[i];
      if ((p->attr & VOCAB_special) && p->len == len && memcmp(p->text, text, len) == 0)
         return (int64_t)i;
   }
   return -1;
}

static sinter_status finish(vocab_build *b, model_text *out)
{
   size_t bytes = 0;

   for (size_t i = 0; i < b->pieces.count; i++)
      bytes += b->pieces.data[i].len;
   if (bytes > MAX_TEXT)
      return base_fail(SINTER_bad_input, "tokenizer", "take another file",
                       "the pieces of the vocabulary have %zu bytes", bytes);
   for (size_t i = 0; i < countof(end_names); i++)
      add_eos(out, control_id(b, end_names[i], strlen(end_names[i])));
   out->adds_bos = out->bos >= 0 && b->prefix.count > 0 && b->prefix.data[0] == out->bos;
   build_finish(b, &out->vocab, &out->vocab_size);
   return SINTER_ok;
}

/* ---- GGUF ---- */

static const char *string_key(arena *a, gguf_file *g, const char *name)
{
   const gguf_value *v = gguf_find(g, name);
   const gguf_string *s = v && !v->is_array ? gguf_strings(a, v) : NULL;

   return s ? arena_strndup(a, s->data, s->len) : NULL;
}

static sinter_status id_key(gguf_file *g, const char *name, int32_t *out)
{
   const gguf_value *v = gguf_find(g, name);
   int64_t id;

   *out = -1;
   if (!v)
      return SINTER_ok;
   /* 2^32-1 is how some writers say "none". */
   if (v->is_array || !gguf_int(v, 0, &id) || id < -1 || id > UINT32_MAX)
      return base_fail(SINTER_bad_input, name, "take another file", "the id is no valid number");
   *out = id > INT32_MAX ? -1 : (int32_t)id;
   return SINTER_ok;
}

static int bool_key(gguf_file *g, const char *name)
{
   const gguf_value *v = gguf_find(g, name);
   int64_t value;

   return v && !v->is_array && gguf_int(v, 0, &value) ? value != 0 : -1;
}

static sinter_status read_arrays(arena *a, gguf_file *g, gguf_vocab *v)
{
   const gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
   const gguf_value *merges = gguf_find(g, "tokenizer.ggml.merges");

   v->types = gguf_find(g, "tokenizer.ggml.token_type");
   v->scores = gguf_find(g, "tokenizer.ggml.scores");
   v->tokens = tokens && tokens->is_array ? gguf_strings(a, tokens) : NULL;
   v->merges = merges && merges->is_array ? gguf_strings(a, merges) : NULL;
   v->num_tokens = v->tokens ? tokens->count : 0;
   v->num_merges = v->merges ? merges->count : 0;
   if (!v->tokens || (merges && !v->merges) || v->num_merges >= VOCAB_NONE)
      return base_fail(SINTER_bad_input, "tokenizer.ggml.tokens", "take another file",
                       "the tokens or merges are missing or no strings");
   if ((v->types && v->types->count != v->num_tokens) ||
       (v->scores && v->scores->count != v->num_tokens))
      return base_fail(SINTER_bad_input, "tokenizer.ggml.token_type", "take another file",
                       "tokens, types and scores differ in number");
   return SINTER_ok;
}

static sinter_status read_ends(gguf_file *g, gguf_vocab *v, model_text *out)
{
   static const char *const more[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
   int32_t id;

   SINTER_TRY(id_key(g, "tokenizer.ggml.bos_token_id", &v->bos));
   SINTER_TRY(id_key(g, "tokenizer.ggml.eos_token_id", &v->eos));
   SINTER_TRY(id_key(g, "tokenizer.ggml.unknown_token_id", &v->unk));
   v->adds_bos = bool_key(g, "tokenizer.ggml.add_bos_token");
   v->adds_eos = bool_key(g, "tokenizer.ggml.add_eos_token");
   v->space_prefix = bool_key(g, "tokenizer.ggml.add_space_prefix");
   out->bos = v->bos;
   add_eos(out, v->eos);
   for (size_t i = 0; i < countof(more); i++) {
      SINTER_TRY(id_key(g, more[i], &id));
      if (id >= 0 && (uint64_t)id < v->num_tokens)
         add_eos(out, id);
   }
   /* Read, and without influence on text: */
   gguf_find(g, "tokenizer.ggml.padding_token_id");
   gguf_find(g, "tokenizer.ggml.separator_token_id");
   gguf_find(g, "tokenizer.ggml.add_sep_token");
   gguf_find(g, "tokenizer.ggml.mask_token_id");
   return SINTER_ok;
}

sinter_status model_vocab_from_gguf(arena *a, gguf_file *g, uint32_t num_tokens, model_text *out)
{
   gguf_vocab v = {0};
   vocab_build b;

   *out = (model_text){.bos = -1, .chat_template = string_key(a, g, "tokenizer.chat_template")};
   v.model = string_key(a, g, "tokenizer.ggml.model");
   if (!v.model || strcmp(v.model, "none") == 0 || strcmp(v.model, "no_vocab") == 0)
      return SINTER_ok;
   v.pre = string_key(a, g, "tokenizer.ggml.pre");
   v.architecture = string_key(a, g, "general.architecture");
   v.pre = v.pre ? v.pre : "";
   v.architecture = v.architecture ? v.architecture : "";
   SINTER_TRY(read_arrays(a, g, &v));
   if (num_tokens && v.num_tokens > num_tokens)
      return base_fail(SINTER_bad_input, "tokenizer.ggml.tokens", "take another file",
                       "there are %llu tokens, and %u rows of embeddings",
                       (unsigned long long)v.num_tokens, num_tokens);
   SINTER_TRY(read_ends(g, &v, out));
   build_init(&b, a);
   SINTER_TRY_IN("building the tokenizer", gguf_build(&b, &v));
   return finish(&b, out);
}

/* ---- Hugging Face ---- */

/* Reads dir/name; *out NULL when there is no such file. The memory is taken before the file is
 * opened: running out of it unwinds, and would leave the file open. */
static sinter_status read_file(arena *a, const char *dir, const char *name, size_t limit,
                               char **out, size_t *out_len)
{
   const char *path = arena_printf(a, "%s/%s", dir, name);
   struct stat st;

   *out = NULL;
   *out_len = 0;
   if (stat(path, &st) != 0)
      return errno == ENOENT ? SINTER_ok
                             : base_fail(SINTER_io, path, "check the file's permissions",
                                         "it cannot be read: %s", strerror(errno));
   if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > limit)
      return base_fail(SINTER_bad_input, path, "take another checkpoint",
                       "the file is no regular file of at most %zu bytes", limit);
   char *bytes = arena_alloc(a, (size_t)st.st_size + 1);
   FILE *f = fopen(path, "rb");
   size_t got = f ? fread(bytes, 1, (size_t)st.st_size, f) : 0;
   if (f)
      fclose(f);
   if (got != (size_t)st.st_size)
      return base_fail(SINTER_io, path, "check the file's permissions", "reading failed");
   *out = bytes;
   *out_len = got;
   return SINTER_ok;
}

/* *out NULL when there is no such file. */
static sinter_status read_json(arena *a, const char *dir, const char *name, const json **out)
{
   char *bytes;
   size_t len;
   json *root = NULL;

   SINTER_TRY(read_file(a, dir, name, MAX_FILE, &bytes, &len));
   if (bytes)
      SINTER_TRY(json_parse(a, bytes, len, name, &root));
   *out = root;
   return SINTER_ok;
}

/* "text" or {"content": "text"}. */
static const json *token_text(const json *config, const char *key)
{
   const json *t = json_get(config, key);

   return t && t->kind == JSON_object   ? hf_string(t, "content")
          : t && t->kind == JSON_string ? t
                                        : NULL;
}

static int64_t token_id(const vocab_build *b, const json *config, const char *key)
{
   const json *t = token_text(config, key);

   return t ? control_id(b, t->string, t->len) : -1;
}

/* Classes that rebuild their post-processor from these keys, whatever tokenizer.json says. */
static void apply_class(vocab_build *b, const json *config, const model_text *t)
{
   static const char *const classes[] = {"LlamaTokenizer", "GemmaTokenizer", "CohereTokenizer",
                                         "CodeLlamaTokenizer"};
   const json *class = hf_string(config, "tokenizer_class"),
              *adds = json_get(config, "add_bos_token");
   bool rebuilds = false;

   for (size_t i = 0; class && i < countof(classes); i++)
      rebuilds = rebuilds || strncmp(class->string, classes[i], strlen(classes[i])) == 0;
   if (!rebuilds || !adds || adds->kind != JSON_bool || t->bos < 0)
      return;
   b->prefix.count = 0;
   if (adds->boolean)
      *vec_push(b->a, &b->prefix) = t->bos;
}

/* A string, or a list of named ones of which "default" is ours. */
static const char *template_of(const json *config)
{
   const json *t = json_get(config, "chat_template");

   if (t && t->kind == JSON_string)
      return t->string;
   for (size_t i = 0; t && t->kind == JSON_array && i < t->len; i++) {
      const json *name = hf_string(t->items[i], "name"), *text = hf_string(t->items[i], "template");
      if (name && text && strcmp(name->string, "default") == 0)
         return text->string;
   }
   return NULL;
}

static sinter_status read_template(arena *a, const char *dir, const json *config, model_text *out)
{
   char *bytes;
   size_t len;

   SINTER_TRY(read_file(a, dir, "chat_template.jinja", MAX_TEMPLATE, &bytes, &len));
   out->chat_template = bytes ? bytes : template_of(config);
   return SINTER_ok;
}

sinter_status model_vocab_from_hf(arena *a, const char *dir, uint32_t num_tokens, model_text *out)
{
   const json *root, *config;
   vocab_build b;

   *out = (model_text){.bos = -1};
   SINTER_TRY(read_json(a, dir, "tokenizer.json", &root));
   if (!root)
      return SINTER_ok;
   SINTER_TRY(read_json(a, dir, "tokenizer_config.json", &config));
   SINTER_TRY(read_template(a, dir, config, out));
   build_init(&b, a);
   SINTER_TRY_IN("building the tokenizer", hf_read(&b, root, num_tokens));
   out->bos = (int32_t)token_id(&b, config, "bos_token");
   add_eos(out, token_id(&b, config, "eos_token"));
   apply_class(&b, config, out);
   return finish(&b, out);
}
