/* events.c - rings that the engines fill, and the thread that publishes them. */
#include "events.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "msgpack.h"

enum { RING = 4096, BATCH = 64, KEPT = 2048, TOKENS = 16, HIGH_WATER = 100000 };

/* As in zmq.h, whose binary interface does not change within libzmq.so.5. */
enum { ZMQ_PUB = 1, ZMQ_ROUTER = 6, ZMQ_DONTWAIT = 1, ZMQ_SNDMORE = 2, ZMQ_POLLIN = 1 };
enum { ZMQ_RCVMORE = 13, ZMQ_LINGER = 17, ZMQ_SNDHWM = 23 };

typedef struct zmq_item {
   void *socket;
   int fd;
   short events, revents;
} zmq_item;

static struct {
#define ZMQ(result, name, arguments) result(*name) arguments;
#include "zmq_api.def"
#undef ZMQ
} zmq;

typedef enum entry_kind { STORED, REMOVED, CLEARED, ALL } entry_kind;

/* What the engine's callback does. */
typedef enum telling { TELL, COLLECT, MEASURE } telling;

typedef struct entry {
   entry_kind kind;
   bool has_parent, is_state;
   uint64_t hash, parent;
   uint32_t group, window;
   uint32_t num_all; /* of ALL: what can be found, in an array that the publisher frees */
   struct entry *all;
   int32_t tokens[TOKENS];
} entry;

struct events_source {
   events *owner;
   char topic[256];
   entry *ring;
   atomic_ulong head, tail; /* written by the engine's thread, by the publisher */
   bool lost;               /* events did not fit: what was told is not all */
   entry *all;              /* collected for a new beginning */
   uint32_t num_all, cap_all;
   telling telling;
   uint64_t blocks, sum; /* of MEASURE */
   atomic_ulong published, resyncs;
   events_source *next;
};

typedef struct batch {
   const events_source *source;
   buffer payload;
} batch;

struct events {
   bool maps; /* the dialect: maps with a "type", or arrays */
   unsigned long ring;
   int wake;
   void *context, *out, *router;
   pthread_t thread;
   atomic_bool stop;
   pthread_mutex_t adding;
   _Atomic(events_source *) sources;
   batch kept[KEPT]; /* by sequence */
   uint64_t sequence;
};

/* ---- the engine's side ---- */

static entry *append_all(events_source *s)
{
   if (s->num_all == s->cap_all) {
      s->cap_all = s->cap_all ? 2 * s->cap_all : 256;
      s->all = realloc(s->all, s->cap_all * sizeof *s->all);
      if (!s->all)
         exit(6);
   }
   return &s->all[s->num_all++];
}

/* The next free entry; NULL when the ring is full. */
static entry *reserve(events_source *s)
{
   unsigned long head = atomic_load_explicit(&s->head, memory_order_relaxed);

   if (head - atomic_load_explicit(&s->tail, memory_order_acquire) >= s->owner->ring)
      return NULL;
   return &s->ring[head % s->owner->ring];
}

static void push(events_source *s)
{
   atomic_fetch_add_explicit(&s->head, 1, memory_order_release);
}

void events_tell(void *user, const sinter_kv_event *event)
{
   events_source *s = user;

   if (s->telling == MEASURE) {
      s->blocks++;
      s->sum += (event->hash ^ event->group) & 0xffffffff;
      return;
   }
   entry *to = s->telling == COLLECT ? append_all(s) : s->lost ? NULL : reserve(s);

   if (!to) {
      s->lost = true;
      return;
   }
   *to = (entry){.kind = event->removed ? REMOVED : STORED,
                 .has_parent = event->has_parent,
                 .is_state = event->is_state,
                 .hash = event->hash,
                 .parent = event->parent,
                 .group = event->group,
                 .window = event->window};
   memcpy(to->tokens, event->tokens, sizeof to->tokens);
   if (s->telling == TELL)
      push(s);
}

static bool is_empty(const events_source *s)
{
   return atomic_load_explicit(&s->head, memory_order_relaxed) ==
          atomic_load_explicit(&s->tail, memory_order_acquire);
}

/* Asks the engine for everything, as one entry of the empty ring. */
static void begin_again(events_source *s, sinter_engine *engine)
{
   entry *to = reserve(s);

   s->telling = COLLECT;
   sinter_engine_kv_blocks(engine);
   s->telling = TELL;
   *to = (entry){.kind = ALL, .all = s->all, .num_all = s->num_all};
   s->all = NULL;
   s->num_all = s->cap_all = 0;
   s->lost = false;
   push(s);
   atomic_fetch_add(&s->resyncs, 1);
}

