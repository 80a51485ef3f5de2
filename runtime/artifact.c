/* artifact.c - opens an artifact: one mapping of the file, digests checked, plans decoded.
 *
 *    open      header, manifest, vocab, plans, code, sums      a few ms
 *    on use    template, ir, explain (digest)
 *              weights (XXH3 of every MiB, once per version of the file) */
#include "artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/pack.h"
#include "cache.h"
#include "level.h"

#include "memo.h"
#include "plan_json.h"
#include "weights.h"

typedef enum check_state { UNCHECKED, GOOD, DAMAGED } check_state;

struct rt_artifact {
   char *path;
   int fd;
   struct stat stat;
   const uint8_t *map;
   size_t map_size;
   arena *a;
   artifact_toc toc;
   plan *plans[ARTIFACT_MAX_TARGETS];
   pthread_mutex_t lock; /* over everything below */
   uint8_t checked[ARTIFACT_MAX_SECTIONS];
   rt_weights weights[ARTIFACT_MAX_TARGETS];
   bool has_weights[ARTIFACT_MAX_TARGETS];
   void *attached[RT_SLOT_COUNT];
   void (*destroy[RT_SLOT_COUNT])(void *);
   const char *plan_json;
};

struct sinter_artifact {
   rt_artifact rt;
};

static const char remedy_again[] = "compile the model again with --no-cache";

/* ---- open and close ---- */

static sinter_status open_file(rt_artifact *a)
{
   a->fd = open(a->path, O_RDONLY | O_CLOEXEC);
   if (a->fd < 0)
      return base_fail(errno == ENOENT ? SINTER_not_found : SINTER_io, a->path,
                       "check the path, or compile the model", "the artifact cannot be opened: %s",
                       strerror(errno));
   if (fstat(a->fd, &a->stat) != 0)
      return base_fail(SINTER_io, a->path, "", "the artifact cannot be read: %s", strerror(errno));
   if (!S_ISREG(a->stat.st_mode) || a->stat.st_size <= 0)
      return base_fail(SINTER_bad_input, a->path, "pass a file made by `sinter compile`",
                       "this is not an artifact");
   a->map_size = (size_t)a->stat.st_size;
   void *map = mmap(NULL, a->map_size, PROT_READ, MAP_SHARED, a->fd, 0);
   if (map == MAP_FAILED)
      return base_fail(SINTER_out_of_memory, a->path, "close other programs",
                       "the artifact cannot be mapped: %s", strerror(errno));
   a->map = map;
   return artifact_decode(a->map, a->map_size, a->map_size, a->path, &a->toc);
}

static sinter_status check_digest(const rt_artifact *a, const artifact_section *s)
{
   digest d = digest_bytes(a->map + s->offset, s->size);

   if (!digest_equal(&d, &s->digest))
      return base_fail(SINTER_verify_failed, a->path, remedy_again, "the section `%s` is damaged",
                       artifact_section_infos[s->id].name);
   if (artifact_section_infos[s->id].text && (!s->size || a->map[s->offset + s->size - 1]))
      return base_fail(SINTER_bad_input, a->path, remedy_again, "the section `%s` has no end",
                       artifact_section_infos[s->id].name);
   return SINTER_ok;
}

/* What is executed, or steers it, is checked before anything else looks at it. */
static bool is_checked_on_open(uint32_t id)
{
   return id == ARTIFACT_manifest || id == ARTIFACT_vocab || id == ARTIFACT_plan ||
          id == ARTIFACT_code || id == ARTIFACT_sums;
}

/* A tokenizer has megabytes, which would be most of a warm start: once per version of the file is
 * enough. */
static sinter_status check_on_open(const rt_artifact *a, const artifact_section *s)
{
   char cache[RT_CACHE_PATH];
   digest known;

   if (s->id != ARTIFACT_vocab)
      return check_digest(a, s);
   int64_t started = rt_memo_now();
   bool has_cache = rt_cache_of_artifact(a->path, cache);
   if (has_cache && rt_memo_get(cache, "vocab", &a->stat, &known) &&
       digest_equal(&known, &s->digest))
      return SINTER_ok;
   SINTER_TRY(check_digest(a, s));
   if (has_cache)
      rt_memo_put(cache, "vocab", &a->stat, &s->digest, started);
   return SINTER_ok;
}

