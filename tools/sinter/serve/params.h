/* params.h - the words of params.def: kinds of numbers, and the endpoints that know a field. */
#ifndef SERVE_PARAMS_H
#define SERVE_PARAMS_H

#include "ask.h"

enum { INT, FLOAT };
enum {
   CHAT = 1 << SERVE_CHAT,
   TEXT = 1 << SERVE_TEXT,
   RESP = 1 << SERVE_RESPONSES,
   BOTH = CHAT | TEXT,
   TALK = CHAT | RESP,
   ALL = CHAT | TEXT | RESP,
   EMBED = 1 << SERVE_EMBED,
   ANY = ALL | EMBED
};

#endif
