/* split.c - the splitting steps: each takes the pieces of the one before and cuts them further.
 *
 * A split step sees a piece as an alternation of gaps and matches; its behaviour says how they
 * become pieces. */
#include <utf8proc.h>

#include "internal.h"
#include "utf8.h"

/* One gap or match. */
typedef struct part {
   uint32_t begin, end;
   bool is_match;
} part;

typedef VEC(part) parts;

static void add_part(arena *a, parts *list, uint32_t begin, uint32_t end, bool is_match)
{
   if (begin < end)
      *vec_push(a, list) = (part){begin, end, is_match};
}

static void add_piece(text_job *job, text_piece in, uint32_t begin, uint32_t end)
{
   if (begin < end)
      *vec_push(job->a, job->next) =
         (text_piece){in.p + begin, end - begin, in.at_start && begin == 0};
}

/* ---- finding matches ---- */

static sinter_status regex_parts(const text_job *job, uint32_t step, text_piece in, uint32_t base,
                                 uint32_t len, parts *out)
{
   const vocab *v = &job->t->v;
   const vocab_step *s = &v->step[step];
   text_matcher m;
   size_t begin, end, done = 0;
   bool found = true;
   sinter_status status =
      text_matcher_begin(&m, job->a, job->match_data, (text_regex *)&job->t->regex[step],
                         text_operand(v, s->a), s->a_len, in.p + base, len);

   while (status == SINTER_ok) {
      status = text_matcher_next(&m, &found, &begin, &end);
      if (status != SINTER_ok || !found)
         break;
      add_part(job->a, out, base + (uint32_t)done, base + (uint32_t)begin, false);
      /* an empty one cuts, too */
      *vec_push(job->a, out) = (part){base + (uint32_t)begin, base + (uint32_t)end, true};
      done = end;
   }
   add_part(job->a, out, base + (uint32_t)done, base + len, false);
   return status;
}

/* Broken bytes are gaps of their own, so that the regex sees valid text only. */
static sinter_status find_regex(const text_job *job, uint32_t step, text_piece in, parts *out)
{
   for (uint32_t i = 0; i < in.len;) {
      uint32_t n = (uint32_t)text_utf8_valid(in.p + i, in.len - i), bad = 0, cp;
      if (n > 0)
         SINTER_TRY(regex_parts(job, step, in, i, n, out));
      i += n;
      while (i + bad < in.len &&
             (text_utf8_next(in.p + i + bad, in.len - i - bad, &cp), cp == TEXT_INVALID))
         bad++;
      add_part(job->a, out, i, i + bad, false);
      i += bad;
   }
   return SINTER_ok;
}

static void find_string(const text_job *job, const uint8_t *what, uint32_t len, text_piece in,
                        parts *out)
{
   uint32_t done = 0;
   const uint8_t *hit;

   while (len > 0 && (hit = memmem(in.p + done, in.len - done, what, len))) {
      uint32_t begin = (uint32_t)(hit - in.p);
      add_part(job->a, out, done, begin, false);
      add_part(job->a, out, begin, begin + len, true);
      done = begin + len;
   }
   add_part(job->a, out, done, in.len, false);
}

