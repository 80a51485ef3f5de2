/* json.c - a strict tree on yajl's SAX reader, and the writer. */
#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

#include "map.h"

enum { MAX_DEPTH = 64, HASHED_FROM = 16 };

/* A container that is still open. */
typedef struct frame {
   json *node;
   VEC(json *) items;
   VEC(const char *) keys;
   VEC(size_t) key_lens;
   map seen;
} frame;

typedef struct reader {
   arena *a;
   yajl_handle yajl;
   frame stack[MAX_DEPTH];
   int depth;
   json *root;
   const char *problem;
} reader;

/* Objects keep their map for json_get; small ones are searched. */
typedef struct object_json {
   json j;
   map members;
} object_json;

static int stop(reader *r, const char *problem)
{
   r->problem = problem;
   return 0;
}

static int add(reader *r, json *node)
{
   node->offset = yajl_get_bytes_consumed(r->yajl);
   if (r->depth == 0) {
      r->root = node;
      return 1;
   }
   frame *f = &r->stack[r->depth - 1];
   *vec_push(r->a, &f->items) = node;
   return 1;
}

static json *new_node(reader *r, json_kind kind)
{
   json *node = kind == JSON_object ? &arena_new(r->a, object_json)->j : arena_new(r->a, json);

   node->kind = kind;
   return node;
}

static int on_null(void *user)
{
   return add(user, new_node(user, JSON_null));
}

static int on_bool(void *user, int value)
{
   json *node = new_node(user, JSON_bool);

   node->boolean = value != 0;
   return add(user, node);
}

static int on_number(void *user, const char *text, size_t len)
{
   reader *r = user;
   char *copy = arena_strndup(r->a, text, len), *end;

   if (!strpbrk(copy, ".eE")) {
      errno = 0;
      long long v = strtoll(copy, &end, 10);
      if (errno == 0 && *end == 0) {
         json *node = new_node(r, JSON_int);
         node->integer = v;
         node->number = (double)v;
         return add(r, node);
      }
   }
   double v = strtod(copy, &end);
   if (*end || !isfinite(v))
      return stop(r, "number does not fit a double");
   json *node = new_node(r, JSON_float);
   node->number = v;
   return add(r, node);
}

static int on_string(void *user, const unsigned char *text, size_t len)
{
   reader *r = user;
   json *node = new_node(r, JSON_string);

   node->string = arena_strndup(r->a, (const char *)text, len);
   node->len = len;
   return add(r, node);
}

static int open_container(reader *r, json_kind kind)
{
   json *node = new_node(r, kind);

   if (r->depth == MAX_DEPTH)
      return stop(r, "nesting is deeper than 64 levels");
   add(r, node);
   r->stack[r->depth++] = (frame){.node = node, .seen = {.a = r->a}};
   return 1;
}

static int on_open_object(void *user)
{
   return open_container(user, JSON_object);
}

static int on_open_array(void *user)
{
   return open_container(user, JSON_array);
}

static int on_key(void *user, const unsigned char *text, size_t len)
{
   reader *r = user;
   frame *f = &r->stack[r->depth - 1];
   const char *key = arena_strndup(r->a, (const char *)text, len);

   /* The value comes next and lands at this index; +1 because a map value is never NULL. */
   if (map_set_n(&f->seen, key, len, (void *)(uintptr_t)(f->items.count + 1)))
      return stop(r, "duplicate key");
   *vec_push(r->a, &f->keys) = key;
   *vec_push(r->a, &f->key_lens) = len;
   return 1;
}

static int on_close(void *user)
{
   reader *r = user;
   frame *f = &r->stack[--r->depth];
   json *node = f->node;

   node->items = f->items.data;
   node->len = f->items.count;
   node->keys = f->keys.data;
   node->key_lens = f->key_lens.data;
   if (node->kind == JSON_object)
      ((object_json *)node)->members = f->seen;
   return 1;
}

static const yajl_callbacks callbacks = {
   .yajl_null = on_null,
   .yajl_boolean = on_bool,
   .yajl_number = on_number,
   .yajl_string = on_string,
   .yajl_start_map = on_open_object,
   .yajl_map_key = on_key,
   .yajl_end_map = on_close,
   .yajl_start_array = on_open_array,
   .yajl_end_array = on_close,
};

/* yajl allocates from the arena too, so that an unwinding compile leaks nothing. */
static void *yajl_alloc_arena(void *ctx, size_t size)
{
   size_t *block = arena_alloc(ctx, size + 16);

   *block = size;
   return (char *)block + 16;
}

