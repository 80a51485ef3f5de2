/* pictures.h - images of a request (pictures.c). */
#ifndef SERVE_PICTURES_H
#define SERVE_PICTURES_H

#include "job.h"

/* Whether a part of a message is an image; takes its file. False with a fault. */
bool picture_is(const tree *part);
bool picture_take(ask *a, const tree *part, fault *f);
/* Cuts them, and gives the prompt a token for each row of their features. */
bool pictures_place(ask *a, const host *h, prompt *p, fault *f);
void pictures_free(ask *a);
/* Makes the tower of a model that sees images; the exit code. */
int pictures_open(const options *o, session *s);
/* Makes the features of the job's images, on the thread of its host; a failure is the job's
 * fault. */
void pictures_encode(job *j);

#endif