static sinter_status decode_plans(void *user)
{
   rt_artifact *a = user;

   for (uint32_t t = 0; t < a->toc.num_targets; t++) {
      const artifact_section *s = artifact_find(&a->toc, ARTIFACT_plan, t);
      const artifact_section *w = artifact_find(&a->toc, ARTIFACT_weights, t);
      SINTER_TRY_IN(a->path, plan_decode(a->a, a->map + s->offset, s->size, w->size, &a->plans[t]));
   }
   return SINTER_ok;
}

static sinter_status open_all(rt_artifact *a)
{
   SINTER_TRY(open_file(a));
   for (uint32_t i = 0; i < a->toc.num_sections; i++)
      if (is_checked_on_open(a->toc.sections[i].id)) {
         SINTER_TRY(check_on_open(a, &a->toc.sections[i]));
         a->checked[i] = GOOD;
      }
   SINTER_TRY(arena_create(&a->a));
   return arena_catch(decode_plans, a);
}

sinter_status sinter_artifact_open(const char *path, sinter_artifact **out)
{
   sinter_artifact *a = calloc(1, sizeof *a);

   *out = NULL;
   if (!a || !(a->rt.path = strdup(path))) {
      free(a);
      return base_fail(SINTER_out_of_memory, path, "close other programs", "memory is exhausted");
   }
   a->rt.fd = -1;
   pthread_mutex_init(&a->rt.lock, NULL);
   sinter_status status = open_all(&a->rt);
   if (status == SINTER_ok)
      *out = a;
   else
      sinter_artifact_close(a);
   return status;
}

void sinter_artifact_close(sinter_artifact *public)
{
   if (!public)
      return;
   rt_artifact *a = &public->rt;
   for (int i = 0; i < RT_SLOT_COUNT; i++)
      if (a->attached[i] && a->destroy[i])
         a->destroy[i](a->attached[i]);
   for (uint32_t t = 0; t < ARTIFACT_MAX_TARGETS; t++)
      rt_weights_unmap(&a->weights[t]);
   if (a->map)
      munmap((void *)(uintptr_t)a->map, a->map_size);
   if (a->fd >= 0)
      close(a->fd);
   arena_destroy(a->a);
   pthread_mutex_destroy(&a->lock);
   free(a->path);
   free(public);
}

/* ---- what it holds ---- */

const rt_artifact *rt_artifact_of(const sinter_artifact *a)
{
   return &a->rt;
}

const char *rt_artifact_path(const rt_artifact *a)
{
   return a->path;
}

uint32_t rt_artifact_num_targets(const rt_artifact *a)
{
   return a->toc.num_targets;
}

const plan *rt_artifact_plan(const rt_artifact *a, uint32_t target)
{
   return target < a->toc.num_targets ? a->plans[target] : NULL;
}

/* The public interface promises an immutable artifact; what is found out on use is kept under its
 * lock. */
static rt_artifact *mutable(const rt_artifact *a)
{
   return (rt_artifact *)(uintptr_t)a;
}

static void list_targets(const rt_artifact *a, char *out, size_t size)
{
   size_t len = 0;

   out[0] = 0;
   for (uint32_t t = 0; t < a->toc.num_targets && len < size && !a->plans[t]->model.tower; t++)
      len += (size_t)snprintf(out + len, size - len, "%s%.40s", t ? ", " : "", a->plans[t]->target);
}

