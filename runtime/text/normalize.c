/* normalize.c - the normalising steps. Bytes that are no UTF-8 pass through unchanged. */
#include <stdlib.h>
#include <utf8proc.h>

#include "internal.h"
#include "utf8.h"

typedef VEC(int32_t) codepoints;

static void put(text_buf *t, uint32_t cp)
{
   uint8_t bytes[4];

   text_append(t, (const char *)bytes, (size_t)utf8proc_encode_char((utf8proc_int32_t)cp, bytes));
}

static text_piece finish(const text_buf *t, text_piece in)
{
   in.p = (const uint8_t *)(t->data ? t->data : "");
   in.len = (uint32_t)t->len;
   return in;
}

static bool is_ascii(text_piece in)
{
   for (uint32_t i = 0; i < in.len; i++)
      if (in.p[i] >= 0x80)
         return false;
   return true;
}

/* ---- Unicode normal forms ---- */

/* Puts every run of marks into canonical order. A counting sort: a hostile run of a million marks
 * stays linear, where the library's own exchange sort would not. */
static void order_marks(arena *a, int32_t *cp, size_t n)
{
   uint8_t *class = arena_alloc(a, n + 1);
   int32_t *sorted = arena_array(a, int32_t, n + 1);

   for (size_t i = 0; i < n; i++)
      class[i] = (uint8_t)utf8proc_get_property(cp[i])->combining_class;
   for (size_t i = 0, end; i < n; i = end) {
      size_t start[257] = {0};
      for (end = i; end < n && class[end] != 0; end++)
         start[class[end] + 1]++;
      if (end <= i + 1) {
         end = MAX(end, i + 1);
         continue;
      }
      for (size_t c = 0; c < 256; c++)
         start[c + 1] += start[c];
      for (size_t k = i; k < end; k++)
         sorted[start[class[k]]++] = cp[k];
      memcpy(cp + i, sorted, (end - i) * sizeof *cp);
   }
}

