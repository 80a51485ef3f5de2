/* vocab_hf_steps.c - normalizer, pre_tokenizer, post_processor and decoder of a tokenizer.json as
 * steps. */
#include "vocab_hf.h"

#include <stdio.h>

#include "pretokenizers.def"

enum { MAX_DEPTH = 8, MAX_ENDS = 16 };

sinter_status hf_unsupported(const char *part, const char *what)
{
   return base_fail(SINTER_unsupported, "tokenizer.json", "report the model",
                    "the %s '%.80s' is not supported", part, what);
}

sinter_status hf_bad(const json *at, const char *what)
{
   char where[64];

   if (at)
      snprintf(where, sizeof where, "tokenizer.json: byte %zu", at->offset);
   return base_fail(SINTER_bad_input, at ? where : "tokenizer.json", "repair the tokenizer", "%s",
                    what);
}

bool hf_bool(const json *j, const char *key, bool otherwise)
{
   const json *m = json_get(j, key);

   return m && m->kind == JSON_bool ? m->boolean : otherwise;
}

const json *hf_string(const json *j, const char *key)
{
   const json *m = json_get(j, key);

   return m && m->kind == JSON_string ? m : NULL;
}

static bool is_absent(const json *j)
{
   return !j || j->kind == JSON_null;
}

/* The type of a part; NULL when it has none. */
static const char *type_of(const json *j)
{
   const json *t = hf_string(j, "type");

   return t ? t->string : NULL;
}

typedef sinter_status each_fn(vocab_build *b, const json *j, int depth);

static sinter_status each(vocab_build *b, const json *list, int depth, each_fn *fn)
{
   if (!list || list->kind != JSON_array)
      return hf_bad(list, "a Sequence has no list of parts");
   if (depth >= MAX_DEPTH)
      return hf_bad(list, "Sequences are nested too deeply");
   for (size_t i = 0; i < list->len; i++)
      SINTER_TRY(fn(b, list->items[i], depth + 1));
   return SINTER_ok;
}

/* Adds a step for {"String": s} or {"Regex": s}. */
static sinter_status pattern_step(vocab_build *b, const json *pattern, vocab_step_kind literal,
                                  vocab_step_kind regex, uint32_t flags, const json *content)
{
   const json *s = hf_string(pattern, "String"), *r = hf_string(pattern, "Regex");
   const char *text;
   size_t len;

   if (pattern && pattern->kind == JSON_string)
      s = pattern;
   if (!s && !r)
      return hf_bad(pattern, "a pattern is neither String nor Regex");
   const char *to = content ? content->string : "";
   size_t to_len = content ? content->len : 0;
   if (s) {
      build_step(b, literal, flags, s->string, s->len, to, to_len);
      return SINTER_ok;
   }
   SINTER_TRY(regex_translate(b->a, r->string, r->len, &text, &len));
   build_step(b, regex, flags, text, len, to, to_len);
   return SINTER_ok;
}

/* ---- normalizer ---- */

static const struct {
   const char *type;
   vocab_step_kind kind;
} plain_normalizers[] = {
   {"NFC", VOCAB_STEP_nfc},
   {"NFD", VOCAB_STEP_nfd},
   {"NFKC", VOCAB_STEP_nfkc},
   {"NFKD", VOCAB_STEP_nfkd},
   {"Lowercase", VOCAB_STEP_lowercase},
   {"StripAccents", VOCAB_STEP_strip_accents},
};

sinter_status hf_normalizer(vocab_build *b, const json *j, int depth)
{
   const char *type = type_of(j);

   if (is_absent(j))
      return SINTER_ok;
   if (!type)
      return hf_bad(j, "a normalizer has no type");
   for (size_t i = 0; i < countof(plain_normalizers); i++)
      if (strcmp(type, plain_normalizers[i].type) == 0) {
         build_step(b, plain_normalizers[i].kind, 0, "", 0, "", 0);
         return SINTER_ok;
      }
   if (strcmp(type, "Sequence") == 0)
      return each(b, json_get(j, "normalizers"), depth, hf_normalizer);
   if (strcmp(type, "Strip") == 0) {
      uint32_t flags = (hf_bool(j, "strip_left", true) ? VOCAB_step_left : 0) |
                       (hf_bool(j, "strip_right", true) ? VOCAB_step_right : 0);
      build_step(b, VOCAB_STEP_strip, flags, "", 0, "", 0);
      return SINTER_ok;
   }
   if (strcmp(type, "Prepend") == 0) {
      const json *p = hf_string(j, "prepend");
      if (!p)
         return hf_bad(j, "a Prepend has no text");
      build_step(b, VOCAB_STEP_prepend, 0, p->string, p->len, "", 0);
      return SINTER_ok;
   }
   if (strcmp(type, "Replace") == 0) {
      const json *content = hf_string(j, "content");
      if (!content)
         return hf_bad(j, "a Replace has no content");
      return pattern_step(b, json_get(j, "pattern"), VOCAB_STEP_replace, VOCAB_STEP_replace_regex,
                          0, content);
   }
   return hf_unsupported("normalizer", type);
}

