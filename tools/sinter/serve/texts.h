/* texts.h - answers of the endpoints that generate nothing (texts.c). False with a fault. */
#ifndef TEXTS_H
#define TEXTS_H

#include "host.h"

bool texts_tokens(host *h, const tree *body, buffer *b, fault *f);
bool texts_text(host *h, const tree *body, buffer *b, fault *f);
bool texts_prompt(host *h, const tree *body, buffer *b, fault *f);

#endif
