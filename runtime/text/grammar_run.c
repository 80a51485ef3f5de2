/* grammar_run.c - follows a text through a grammar, and finds the tokens that may come next.
 *
 * A place in the text is a set of (state, stack) pairs. Sets and stacks are stored once and
 * numbered, and the steps between sets are remembered, so that a walk over the vocabulary is mostly
 * a table look-up a byte. All tables have fixed sizes; when they are full they are emptied but for
 * the current place, and what lies behind it is found once more. */
#include <stdlib.h>

#include "grammar_automaton.h"

enum {
   MAX_PLACES = 2048,
   MAX_PAIRS = 1 << 15,
   MAX_FRAMES = 1 << 13,
   MAX_DEPTH = 256,    /* of a stack */
   MAX_CLOSURE = 4096, /* pairs met on the way to one place */
   MAX_WORK = 1 << 20, /* pairs met for one mask: some ten milliseconds */
   SEEN = 2 * 8192,    /* slots; twice what is met at most, and a power of two */
   MASKS = 24,         /* places whose tokens are remembered */
   UNKNOWN = 0xffff,   /* a step not taken yet */
   DEAD = 0,           /* the place that no text leads out of */
   NO_MASK = 0xff,
};

typedef struct pair {
   uint32_t state, frame;
} pair;

/* One return address; frame 0 is the empty stack. */
typedef struct frame {
   uint32_t back, below;
   uint16_t depth;
} frame;

typedef struct place {
   uint32_t first, count; /* pairs */
   bool complete;
   uint8_t mask;
} place;

typedef struct seen {
   uint32_t round;
   pair at;
} seen;

struct grammar_run {
   const grammar *g;
   const grammar_vocab *v;
   grammar_ends ends;
   uint32_t num_tokens;
   uint32_t now; /* the current place */
   bool is_full;
   /* places */
   uint32_t num_places, num_pairs, num_frames;
   place *places;
   uint16_t *steps; /* [place][class] */
   pair *pairs;
   frame *frames, *spare;
   uint16_t *place_slots; /* hash tables of numbers, 0 is free */
   uint16_t *frame_slots;
   /* the place being made */
   uint32_t round, num_found, num_todo, num_met, work;
   bool found_end;
   seen *seen;
   pair *found, *todo;
   /* masks */
   uint32_t *masks;
   uint32_t mask_words, next_mask;
   uint32_t mask_of[MASKS]; /* place, DEAD is none */
};

static uint32_t mix(uint32_t x, uint32_t y)
{
   uint64_t h = ((uint64_t)x << 32 | y) * 0x9e3779b97f4a7c15u;

   return (uint32_t)(h >> 32);
}

/* ---- stacks ---- */

/* 0 when there is no room. */
static uint32_t push_frame(grammar_run *r, uint32_t back, uint32_t below)
{
   uint32_t at = mix(back, below);

   for (;; at++) {
      uint16_t *slot = &r->frame_slots[at & (2 * MAX_FRAMES - 1)];
      if (!*slot) {
         if (r->num_frames == MAX_FRAMES) {
            r->is_full = true;
            return 0;
         }
         r->frames[r->num_frames] = (frame){back, below, (uint16_t)(r->frames[below].depth + 1)};
         *slot = (uint16_t)r->num_frames++;
      }
      if (r->frames[*slot].back == back && r->frames[*slot].below == below)
         return *slot;
   }
}

/* ---- places ---- */

static void begin(grammar_run *r)
{
   if (++r->round == 0) {
      memset(r->seen, 0, SEEN * sizeof *r->seen);
      r->round = 1;
   }
   r->num_found = r->num_todo = r->num_met = 0;
   r->found_end = false;
}

/* Notes a pair that can be reached without a byte, once. */
static void meet(grammar_run *r, uint32_t state, uint32_t frame_at)
{
   uint32_t at = mix(state, frame_at);

   for (;; at++) {
      seen *s = &r->seen[at & (SEEN - 1)];
      if (s->round == r->round && s->at.state == state && s->at.frame == frame_at)
         return;
      if (s->round != r->round) {
         if (r->num_met >= MAX_CLOSURE || r->work >= MAX_WORK) {
            r->is_full = true;
            return;
         }
         r->num_met++;
         r->work++;
         *s = (seen){r->round, {state, frame_at}};
         r->todo[r->num_todo++] = s->at;
         return;
      }
   }
}

