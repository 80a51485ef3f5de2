/* kernels.c - what each kernel of a model takes, and what it is made of.
 *
 *    /v1/kernels       asks for times ─▶ the next steps run launch by launch ─▶ a row a launch
 *    /v1/kernels/k3    the group's IR, and the instructions of its kernels
 *
 * Steps are timed only while somebody asks: each question buys some. This machine's limits, which
 * shares of the roof refer to, are measured once, when somebody has asked and nothing runs. */
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "models.h"

enum { STEPS = 32 }; /* that a question buys */

/* ---- the model's thread ---- */

/* A thread of its own, so that requests do not wait for it; one of the users. */
static void *measure(void *user)
{
   host *h = user;
   limits found;

   limits_measure(h->options->device, (unsigned)cli_int(h->options->threads, 0),
                  h->session.info.weight_bytes, &found);
   pthread_mutex_lock(&h->lock);
   h->times.machine = found;
   pthread_mutex_unlock(&h->lock);
   host_release(h);
   return NULL;
}

void kernels_measure(host *h)
{
   pthread_t thread;

   if (!h->times.wants_limits || h->times.machine.threads)
      return;
   h->times.wants_limits = false;
   h->times.machine.threads = 1; /* under way */
   h->users++;
   if (pthread_create(&thread, NULL, measure, h) == 0)
      pthread_detach(thread);
   else
      h->users--; /* then there are no shares of the roof */
}

void kernels_publish(host *h)
{
   kernel_times *t = &h->times;
   const sinter_launch_time *now;
   uint32_t steps = t->steps, n;

   if (!steps && !t->launches)
      return;
   t->steps = 0;
   if (steps && sinter_engine_time_steps(h->session.engine, steps) != SINTER_ok)
      return; /* a device without launches */
   n = sinter_engine_launches(h->session.engine, &now);
   if (!t->launches)
      t->launches = calloc(n + 1, sizeof *t->launches);
   if (!t->launches)
      exit(6);
   memcpy(t->launches, now, n * sizeof *now);
   t->num_launches = n;
}

/* Its strings are of an artifact that goes. */
void kernels_forget(host *h)
{
   pthread_mutex_lock(&h->lock);
   free(h->times.launches);
   h->times.launches = NULL;
   h->times.num_launches = h->times.steps = 0;
   pthread_mutex_unlock(&h->lock);
}

/* ---- rows ---- */

static void put_launch(buffer *b, const limits *l, const sinter_launch_time *t)
{
   double us = t->runs ? 1e6 * t->seconds / (double)t->runs : 0;
   double memory = l->bytes_s > 0 ? 1e6 * (double)t->bytes / l->bytes_s : 0;
   double work = l->ops_s > 0 ? 1e6 * (double)t->ops / l->ops_s : 0;

   buffer_printf(b, "{\"variant\":\"%s\",\"group\":\"%s\",\"rule\":\"%s\",\"kernel\":\"%s\",",
                 t->variant, t->group, t->rule, t->kernel);
   buffer_printf(b, "\"runs\":%llu,\"us\":%.3f,\"bytes\":%llu,\"ops\":%llu,\"roof_us\":%.3f}",
                 (unsigned long long)t->runs, us, (unsigned long long)t->bytes,
                 (unsigned long long)t->ops, memory > work ? memory : work);
}

static void put_all(buffer *b, const host *h)
{
   const kernel_times *t = &h->times;

   buffer_printf(b, "{\"object\":\"list\",\"artifact\":\"blake2b:%s\",\"model\":", h->digest);
   buffer_json_string(b, h->name, strlen(h->name));
   buffer_printf(b, ",\"limits\":{\"read_bytes_s\":%.0f,\"int8_ops_s\":%.0f},\"data\":[",
                 t->machine.bytes_s, t->machine.ops_s);
   for (uint32_t i = 0; i < t->num_launches; i++) {
      buffer_printf(b, i ? ",\n" : "");
      put_launch(b, &t->machine, &t->launches[i]);
   }
   buffer_printf(b, "]}");
}

/* The model that the path asks for, ready; host_release when done with it. NULL: as route.c's
 * open_body. */