sinter_status rt_artifact_target(const rt_artifact *a, const char *device, bool tower,
                                 uint32_t *out_target)
{
   int best = -1;
   char have[256], remedy[80];

   for (uint32_t t = 0; t < a->toc.num_targets; t++) {
      int rank = rt_level_rank(device, a->plans[t]->target);
      if (rank > best && tower == (a->plans[t]->model.tower != 0)) {
         best = rank;
         *out_target = t;
      }
   }
   if (best >= 0)
      return SINTER_ok;
   if (tower && !a->plans[0]->model.vision.patch)
      return base_fail(SINTER_unsupported, a->path, "take text, or a model with a vision tower",
                       "this model sees no images");
   list_targets(a, have, sizeof have);
   bool is_cpu = strcmp(device, "cpu") == 0;
   snprintf(remedy, sizeof remedy, "sinter compile MODEL --target %.20s", device);
   return base_fail(SINTER_unsupported, a->path, remedy,
                    "the artifact holds %s; device %.20s needs target %.20s%s%s%s", have, device,
                    device, is_cpu ? ":" : "", is_cpu ? rt_level_name() : "",
                    is_cpu ? ", or a lower level" : "");
}

rt_bytes rt_artifact_section(const rt_artifact *a, artifact_section_id id, uint32_t target)
{
   const artifact_section *s = artifact_find(&a->toc, id, target);

   if (!s || id == ARTIFACT_weights)
      return (rt_bytes){0};
   rt_artifact *m = mutable(a);
   uint8_t *state = &m->checked[s - a->toc.sections];
   pthread_mutex_lock(&m->lock);
   if (*state == UNCHECKED)
      *state = check_digest(a, s) == SINTER_ok ? GOOD : DAMAGED;
   bool good = *state == GOOD;
   pthread_mutex_unlock(&m->lock);
   if (!good || !s->size)
      return (rt_bytes){0};
   return (rt_bytes){a->map + s->offset, s->size - artifact_section_infos[id].text};
}

sinter_status rt_artifact_attach(const rt_artifact *a, rt_slot slot, const rt_attachment *kind,
                                 void **out)
{
   rt_artifact *m = mutable(a);
   sinter_status status = SINTER_ok;

   /* make() reads sections, which take the lock: it runs outside, and the first result counts. */
   pthread_mutex_lock(&m->lock);
   *out = m->attached[slot];
   pthread_mutex_unlock(&m->lock);
   if (*out)
      return SINTER_ok;
   void *made = NULL;
   SINTER_TRY(kind->make(a, &made));
   pthread_mutex_lock(&m->lock);
   if (!m->attached[slot]) {
      m->attached[slot] = made;
      m->destroy[slot] = kind->destroy;
      made = NULL;
   }
   *out = m->attached[slot];
   pthread_mutex_unlock(&m->lock);
   if (made && kind->destroy)
      kind->destroy(made);
   return status;
}

/* ---- weights ---- */

/* Opens the file of external weights: <folder of the artifact>/weights/<digest>.weights. */
static sinter_status open_external(const rt_artifact *a, const artifact_section *s, int *out_fd,
                                   struct stat *out_stat)
{
   char name[80], path[4096];
   const char *slash = strrchr(a->path, '/');
   int folder = slash ? (int)(slash - a->path) + 1 : 0;

   artifact_weights_name(&s->digest, name);
   int n = snprintf(path, sizeof path, "%.*sweights/%s", folder, a->path, name);
   int fd = n < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
   if (fd < 0 || fstat(fd, out_stat) != 0) {
      if (fd >= 0)
         close(fd);
      return base_fail(SINTER_not_found, path,
                       "compile the model again with --no-cache; to copy an artifact out of the "
                       "cache, compile it with -o",
                       "the weights cannot be opened: %s", strerror(errno));
   }
   if ((uint64_t)out_stat->st_size != s->size) {
      close(fd);
      return base_fail(SINTER_bad_input, path, remedy_again,
                       "the weights have %lld bytes instead of %llu", (long long)out_stat->st_size,
                       (unsigned long long)s->size);
   }
   *out_fd = fd;
   return SINTER_ok;
}

static sinter_status compare_sums(const rt_artifact *a, int fd, const artifact_section *weights,
                                  const artifact_section *sums)
{
   return rt_weights_check(fd, weights->offset, weights->size, a->map + sums->offset,
                           sums->size / sizeof(uint64_t), a->path);
}