static void flush(arena *a, codepoints *run, bool compose, text_buf *out)
{
   utf8proc_ssize_t n = (utf8proc_ssize_t)run->count;

   if (n == 0)
      return;
   order_marks(a, run->data, run->count);
   if (compose)
      n = utf8proc_normalize_utf32(run->data, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
   for (utf8proc_ssize_t i = 0; i < n; i++)
      put(out, (uint32_t)run->data[i]);
   run->count = 0;
}

static text_piece normal_form(arena *a, text_piece in, bool compat, bool compose)
{
   utf8proc_option_t options =
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
   codepoints run = {0};
   text_buf out = {.a = a};

   if (is_ascii(in))
      return in;
   for (uint32_t i = 0; i < in.len;) {
      uint32_t cp, n = text_utf8_next(in.p + i, in.len - i, &cp);
      if (cp == TEXT_INVALID) {
         flush(a, &run, compose, &out);
         text_append(&out, (const char *)in.p + i, 1);
      } else {
         utf8proc_int32_t parts[32];
         int last = 0;
         utf8proc_ssize_t m =
            utf8proc_decompose_char((utf8proc_int32_t)cp, parts, countof(parts), options, &last);
         for (utf8proc_ssize_t k = 0; k < MIN(m, (utf8proc_ssize_t)countof(parts)); k++)
            *vec_push(a, &run) = parts[k];
      }
      i += n;
   }
   flush(a, &run, compose, &out);
   return finish(&out, in);
}

/* ---- the other steps ---- */

static text_piece lowercase(arena *a, text_piece in)
{
   text_buf out = {.a = a};

   for (uint32_t i = 0; i < in.len;) {
      uint32_t cp, n = text_utf8_next(in.p + i, in.len - i, &cp);
      if (cp == TEXT_INVALID)
         text_append(&out, (const char *)in.p + i, 1);
      else
         put(&out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
      if (cp == 0x130) /* the one character whose lower case is two */
         put(&out, 0x307);
      i += n;
   }
   return finish(&out, in);
}

/* Marks of all three kinds. */
static bool is_mark(uint32_t cp)
{
   utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);

   return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

static text_piece strip_accents(arena *a, text_piece in)
{
   text_buf out = {.a = a};

   for (uint32_t i = 0; i < in.len;) {
      uint32_t cp, n = text_utf8_next(in.p + i, in.len - i, &cp);
      if (cp == TEXT_INVALID || !is_mark(cp))
         text_append(&out, (const char *)in.p + i, n);
      i += n;
   }
   return finish(&out, in);
}

static text_piece strip(text_piece in, uint32_t flags)
{
   uint32_t cp, keep = 0;

   while ((flags & VOCAB_step_left) && in.len > 0) {
      uint32_t n = text_utf8_next(in.p, in.len, &cp);
      if (!text_is_space(cp))
         break;
      in.p += n;
      in.len -= n;
   }
   for (uint32_t i = 0; i < in.len;) {
      i += text_utf8_next(in.p + i, in.len - i, &cp);
      if (!text_is_space(cp))
         keep = i;
   }
   if (flags & VOCAB_step_right)
      in.len = keep;
   return in;
}

static text_piece prepend(const text_job *job, const vocab_step *s, text_piece in)
{
   text_buf out = {.a = job->a};

   if (in.len == 0)
      return in;
   text_append(&out, (const char *)text_operand(&job->t->v, s->a), s->a_len);
   text_append(&out, (const char *)in.p, in.len);
   return finish(&out, in);
}

static text_piece replace(const text_job *job, const vocab_step *s, text_piece in)
{
   const uint8_t *from = text_operand(&job->t->v, s->a);
   text_buf out = {.a = job->a};
   const uint8_t *p = in.p, *end = in.p + in.len, *hit;

   if (s->a_len == 0 || in.len == 0 || !memmem(p, in.len, from, s->a_len))
      return in;
   while (p < end && (hit = memmem(p, (size_t)(end - p), from, s->a_len))) {
      text_append(&out, (const char *)p, (size_t)(hit - p));
      text_append(&out, (const char *)text_operand(&job->t->v, s->b), s->b_len);
      p = hit + s->a_len;
   }
   text_append(&out, (const char *)p, (size_t)(end - p));
   return finish(&out, in);
}

/* Replaces matches within one stretch of valid UTF-8. */
static sinter_status replace_valid(const text_job *job, uint32_t step, const uint8_t *p, size_t len,
                                   text_buf *out)
{
   const vocab *v = &job->t->v;
   const vocab_step *s = &v->step[step];
   text_matcher m;
   size_t begin = 0, end = 0, done = 0;
   bool found = true;
   sinter_status status =
      text_matcher_begin(&m, job->a, job->match_data, (text_regex *)&job->t->regex[step],
                         text_operand(v, s->a), s->a_len, p, len);

   while (status == SINTER_ok && found) {
      status = text_matcher_next(&m, &found, &begin, &end);
      if (status != SINTER_ok || !found)
         break;
      text_append(out, (const char *)p + done, begin - done);
      text_append(out, (const char *)text_operand(v, s->b), s->b_len);
      done = end;
   }
   text_append(out, (const char *)p + done, len - done);
   return status;
}

static sinter_status replace_regex(const text_job *job, uint32_t step, text_piece *io)
{
   text_buf out = {.a = job->a};

   for (uint32_t i = 0; i < io->len;) {
      size_t n = text_utf8_valid(io->p + i, io->len - i);
      if (n > 0)
         SINTER_TRY(replace_valid(job, step, io->p + i, n, &out));
      else
         text_append(&out, (const char *)io->p + i, n = 1);
      i += (uint32_t)n;
   }
   *io = finish(&out, *io);
   return SINTER_ok;
}

sinter_status text_normalize(const text_job *job, text_piece in, text_piece *out)
{
   const vocab *v = &job->t->v;

   for (uint32_t i = 0; i < v->num_step; i++) {
      const vocab_step *s = &v->step[i];
      switch ((vocab_step_kind)s->kind) {
      case VOCAB_STEP_nfc: in = normal_form(job->a, in, false, true); break;
      case VOCAB_STEP_nfd: in = normal_form(job->a, in, false, false); break;
      case VOCAB_STEP_nfkc: in = normal_form(job->a, in, true, true); break;
      case VOCAB_STEP_nfkd: in = normal_form(job->a, in, true, false); break;
      case VOCAB_STEP_lowercase: in = lowercase(job->a, in); break;
      case VOCAB_STEP_prepend: in = prepend(job, s, in); break;
      case VOCAB_STEP_replace: in = replace(job, s, in); break;
      case VOCAB_STEP_replace_regex: SINTER_TRY(replace_regex(job, i, &in)); break;
      case VOCAB_STEP_strip: in = strip(in, s->flags); break;
      case VOCAB_STEP_strip_accents: in = strip_accents(job->a, in); break;
      default: break; /* steps of the later stages */
      }
   }
   *out = in;
   return SINTER_ok;
}
