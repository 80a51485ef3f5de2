/* vocab_hf.c - the model and the added tokens of a tokenizer.json. */
#include "vocab_hf.h"

#include "base/map.h"

/* Ids by spelling; values are id + 1. */
static uint32_t id_of(const map *ids, const char *text, size_t len)
{
   void *found = map_get_n(ids, text, len);

   return found ? (uint32_t)((uintptr_t)found - 1) : VOCAB_NONE;
}

static sinter_status add_piece(vocab_build *b, map *ids, const json *at, const char *text,
                               size_t len, int64_t id, double score, uint32_t limit)
{
   if (id < 0 || id >= VOCAB_MAX_PIECES || (limit && id >= limit))
      return hf_bad(at, "an id of the vocabulary is outside the model's");
   bool is_byte = byte_piece(text, len) >= 0 && !(b->flags & VOCAB_byte_level);
   build_set_piece(b, (uint32_t)id, text, len, is_byte ? VOCAB_byte : 0, score);
   map_set_n(ids, text, len, (void *)(uintptr_t)(id + 1));
   return SINTER_ok;
}

/* ---- BPE ---- */

static sinter_status merge_parts(const json *m, const char **left, size_t *left_len,
                                 const char **right, size_t *right_len)
{
   if (m->kind == JSON_string) {
      const char *space = memchr(m->string, ' ', m->len);
      if (!space)
         return hf_bad(m, "a merge has no space");
      *left = m->string;
      *left_len = (size_t)(space - m->string);
      *right = space + 1;
      *right_len = m->len - *left_len - 1;
      return SINTER_ok;
   }
   if (m->kind != JSON_array || m->len != 2 || m->items[0]->kind != JSON_string ||
       m->items[1]->kind != JSON_string)
      return hf_bad(m, "a merge is no pair of strings");
   *left = m->items[0]->string;
   *left_len = m->items[0]->len;
   *right = m->items[1]->string;
   *right_len = m->items[1]->len;
   return SINTER_ok;
}

static sinter_status add_merge(vocab_build *b, const map *ids, const json *m, uint32_t rank)
{
   const char *left = NULL, *right = NULL;
   size_t left_len = 0, right_len = 0;

   SINTER_TRY(merge_parts(m, &left, &left_len, &right, &right_len));
   char *made = arena_alloc(b->a, left_len + right_len + 1);
   memcpy(made, left, left_len);
   memcpy(made + left_len, right, right_len);
   vocab_merge merge = {id_of(ids, left, left_len), id_of(ids, right, right_len), rank,
                        id_of(ids, made, left_len + right_len)};
   if (merge.left == VOCAB_NONE || merge.right == VOCAB_NONE || merge.made == VOCAB_NONE)
      return hf_bad(m, "a merge names a token that the vocabulary lacks");
   *vec_push(b->a, &b->merges) = merge;
   return SINTER_ok;
}

static sinter_status refuse(const json *model)
{
   static const char *const empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
   const json *dropout = json_get(model, "dropout");

   if (dropout && (dropout->kind == JSON_int || dropout->kind == JSON_float) && dropout->number > 0)
      return hf_unsupported("BPE option", "dropout");
   for (size_t i = 0; i < countof(empty); i++) {
      const json *s = hf_string(model, empty[i]);
      if (s && s->len > 0)
         return hf_unsupported("BPE option", empty[i]);
   }
   return SINTER_ok;
}

static sinter_status read_bpe(vocab_build *b, const json *model, map *ids, uint32_t limit)
{
   const json *list = json_get(model, "vocab"), *merges = json_get(model, "merges"),
              *unk = hf_string(model, "unk_token");

   SINTER_TRY(refuse(model));
   if (!list || list->kind != JSON_object || !merges || merges->kind != JSON_array)
      return hf_bad(model, "a BPE model lacks its vocab object or merges array");
   for (size_t i = 0; i < list->len; i++) {
      if (list->items[i]->kind != JSON_int)
         return hf_bad(list->items[i], "an id of the vocabulary is no whole number");
      SINTER_TRY(add_piece(b, ids, list->items[i], list->keys[i], list->key_lens[i],
                           list->items[i]->integer, 0, limit));
   }
   for (size_t i = 0; i < merges->len; i++)
      SINTER_TRY(add_merge(b, ids, merges->items[i], (uint32_t)i));
   b->model = VOCAB_bpe;
   b->flags |= (hf_bool(model, "fuse_unk", false) ? VOCAB_fuse_unk : 0) |
               (hf_bool(model, "byte_fallback", false) ? VOCAB_byte_fallback : 0) |
               (hf_bool(model, "ignore_merges", false) ? VOCAB_ignore_merges : 0);
   uint32_t id = unk ? id_of(ids, unk->string, unk->len) : VOCAB_NONE;
   b->unk = id == VOCAB_NONE ? -1 : (int32_t)id;
   return SINTER_ok;
}

/* ---- Unigram ---- */