static host *open_model(call *c, fault *f)
{
   host *h = models_find(c->server, http_query(c, "model"), f);

   return h && host_acquire(h, c, f) ? h : NULL;
}

static int close_call(call *c, host *h, const fault *f, buffer *b)
{
   int answer = 1; /* without a host and a fault it sleeps until the model is loaded */

   if (h)
      host_release(h);
   if (f->http)
      answer = http_fault(c, f);
   else if (h)
      answer = http_reply(c, 200, "application/json", b);
   buffer_free(b);
   return answer;
}

int route_kernels(call *c)
{
   fault f = {0};
   buffer b = {0};
   host *h = open_model(c, &f);

   if (h) {
      pthread_mutex_lock(&h->lock);
      h->times.steps = STEPS;
      h->times.wants_limits = true;
      put_all(&b, h);
      pthread_cond_signal(&h->wake);
      pthread_mutex_unlock(&h->lock);
   }
   return close_call(c, h, &f, &b);
}

/* ---- one group ---- */

/* "kernel NAME {" to "}" of the artifact's IR; its length, 0: there is none. */
static size_t find_ir(const char *ir, const char *name, const char **out)
{
   char head[160];

   snprintf(head, sizeof head, "\n  kernel %.100s {", name);
   *out = ir ? strstr(ir, head) : NULL;
   *out += *out ? 1 : 0;
   const char *end = *out ? strstr(*out, "\n  }") : NULL;
   return end ? (size_t)(end - *out) + 4 : 0;
}

/* The instructions of a kernel, or why they cannot be shown. */
static void put_code(buffer *b, const host *h, const char *kernel)
{
   char *text = NULL;
   sinter_status status = sinter_artifact_code(h->session.artifact, kernel, &text);

   buffer_printf(b, "{\"kernel\":\"%s\",\"code\":", kernel);
   const char *shown = status == SINTER_ok ? text : sinter_error();
   buffer_json_string(b, shown, strlen(shown));
   buffer_printf(b, ",\"is_shown\":%s}", status == SINTER_ok ? "true" : "false");
   sinter_free(text);
}

/* Kernels of the group in the plan's launches, each once. */
static size_t put_kernels(buffer *b, const host *h, const char *group)
{
   enum { MAX_KERNELS = 16 };
   const char *plan = sinter_artifact_document(h->session.artifact, "plan"), *seen[MAX_KERNELS];
   tree *doc = plan ? tree_parse(plan, strlen(plan)) : NULL;
   const tree *target = tree_first(tree_get(doc, "targets"));
   size_t n = 0;

   for (const tree *v = tree_first(tree_get(target, "variants")); v; v = v->next) {
      for (const tree *l = tree_first(tree_get(v, "launches")); l; l = l->next) {
         const char *kernel = tree_string(tree_get(l, "kernel"));
         size_t k = 0;

         if (strcmp(tree_string(tree_get(l, "group")), group) != 0)
            continue;
         while (k < n && strcmp(seen[k], kernel) != 0)
            k++;
         if (k < n || n == MAX_KERNELS)
            continue;
         buffer_printf(b, n ? "," : "");
         put_code(b, h, kernel);
         seen[n++] = kernel;
      }
   }
   tree_free(doc);
   return n;
}

int route_kernel(call *c)
{
   fault f = {0};
   buffer b = {0};
   const char *ir;
   host *h = open_model(c, &f);

   if (h) {
      size_t len = find_ir(sinter_artifact_document(h->session.artifact, "ir"), c->tail, &ir);
      buffer_printf(&b, "{\"object\":\"kernel\",\"group\":");
      buffer_json_string(&b, c->tail, strlen(c->tail));
      buffer_printf(&b, ",\"ir\":");
      buffer_json_string(&b, ir ? ir : "", len);
      buffer_printf(&b, ",\"kernels\":[");
      if (!put_kernels(&b, h, c->tail))
         fault_set(&f, 404, "kernel_not_found", NULL,
                   "there is no kernel group '%.80s': see /v1/kernels", c->tail);
      buffer_printf(&b, "]}");
   }
   return close_call(c, h, &f, &b);
}