/* Compares the weights with their checksums, unless this version of the file is known to be good.
 */
static sinter_status check_weights(const rt_artifact *a, const artifact_section *sums, int fd,
                                   const artifact_section *weights, const struct stat *file)
{
   char cache[RT_CACHE_PATH];
   digest known;
   bool has_cache = rt_cache_of_artifact(a->path, cache);
   int64_t started = rt_memo_now();

   if (has_cache && rt_memo_get(cache, "weights", file, &known) &&
       digest_equal(&known, &sums->digest))
      return SINTER_ok;
   SINTER_TRY(compare_sums(a, fd, weights, sums));
   if (has_cache)
      rt_memo_put(cache, "weights", file, &sums->digest, started);
   return SINTER_ok;
}

static sinter_status load_weights(rt_artifact *a, uint32_t target)
{
   const artifact_section *s = artifact_find(&a->toc, ARTIFACT_weights, target);
   struct stat file = a->stat;
   int fd = a->fd;

   if (s->external)
      SINTER_TRY(open_external(a, s, &fd, &file));
   sinter_status status =
      check_weights(a, artifact_find(&a->toc, ARTIFACT_sums, target), fd, s, &file);
   if (status == SINTER_ok)
      status = rt_weights_map(fd, s->offset, s->size, a->path, &a->weights[target]);
   if (s->external)
      close(fd);
   a->has_weights[target] = status == SINTER_ok;
   return status;
}

sinter_status rt_artifact_weights(const rt_artifact *a, uint32_t target, rt_bytes *out)
{
   rt_artifact *m = mutable(a);
   sinter_status status = SINTER_ok;

   assert(target < a->toc.num_targets);
   pthread_mutex_lock(&m->lock);
   if (!m->has_weights[target])
      status = load_weights(m, target);
   *out = (rt_bytes){m->weights[target].data, m->weights[target].size};
   pthread_mutex_unlock(&m->lock);
   return status;
}

/* ---- the public side ---- */

static sinter_status verify_weights(const rt_artifact *a, uint32_t target)
{
   const artifact_section *s = artifact_find(&a->toc, ARTIFACT_weights, target);
   struct stat file;
   digest d;
   int fd = a->fd;

   if (s->external)
      SINTER_TRY(open_external(a, s, &fd, &file));
   sinter_status status = compare_sums(a, fd, s, artifact_find(&a->toc, ARTIFACT_sums, target));
   if (status == SINTER_ok)
      status = rt_weights_digest(fd, s->offset, s->size, a->path, &d);
   if (s->external)
      close(fd);
   SINTER_TRY(status);
   if (!digest_equal(&d, &s->digest))
      return base_fail(SINTER_verify_failed, a->path, remedy_again,
                       "the weights do not match their digest");
   return SINTER_ok;
}

/* Bytes that belong to no section are zero. */
static sinter_status verify_padding(const rt_artifact *a)
{
   uint64_t at = ARTIFACT_PAGE;

   for (uint32_t i = 0; i < a->toc.num_sections; i++) {
      const artifact_section *s = &a->toc.sections[i];
      if (s->external || s->offset < at)
         continue;
      for (; at < s->offset; at++)
         if (a->map[at])
            return base_fail(SINTER_verify_failed, a->path, remedy_again,
                             "byte %llu between sections is damaged", (unsigned long long)at);
      at = s->offset + s->size;
   }
   return SINTER_ok;
}

static sinter_status verify_all(rt_artifact *a)
{
   for (uint32_t i = 0; i < a->toc.num_sections; i++)
      if (a->toc.sections[i].id != ARTIFACT_weights)
         SINTER_TRY(check_digest(a, &a->toc.sections[i]));
   for (uint32_t t = 0; t < a->toc.num_targets; t++)
      SINTER_TRY(verify_weights(a, t));
   return verify_padding(a);
}

sinter_status sinter_artifact_verify(const char *path)
{
   sinter_artifact *a;

   SINTER_TRY(sinter_artifact_open(path, &a));
   sinter_status status = verify_all(&a->rt);
   sinter_artifact_close(a);
   return status;
}

