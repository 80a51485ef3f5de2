/* grammar_automaton.h - a compiled grammar, as the files that make and run it see it. */
#ifndef TEXT_GRAMMAR_AUTOMATON_H
#define TEXT_GRAMMAR_AUTOMATON_H

#include "grammar.h"
#include "grammar_build.h"

struct grammar {
   grammar_state *states; /* those that cannot reach the end are GRAMMAR_fail */
   uint32_t num_states, start;
   uint32_t start_behind_space; /* a space, then start */
   uint32_t num_classes;        /* of bytes that no state tells apart */
   uint8_t class_of[256], byte_of[256];
};

enum { GRAMMAR_MAX_TOKEN = 255 }; /* bytes; longer tokens are never allowed */

/* Nodes in depth-first order. */
typedef struct grammar_node {
   uint32_t skip;  /* the next node that is no descendant */
   uint32_t first; /* of the tokens that end here, in `sorted` */
   uint16_t count;
   uint8_t byte, depth;
} grammar_node;

struct grammar_vocab {
   uint32_t num_tokens, num_nodes, num_sorted;
   grammar_node *nodes; /* node 0 is the root */
   int32_t *sorted;     /* tokens by their bytes */
   uint32_t *offset;    /* num_tokens + 1, into bytes */
   uint8_t *bytes;
   bool strips_space; /* one space at the beginning of a text is not shown */
};

#endif
