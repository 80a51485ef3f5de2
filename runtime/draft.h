/* draft.h - guesses what a request will say next by what it has said before (prompt lookup).
 *
 *    … the cat sat │ on the mat … the cat ▸ sat on the mat
 *                                          └ guessed: what followed the last tokens the last time
 *
 * The guesses are rows of the next step beside the row that is certain. A row counts only when all
 * guesses before it came true, so that tokens and log-probabilities are those of a step for each
 * token. */
#ifndef RT_DRAFT_H
#define RT_DRAFT_H

#include "base/base.h"

enum { RT_DRAFT_FIRST = 2 }; /* tokens of a request's first guess */

/* Writes guesses behind the `count` tokens, at most `most`; returns how many: 0 when the last two
 * tokens have not been seen before. */
uint32_t rt_draft(int32_t *tokens, int64_t count, uint32_t most);

/* How many tokens to guess after a guess of `drafted` of which `accepted` came true: more after
 * full hits. */
uint32_t rt_draft_next(uint32_t drafted, uint32_t accepted, uint32_t most);

#endif