/* ---- pre_tokenizer ---- */

static sinter_status behavior_of(const json *j, uint32_t *out)
{
   static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                       "MergedWithNext", "Contiguous"};
   const json *b = hf_string(j, "behavior");

   for (uint32_t i = 0; b && i < countof(names); i++)
      if (strcmp(b->string, names[i]) == 0) {
         *out = i;
         return SINTER_ok;
      }
   return b ? hf_unsupported("split behaviour", b->string) : hf_bad(j, "a split has no behaviour");
}

static sinter_status regex_step(vocab_build *b, const char *pattern, uint32_t flags)
{
   const char *text;
   size_t len;

   SINTER_TRY(regex_translate(b->a, pattern, strlen(pattern), &text, &len));
   build_step(b, VOCAB_STEP_split_regex, flags, text, len, "", 0);
   return SINTER_ok;
}

static sinter_status byte_level(vocab_build *b, const json *j)
{
   if (hf_bool(j, "add_prefix_space", true))
      build_step(b, VOCAB_STEP_prefix_space, 0, "", 0, "", 0);
   if (hf_bool(j, "use_regex", true))
      SINTER_TRY(regex_step(b, PRE_GPT2, VOCAB_Isolated));
   b->flags |= VOCAB_byte_level;
   return SINTER_ok;
}

static sinter_status metaspace(vocab_build *b, const json *j)
{
   const json *mark = hf_string(j, "replacement"), *scheme = hf_string(j, "prepend_scheme");
   uint32_t flags = hf_bool(j, "split", true) ? VOCAB_step_cut : 0;

   if (!mark || mark->len == 0)
      return hf_bad(j, "a Metaspace has no replacement");
   if (scheme && strcmp(scheme->string, "first") == 0)
      flags |= VOCAB_step_first;
   else if (scheme ? strcmp(scheme->string, "always") == 0 : hf_bool(j, "add_prefix_space", true))
      flags |= VOCAB_step_always;
   build_step(b, VOCAB_STEP_metaspace, flags, mark->string, mark->len, "", 0);
   return SINTER_ok;
}

static sinter_status split(vocab_build *b, const json *j)
{
   uint32_t flags;

   SINTER_TRY(behavior_of(j, &flags));
   if (hf_bool(j, "invert", false))
      flags |= VOCAB_step_invert;
   return pattern_step(b, json_get(j, "pattern"), VOCAB_STEP_split_string, VOCAB_STEP_split_regex,
                       flags, NULL);
}

static sinter_status punctuation(vocab_build *b, const json *j)
{
   uint32_t flags = VOCAB_Isolated;

   if (json_get(j, "behavior"))
      SINTER_TRY(behavior_of(j, &flags));
   build_step(b, VOCAB_STEP_punctuation, flags, "", 0, "", 0);
   return SINTER_ok;
}

static sinter_status delimiter(vocab_build *b, const json *j)
{
   const json *d = hf_string(j, "delimiter");

   if (!d || d->len == 0)
      return hf_bad(j, "a CharDelimiterSplit has no delimiter");
   build_step(b, VOCAB_STEP_split_string, VOCAB_Removed, d->string, d->len, "", 0);
   return SINTER_ok;
}

