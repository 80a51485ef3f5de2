/* cli.h - what the commands share: options, talk, opening a model. */
#ifndef CLI_H
#define CLI_H

#include <stdio.h>

#include "sinter.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))

typedef enum command {
#define CMD(name, args, least, most, summary) CMD_##name,
#include "commands.def"
#undef CMD
   CMD_COUNT
} command;

typedef const char *cli_STR;
typedef int64_t cli_INT;
typedef int64_t cli_LONG;
typedef double cli_FLOAT;
typedef bool cli_FLAG;

/* Unset: NULL, CLI_UNSET, NaN, false. */
#define CLI_UNSET INT64_MIN

typedef struct options {
   command command;
#define OPT(field, kind, long_name, short_name, value, commands, help) cli_##kind field;
#include "options.def"
   int num_args;
   const char *args[64];
} options;

/* Reads argv into *out. False after printing what is wrong to stderr (exit 2). */
bool cli_parse(int argc, char **argv, options *out);

/* An INT or LONG option with its default. */
int64_t cli_int(int64_t value, int64_t otherwise);
double cli_float(double value, double otherwise);

/* Usage of one command, or of all (CMD_COUNT). */
void cli_help(FILE *out, command only);

/* Prints "error: …" in three parts from sinter_error() and returns the exit code. */
int cli_error(sinter_status status);
/* Prints an error of the command's own in the same three parts and returns `code`. */
int cli_fail(int code, const char *at, const char *remedy, const char *fmt, ...)
   __attribute__((format(printf, 4, 5)));
/* The same for an error of the command line itself; exit code 2. */
int cli_usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Resolves a known name, fetching it when absent; other names are returned as they are. */
sinter_status cli_model_path(const char *model, bool quiet, char *out, size_t cap);
/* Whether that can be read, or be fetched; 0, or the exit code after saying what is wrong. Opens
 * and fetches nothing. */
int cli_model_check(const char *model);

/* Progress of compiles on stderr: a bar on a terminal, a line a stage otherwise, nothing with
 * --quiet. */
typedef struct progress {
   bool terminal, quiet, open_line;
   int stage;
   double started, shown;
   const char *name;       /* of the model, when others load beside it; NULL: there is one */
   sinter_progress *watch; /* is told, too; NULL: nobody */
   void *user;
} progress;

void progress_init(progress *p, bool quiet);
void progress_report(void *user, sinter_stage stage, uint64_t done, uint64_t total,
                     const char *detail);
void progress_end(progress *p);

double cli_seconds(void);

/* A growable byte string. */
typedef struct buffer {
   char *data;
   size_t len, cap;
} buffer;

/* A model made ready: compiled or found, mapped. engine is NULL until cli_engine. */
typedef struct session {
   sinter_artifact *artifact;
   sinter_engine *engine;
   sinter_vision *vision; /* NULL until cli_vision */
   sinter_model_info info;
   char path[4096];
   bool cached;
   double compile_seconds;
} session;

/* The --numerics option; 0, or exit code 2 after saying what is wrong. */
int cli_numerics(const options *o, sinter_numerics *out);
/* The library takes defaults as nothing asked for. Who writes one out before an artifact that was
 * compiled otherwise is told: exit code 2, else 0. */
int cli_check_defaults(const options *o, const char *path, const sinter_artifact *a);
/* What to compile for, of --target or --device; the same. */
int cli_target(const options *o, const char **out);
/* The file of --experts, NULL without; the same. */
int cli_experts(const options *o, buffer *out, const char **out_text);
/* --with and what --kv adds to it; alike. */
int cli_with(const options *o, char *out, size_t cap);
int cli_open(const options *o, session *s);
/* The same, with somebody who is told how far it is, and the name that lines of progress have in
 * front; NULL: none. */
int cli_open_watched(const options *o, session *s, const char *name, sinter_progress *watch,
                     void *user);
/* Shows the notes of an explain document on stderr, e.g. that a forced fusion matches nothing. */
void cli_notes(const options *o, const char *explain);
int cli_engine(const options *o, session *s, const sinter_engine_options *engine_options);

/* Engine options with room for `prompt` and `generated` tokens. A prompt past the trained context
 * is a note on stderr, no limit. */
sinter_engine_options cli_room(const options *o, const session *s, uint64_t prompt,
                               uint64_t generated);
void cli_close(session *s);

/* Comma-separated ids; *out is malloc'ed. False when malformed. */
bool cli_ids(const char *text, int32_t **out, size_t *out_count);

/* Images of a command line, encoded. */
typedef struct cli_images {
   sinter_image *images;
   sinter_features *features;
   uint32_t count;
   size_t tokens; /* of all of them */
   float *rows;   /* features f32[tokens][width] */
} cli_images;

/* Takes --image, or --pixels and --grid, if given. 0, or the exit code after saying what is
 * wrong. */
int cli_images_read(const options *o, const session *s, cli_images *out);
/* The vision tower, for frames of at most so many patches; 0: as many as the model makes of a
 * file. */
int cli_vision(const options *o, session *s, uint32_t patches, bool share_threads);
/* Runs the vision tower over them. */
sinter_status cli_images_run(session *s, cli_images *images);
/* The same with a tower made for them. */
int cli_images_encode(const options *o, session *s, cli_images *images);
/* Gives the prompt, which is malloc'ed, a token for each row of features: where it has one token an
 * image each becomes as many as its image has; in_front: where it has none they go before it. */
void cli_images_expand(const session *s, const cli_images *images, bool in_front, int32_t **ids,
                       size_t *count);
void cli_images_free(cli_images *images);

/* Reads a float32 [rows, cols] NumPy file; *out is malloc'ed. 0, or the exit code. */
int npy_read(const char *path, size_t *out_rows, size_t *out_cols, float **out);

/* Writes a float32 [rows, cols] NumPy header; the caller appends the rows. */
bool npy_header(FILE *f, size_t rows, size_t cols);

/* Whole file, or stdin's rest, appended. False when reading failed. */
bool buffer_read(buffer *b, FILE *f);
bool buffer_read_file(buffer *b, const char *path);

/* Room for `more` bytes and a NUL. */
void buffer_reserve(buffer *b, size_t more);
void buffer_add(buffer *b, const void *data, size_t len);
void buffer_printf(buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buffer_json_string(buffer *b, const char *s, size_t len);
void buffer_free(buffer *b);

#define CMD(name, args, least, most, summary) int cmd_##name(const options *o);
#include "commands.def"
#undef CMD

#endif