static void *yajl_realloc_arena(void *ctx, void *p, size_t size)
{
   void *grown = yajl_alloc_arena(ctx, size);

   if (p)
      memcpy(grown, p, MIN(size, *(size_t *)((char *)p - 16)));
   return grown;
}

static void yajl_free_arena(void *ctx, void *p)
{
   (void)ctx;
   (void)p;
}

static sinter_status report(reader *r, const char *text, size_t len, const char *where)
{
   size_t at = yajl_get_bytes_consumed(r->yajl);
   char place[512];

   snprintf(place, sizeof place, "%s: byte %zu of %zu", where, MIN(at, len), len);
   if (r->problem)
      return base_fail(SINTER_bad_input, place, "check the file against the JSON grammar",
                       "JSON: %s", r->problem);
   unsigned char *why = yajl_get_error(r->yajl, 0, (const unsigned char *)text, len);
   size_t n = why ? strcspn((const char *)why, "\n") : 0;
   return base_fail(SINTER_bad_input, place, "check the file against the JSON grammar",
                    "JSON: %.*s", (int)n, why ? (const char *)why : "malformed");
}

sinter_status json_parse(arena *a, const char *text, size_t len, const char *where, json **out)
{
   yajl_alloc_funcs funcs = {yajl_alloc_arena, yajl_realloc_arena, yajl_free_arena, a};
   reader *r = arena_new(a, reader);

   r->a = a;
   r->yajl = yajl_alloc(&callbacks, &funcs, r);
   yajl_status status = yajl_parse(r->yajl, (const unsigned char *)text, len);
   if (status == yajl_status_ok)
      status = yajl_complete_parse(r->yajl);
   if (status == yajl_status_ok && !r->root) {
      r->problem = "no value";
      status = yajl_status_error;
   }
   if (status != yajl_status_ok)
      return report(r, text, len, where);
   *out = r->root;
   return SINTER_ok;
}

const json *json_get(const json *j, const char *key)
{
   if (!j || j->kind != JSON_object)
      return NULL;
   size_t len = strlen(key);
   if (j->len >= HASHED_FROM) {
      const object_json *object = (const object_json *)j;
      uintptr_t index = (uintptr_t)map_get_n(&object->members, key, len);
      return index ? j->items[index - 1] : NULL;
   }
   for (size_t i = 0; i < j->len; i++)
      if (j->key_lens[i] == len && memcmp(j->keys[i], key, len) == 0)
         return j->items[i];
   return NULL;
}

void json_write_string(text_buf *t, const char *s, size_t len)
{
   text_append(t, "\"", 1);
   for (size_t i = 0; i < len; i++) {
      unsigned char c = (unsigned char)s[i];
      if (c == '"' || c == '\\')
         text_printf(t, "\\%c", c);
      else if (c == '\n')
         text_append(t, "\\n", 2);
      else if (c < 0x20 || c == 0x7f)
         text_printf(t, "\\u%04x", c);
      else
         text_append(t, (const char *)&s[i], 1);
   }
   text_append(t, "\"", 1);
}

void json_write_double(text_buf *t, double v)
{
   char text[40];

   if (!isfinite(v)) {
      text_append(t, "null", 4);
      return;
   }
   /* The shortest of 15 to 17 digits that reads back the same. */
   for (int digits = 15; digits <= 17; digits++) {
      snprintf(text, sizeof text, "%.*g", digits, v);
      if (strtod(text, NULL) == v)
         break;
   }
   text_append(t, text, strlen(text));
}

void json_write(text_buf *t, const json *j)
{
   switch (j->kind) {
   case JSON_null: text_printf(t, "null"); break;
   case JSON_bool: text_printf(t, j->boolean ? "true" : "false"); break;
   case JSON_int: text_printf(t, "%lld", (long long)j->integer); break;
   case JSON_float: json_write_double(t, j->number); break;
   case JSON_string: json_write_string(t, j->string, j->len); break;
   case JSON_array:
   case JSON_object:
      text_printf(t, j->kind == JSON_array ? "[" : "{");
      for (size_t i = 0; i < j->len; i++) {
         text_printf(t, i ? "," : "");
         if (j->kind == JSON_object) {
            json_write_string(t, j->keys[i], j->key_lens[i]);
            text_printf(t, ":");
         }
         json_write(t, j->items[i]);
      }
      text_printf(t, j->kind == JSON_array ? "]" : "}");
      break;
   }
}

const char *json_text_of(arena *a, const json *j)
{
   text_buf t = {.a = a};

   if (!j)
      return "nothing";
   json_write(&t, j);
   return t.data;
}