static sinter_status one_pre_tokenizer(vocab_build *b, const json *j, const char *type)
{
   if (strcmp(type, "ByteLevel") == 0)
      return byte_level(b, j);
   if (strcmp(type, "Split") == 0)
      return split(b, j);
   if (strcmp(type, "Metaspace") == 0)
      return metaspace(b, j);
   if (strcmp(type, "Punctuation") == 0)
      return punctuation(b, j);
   if (strcmp(type, "CharDelimiterSplit") == 0)
      return delimiter(b, j);
   if (strcmp(type, "Whitespace") == 0) /* whose words may hold joiners */
      return regex_step(b, "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+",
                        VOCAB_Removed | VOCAB_step_invert);
   if (strcmp(type, "WhitespaceSplit") == 0)
      return regex_step(b, "\\s", VOCAB_Removed);
   if (strcmp(type, "BertPreTokenizer") == 0) {
      SINTER_TRY(regex_step(b, "\\s", VOCAB_Removed));
      return punctuation(b, NULL);
   }
   if (strcmp(type, "Digits") == 0) {
      uint32_t flags = hf_bool(j, "individual_digits", false) ? VOCAB_step_individual : 0;
      build_step(b, VOCAB_STEP_digits, flags, "", 0, "", 0);
      return SINTER_ok;
   }
   return hf_unsupported("pre-tokenizer", type);
}

sinter_status hf_pre_tokenizer(vocab_build *b, const json *j, int depth)
{
   const char *type = type_of(j);

   if (is_absent(j))
      return SINTER_ok;
   if (!type)
      return hf_bad(j, "a pre-tokenizer has no type");
   if (strcmp(type, "Sequence") == 0)
      return each(b, json_get(j, "pretokenizers"), depth, hf_pre_tokenizer);
   if (b->flags & VOCAB_byte_level) /* it would see the byte alphabet, not the text */
      return hf_unsupported("pre-tokenizer behind ByteLevel", type);
   return one_pre_tokenizer(b, j, type);
}

/* ---- post_processor ---- */

/* Ids around the text; a later processor puts its own outside those of an earlier one. */
typedef struct ends {
   int32_t before[MAX_ENDS], after[MAX_ENDS];
   size_t num_before, num_after;
} ends;

static sinter_status add_ids(ends *e, bool behind, const json *ids)
{
   size_t *n = behind ? &e->num_after : &e->num_before;

   for (size_t i = 0; ids && ids->kind == JSON_array && i < ids->len; i++) {
      const json *id = ids->items[i];
      if (id->kind != JSON_int || id->integer < 0 || id->integer >= VOCAB_MAX_PIECES)
         return hf_bad(id, "a special token of the template has no valid id");
      if (*n == MAX_ENDS)
         return hf_unsupported("template", "more than 16 special tokens");
      (behind ? e->after : e->before)[(*n)++] = (int32_t)id->integer;
   }
   return SINTER_ok;
}

static sinter_status template_ends(const json *j, ends *e)
{
   const json *single = json_get(j, "single"), *specials = json_get(j, "special_tokens");
   bool behind = false;

   if (!single || single->kind != JSON_array)
      return hf_bad(j, "a TemplateProcessing has no list 'single'");
   for (size_t i = 0; i < single->len; i++) {
      const json *special = json_get(single->items[i], "SpecialToken");
      if (!special) {
         if (behind || !json_get(single->items[i], "Sequence"))
            return hf_unsupported("template", "other than one text between special tokens");
         behind = true;
         continue;
      }
      const json *id = hf_string(special, "id");
      const json *token = id ? json_get(specials, id->string) : NULL;
      if (!token)
         return hf_bad(special, "a template names a special token it does not list");
      SINTER_TRY(add_ids(e, behind, json_get(token, "ids")));
   }
   return behind ? SINTER_ok : hf_bad(j, "a template has no place for the text");
}

/* ["token", id] */
static sinter_status pair_end(ends *e, bool behind, const json *pair)
{
   if (!pair || pair->kind != JSON_array || pair->len != 2)
      return hf_bad(pair, "a processor has no [token, id] pair");
   json ids = {.kind = JSON_array, .len = 1, .items = &pair->items[1]};
   return add_ids(e, behind, &ids);
}

static void put_ends(vocab_build *b, const ends *e)
{
   int32_t inner[MAX_ENDS * 8];
   size_t n = MIN(b->prefix.count, countof(inner));

   if (n > 0)
      memcpy(inner, b->prefix.data, n * sizeof *inner);
   b->prefix.count = 0;
   for (size_t i = 0; i < e->num_before; i++)
      *vec_push(b->a, &b->prefix) = e->before[i];
   for (size_t i = 0; i < n; i++)
      *vec_push(b->a, &b->prefix) = inner[i];
   for (size_t i = 0; i < e->num_after; i++)
      *vec_push(b->a, &b->suffix) = e->after[i];
}

