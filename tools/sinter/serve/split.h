/* split.h - the parts of a chat's answer. The lock of the job is held. */
#ifndef SERVE_SPLIT_H
#define SERVE_SPLIT_H

#include "job.h"

/* Moves what is certain of c->text by now into reasoning, content and calls; all of it once
 * c->finish is set. */
void split_text(choice *c);
/* Whether the one call that may be made has been made: what follows is not wanted. */
bool split_is_over(choice *c);
void split_free(choice *c);

#endif