static void follow(grammar_run *r)
{
   while (r->num_todo > 0 && !r->is_full) {
      pair p = r->todo[--r->num_todo];
      const grammar_state *s = &r->g->states[p.state];
      const frame *f = &r->frames[p.frame];

      switch (s->kind) {
      case GRAMMAR_byte: r->found[r->num_found++] = p; break;
      case GRAMMAR_jump: meet(r, s->a, p.frame); break;
      case GRAMMAR_split:
         meet(r, s->b, p.frame);
         meet(r, s->a, p.frame);
         break;
      case GRAMMAR_call:
         if (f->depth < MAX_DEPTH) {
            uint32_t inner = push_frame(r, s->b, p.frame);
            if (!r->is_full)
               meet(r, s->a, inner);
         }
         break;
      case GRAMMAR_ret:
         if (p.frame)
            meet(r, f->back, f->below);
         else
            r->found_end = true;
         break;
      default: break;
      }
   }
}

static int by_number(const void *x, const void *y)
{
   const pair *a = x, *b = y;

   if (a->state != b->state)
      return a->state < b->state ? -1 : 1;
   return (a->frame > b->frame) - (a->frame < b->frame);
}

static bool is_found(const grammar_run *r, const place *p)
{
   return p->count == r->num_found && p->complete == r->found_end &&
          memcmp(r->pairs + p->first, r->found, p->count * sizeof *r->found) == 0;
}

static bool has_room(const grammar_run *r)
{
   return r->num_places < MAX_PLACES && r->num_pairs + r->num_found <= MAX_PAIRS;
}

/* The number of the place that was found; DEAD with is_full when there is no room. */
static uint32_t settle(grammar_run *r)
{
   uint32_t at = r->found_end;

   follow(r);
   if (r->is_full || (!r->num_found && !r->found_end))
      return DEAD;
   /* Larger sets stay in the order they were found in: then the same set may have several
    * numbers. */
   if (r->num_found < 16)
      for (uint32_t i = 1; i < r->num_found; i++) {
         pair p = r->found[i];
         uint32_t k = i;
         for (; k > 0 && by_number(&r->found[k - 1], &p) > 0; k--)
            r->found[k] = r->found[k - 1];
         r->found[k] = p;
      }
   for (uint32_t i = 0; i < r->num_found; i++)
      at = mix(at ^ r->found[i].state, r->found[i].frame);
   for (;; at++) {
      uint16_t *slot = &r->place_slots[at & (2 * MAX_PLACES - 1)];
      if (*slot && is_found(r, &r->places[*slot]))
         return *slot;
      if (*slot)
         continue;
      if (!has_room(r)) {
         r->is_full = true;
         return DEAD;
      }
      place *p = &r->places[r->num_places];
      *p = (place){r->num_pairs, r->num_found, r->found_end, NO_MASK};
      memcpy(r->pairs + p->first, r->found, p->count * sizeof *r->found);
      r->num_pairs += p->count;
      memset(r->steps + (size_t)r->num_places * r->g->num_classes, 0xff,
             r->g->num_classes * sizeof *r->steps);
      *slot = (uint16_t)r->num_places;
      return r->num_places++;
   }
}

/* Whether it is the space that is not shown, and so none of the grammar's own. */
static bool is_hidden(const grammar_run *r, const place *p, uint8_t byte)
{
   bool is_begin = false;

   for (uint32_t i = 0; i < p->count && byte == ' '; i++)
      is_begin |= r->pairs[p->first + i].state == r->g->start_behind_space;
   return is_begin;
}

static uint32_t make_step(grammar_run *r, uint32_t from, uint32_t class)
{
   const place *p = &r->places[from];
   uint8_t byte = r->g->byte_of[class];
   bool hidden = is_hidden(r, p, byte);

   begin(r);
   for (uint32_t i = 0; i < p->count; i++) {
      pair at = r->pairs[p->first + i];
      const grammar_state *s = &r->g->states[at.state];
      if (hidden && at.state != r->g->start_behind_space)
         continue;
      if (s->lo <= byte && byte <= s->hi)
         meet(r, s->a, at.frame);
   }
   uint32_t to = settle(r);
   if (!r->is_full)
      r->steps[(size_t)from * r->g->num_classes + class] = (uint16_t)to;
   return to;
}

static inline uint32_t step(grammar_run *r, uint32_t from, uint8_t byte)
{
   uint32_t class = r->g->class_of[byte];
   uint32_t to = r->steps[(size_t)from * r->g->num_classes + class];

   return to != UNKNOWN ? to : make_step(r, from, class);
}

/* ---- when tables are full ---- */