sinter_status hf_post_processor(vocab_build *b, const json *j, int depth)
{
   const char *type = type_of(j);
   ends e = {0};

   if (is_absent(j))
      return SINTER_ok;
   if (!type)
      return hf_bad(j, "a post-processor has no type");
   if (strcmp(type, "Sequence") == 0)
      return each(b, json_get(j, "processors"), depth, hf_post_processor);
   if (strcmp(type, "ByteLevel") == 0)
      return SINTER_ok; /* moves offsets only */
   if (strcmp(type, "TemplateProcessing") == 0) {
      SINTER_TRY(template_ends(j, &e));
   } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
      SINTER_TRY(pair_end(&e, false, json_get(j, "cls")));
      SINTER_TRY(pair_end(&e, true, json_get(j, "sep")));
   } else {
      return hf_unsupported("post-processor", type);
   }
   put_ends(b, &e);
   return SINTER_ok;
}

/* ---- decoder ---- */

/* What a sequence of decoders has done so far. */
typedef struct decoding {
   bool fused, byte_level;
} decoding;

static sinter_status strip_decoder(vocab_build *b, const json *j, const decoding *d)
{
   const json *content = hf_string(j, "content"), *start = json_get(j, "start"),
              *stop = json_get(j, "stop");

   if (!content || content->len != 1 || (uint8_t)content->string[0] > 127)
      return hf_unsupported("decoder", "Strip of other than one ASCII character");
   if (!start || start->kind != JSON_int || start->integer < 0 || start->integer > 1000)
      return hf_bad(j, "a Strip has no valid 'start'");
   if (!stop || stop->kind != JSON_int || stop->integer != 0)
      return hf_unsupported("decoder", "Strip at the end");
   if (!d->fused && start->integer > 0)
      return hf_unsupported("decoder", "Strip before Fuse");
   b->strip_left = (uint32_t)start->integer;
   b->strip_char = (uint8_t)content->string[0];
   return SINTER_ok;
}

static sinter_status replace_decoder(vocab_build *b, const json *j, const decoding *d)
{
   const json *from = hf_string(json_get(j, "pattern"), "String"), *to = hf_string(j, "content");

   if (!from || !to)
      return hf_unsupported("decoder", "Replace of other than a String");
   if (d->fused)
      return hf_unsupported("decoder", "Replace after Fuse");
   build_step(b, VOCAB_STEP_respell, 0, from->string, from->len, to->string, to->len);
   return SINTER_ok;
}

static sinter_status metaspace_decoder(vocab_build *b, const json *j)
{
   const json *mark = hf_string(j, "replacement"), *scheme = hf_string(j, "prepend_scheme");

   if (!mark)
      return hf_bad(j, "a Metaspace has no replacement");
   if (scheme ? strcmp(scheme->string, "never") != 0 : hf_bool(j, "add_prefix_space", true))
      b->flags |= VOCAB_decode_first;
   build_step(b, VOCAB_STEP_respell, 0, mark->string, mark->len, " ", 1);
   return SINTER_ok;
}

static sinter_status one_decoder(vocab_build *b, const json *j, decoding *d)
{
   const char *type = type_of(j);

   if (!type)
      return hf_bad(j, "a decoder has no type");
   if (strcmp(type, "ByteLevel") == 0) {
      d->byte_level = true;
      return SINTER_ok;
   }
   if (strcmp(type, "ByteFallback") == 0) {
      b->flags |= VOCAB_decode_bytes;
      return SINTER_ok;
   }
   if (strcmp(type, "Fuse") == 0) {
      d->fused = true;
      return SINTER_ok;
   }
   if (strcmp(type, "Strip") == 0)
      return strip_decoder(b, j, d);
   if (strcmp(type, "Replace") == 0)
      return replace_decoder(b, j, d);
   if (strcmp(type, "Metaspace") == 0)
      return metaspace_decoder(b, j);
   return hf_unsupported("decoder", type);
}

sinter_status hf_decoder(vocab_build *b, const json *j)
{
   const char *type = type_of(j);
   decoding d = {0};

   if (is_absent(j)) {
      b->flags |= VOCAB_decode_spaced;
   } else if (type && strcmp(type, "Sequence") == 0) {
      const json *list = json_get(j, "decoders");
      if (!list || list->kind != JSON_array)
         return hf_bad(j, "a Sequence has no list of decoders");
      for (size_t i = 0; i < list->len; i++)
         SINTER_TRY(one_decoder(b, list->items[i], &d));
   } else {
      SINTER_TRY(one_decoder(b, j, &d));
   }
   if (d.byte_level != !!(b->flags & VOCAB_byte_level))
      return hf_unsupported("decoder", "ByteLevel on one side only");
   return SINTER_ok;
}
