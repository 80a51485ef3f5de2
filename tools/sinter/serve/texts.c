/* texts.c - /tokenize, /detokenize and /apply-template: texts, ids, and the prompt of a chat. */
#include "texts.h"

#include <stdlib.h>
#include <string.h>

#include "values.h"

/* A flag that may be left out. */
static bool flag_of(const tree *body, const char *name, bool *out, fault *f)
{
   const tree *t = tree_get(body, name);

   return !t || value_flag(t, out) || value_bad(f, name, "true or false");
}

static bool text_field(const tree *body, const char *name, const tree **out, fault *f)
{
   *out = tree_get(body, name);
   return !*out || (*out)->kind == TREE_string || value_bad(f, name, "a string");
}

/* What a client wants to know of tokens. */
typedef struct wish {
   bool pieces;  /* llama-server: a text, or bytes, beside each id */
   bool strings; /* vLLM: a list of texts */
} wish;

/* A token as text, also a control token. Half a character is a list of bytes where that may be, or
 * else the sign that stands for it. */
static void put_piece(const host *h, int32_t id, bool may_be_bytes, buffer *b)
{
   const sinter_artifact *artifact = h->session.artifact;
   char bytes[256];
   size_t len = 0;
   bool special;

   if (sinter_token_bytes(artifact, id, bytes, sizeof bytes, &len, &special) != SINTER_ok)
      len = 0;
   len = len < sizeof bytes ? len : sizeof bytes;
   bool is_text = tree_is_utf8(bytes, len);
   if (!is_text && may_be_bytes) {
      buffer_printf(b, "[");
      for (size_t i = 0; i < len; i++)
         buffer_printf(b, "%s%u", i ? "," : "", (unsigned char)bytes[i]);
      buffer_printf(b, "]");
      return;
   }
   if (!is_text && sinter_detokenize(artifact, &id, 1, bytes, sizeof bytes, &len) != SINTER_ok)
      len = 0;
   buffer_json_string(b, bytes, len < sizeof bytes ? len : sizeof bytes);
}

static void put_tokens(const host *h, const int32_t *ids, size_t count, wish w, buffer *b)
{
   buffer_printf(b, "{\"tokens\":[");
   for (size_t i = 0; i < count; i++) {
      buffer_printf(b, w.pieces ? "%s{\"id\":%d,\"piece\":" : "%s%d", i ? "," : "", ids[i]);
      if (w.pieces) {
         put_piece(h, ids[i], true, b);
         buffer_printf(b, "}");
      }
   }
   buffer_printf(b, "],\"count\":%zu,\"max_model_len\":%u", count, h->context);
   for (size_t i = 0; w.strings && i < count; i++) {
      buffer_printf(b, i ? "," : ",\"token_strs\":[");
      put_piece(h, ids[i], false, b);
   }
   buffer_printf(b, w.strings && count ? "]}" : "}");
}

/* The tokens of a chat's prompt, as vLLM has it. */
static bool chat_tokens(host *h, const tree *body, wish w, buffer *b, fault *f)
{
   ask a;

   if (!ask_read(&a, SERVE_CHAT, body, h, f))
      return false;
   put_tokens(h, a.prompts[0].ids, a.prompts[0].count, w, b);
   ask_free(&a);
   return true;
}

/* "content" as llama-server has it, or "prompt" or "messages" as vLLM has. */
bool texts_tokens(host *h, const tree *body, buffer *b, fault *f)
{
   const tree *content, *plain;
   bool llama = false, vllm = true;
   wish w = {0};
   size_t count = 0;

   if (!text_field(body, "content", &content, f) || !text_field(body, "prompt", &plain, f) ||
       !flag_of(body, "add_special", &llama, f) || !flag_of(body, "add_special_tokens", &vllm, f) ||
       !flag_of(body, "with_pieces", &w.pieces, f) ||
       !flag_of(body, "return_token_strs", &w.strings, f))
      return false;
   const tree *text = content ? content : plain;
   if (!text && !value_is_null(tree_get(body, "messages")))
      return chat_tokens(h, body, w, b, f);
   if (!text)
      return fault_set(f, 400, "missing_parameter", "content",
                       "'content' or 'prompt' must be a string, or 'messages' a chat");
   unsigned flags = (content ? llama : vllm) ? 0 : SINTER_TEXT_no_bos;
   size_t cap = text->len + 64;
   int32_t *ids = malloc(cap * sizeof *ids);
   if (!ids)
      return fault_set(f, 507, "out_of_memory", NULL, "memory is exhausted");
   sinter_status status =
      sinter_tokenize(h->session.artifact, text->text, text->len, flags, ids, cap, &count);
   put_tokens(h, ids, count < cap ? count : cap, w, b);
   free(ids);
   return status == SINTER_ok || fault_from_library(f, status, content ? "content" : "prompt");
}

static bool read_tokens(const host *h, const tree *list, int32_t *ids, size_t *count, fault *f)
{
   for (const tree *e = tree_first(list); e; e = e->next) {
      char *end;
      unsigned long id = e->kind == TREE_number ? strtoul(e->text, &end, 10) : 0;

      if (e->kind != TREE_number || *end || e->text[0] == '-' || id >= h->session.info.vocab)
         return fault_set(f, 400, "invalid_value", "tokens",
                          "'tokens' has something else than token ids below %u",
                          h->session.info.vocab);
      ids[(*count)++] = (int32_t)id;
   }
   return true;
}

bool texts_text(host *h, const tree *body, buffer *b, fault *f)
{
   const tree *list = tree_get(body, "tokens");
   size_t count = 0, len = 0;
   buffer text = {0};

   if (!list || list->kind != TREE_array)
      return fault_set(f, 400, "missing_parameter", "tokens",
                       "'tokens' must be an array of token ids");
   int32_t *ids = malloc((tree_count(list) + 1) * sizeof *ids);
   if (!ids)
      return fault_set(f, 507, "out_of_memory", NULL, "memory is exhausted");
   bool ok = read_tokens(h, list, ids, &count, f);
   sinter_status status = SINTER_ok;
   if (ok)
      status = sinter_detokenize(h->session.artifact, ids, count, NULL, 0, &len);
   buffer_reserve(&text, len);
   if (ok && status == SINTER_ok)
      status = sinter_detokenize(h->session.artifact, ids, count, text.data, len, &len);
   buffer_printf(b, "{\"content\":");
   buffer_json_string(b, text.data, len);
   buffer_printf(b, ",\"prompt\":");
   buffer_json_string(b, text.data, len);
   buffer_printf(b, "}");
   buffer_free(&text);
   free(ids);
   return ok && (status == SINTER_ok || fault_from_library(f, status, "tokens"));
}

bool texts_prompt(host *h, const tree *body, buffer *b, fault *f)
{
   buffer text = {0};
   bool ok = h->session.info.has_chat_template
                ? ask_render(body, h, &text, f)
                : fault_set(f, 400, "no_chat_template", "messages",
                            "this model came without a chat template");

   if (ok) {
      buffer_printf(b, "{\"prompt\":");
      buffer_json_string(b, text.data ? text.data : "", text.len);
      buffer_printf(b, "}");
   }
   buffer_free(&text);
   return ok;
}