static void wake(const events *e)
{
   (void)!write(e->wake, &(uint64_t){1},
                sizeof(uint64_t)); /* does not block: a full counter wakes, too */
}

void events_flush(events_source *s, sinter_engine *engine)
{
   if (!s)
      return;
   if (s->lost && is_empty(s))
      begin_again(s, engine);
   if (!is_empty(s))
      wake(s->owner);
}

void events_clear(events_source *s)
{
   entry *to;

   if (!s)
      return;
   while (!(to = reserve(s))) { /* no step waits for this */
      wake(s->owner);
      usleep(1000);
   }
   *to = (entry){.kind = CLEARED};
   push(s);
   s->lost = false;
   wake(s->owner);
}

bool events_are_lost(const events_source *s)
{
   return s && s->lost;
}

void events_measure(events_source *s, sinter_engine *engine, uint64_t *out_blocks,
                    uint64_t *out_sum)
{
   if (!s)
      return;
   s->blocks = s->sum = 0;
   s->telling = MEASURE;
   sinter_engine_kv_blocks(engine);
   s->telling = TELL;
   *out_blocks = s->blocks;
   *out_sum = s->sum;
}

uint64_t events_published(const events_source *s)
{
   return s ? atomic_load(&s->published) : 0;
}

uint64_t events_resyncs(const events_source *s)
{
   return s ? atomic_load(&s->resyncs) : 0;
}

/* ---- events as bytes ---- */

static void key(buffer *b, bool maps, const char *name)
{
   if (maps)
      pack_string(b, name);
}

static void one_hash(buffer *b, uint64_t hash)
{
   pack_array(b, 1);
   pack_uint(b, hash);
}

static const char *spec_kind(const entry *x)
{
   return x->is_state ? "mamba" : x->window ? "sliding_window" : "full_attention";
}

/* block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium, lora_name, extra_keys,
 * group_idx, then of which layers. */
static void pack_stored(buffer *b, bool maps, const entry *x)
{
   key(b, maps, "block_hashes");
   one_hash(b, x->hash);
   key(b, maps, "parent_block_hash");
   if (x->has_parent)
      pack_uint(b, x->parent);
   else
      pack_nil(b);
   key(b, maps, "token_ids");
   pack_array(b, TOKENS);
   for (uint32_t i = 0; i < TOKENS; i++)
      pack_uint(b, (uint64_t)x->tokens[i]);
   key(b, maps, "block_size");
   pack_uint(b, TOKENS);
   key(b, maps, "lora_id");
   pack_nil(b);
   key(b, maps, "medium");
   pack_string(b, "CPU");
   key(b, maps, "lora_name");
   pack_nil(b);
   key(b, maps, "extra_keys");
   pack_nil(b);
   key(b, maps, "group_idx");
   pack_uint(b, x->group);
   key(b, maps, "kv_cache_spec_kind");
   pack_string(b, spec_kind(x));
   key(b, maps, "kv_cache_spec_sliding_window");
   if (x->window)
      pack_uint(b, x->window);
   else
      pack_nil(b);
}

static void pack_entry(buffer *b, bool maps, const entry *x)
{
   static const char *const names[] = {"BlockStored", "BlockRemoved", "AllBlocksCleared"};
   static const uint32_t fields[] = {11, 3, 0};

   if (maps)
      pack_map(b, fields[x->kind] + 1);
   else
      pack_array(b, fields[x->kind] + 1);
   key(b, maps, "type");
   pack_string(b, names[x->kind]);
   if (x->kind == STORED)
      pack_stored(b, maps, x);
   if (x->kind != REMOVED)
      return;
   key(b, maps, "block_hashes");
   one_hash(b, x->hash);
   key(b, maps, "medium");
   pack_string(b, "CPU");
   key(b, maps, "group_idx");
   pack_uint(b, x->group);
}

/* ---- the publisher ---- */

