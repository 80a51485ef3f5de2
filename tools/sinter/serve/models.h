/* models.h - the models of the server (models.c). */
#ifndef SERVE_MODELS_H
#define SERVE_MODELS_H

#include "serve.h"

/* The models of the command line; 0, or the exit code after saying what is wrong. */
int models_init(server *s);
/* "dir/Model.gguf" is served as "Model". */
void models_short_name(char *out, size_t cap, const char *path);
/* Looks for further ones in --models-dir. False after saying why. */
bool models_scan(server *s);
/* False once the file of a model that is not loaded has gone from --models-dir; it may come
 * back. */
bool models_has(host *h);
/* The model of that name (NULL: the only one), NULL with a fault. */
host *models_find(server *s, const char *name, fault *f);

#endif