static bool is_numeric(uint32_t cp)
{
   if (cp == TEXT_INVALID)
      return false;
   utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
   return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

static bool is_punctuation(uint32_t cp)
{
   if (cp == TEXT_INVALID)
      return false;
   if (cp < 128)
      return cp > ' ' && cp < 127 && !(cp >= '0' && cp <= '9') && !(cp >= 'A' && cp <= 'Z') &&
             !(cp >= 'a' && cp <= 'z');
   utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
   return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

static void find_chars(const text_job *job, bool (*test)(uint32_t), text_piece in, parts *out)
{
   uint32_t done = 0, cp;

   for (uint32_t i = 0, n; i < in.len; i += n) {
      n = text_utf8_next(in.p + i, in.len - i, &cp);
      if (!test(cp))
         continue;
      add_part(job->a, out, done, i, false);
      add_part(job->a, out, i, i + n, true);
      done = i + n;
   }
   add_part(job->a, out, done, in.len, false);
}

/* ---- what matches become ---- */

/* A match joins its neighbour unless that is a match that has joined already. */
static void join_previous(text_job *job, text_piece in, const parts *list)
{
   for (size_t i = 0; i < list->count;) {
      size_t end = i + 1;
      if (!list->data[i].is_match && end < list->count && list->data[end].is_match)
         end++;
      add_piece(job, in, list->data[i].begin, list->data[end - 1].end);
      i = end;
   }
}

static void join_next(text_job *job, text_piece in, const parts *list)
{
   for (size_t i = 0; i < list->count;) {
      size_t end = i + 1;
      if (list->data[i].is_match && end < list->count && !list->data[end].is_match)
         end++;
      add_piece(job, in, list->data[i].begin, list->data[end - 1].end);
      i = end;
   }
}

static void join_equal(text_job *job, text_piece in, const parts *list)
{
   for (size_t i = 0; i < list->count;) {
      size_t end = i + 1;
      while (end < list->count && list->data[end].is_match == list->data[i].is_match)
         end++;
      add_piece(job, in, list->data[i].begin, list->data[end - 1].end);
      i = end;
   }
}

static void emit(text_job *job, uint32_t flags, text_piece in, parts *list)
{
   vocab_behavior behavior = flags & VOCAB_step_behavior;

   if (flags & VOCAB_step_invert)
      for (size_t i = 0; i < list->count; i++)
         list->data[i].is_match = !list->data[i].is_match;
   switch (behavior) {
   case VOCAB_MergedWithPrevious: join_previous(job, in, list); return;
   case VOCAB_MergedWithNext: join_next(job, in, list); return;
   case VOCAB_Contiguous: join_equal(job, in, list); return;
   default: break;
   }
   for (size_t i = 0; i < list->count; i++)
      if (behavior != VOCAB_Removed || !list->data[i].is_match)
         add_piece(job, in, list->data[i].begin, list->data[i].end);
}

/* ---- steps ---- */

static text_piece with_prefix(text_job *job, const uint8_t *prefix, uint32_t len, text_piece in)
{
   uint8_t *p = arena_alloc(job->a, (size_t)in.len + len);

   memcpy(p, prefix, len);
   memcpy(p + len, in.p, in.len);
   in.p = p;
   in.len += len;
   return in;
}

static text_piece respell_spaces(text_job *job, const uint8_t *mark, uint32_t len, text_piece in)
{
   text_buf out = {.a = job->a};

   if (!memchr(in.p, ' ', in.len))
      return in;
   for (uint32_t i = 0; i < in.len; i++)
      if (in.p[i] == ' ')
         text_append(&out, (const char *)mark, len);
      else
         text_append(&out, (const char *)in.p + i, 1);
   in.p = (const uint8_t *)out.data;
   in.len = (uint32_t)out.len;
   return in;
}

static void metaspace(text_job *job, const vocab_step *s, text_piece in, parts *list)
{
   const uint8_t *mark = text_operand(&job->t->v, s->a);

   in = respell_spaces(job, mark, s->a_len, in);
   bool has = in.len >= s->a_len && memcmp(in.p, mark, s->a_len) == 0;
   if (!has && ((s->flags & VOCAB_step_always) || ((s->flags & VOCAB_step_first) && in.at_start)))
      in = with_prefix(job, mark, s->a_len, in);
   if (!(s->flags & VOCAB_step_cut)) {
      add_piece(job, in, 0, in.len);
      return;
   }
   find_string(job, mark, s->a_len, in, list);
   emit(job, VOCAB_MergedWithNext, in, list);
}

static sinter_status split_piece(text_job *job, uint32_t step, text_piece in, parts *list)
{
   const vocab *v = &job->t->v;
   const vocab_step *s = &v->step[step];

   list->count = 0;
   switch ((vocab_step_kind)s->kind) {
   case VOCAB_STEP_split_regex:
      SINTER_TRY(find_regex(job, step, in, list));
      emit(job, s->flags, in, list);
      break;
   case VOCAB_STEP_split_string:
      find_string(job, text_operand(v, s->a), s->a_len, in, list);
      emit(job, s->flags, in, list);
      break;
   case VOCAB_STEP_digits:
      find_chars(job, is_numeric, in, list);
      emit(job, s->flags & VOCAB_step_individual ? VOCAB_Isolated : VOCAB_Contiguous, in, list);
      break;
   case VOCAB_STEP_punctuation:
      find_chars(job, is_punctuation, in, list);
      emit(job, s->flags, in, list);
      break;
   case VOCAB_STEP_prefix_space:
      in = in.p[0] == ' ' ? in : with_prefix(job, (const uint8_t *)" ", 1, in);
      add_piece(job, in, 0, in.len);
      break;
   case VOCAB_STEP_metaspace: metaspace(job, s, in, list); break;
   default: break;
   }
   return SINTER_ok;
}

sinter_status text_split(text_job *job)
{
   const vocab *v = &job->t->v;
   parts list = {0};

   for (uint32_t i = 0; i < v->num_step; i++) {
      if (vocab_stage_of(v->step[i].kind) != VOCAB_STAGE_split)
         continue;
      job->next->count = 0;
      for (size_t k = 0; k < job->pieces->count; k++)
         SINTER_TRY(split_piece(job, i, job->pieces->data[k], &list));
      text_pieces *done = job->pieces;
      job->pieces = job->next;
      job->next = done;
   }
   return SINTER_ok;
}