void sinter_artifact_digest(const sinter_artifact *a, char out[65])
{
   digest_hex(&a->rt.toc.digest, out);
}

static sinter_status make_plan_json(void *user)
{
   rt_artifact *a = user;

   a->plan_json = rt_plan_json(a->a, (const plan *const *)a->plans, a->toc.num_targets);
   return SINTER_ok;
}

const char *sinter_artifact_document(const sinter_artifact *public, const char *name)
{
   const rt_artifact *a = &public->rt;

   if (strcmp(name, "plan") == 0) {
      rt_artifact *m = mutable(a);
      pthread_mutex_lock(&m->lock);
      if (!m->plan_json && arena_catch(make_plan_json, m) != SINTER_ok)
         m->plan_json = NULL;
      pthread_mutex_unlock(&m->lock);
      return a->plan_json;
   }
   for (int id = 0; id < ARTIFACT_SECTION_COUNT; id++)
      if (artifact_section_infos[id].text && strcmp(artifact_section_infos[id].name, name) == 0)
         return (const char *)rt_artifact_section(a, (artifact_section_id)id, 0).data;
   return NULL;
}

/* Whether a weight is only looked up, row by row: the embedding of a model with a head of its own.
 */
static bool is_lookup(const plan *p, const plan_weight *w)
{
   if (!w->num_sources || strcmp(w->sources[0].tensor, "token_embd.weight") != 0)
      return false;
   for (uint32_t i = 0; i < p->num_weights; i++)
      if (p->weights[i].num_sources &&
          strcmp(p->weights[i].sources[0].tensor, "output.weight") == 0)
         return true;
   return false;
}

/* Elements that one token is multiplied with: of experts only its own; a top's are those of the
 * weight beside it. */
static uint64_t elements_of(const plan *p, const plan_weight *w)
{
   uint64_t n = panel_infos[w->layout].kind == PANEL_KIND_TOP ? 0 : w->rows * w->cols;
   bool experts = w->stack > 1 && w->num_sources && strstr(w->sources[0].tensor, "_exps.");

   return experts && p->num_routes ? n / w->stack * p->routes[0].k : n;
}

static uint64_t weight_elements(const plan *p)
{
   uint64_t sum = 0;

   for (uint32_t i = 0; i < p->num_weights; i++)
      if (p->weights[i].rows > 1 && p->weights[i].cols > 1 && !is_lookup(p, &p->weights[i]))
         sum += elements_of(p, &p->weights[i]);
   return sum;
}

void sinter_artifact_info(const sinter_artifact *public, sinter_model_info *out)
{
   const rt_artifact *a = &public->rt;
   const plan_model *m = &a->plans[0]->model;
   sinter_model_info info = {
      .size = out->size,
      .vocab = m->vocab,
      .layers = m->layers,
      .width = m->width,
      .trained_context = m->trained_context,
      .bos = m->bos,
      .num_eos = (int32_t)m->num_eos,
      .eos = m->eos,
      .adds_bos = m->adds_bos,
      .has_chat_template = artifact_find(&a->toc, ARTIFACT_template, 0) != NULL,
      .weight_bytes = a->plans[0]->weight_bytes,
      .weight_elements = weight_elements(a->plans[0]),
      .hidden = m->head == PLAN_HEAD_hidden ? m->width : 0,
      .patch_width = plan_patch_width(&m->vision),
      .merge = m->vision.merge,
      .image_token = m->vision.patch ? m->vision.token : -1,
      .image_before = m->vision.patch ? m->vision.before : -1,
      .image_after = m->vision.patch ? m->vision.after : -1,
   };

   memcpy(out, &info, MIN(out->size, sizeof info));
}

uint32_t sinter_artifact_routes(const sinter_artifact *public, const sinter_route **out)
{
   const plan *p = public->rt.plans[0];

   _Static_assert(sizeof(sinter_route) == sizeof(plan_routes), "one layout, two names");
   *out = (const sinter_route *)(const void *)p->routes;
   return p->num_routes;
}
