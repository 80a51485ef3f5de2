/* vocab.h - a tokenizer, precompiled: the schema of the artifact's vocab section, read in place.
 *
 *    header │ extents of the arrays of vocab_arrays.def │ arrays, each aligned to 8
 *
 * The importer (models/import/tokenizer.c) writes it once; the runtime maps it and uses the arrays
 * where they lie: hash tables and tries are ready-made, nothing is rebuilt at start. Little-endian,
 * position-independent. vocab_open checks every index in every array once (about a millisecond for
 * 262144 pieces), so that no later look-up can leave the blob.
 *
 * Pieces of a byte-level vocabulary are stored as the raw bytes they stand for, so encoding needs
 * no byte alphabet and decoding is concatenation. */
#ifndef BASE_VOCAB_H
#define BASE_VOCAB_H

#include "arena.h"

#define VOCAB_MAGIC "SNTRVOC"
enum {
   VOCAB_VERSION = 1,
   VOCAB_MAX_PIECES = 1 << 21,
   VOCAB_MAX_STEPS = 64,
};
#define VOCAB_NONE UINT32_MAX

typedef enum vocab_model { VOCAB_bpe, VOCAB_unigram, VOCAB_MODEL_COUNT } vocab_model;

/* Of the whole tokenizer. */
enum {
   VOCAB_byte_level =
      1, /* symbols are bytes, not characters; decoding replaces invalid UTF-8 by U+FFFD */
   VOCAB_byte_fallback = 2, /* characters without a piece become byte pieces */
   VOCAB_ignore_merges = 4, /* a word that is a piece is not merged */
   VOCAB_fuse_unk = 8,
   VOCAB_implied_merges =
      16,                   /* a merge is allowed when its result is a piece; priority by `order` */
   VOCAB_decode_bytes = 32, /* runs of byte pieces are decoded together */
   VOCAB_decode_first = 64, /* replacement characters of the first piece are dropped (Metaspace) */
   VOCAB_decode_spaced = 128, /* no decoder: pieces are joined by spaces */
};

/* Of one piece. */
enum {
   VOCAB_special = 1, /* control token: not in decoded text, never from plain text */
   VOCAB_byte = 2,    /* stands for one byte, in the low byte of its spelling <0xNN> */
   VOCAB_unused = 4,  /* a gap in the ids */
   VOCAB_is_added = 8,
   VOCAB_shown = 16, /* special, and yet in decoded text: the unknown piece of a unigram model */
};

/* Of an added token. */
enum {
   VOCAB_lstrip = 1,
   VOCAB_rstrip = 2,
   VOCAB_single_word = 4,
   VOCAB_normalized = 8,
   VOCAB_added_special = 16,
};

typedef enum vocab_stage {
   VOCAB_STAGE_normalize,
   VOCAB_STAGE_split,
   VOCAB_STAGE_decode
} vocab_stage;

typedef enum vocab_step_kind {
#define STEP(name, stage, what) VOCAB_STEP_##name,
#include "vocab_steps.def"
#undef STEP
   VOCAB_STEP_COUNT
} vocab_step_kind;

/* What a split does with its matches; the names are those of tokenizer.json. */
typedef enum vocab_behavior {
   VOCAB_Removed,
   VOCAB_Isolated,
   VOCAB_MergedWithPrevious,
   VOCAB_MergedWithNext,
   VOCAB_Contiguous,
   VOCAB_BEHAVIOR_COUNT
} vocab_behavior;

/* Flags of a step; the behaviour is in the low byte. */
enum {
   VOCAB_step_behavior = 0xff,
   VOCAB_step_invert = 1 << 8, /* split: matches are what is kept apart, gaps are delimiters */
   VOCAB_step_left = 1 << 9,   /* strip */
   VOCAB_step_right = 1 << 10,
   VOCAB_step_individual = 1 << 11, /* digits */
   VOCAB_step_always = 1 << 12,     /* metaspace: prefix every piece */
   VOCAB_step_first = 1 << 13,      /* metaspace: prefix the piece at the start of the text */
   VOCAB_step_cut = 1 << 14,        /* metaspace: cut before every replacement character */
};

typedef struct vocab_step {
   uint32_t kind, flags;
   uint32_t a, a_len, b, b_len; /* in `strings` */
} vocab_step;

typedef struct vocab_merge {
   uint32_t left, right, rank, made;
} vocab_merge;

/* Children of a node are consecutive, ascending by byte, and lie behind it. Node 0 is the root. */
typedef struct vocab_node {
   uint32_t first, value;
   uint16_t count;
   uint8_t byte, pad;
} vocab_node;

typedef struct vocab_added {
   uint32_t id, flags;
   uint32_t content, len; /* in `strings` */
} vocab_added;

typedef struct vocab_extent {
   uint64_t offset, count;
} vocab_extent;

enum {
#define ARRAY(name, type, what) VOCAB_ARRAY_##name,
#include "vocab_arrays.def"
#undef ARRAY
   VOCAB_ARRAY_COUNT
};

typedef struct vocab_header {
   char magic[8];
   uint32_t version, model, flags, num_pieces;
   int32_t unk;         /* -1: none */
   uint32_t longest;    /* bytes of the longest piece that text can reach */
   uint32_t strip_left; /* characters `strip_char` taken off the start of decoded text */
   uint32_t strip_char; /* one ASCII character */
   double unk_score;    /* unigram */
   vocab_extent array[VOCAB_ARRAY_COUNT];
} vocab_header;

/* An opened blob: typed views into it. */
typedef struct vocab {
   const vocab_header *header;
#define ARRAY(name, type, what)                                                                    \
   const type *name;                                                                               \
   uint32_t num_##name;
#include "vocab_arrays.def"
#undef ARRAY
} vocab;

/* Checks a blob and fills *out with views into it; bytes must be aligned to 8 and stay mapped.
 *
 * Errors BAD_INPUT naming the array and item. */
SINTER_CHECKED sinter_status vocab_open(const void *bytes, size_t size, vocab *out);

/* Bytes of a piece; id must be below num_pieces. */
static inline const uint8_t *vocab_piece(const vocab *v, uint32_t id, size_t *out_len)
{
   *out_len = v->offset[id + 1] - v->offset[id];
   return v->text + v->offset[id];
}

/* The id of a piece that plain text can reach, -1 when there is none. */
int32_t vocab_find(const vocab *v, const void *bytes, size_t len);

/* The listed merge of two pieces, NULL when there is none. */
const vocab_merge *vocab_find_merge(const vocab *v, uint32_t left, uint32_t right);

/* The child of a trie node, NULL when there is none. */
const vocab_node *vocab_child(const vocab_node *nodes, const vocab_node *node, uint8_t byte);

/* Places in the hash tables, for the writer. */
uint32_t vocab_piece_slot(const void *bytes, size_t len, uint32_t cap);
uint32_t vocab_merge_slot(uint32_t left, uint32_t right, uint32_t cap);

/* A text of a trie, and the value of the node it ends at (not 0). */
typedef struct vocab_key {
   const uint8_t *text;
   size_t len;
   uint32_t value;
} vocab_key;

/* Builds a trie in the arena; sorts the keys. Of equal keys the largest value wins. No keys give
 * one node, the root. */
vocab_node *vocab_trie(arena *a, vocab_key *keys, size_t count, size_t *out_count);

vocab_stage vocab_stage_of(vocab_step_kind kind);

#endif
