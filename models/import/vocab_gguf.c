/* vocab_gguf.c - the same tokenizers as a tokenizer.json would describe, from GGUF's flat arrays.
 *
 * gpt2: byte-level BPE; the split is known only by the name in tokenizer.ggml.pre.
 * llama: SentencePiece BPE. It lists no merges: a merge is allowed when its result is a piece, best
 * score first; Gemma's scores do not follow its merge order, the ids do. */
#include "vocab_gguf.h"

#include "base/map.h"

#include <stdlib.h>

#include "pretokenizers.def"

enum { TYPE_normal = 1, TYPE_unknown, TYPE_control, TYPE_user, TYPE_unused, TYPE_byte };

#define MARK "\xe2\x96\x81" /* U+2581, SentencePiece's space */

static sinter_status bad(const char *what)
{
   return base_fail(SINTER_bad_input, "GGUF: tokenizer.ggml", "take another file", "%s", what);
}

static bool starts_with(const char *s, const char *prefix)
{
   return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* ---- splitters ---- */

typedef enum splitter_id {
#define SPLITTER(name, ...) SPLITTER_##name,
#include "pretokenizers.def"
#undef SPLITTER
   SPLITTER_COUNT
} splitter_id;

static const char *const splitters[SPLITTER_COUNT][8] = {
#define SPLITTER(name, ...) {__VA_ARGS__},
#include "pretokenizers.def"
#undef SPLITTER
};

static const struct {
   const char *name;
   splitter_id splitter;
   bool nfc, ignore_merges;
} pres[] = {
#define PRE(name, splitter, nfc, ignore_merges) {name, SPLITTER_##splitter, nfc, ignore_merges},
#include "pretokenizers.def"
#undef PRE
};

static sinter_status add_splitter(vocab_build *b, splitter_id id)
{
   for (size_t i = 0; i < countof(splitters[id]) && splitters[id][i]; i++) {
      const char *text;
      size_t len;
      SINTER_TRY(regex_translate(b->a, splitters[id][i], strlen(splitters[id][i]), &text, &len));
      build_step(b, VOCAB_STEP_split_regex, VOCAB_Isolated, text, len, "", 0);
   }
   return SINTER_ok;
}

static sinter_status byte_level(vocab_build *b, const gguf_vocab *g)
{
   const char *pre = *g->pre ? g->pre : "default";
   size_t i;

   for (i = 0; i < countof(pres) && strcmp(pres[i].name, pre) != 0;)
      i++;
   if (i == countof(pres))
      return base_fail(SINTER_unsupported, "GGUF: tokenizer.ggml.pre",
                       "use the model's Hugging Face folder, or report the model",
                       "the pre-tokenizer '%.60s' is not known", pre);
   b->flags |= VOCAB_byte_level | (pres[i].ignore_merges ? VOCAB_ignore_merges : 0);
   if (pres[i].nfc)
      build_step(b, VOCAB_STEP_nfc, 0, "", 0, "", 0);
   if (g->space_prefix == 1)
      build_step(b, VOCAB_STEP_prefix_space, 0, "", 0, "", 0);
   return add_splitter(b, pres[i].splitter);
}

/* ---- pieces ---- */

static bool is_spaces(const gguf_string *s)
{
   for (uint64_t i = 0; i < s->len; i++)
      if (s->data[i] != ' ')
         return false;
   return s->len > 0;
}

/* Gemma's files spell runs of spaces as spaces; the merges know them as marks. */
static gguf_string respell(vocab_build *b, const gguf_string *s)
{
   char *text = arena_alloc(b->a, s->len * 3 + 1);

   for (uint64_t i = 0; i < s->len; i++)
      memcpy(text + 3 * i, MARK, 3);
   return (gguf_string){text, s->len * 3};
}

static sinter_status add_piece(vocab_build *b, const gguf_vocab *g, uint32_t id, bool respells)
{
   const gguf_string *s = &g->tokens[id];
   gguf_string text = *s;
   int64_t type = TYPE_normal;
   double score = 0;
   uint8_t attr = 0;

   if (g->types && !gguf_int(g->types, id, &type))
      return bad("a token type is no number");
   if (g->scores && !gguf_float(g->scores, id, &score))
      return bad("a score is no number");
   bool spaces = respells && is_spaces(s);
   if (spaces)
      text = respell(b, s);
   if (type == TYPE_control || type == TYPE_unknown)
      attr = VOCAB_special | VOCAB_is_added;
   else if (type == TYPE_user && !spaces)
      attr = VOCAB_is_added;
   else if (type == TYPE_byte && byte_piece(text.data, text.len) >= 0)
      attr = VOCAB_byte;
   build_set_piece(b, id, text.data, text.len, attr, score);
   if ((attr & VOCAB_is_added) && text.len > 0 && type != TYPE_unknown)
      *vec_push(b->a, &b->added) =
         (build_added){text.data, text.len, id, attr & VOCAB_special ? VOCAB_added_special : 0};
   return SINTER_ok;
}

/* ---- merges ---- */

static sinter_status add_merges(vocab_build *b, const gguf_vocab *g)
{
   map ids = {.a = b->a};

   for (uint32_t i = 0; i < b->pieces.count; i++)
      map_set_n(&ids, b->pieces.data[i].text, b->pieces.data[i].len, (void *)(uintptr_t)(i + 1));
   for (uint64_t i = 0; i < g->num_merges; i++) {
      const gguf_string *m = &g->merges[i];
      const char *space = m->len > 1 ? memchr(m->data + 1, ' ', m->len - 1) : NULL;
      if (!space)
         return bad("a merge has no space");
      size_t left = (size_t)(space - m->data), right = m->len - left - 1;
      char *made = arena_alloc(b->a, m->len);
      memcpy(made, m->data, left);
      memcpy(made + left, space + 1, right);
      uintptr_t l = (uintptr_t)map_get_n(&ids, m->data, left),
                r = (uintptr_t)map_get_n(&ids, space + 1, right),
                result = (uintptr_t)map_get_n(&ids, made, left + right);
      if (!l || !r || !result)
         return bad("a merge names a token that the vocabulary lacks");
      *vec_push(b->a, &b->merges) =
         (vocab_merge){(uint32_t)l - 1, (uint32_t)r - 1, (uint32_t)i, (uint32_t)result - 1};
   }
   return SINTER_ok;
}

typedef struct scored {
   double score;
   uint32_t id;
} scored;

static int by_score(const void *x, const void *y)
{
   const scored *a = x, *b = y;

   if (a->score != b->score)
      return a->score > b->score ? -1 : 1;
   return a->id < b->id ? -1 : a->id > b->id;
}

/* Equal scores share a place: then the shape of the pair decides. */
static void imply_merges(vocab_build *b, bool by_id)
{
   uint32_t n = (uint32_t)b->pieces.count;
   scored *list = arena_array(b->a, scored, n + 1);

   b->flags |= VOCAB_implied_merges;
   b->order = arena_array(b->a, uint32_t, n + 1);
   for (uint32_t i = 0; i < n; i++)
      list[i] = (scored){by_id ? -(double)i : b->pieces.data[i].score, i};
   qsort(list, n, sizeof *list, by_score);
   for (uint32_t i = 0; i < n; i++)
      b->order[list[i].id] =
         i > 0 && list[i].score == list[i - 1].score ? b->order[list[i - 1].id] : i;
}

static sinter_status sentencepiece(vocab_build *b, const gguf_vocab *g, bool gemma)
{
   bool prefix = g->space_prefix != 0 && !gemma;

   b->flags |= VOCAB_byte_fallback | VOCAB_fuse_unk | VOCAB_decode_bytes;
   b->unk = g->unk;
   if (prefix)
      build_step(b, VOCAB_STEP_prepend, 0, MARK, 3, "", 0);
   build_step(b, VOCAB_STEP_replace, 0, " ", 1, MARK, 3);
   build_step(b, VOCAB_STEP_respell, 0, MARK, 3, " ", 1);
   b->strip_left = prefix;
   b->strip_char = ' ';
   if (g->num_merges)
      return add_merges(b, g);
   if (!g->scores && !gemma)
      return bad("there are neither merges nor scores");
   imply_merges(b, gemma);
   return SINTER_ok;
}

/* ---- the whole ---- */

static void add_ends(vocab_build *b, const gguf_vocab *g, bool sp)
{
   bool llama3 = b->flags & VOCAB_ignore_merges; /* files before the key existed */
   bool adds_bos = g->adds_bos < 0 ? sp || llama3 : g->adds_bos == 1;

   if (adds_bos && g->bos >= 0)
      *vec_push(b->a, &b->prefix) = g->bos;
   if (g->adds_eos == 1 && g->eos >= 0)
      *vec_push(b->a, &b->suffix) = g->eos;
}

sinter_status gguf_build(vocab_build *b, const gguf_vocab *g)
{
   bool sp = strcmp(g->model, "llama") == 0 || strcmp(g->model, "gemma4") == 0;
   bool gemma = sp && starts_with(g->architecture, "gemma");
   const int32_t ids[] = {g->bos, g->eos, g->unk};

   if (!sp && strcmp(g->model, "gpt2") != 0)
      return base_fail(SINTER_unsupported, "GGUF: tokenizer.ggml.model", "report the model",
                       "the tokenizer kind '%.60s' is not supported", g->model);
   if (g->num_tokens == 0 || g->num_tokens > VOCAB_MAX_PIECES)
      return bad("the number of tokens is out of range");
   for (size_t i = 0; i < countof(ids); i++)
      if (ids[i] < -1 || ids[i] >= (int64_t)g->num_tokens)
         return bad("a special token id is outside the vocabulary");
   for (uint32_t i = 0; i < g->num_tokens; i++)
      SINTER_TRY(add_piece(b, g, i, gemma));
   for (size_t i = 0; i < countof(ids); i++)
      if (ids[i] >= 0)
         b->pieces.data[ids[i]].attr |= VOCAB_special;
   if (sp) {
      SINTER_TRY(sentencepiece(b, g, gemma));
   } else {
      SINTER_TRY(byte_level(b, g));
      SINTER_TRY(add_merges(b, g));
   }
   add_ends(b, g, sp);
   return SINTER_ok;
}