static void empty(grammar_run *r)
{
   memset(r->place_slots, 0, 2 * MAX_PLACES * sizeof *r->place_slots);
   memset(r->frame_slots, 0, 2 * MAX_FRAMES * sizeof *r->frame_slots);
   memset(r->mask_of, 0, sizeof r->mask_of);
   r->is_full = false;
   r->num_pairs = 0;
   r->num_frames = 1;
   r->frames[0] = (frame){0};
   r->num_places = 1;
   r->places[DEAD] = (place){.mask = NO_MASK};
   memset(r->steps, 0, r->g->num_classes * sizeof *r->steps);
}

/* A stack of the old table in the new one. */
static uint32_t move_frame(grammar_run *r, const frame *old, uint32_t at)
{
   uint32_t chain[MAX_DEPTH + 1], n = 0, out = 0;

   for (; at; at = old[at].below)
      chain[n++] = at;
   while (n-- > 0)
      out = push_frame(r, old[chain[n]].back, out);
   return out;
}

/* Keeps the current place only. */
static void restart(grammar_run *r)
{
   place p = r->places[r->now];
   frame *old = r->frames;

   /* The pairs wait in `todo`, whose size holds a whole closure. */
   memcpy(r->todo, r->pairs + p.first, p.count * sizeof *r->todo);
   r->frames = r->spare;
   r->spare = old;
   empty(r);
   begin(r);
   for (uint32_t i = 0; i < p.count; i++)
      r->found[i] = (pair){r->todo[i].state, move_frame(r, old, r->todo[i].frame)};
   r->num_found = p.count;
   r->found_end = p.complete;
   r->now = settle(r);
}

/* ---- tokens ---- */

/* The bytes behind the current place once more, when tables were full on the way: what lies aside
 * is forgotten. is_full when they do not even hold this way, or it took too much. */
static uint32_t walk_again(grammar_run *r, uint16_t *path, const uint8_t *bytes, uint32_t depth)
{
   if (r->work >= MAX_WORK)
      return DEAD;
   restart(r);
   path[0] = (uint16_t)r->now;
   for (uint32_t i = 1; i <= depth && !r->is_full; i++)
      path[i] = (uint16_t)step(r, path[i - 1], bytes[i]);
   return path[depth];
}

static void walk(grammar_run *r, uint32_t *mask)
{
   const grammar_vocab *v = r->v;
   uint16_t path[GRAMMAR_MAX_TOKEN + 1] = {(uint16_t)r->now};
   uint8_t bytes[GRAMMAR_MAX_TOKEN + 1];

   for (uint32_t i = 1; i < v->num_nodes && !r->is_full;) {
      const grammar_node *n = &v->nodes[i];
      bytes[n->depth] = n->byte;
      uint32_t at = step(r, path[n->depth - 1], n->byte);
      if (r->is_full)
         at = walk_again(r, path, bytes, n->depth);
      if (at == DEAD) {
         i = n->skip;
         continue;
      }
      path[n->depth] = (uint16_t)at;
      for (uint32_t k = 0; k < n->count; k++) {
         uint32_t id = (uint32_t)v->sorted[n->first + k];
         if (id < r->num_tokens)
            mask[id / 32] |= 1u << id % 32;
      }
      i++;
   }
}

static uint32_t *fill(grammar_run *r)
{
   uint32_t slot = r->next_mask, *mask = r->masks + (size_t)slot * r->mask_words;

   memset(mask, 0, r->mask_words * sizeof *mask);
   if (r->mask_of[slot])
      r->places[r->mask_of[slot]].mask = NO_MASK;
   r->mask_of[slot] = DEAD;
   walk(r, mask);
   if (r->is_full)
      return NULL;
   for (uint32_t i = 0; r->places[r->now].complete && i < r->ends.count; i++) {
      uint32_t id = (uint32_t)r->ends.ids[i];
      if (id < r->num_tokens)
         mask[id / 32] |= 1u << id % 32;
   }
   r->places[r->now].mask = (uint8_t)slot;
   r->mask_of[slot] = r->now;
   r->next_mask = (slot + 1) % MASKS;
   return mask;
}

const uint32_t *grammar_run_mask(grammar_run *r)
{
   uint8_t known = r->places[r->now].mask;

   if (known != NO_MASK)
      return r->masks + (size_t)known * r->mask_words;
   if (r->num_places > MAX_PLACES * 3 / 4 || r->num_pairs > MAX_PAIRS * 3 / 4 ||
       r->num_frames > MAX_FRAMES * 3 / 4)
      restart(r);
   r->work = 0;
   return fill(r);
}

static bool is_end(const grammar_run *r, int32_t id)
{
   for (uint32_t i = 0; i < r->ends.count; i++)
      if (r->ends.ids[i] == id)
         return true;
   return false;
}

