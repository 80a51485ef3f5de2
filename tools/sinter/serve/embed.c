/* embed.c - vectors of texts: the states after the last norm, of the last token or their mean
 * (--pooling), of length 1. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "choice.h"
#include "reply.h"
#include "values.h"

bool take_encoding_format(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   a->base64 = value_is(t, "base64");
   return a->base64 || value_is(t, "float") ||
          value_bad(f, "encoding_format", "'float' or 'base64'");
}

static bool takes_mean(const choice *c)
{
   const char *pooling = c->job->host->options->pooling;

   return pooling && strcmp(pooling, "mean") == 0;
}

uint32_t embed_from(const choice *c)
{
   return takes_mean(c) ? 0 : (uint32_t)c->prompt->count - 1;
}

void embed_take(choice *c, uint32_t pos, const float *state)
{
   uint32_t n = c->job->host->session.info.hidden;

   if (!c->state)
      c->state = calloc(n, sizeof *c->state);
   if (!c->state)
      exit(6);
   for (uint32_t i = 0; i < n; i++)
      c->state[i] += state[i];
   if (pos + 1 < c->prompt->count)
      return;
   double length = 0;
   for (uint32_t i = 0; i < n; i++)
      length += (double)c->state[i] * c->state[i];
   length = sqrt(length);
   if (!isfinite(length)) {
      fault_set(&c->job->fault, 500, "failed", NULL,
                "the states are not finite, so that they are no vector: check the weights for NaN "
                "and infinity, or serve with --numerics exact");
      return;
   }
   for (uint32_t i = 0; i < n && length > 0; i++)
      c->state[i] = (float)(c->state[i] / length);
   c->num_states = n;
}

static void put_base64(const choice *c, buffer *out)
{
   size_t bytes = c->num_states * sizeof *c->state;
   size_t len = sodium_base64_ENCODED_LEN(bytes, sodium_base64_VARIANT_ORIGINAL);

   buffer_printf(out, "\"");
   buffer_reserve(out, len);
   sodium_bin2base64(out->data + out->len, len, (const unsigned char *)c->state, bytes,
                     sodium_base64_VARIANT_ORIGINAL);
   out->len += len - 1; /* the NUL */
   buffer_printf(out, "\"");
}

static void put_vector(const choice *c, buffer *out)
{
   if (c->job->ask.base64) {
      put_base64(c, out);
      return;
   }
   buffer_printf(out, "[");
   for (uint32_t i = 0; i < c->num_states; i++)
      buffer_printf(out, "%s%.9g", i ? "," : "", (double)c->state[i]);
   buffer_printf(out, "]");
}

void embed_whole(job *j, buffer *out)
{
   unsigned long long asked = job_prompt_tokens(j);

   buffer_printf(out, "{\"object\":\"list\",\"model\":");
   buffer_json_string(out, j->host->name, strlen(j->host->name));
   buffer_printf(out, ",\"data\":[");
   for (uint32_t i = 0; i < j->num_choices; i++) {
      buffer_printf(out, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":", i ? "," : "",
                    i);
      put_vector(&j->choices[i], out);
      buffer_printf(out, "}");
   }
   buffer_printf(out, "],\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}", asked, asked);
}
