/* events.h - tells routers which prefixes this server has in its KV cache, as vLLM does: ZeroMQ and
 * MessagePack.
 *
 *    engine ─on_kv─▶ ring of the model ─▶ publisher thread ─▶ PUB [topic, sequence, [time, [event…], 0]]
 *                      └ full: events are lost, then cleared and all told again    └▶ ROUTER: replay
 *
 * The engine's side never waits. */
#ifndef SERVE_EVENTS_H
#define SERVE_EVENTS_H

#include "serve.h"

typedef struct events events;
typedef struct events_source events_source; /* one model's part */

/* Opens the sockets that the options name, and starts the publisher. *out NULL: none is asked for.
 * False after saying what is wrong. */
bool events_open(const options *o, events **out);
/* Sends what is left and ends the publisher. */
void events_close(events *e);

/* A ring for a model; NULL when e is. Its life is that of e. */
events_source *events_add(events *e, const char *model);

/* The engine's callback; user is the source. */
void events_tell(void *user, const sinter_kv_event *event);
/* After a step: wakes the publisher; once there is room again after a loss, asks the engine for
 * everything. */
void events_flush(events_source *s, sinter_engine *engine);
/* The model is loaded, or unloaded: nothing that was told holds any more. */
void events_clear(events_source *s);

/* Whether events were lost and all is still to be told again, by events_flush. */
bool events_are_lost(const events_source *s);

/* What the engine's prefix cache can find: how many blocks, and a sum over their names and
 * groups. */
void events_measure(events_source *s, sinter_engine *engine, uint64_t *out_blocks,
                    uint64_t *out_sum);

/* Events published; how often all was told again. 0 when s is NULL. */
uint64_t events_published(const events_source *s);
uint64_t events_resyncs(const events_source *s);

#endif
