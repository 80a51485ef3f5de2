/* rope.h - rotary position tables, one rule for compile, runtime and reference.
 *
 * Kinds that depend on length take a table per token: for row with position p of a request whose
 * first prompt had L tokens, the length is L for prompt tokens (p < L) and p + 1 for generated
 * ones. The tables are those of Hugging Face transformers, recorded in tests/data/rope.json. */
#ifndef BASE_ROPE_H
#define BASE_ROPE_H

#include "base.h"

typedef enum rope_kind {
   ROPE_default,
   ROPE_linear,
   ROPE_dynamic,
   ROPE_yarn,
   ROPE_llama3,
   ROPE_longrope
} rope_kind;

enum { ROPE_MAX_WIDTH = 512, ROPE_AXES = 3 };

typedef struct rope_spec {
   rope_kind kind;
   uint32_t width; /* rotated elements n: n/2 angles */
   uint32_t back;  /* a row is turned by the angle of the position that many before its own */
   /* Positions of images have three axes, time, row and column, which share the pairs: so many
    * pairs each, one after the other or by turns; all 0: one axis. */
   uint32_t sections[ROPE_AXES];
   bool interleaved;
   bool
      axial; /* the first half of the pairs turns by row, the second, of the same frequencies, by column */
   double base, factor;
   double original_context;     /* original_max_position_embeddings */
   double max_context;          /* max_position_embeddings */
   double beta_fast, beta_slow; /* yarn */
   bool truncate;               /* yarn: floor and ceil the ramp bounds */
   double attention_factor;     /* multiplies cos and sin; resolved by the importer, 1 when none */
   double low_freq_factor, high_freq_factor; /* llama3 */
   double short_factor[ROPE_MAX_WIDTH / 2],
      long_factor[ROPE_MAX_WIDTH / 2]; /* longrope; GGUF rope_freqs too */
   bool has_freq_factors; /* divide the frequencies by long_factor whatever the kind (GGUF
                             rope_freqs) */
} rope_spec;

/* Inverse frequencies of the table for a sequence of `length` tokens: out[width/2]; *out_scale
 * multiplies cos and sin. */
void rope_inv_freq(const rope_spec *spec, double length, double *out, double *out_scale);

/* Which axis of a position turns pair i: 0 time, which is all of a text's position, 1 row, 2
 * column. */
uint32_t rope_axis(const rope_spec *spec, uint32_t i);

/* True when the table depends on the length. */
bool rope_depends_on_length(const rope_spec *spec);

#endif