static void send_part(void *socket, const void *data, size_t size, bool more)
{
   /* A subscriber that does not read loses messages, and sees it by their numbers. */
   (void)zmq.send(socket, data, size, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
}

static void send_number(void *socket, uint64_t n)
{
   unsigned char bytes[8];

   for (int i = 0; i < 8; i++)
      bytes[i] = (unsigned char)(n >> (56 - 8 * i));
   send_part(socket, bytes, sizeof bytes, true);
}

/* Sends `count` events as one message, and keeps it for replay. */
static void publish(events *e, events_source *s, const entry *list, uint32_t count)
{
   batch *kept = &e->kept[e->sequence % KEPT];
   buffer *b = &kept->payload;
   struct timespec t;

   clock_gettime(CLOCK_REALTIME, &t);
   kept->source = s;
   b->len = 0;
   pack_array(b, 3);
   pack_double(b, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
   pack_array(b, count);
   for (uint32_t i = 0; i < count; i++)
      pack_entry(b, e->maps, &list[i]);
   pack_uint(b, 0);
   send_part(e->out, s->topic, strlen(s->topic), true);
   send_number(e->out, e->sequence++);
   send_part(e->out, b->data, b->len, false);
   atomic_fetch_add(&s->published, count);
}

static void publish_all(events *e, events_source *s, entry *x)
{
   publish(e, s, &(entry){.kind = CLEARED}, 1);
   for (uint32_t i = 0; i < x->num_all; i += BATCH)
      publish(e, s, x->all + i, x->num_all - i < BATCH ? x->num_all - i : BATCH);
   free(x->all);
}

/* One round over a ring; true when there was something. */
static bool drain(events *e, events_source *s)
{
   unsigned long tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
   unsigned long head = atomic_load_explicit(&s->head, memory_order_acquire);
   entry list[BATCH];
   uint32_t n = 0;

   while (tail != head && n < BATCH && s->ring[tail % e->ring].kind != ALL)
      list[n++] = s->ring[tail++ % e->ring];
   if (n) {
      publish(e, s, list, n);
   } else if (tail != head) {
      publish_all(e, s, &s->ring[tail++ % e->ring]);
      n = 1;
   }
   atomic_store_explicit(&s->tail, tail, memory_order_release);
   return n > 0;
}

static void drain_rings(events *e)
{
   for (events_source *s = e->sources; s; s = s->next) {
      while (drain(e, s))
         ;
   }
}

/* Batch `sequence` to a client that asked; the end mark with source NULL. */
static void send_replay(events *e, const char *id, size_t id_len, uint64_t sequence,
                        const batch *kept)
{
   const char *topic = kept ? kept->source->topic : "";

   send_part(e->router, id, id_len, true);
   send_part(e->router, "", 0, true);
   if (e->maps)
      send_part(e->router, topic, strlen(topic), true);
   send_number(e->router, sequence);
   send_part(e->router, kept ? kept->payload.data : "", kept ? kept->payload.len : 0, false);
}

/* One request: who asks, an empty part, the first number wanted. Everything else is dropped. */
static bool answer_replay(events *e)
{
   unsigned char parts[3][256];
   int sizes[3] = {0}, more = 1, n = 0;

   while (more) {
      unsigned char rest[256];
      size_t size = sizeof more;
      int got = zmq.recv(e->router, n < 3 ? parts[n] : rest, sizeof rest, ZMQ_DONTWAIT);

      if (got < 0)
         return false;
      if (n < 3)
         sizes[n] = got;
      n++;
      if (zmq.getsockopt(e->router, ZMQ_RCVMORE, &more, &size) != 0)
         return false;
   }
   if (n != 3 || sizes[0] > 255 || sizes[1] != 0 || sizes[2] != 8)
      return true;
   uint64_t from = 0;
   for (int i = 0; i < 8; i++)
      from = from << 8 | parts[2][i];
   uint64_t oldest = e->sequence > KEPT ? e->sequence - KEPT : 0;
   for (uint64_t q = from > oldest ? from : oldest; q < e->sequence; q++)
      send_replay(e, (char *)parts[0], (size_t)sizes[0], q, &e->kept[q % KEPT]);
   send_replay(e, (char *)parts[0], (size_t)sizes[0], UINT64_MAX, NULL);
   return true;
}

static void *run(void *user)
{
   events *e = user;

   while (!e->stop) {
      zmq_item items[2] = {{.fd = e->wake, .events = ZMQ_POLLIN},
                           {.socket = e->router, .events = ZMQ_POLLIN}};
      uint64_t count;

      if (zmq.poll(items, e->router ? 2 : 1, -1) < 0 && errno != EINTR)
         break;
      (void)!read(e->wake, &count, sizeof count);
      drain_rings(e);
      while (e->router && answer_replay(e))
         ;
   }
   drain_rings(e);
   return NULL;
}

/* ---- life ---- */

static bool load_library(void)
{
   void *library = dlopen("libzmq.so.5", RTLD_NOW | RTLD_LOCAL);
   bool ok = library != NULL;

#define ZMQ(result, name, arguments)                                                               \
   if (ok) {                                                                                       \
      void *address = dlsym(library, "zmq_" #name);                                                \
      memcpy(&zmq.name, &address, sizeof address);                                                 \
      ok = address != NULL;                                                                        \
   }
#include "zmq_api.def"
#undef ZMQ
   return ok;
}

static void *open_socket(events *e, int type, const char *where)
{
   int high = HIGH_WATER, linger = 200;
   void *socket = zmq.socket(e->context, type);

   if (!socket)
      return NULL;
   (void)zmq.setsockopt(socket, ZMQ_SNDHWM, &high, sizeof high);
   (void)zmq.setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
   if (zmq.bind(socket, where) == 0)
      return socket;
   int error = errno;
   (void)zmq.close(socket);
   (void)cli_fail(1, where, "name an address of this machine, as tcp://127.0.0.1:5557",
                  "events cannot be published there: %s", strerror(error));
   return NULL;
}

/* Every machine may read what is published, and there is no key: as for --host. */
static bool may_bind(const options *o, const char *where)
{
   bool local = !where || strncmp(where, "tcp://127.", 10) == 0 ||
                strncmp(where, "ipc://", 6) == 0 || strncmp(where, "tcp://[::1]", 11) == 0;

   if (!local && !o->insecure)
      (void)cli_fail(1, where,
                     "use tcp://127.0.0.1:PORT or ipc://PATH, or --insecure if that is meant",
                     "other machines could read which prompts are cached");
   return local || o->insecure;
}

bool events_open(const options *o, events **out)
{
   const char *dialect = o->kv_dialect ? o->kv_dialect : "map";
   int64_t ring = cli_int(o->kv_queue, RING);

   *out = NULL;
   if (!o->kv_events)
      return true;
   if ((strcmp(dialect, "map") != 0 && strcmp(dialect, "array") != 0) || ring < 1 ||
       ring > 1 << 24) {
      (void)cli_usage_error("--kv-dialect is map or array, --kv-queue from 1 to 16777216");
      return false;
   }
   if (!may_bind(o, o->kv_events) || !may_bind(o, o->kv_replay))
      return false;
   if (!load_library()) {
      (void)cli_fail(1, "--kv-events", "install libzmq5", "the library for events is not there");
      return false;
   }
   events *e = calloc(1, sizeof *e);
   if (!e)
      exit(6);
   e->maps = strcmp(dialect, "map") == 0;
   e->ring = (unsigned long)ring;
   pthread_mutex_init(&e->adding, NULL);
   e->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
   e->context = zmq.ctx_new();
   e->out = open_socket(e, ZMQ_PUB, o->kv_events);
   e->router = e->out && o->kv_replay ? open_socket(e, ZMQ_ROUTER, o->kv_replay) : NULL;
   if (!e->out || (o->kv_replay && !e->router))
      return false; /* the process ends */
   *out = e;
   return pthread_create(&e->thread, NULL, run, e) == 0;
}

events_source *events_add(events *e, const char *model)
{
   if (!e)
      return NULL;
   events_source *s = calloc(1, sizeof *s);
   if (!s || !(s->ring = calloc(e->ring, sizeof *s->ring)))
      exit(6);
   s->owner = e;
   snprintf(s->topic, sizeof s->topic, "kv@sinter@%s", model);
   pthread_mutex_lock(&e->adding);
   s->next = e->sources;
   e->sources = s;
   pthread_mutex_unlock(&e->adding);
   events_clear(s); /* whoever listens: this is a new beginning */
   return s;
}

void events_close(events *e)
{
   if (!e)
      return;
   e->stop = true;
   wake(e);
   pthread_join(e->thread, NULL);
   (void)zmq.close(e->out);
   if (e->router)
      (void)zmq.close(e->router);
   (void)zmq.ctx_term(e->context);
   close(e->wake);
   for (events_source *s = e->sources, *next; s; s = next) {
      next = s->next;
      free(s->ring);
      free(s->all);
      free(s);
   }
   for (size_t i = 0; i < KEPT; i++)
      buffer_free(&e->kept[i].payload);
   free(e);
}
