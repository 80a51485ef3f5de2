/* job.c - one request on its way between a connection and the engine thread. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <microhttpd.h>

#include "serve.h"

static void make_id(job *j)
{
   static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
   unsigned char bytes[26] = {0};
   size_t at =
      (size_t)snprintf(j->id, sizeof j->id, j->ask.endpoint == SERVE_CHAT ? "chatcmpl-" : "cmpl-");

   if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
      memcpy(bytes, &j->created, sizeof j->created);
   for (size_t i = 0; i < sizeof bytes; i++)
      j->id[at + i] = digits[bytes[i] % 36];
}

job *job_create(host *h, ask *a)
{
   job *j = calloc(1, sizeof *j);

   if (!j)
      exit(6);
   pthread_mutex_init(&j->lock, NULL);
   j->refs = 2;
   j->host = h;
   j->ask = *a;
   j->created = (int64_t)time(NULL);
   j->started = j->written = cli_seconds();
   j->socket = -1;
   make_id(j);
   j->num_choices = j->left = (uint32_t)(a->num_prompts * (size_t)a->n);
   j->choices = calloc(j->num_choices, sizeof *j->choices);
   if (!j->choices)
      exit(6);
   for (uint32_t i = 0; i < j->num_choices; i++)
      j->choices[i] = (choice){.job = j, .index = i, .prompt = &j->ask.prompts[i / (uint32_t)a->n]};
   return j;
}

static void free_choice(choice *c)
{
   buffer *const all[] = {&c->text,        &c->held, &c->probs,  &c->tokens,
                          &c->token_probs, &c->tops, &c->offsets};

   for (size_t i = 0; i < countof(all); i++)
      buffer_free(all[i]);
}

void job_release(job *j)
{
   if (atomic_fetch_sub(&j->refs, 1) != 1)
      return;
   for (uint32_t i = 0; i < j->num_choices; i++)
      free_choice(&j->choices[i]);
   free(j->choices);
   ask_free(&j->ask);
   buffer_free(&j->out);
   pthread_mutex_destroy(&j->lock);
   free(j);
}

void job_wake(job *j)
{
   if (!j->suspended)
      return;
   j->suspended = false;
   MHD_resume_connection(j->connection);
}