static sinter_status read_unigram(vocab_build *b, const json *model, map *ids, uint32_t limit)
{
   const json *list = json_get(model, "vocab"), *unk = json_get(model, "unk_id");
   double least = 0;

   if (!list || list->kind != JSON_array || list->len == 0)
      return hf_bad(model, "a Unigram model lacks its vocab array");
   for (size_t i = 0; i < list->len; i++) {
      const json *pair = list->items[i];
      if (pair->kind != JSON_array || pair->len != 2 || pair->items[0]->kind != JSON_string ||
          (pair->items[1]->kind != JSON_float && pair->items[1]->kind != JSON_int))
         return hf_bad(pair, "a piece is no pair of text and score");
      double score = pair->items[1]->number;
      least = i == 0 ? score : MIN(least, score);
      SINTER_TRY(add_piece(b, ids, pair, pair->items[0]->string, pair->items[0]->len, (int64_t)i,
                           score, limit));
   }
   b->model = VOCAB_unigram;
   b->unk_score = least - 10; /* the reference's penalty */
   b->flags |= hf_bool(model, "byte_fallback", false) ? VOCAB_byte_fallback : 0;
   if (unk && unk->kind == JSON_int && unk->integer >= 0 && unk->integer < (int64_t)list->len) {
      b->unk = (int32_t)unk->integer;
      b->pieces.data[b->unk].attr |= VOCAB_special | VOCAB_shown;
   }
   return SINTER_ok;
}

/* ---- added tokens ---- */

static sinter_status add_token(vocab_build *b, const json *j, uint32_t limit)
{
   const json *content = hf_string(j, "content"), *id = json_get(j, "id");
   bool special = hf_bool(j, "special", false);
   uint32_t flags = (hf_bool(j, "lstrip", false) ? VOCAB_lstrip : 0) |
                    (hf_bool(j, "rstrip", false) ? VOCAB_rstrip : 0) |
                    (hf_bool(j, "single_word", false) ? VOCAB_single_word : 0) |
                    (hf_bool(j, "normalized", !special) ? VOCAB_normalized : 0) |
                    (special ? VOCAB_added_special : 0);

   if (!content || !id || id->kind != JSON_int)
      return hf_bad(j, "an added token has no content or id");
   if (id->integer < 0 || id->integer >= VOCAB_MAX_PIECES)
      return hf_bad(id, "the id of an added token is out of range");
   /* Some checkpoints list tokens their embedding has no row for; they can be no input. */
   if (content->len == 0 || (limit && id->integer >= limit))
      return SINTER_ok;
   uint32_t at = (uint32_t)id->integer;
   uint8_t attr = VOCAB_is_added | (special ? VOCAB_special : 0);
   if (at < b->pieces.count && b->pieces.data[at].is_set) {
      b->pieces.data[at].attr |= attr;
   } else {
      build_set_piece(b, at, content->string, content->len, attr, 0);
      b->pieces.data[at].in_model = false;
   }
   *vec_push(b->a, &b->added) = (build_added){content->string, content->len, at, flags};
   return SINTER_ok;
}

static sinter_status read_model(vocab_build *b, const json *model, uint32_t limit)
{
   const json *type = hf_string(model, "type");
   map ids = {.a = b->a};
   bool is_list = json_get(model, "vocab") && json_get(model, "vocab")->kind == JSON_array;

   if (!model || model->kind != JSON_object)
      return hf_bad(model, "there is no model");
   if (type ? strcmp(type->string, "BPE") == 0 : json_get(model, "merges") != NULL)
      return read_bpe(b, model, &ids, limit);
   if (type ? strcmp(type->string, "Unigram") == 0 : is_list)
      return read_unigram(b, model, &ids, limit);
   return hf_unsupported("model", type ? type->string : "without a type");
}

static sinter_status check_ends(const vocab_build *b)
{
   for (size_t i = 0; i < b->prefix.count; i++)
      if ((size_t)b->prefix.data[i] >= b->pieces.count)
         return hf_bad(NULL, "the post-processor adds a token outside the vocabulary");
   for (size_t i = 0; i < b->suffix.count; i++)
      if ((size_t)b->suffix.data[i] >= b->pieces.count)
         return hf_bad(NULL, "the post-processor adds a token outside the vocabulary");
   if (b->steps.count > VOCAB_MAX_STEPS || b->prefix.count + b->suffix.count > 64)
      return hf_bad(NULL, "the pipeline has more than 64 steps");
   return SINTER_ok;
}

sinter_status hf_read(vocab_build *b, const json *root, uint32_t num_tokens)
{
   const json *added = json_get(root, "added_tokens");

   SINTER_TRY(hf_normalizer(b, json_get(root, "normalizer"), 0));
   SINTER_TRY(hf_pre_tokenizer(b, json_get(root, "pre_tokenizer"), 0));
   SINTER_TRY(hf_decoder(b, json_get(root, "decoder")));
   SINTER_TRY(read_model(b, json_get(root, "model"), num_tokens));
   for (size_t i = 0; added && added->kind == JSON_array && i < added->len; i++)
      SINTER_TRY(add_token(b, added->items[i], num_tokens));
   SINTER_TRY(hf_post_processor(b, json_get(root, "post_processor"), 0));
   return check_ends(b);
}
