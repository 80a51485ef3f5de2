/* pictures.c - images in messages: data: URIs in parts of type image_url or input_image.
 *
 *    part ─ base64 ─▶ file ─ cut ─▶ patches, and tokens in the prompt ─ the model's thread ─▶ features */
#include <stdlib.h>
#include <string.h>

#include "pictures.h"
#include "values.h"

bool picture_is(const tree *part)
{
   const tree *type = tree_get(part, "type");

   return value_is(type, "image_url") || value_is(type, "input_image");
}

static int digit(char c)
{
   static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
   const char *at = c ? strchr(digits, c) : NULL;

   return at ? (int)(at - digits) : -1;
}

/* False when the text is no base64. */
static bool decode(const char *text, size_t len, buffer *out)
{
   uint32_t bits = 0, have = 0;

   while (len && text[len - 1] == '=')
      len--;
   buffer_reserve(out, len / 4 * 3 + 3);
   for (size_t i = 0; i < len; i++) {
      int d = digit(text[i]);
      if (d < 0)
         return false;
      bits = bits << 6 | (uint32_t)d;
      have += 6;
      if (have >= 8) {
         have -= 8;
         out->data[out->len++] = (char)(bits >> have & 255);
      }
   }
   return len > 0;
}

bool picture_take(ask *a, const tree *part, fault *f)
{
   static const char scheme[] = "data:", coding[] = ";base64,";
   const tree *url = tree_get(part, "image_url");
   buffer *files = realloc(a->files, (a->num_files + 1) * sizeof *files);

   if (!files)
      exit(6);
   a->files = files;
   a->files[a->num_files] = (buffer){0};
   if (url && url->kind == TREE_object)
      url = tree_get(url, "url");
   if (!url || url->kind != TREE_string)
      return fault_set(f, 400, "invalid_value", "messages", "an image must have an 'image_url'");
   const char *begin = memmem(url->text, url->len, coding, strlen(coding));
   if (url->len < strlen(scheme) || memcmp(url->text, scheme, strlen(scheme)) != 0 || !begin)
      return fault_set(f, 400, "unsupported_content", "messages",
                       "images come as data: URIs in base64; nothing is fetched");
   if (a->num_files >= serve_most.images)
      return fault_set(f, 400, "too_many_images", "messages", "at most %lld images",
                       (long long)serve_most.images);
   begin += strlen(coding);
   a->num_files++;
   return decode(begin, url->len - (size_t)(begin - url->text), &a->files[a->num_files - 1]) ||
          fault_set(f, 400, "invalid_value", "messages", "an image is no base64");
}

bool pictures_place(ask *a, const host *h, prompt *p, fault *f)
{
   a->images.images = calloc(a->num_files + 1, sizeof *a->images.images);
   if (!a->images.images)
      exit(6);
   for (uint32_t i = 0; i < a->num_files; i++) {
      sinter_image *image = &a->images.images[a->images.count];
      sinter_status status =
         sinter_image_read(h->session.artifact, a->files[i].data, a->files[i].len, image);
      if (status == SINTER_bad_input)
         return fault_set(f, 400, "invalid_image", prompt_param(a), "%s", sinter_error());
      if (status != SINTER_ok)
         return fault_from_library(f, status, prompt_param(a));
      a->images.count++;
      a->images.tokens +=
         (size_t)image->grid[1] * image->grid[2] / (h->session.info.merge * h->session.info.merge);
   }
   cli_images_expand(&h->session, &a->images, true, &p->ids, &p->count);
   return true;
}

int pictures_open(const options *o, session *s)
{
   return s->info.patch_width ? cli_vision(o, s, 0, true) : 0;
}

void pictures_encode(job *j)
{
   sinter_status status =
      j->ask.images.count ? cli_images_run(&j->host->session, &j->ask.images) : SINTER_ok;

   if (status == SINTER_ok)
      return;
   pthread_mutex_lock(&j->lock);
   fault_from_library(&j->fault, status, prompt_param(&j->ask));
   pthread_mutex_unlock(&j->lock);
}

void pictures_free(ask *a)
{
   for (uint32_t i = 0; i < a->num_files; i++)
      buffer_free(&a->files[i]);
   free(a->files);
   cli_images_free(&a->images);
}
