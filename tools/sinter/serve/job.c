/* job.c - one request on its way between a connection and the engine thread. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <microhttpd.h>

#include "host.h"
#include "split.h"

void job_id(char to[SERVE_ID_BYTES], const char *prefix, size_t letters)
{
   static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
   unsigned char bytes[SERVE_ID_BYTES] = {0};
   size_t at = strlen(prefix);

   if (getrandom(bytes, letters, 0) != (ssize_t)letters)
      memcpy(bytes, &(double){cli_seconds()}, sizeof(double));
   memcpy(to, prefix, at);
   for (size_t i = 0; i < letters; i++)
      to[at + i] = digits[bytes[i] % 36];
   to[at + letters] = 0;
}

static const char *id_prefix(endpoint e)
{
   return e == SERVE_CHAT ? "chatcmpl-" : e == SERVE_RESPONSES ? "resp_" : "cmpl-";
}

job *job_create(host *h, ask *a)
{
   job *j = calloc(1, sizeof *j);

   if (!j)
      exit(6);
   pthread_mutex_init(&j->lock, NULL);
   j->refs = 2;
   j->host = h;
   memcpy(j->digest, h->digest, sizeof j->digest);
   j->ask = *a;
   j->created = (int64_t)time(NULL);
   j->started = j->written = cli_seconds();
   j->socket = -1;
   job_id(j->id, id_prefix(a->endpoint), 26);
   j->num_choices = j->left = (uint32_t)(a->num_prompts * (size_t)a->n);
   j->choices = calloc(j->num_choices, sizeof *j->choices);
   if (!j->choices)
      exit(6);
   for (uint32_t i = 0; i < j->num_choices; i++)
      j->choices[i] = (choice){.job = j,
                               .index = i,
                               .prompt = &j->ask.prompts[i / (uint32_t)a->n],
                               .echoes = a->echo,
                               .split = a->opens_thought ? SPLIT_THINK : SPLIT_START};
   return j;
}

static void free_choice(choice *c)
{
   buffer *const all[] = {&c->text,        &c->held, &c->probs,  &c->tokens,
                          &c->token_probs, &c->tops, &c->offsets};

   for (size_t i = 0; i < countof(all); i++)
      buffer_free(all[i]);
   split_free(c);
   free(c->state);
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

uint64_t job_prompt_tokens(const job *j)
{
   uint64_t sum = 0;

   for (size_t i = 0; i < j->ask.num_prompts; i++)
      sum += j->ask.prompts[i].count;
   return sum;
}

uint64_t job_generated(const job *j)
{
   uint64_t sum = 0;

   for (uint32_t i = 0; i < j->num_choices; i++)
      sum += j->choices[i].num_tokens;
   return sum;
}

uint64_t job_reasoning(const job *j)
{
   uint64_t sum = 0;

   for (uint32_t i = 0; i < j->num_choices; i++)
      sum += j->choices[i].num_reasoning;
   return sum;
}

/* Outside of the lock, which is the first thing that the woken thread wants. Until it is resumed, a
 * connection stays. */
void job_wake(job *j)
{
   pthread_mutex_lock(&j->lock);
   bool waits = j->suspended;
   j->suspended = j->waking = false;
   pthread_mutex_unlock(&j->lock);
   if (waits)
      MHD_resume_connection(j->connection);
}

void jobs_wake(void *list)
{
   for (job *j = list; j;) {
      job *next = j->next_woken;
      job_wake(j);
      job_release(j);
      j = next;
   }
}