bool grammar_run_allows(grammar_run *r, int32_t id)
{
   const grammar_vocab *v = r->v;
   uint32_t at = r->now;

   if (id < 0 || (uint32_t)id >= r->num_tokens)
      return false;
   if (r->places[r->now].complete && is_end(r, id))
      return true;
   if ((uint32_t)id >= v->num_tokens)
      return false;
   const uint8_t *bytes = v->bytes + v->offset[id];
   uint32_t len = v->offset[id + 1] - v->offset[id];
   r->work = 0;
   for (uint32_t i = 0; i < len && at != DEAD; i++)
      at = step(r, at, bytes[i]);
   if (r->is_full) {
      restart(r);
      return false;
   }
   return len > 0 && len <= GRAMMAR_MAX_TOKEN && at != DEAD;
}

/* One byte on, emptying the tables when they are full. */
static uint32_t advance(grammar_run *r, uint8_t byte)
{
   r->work = 0;
   uint32_t to = step(r, r->now, byte);

   if (r->is_full) {
      restart(r);
      to = step(r, r->now, byte);
   }
   return r->is_full ? DEAD : to;
}

bool grammar_run_bytes(grammar_run *r, const char *text, size_t len)
{
   for (size_t i = 0; i < len && r->now != DEAD; i++)
      r->now = advance(r, (uint8_t)text[i]);
   return r->now != DEAD;
}

bool grammar_run_may(grammar_run *r, uint8_t byte)
{
   return advance(r, byte) != DEAD;
}

bool grammar_run_take(grammar_run *r, int32_t id)
{
   const grammar_vocab *v = r->v;

   if (id < 0 || (uint32_t)id >= v->num_tokens || v->offset[id] == v->offset[id + 1])
      return false;
   return grammar_run_bytes(r, (const char *)v->bytes + v->offset[id],
                            v->offset[id + 1] - v->offset[id]);
}

bool grammar_run_is_complete(const grammar_run *r)
{
   return r->places[r->now].complete;
}

bool grammar_run_is_over(grammar_run *r)
{
   return r->places[r->now].complete && !r->places[r->now].count;
}

/* ---- life ---- */

static bool allocate(grammar_run *r)
{
   r->places = calloc(MAX_PLACES, sizeof *r->places);
   r->steps = calloc((size_t)MAX_PLACES * r->g->num_classes, sizeof *r->steps);
   r->pairs = calloc(MAX_PAIRS, sizeof *r->pairs);
   r->frames = calloc(MAX_FRAMES, sizeof *r->frames);
   r->spare = calloc(MAX_FRAMES, sizeof *r->spare);
   r->place_slots = calloc(2 * MAX_PLACES, sizeof *r->place_slots);
   r->frame_slots = calloc(2 * MAX_FRAMES, sizeof *r->frame_slots);
   r->seen = calloc(SEEN, sizeof *r->seen);
   r->found = calloc(MAX_CLOSURE, sizeof *r->found);
   r->todo = calloc(MAX_CLOSURE, sizeof *r->todo);
   r->mask_words = (r->num_tokens + 31) / 32;
   r->masks = calloc((size_t)MASKS * r->mask_words + 1, sizeof *r->masks);
   return r->places && r->steps && r->pairs && r->frames && r->spare && r->place_slots &&
          r->frame_slots && r->seen && r->found && r->todo && r->masks;
}

sinter_status grammar_run_create(const grammar *g, const grammar_vocab *v, uint32_t num_tokens,
                                 grammar_ends ends, grammar_run **out)
{
   grammar_run *r = calloc(1, sizeof *r);

   *out = NULL;
   if (!r)
      return base_fail(SINTER_out_of_memory, "grammar", "", "no memory for a grammar");
   r->g = g;
   r->v = v;
   r->num_tokens = v ? num_tokens : 0;
   r->ends = ends;
   if (!allocate(r)) {
      grammar_run_destroy(r);
      return base_fail(SINTER_out_of_memory, "grammar", "", "no memory for a grammar");
   }
   empty(r);
   begin(r);
   meet(r, g->start, 0);
   if (v && v->strips_space)
      meet(r, g->start_behind_space, 0);
   r->now = settle(r);
   if (!r->is_full) {
      *out = r;
      return SINTER_ok;
   }
   grammar_run_destroy(r);
   return base_fail(SINTER_exhausted, "grammar", "use fewer alternatives",
                    "the grammar begins in more than %d ways", MAX_CLOSURE);
}

void grammar_run_destroy(grammar_run *r)
{
   if (!r)
      return;
   free(r->places);
   free(r->steps);
   free(r->pairs);
   free(r->frames);
   free(r->spare);
   free(r->place_slots);
   free(r->frame_slots);
   free(r->seen);
   free(r->found);
   free(r->todo);
   free(r->masks);
   free(r);
}
