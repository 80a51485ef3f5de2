/* sinter.h - the public interface: compile a checkpoint, open the artifact, ask about it, run it.
 *
 *    checkpoint ──sinter_compile──▶ artifact file ──sinter_artifact_open──▶ sinter_artifact
 *                                                    sinter_engine_create ──▶ sinter_engine
 *    sinter_submit ▶ sinter_step … ▶ callback per token ▶ sinter_request_destroy
 *
 * Rules   Everything that can fail returns a sinter_status; sinter_error() then holds a message in
 *         three parts (what happened, where, what to do), per thread, until the next failing call.
 *         Nothing prints, nothing exits. Strings are UTF-8. What is passed in is copied, or used
 *         in the call only, unless its line says more. Any call may be SINTER_out_of_memory.
 * Thread  An engine and its requests belong to one thread at a time. Artifacts are immutable and
 *         may be shared.
 * ABI     Structs that start with `size` may grow: make them with SINTER_INIT, unknown tails are
 *         zero. The others are fixed. */
#ifndef SINTER_H
#define SINTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SINTER_API __attribute__((visibility("default")))
#define SINTER_CHECKED __attribute__((warn_unused_result))

/* A struct that starts with `size`, the rest of it zero. */
#ifdef __cplusplus
#define SINTER_INIT(type)                                                                          \
   ([] {                                                                                           \
      type made = {};                                                                              \
      made.size = sizeof(type);                                                                    \
      return made;                                                                                 \
   }())
#else
#define SINTER_INIT(type) ((type){.size = sizeof(type)})
#endif

/* STATUS(name, exit code of the command, HTTP status, what it means): the only list of them. */
#define SINTER_STATUS_MAP(STATUS)                                                                  \
   STATUS(ok, 0, 200, "success")                                                                   \
   STATUS(failed, 1, 500, "the operation failed")                                                  \
   STATUS(usage, 2, 400, "the call or command line is wrong")                                      \
   STATUS(bad_input, 3, 400, "an input file or text is damaged or malformed")                      \
   STATUS(verify_failed, 4, 500, "stored bytes do not match their checksum")                       \
   STATUS(no_device, 5, 503, "the device, driver or library is not present")                       \
   STATUS(out_of_memory, 6, 507, "memory is exhausted")                                            \
   STATUS(unsupported, 1, 501, "valid, but this build does not support it")                        \
   STATUS(not_found, 1, 404, "there is no such file, model or name")                               \
   STATUS(io, 1, 500, "reading or writing failed")                                                 \
   STATUS(exhausted, 1, 503, "the KV pool or a queue is full")                                     \
   STATUS(cancelled, 1, 499, "the caller cancelled it")

typedef enum sinter_status {
#define STATUS(name, exit_code, http, text) SINTER_##name,
   SINTER_STATUS_MAP(STATUS)
#undef STATUS
} sinter_status;

SINTER_API const char *sinter_status_name(sinter_status status);
SINTER_API int sinter_status_exit_code(sinter_status status);

/* The last failure of this thread: "what\n  where\n  what to do"; "" when there was none. */
SINTER_API const char *sinter_error(void);

/* "sinter 0.1.0 (commit, LLVM none)"; static. */
SINTER_API const char *sinter_version(void);

/* ---- compile ---- */

typedef enum sinter_numerics { SINTER_NUMERICS_fast, SINTER_NUMERICS_exact } sinter_numerics;

typedef enum sinter_stage {
   SINTER_STAGE_hash,
   SINTER_STAGE_import,
   SINTER_STAGE_passes,
   SINTER_STAGE_codegen,
   SINTER_STAGE_pack,
   SINTER_STAGE_write,
   SINTER_STAGE_done
} sinter_stage;

/* done of total units of the stage; detail is one short line, e.g. "gemv_q4_1_m4". On the thread
 * that compiles. */
typedef void sinter_progress(void *user, sinter_stage stage, uint64_t done, uint64_t total,
                             const char *detail);

typedef struct sinter_artifact sinter_artifact;

typedef struct sinter_compile_options {
   size_t size;
   const char *model;   /* GGUF file, checkpoint folder, or artifact (returned as it is) */
   const char *output;  /* NULL: into the cache; else one self-contained file at this path */
   const char *targets; /* "cpu", "cpu:x86-64-v3", "ref", …, comma-separated; NULL: "cpu" */
   sinter_numerics numerics;
   const char *with;    /* comma-separated fusion names to force, NULL none */
   const char *without; /* comma-separated fusion names to forbid, NULL none */
   /* NULL: $SINTER_CACHE, else $XDG_CACHE_HOME/sinter, else ~/.cache/sinter */
   const char *cache_dir;
   bool no_cache;    /* compile even when the cache holds it */
   uint32_t threads; /* 0: one per core */
   sinter_progress *progress;
   void *user;
   const char *arch; /* sinter_explain only: judge for this architecture, e.g. "sm_90a", as `fast`
                        would; needs neither the machine nor its compiler. NULL: for `targets` */
   bool draft; /* logits of the layer that drafts tokens (multi-token prediction): row t, which
                        sees token t + 1 too, scores token t + 2 */
   bool variant_per_bucket; /* steps of many rows may run in a form of their own that is faster for
                               them: what a token gets then depends on how its prompt was split */
   /* sinter_compile only: NULL, or where the artifact comes open. What was opened to see that it is
    * whole is not opened again. */
   sinter_artifact **artifact;
   /* NULL, or JSON that sinter_balance has made: in which places the experts of a layer lie, some
    * in several. Logits keep their bits */
   const char *experts;
   /* no head: the state after the last norm takes the place of logits, as for embeddings */
   bool hidden;
   /* which kernel computes attention: NULL or "auto"; a name of base/attention.def, where it can;
    * "NAME!": no other. The explain document says what was refused, and why */
   const char *attention;
} sinter_compile_options;

/* Finds or makes the artifact of a model and writes its path (at most path_cap bytes with the NUL).
 * *out_cached says whether it was there already. The compiler library is opened on a miss only.
 * Errors SINTER_usage for options that are wrong or exclude each other; SINTER_bad_input for a file
 * that is damaged; SINTER_unsupported for a model, format or target that is not; SINTER_no_device
 * when a compiler of the target is missing; SINTER_io. */
SINTER_API SINTER_CHECKED sinter_status sinter_compile(const sinter_compile_options *options,
                                                       char *out_path, size_t path_cap,
                                                       bool *out_cached);

/* What to compile for so that a device ("cuda", NULL: "cpu") runs it: a value of `targets`. NULL,
 * and sinter_error() set, when there is no such device. */
SINTER_API const char *sinter_device_target(const char *device);

/* ---- artifact ---- */

/* Maps and verifies an artifact file: code, plan and tokenizer now, weights on first touch.
 * Engines, streams and grammars made from it must be gone before it is closed. Errors
 * SINTER_bad_input, SINTER_verify_failed, SINTER_io. */
SINTER_API SINTER_CHECKED sinter_status sinter_artifact_open(const char *path,
                                                             sinter_artifact **out);
SINTER_API void sinter_artifact_close(sinter_artifact *a);

/* BLAKE2b-256 of the whole artifact, machine code and weights included, as 64 hex digits. */
SINTER_API void sinter_artifact_digest(const sinter_artifact *a, char out[65]);

/* Checks every byte, weights included. */
SINTER_API SINTER_CHECKED sinter_status sinter_artifact_verify(const char *path);

/* Documents about an artifact, as JSON text owned by the artifact (NULL if there is none):
 * "manifest", "plan", "explain" (fusions, segments, breaks, kernels), "ir", "template". "ir" is IR
 * text, "template" the chat template. */
SINTER_API const char *sinter_artifact_document(const sinter_artifact *a, const char *name);

typedef struct sinter_model_info {
   size_t size;
   uint32_t vocab, layers, width, trained_context;
   int32_t bos, num_eos; /* bos -1: none */
   const int32_t *eos;
   bool adds_bos, has_chat_template;
   uint64_t weight_bytes, weight_elements; /* elements multiplied per token, head included */
   /* compiled with `hidden`: floats of the state that on_logits then gets; else 0 */
   uint32_t hidden;
   uint32_t patch_width; /* numbers of a patch of an image; 0: the model sees no images */
   uint32_t merge;       /* a token of an image stands for merge x merge patches */
   int32_t image_token;  /* that stands for each of them in a prompt */
   int32_t image_before, image_after; /* tokens around an image, -1: none */
} sinter_model_info;

SINTER_API void sinter_artifact_info(const sinter_artifact *a, sinter_model_info *out);

/* A layer whose experts are shown to sinter_on_experts. */
typedef struct sinter_route {
   uint32_t layer, k; /* k: experts of a token */
   uint32_t experts;  /* ids are below this */
} sinter_route;

/* Layers that are mixtures of experts, ascending; *out is owned by the artifact. */
SINTER_API uint32_t sinter_artifact_routes(const sinter_artifact *a, const sinter_route **out);

/* ---- questions ----
 * JSON documents; free each with sinter_free. cache_dir NULL: as in sinter_compile_options. */

SINTER_API void sinter_free(char *json);

/* What the passes did to a model, without generating code: {"fusions":[{"name","matched","fired",
 * "declined":[{"site","reason"}]}],"target","segments","breaks","kernels"}. Opens the compiler. */
SINTER_API SINTER_CHECKED sinter_status sinter_explain(const sinter_compile_options *options,
                                                       char **out_json);

/* How many places experts get, and what these are divided into; 0: as many as experts, and 1. */
typedef struct sinter_balance_options {
   size_t size;
   const char *loads; /* JSON: {"layers":[{"layer":1,"experts":4,"tokens":[90,20,0,7]},…]} */
   uint32_t places, groups, nodes, devices;
} sinter_balance_options;

/* Places that even out the loads of devices, experts with much work in several:
 * {"layers":[{"layer", "experts","places":[expert,…]}],"balance":{"before","after"}}, for
 * sinter_compile_options. The same loads give the same places. balance: mean load of a device over
 * the largest, of all layers. */
SINTER_API SINTER_CHECKED sinter_status sinter_balance(const sinter_balance_options *options,
                                                       char **out_json);

/* Entries of the cache, newest first: [{"key","path","bytes","model","target",…}]. */
SINTER_API SINTER_CHECKED sinter_status sinter_cache_list(const char *cache_dir, char **out_json);

/* Whether a compile with these options would hit, and if not which key fields differ from the
 * nearest entry. */
SINTER_API SINTER_CHECKED sinter_status sinter_cache_why(const sinter_compile_options *options,
                                                         char **out_json);

/* Checks every byte of every entry; SINTER_verify_failed when one is damaged (it is named in the
 * document). */
SINTER_API SINTER_CHECKED sinter_status sinter_cache_verify(const char *cache_dir, char **out_json);

/* Removes the least recently used entries until at most max_bytes are left (0: the bound of the
 * cache, $SINTER_CACHE_MAX MiB or 20 GiB), and files nobody refers to. */
SINTER_API SINTER_CHECKED sinter_status sinter_cache_gc(const char *cache_dir, uint64_t max_bytes,
                                                        char **out_json);

/* This machine: cores, instruction set levels, compiler, cache folder. */
SINTER_API SINTER_CHECKED sinter_status sinter_doctor(char **out_json);

/* ---- text ---- */

enum {
   SINTER_TEXT_no_bos = 1, /* add no special tokens */
   SINTER_TEXT_plain = 2,  /* recognise no special tokens in the text */
};

/* Tokenizes len bytes (may hold NUL) into ids[cap]; *out_count is the count needed, also when it is
 * more than cap (then ids holds the first cap). */
SINTER_API SINTER_CHECKED sinter_status sinter_tokenize(const sinter_artifact *a, const char *text,
                                                        size_t len, unsigned flags, int32_t *ids,
                                                        size_t cap, size_t *out_count);

/* The text of ids; *out_len is the length needed, also when it is more than cap. */
SINTER_API SINTER_CHECKED sinter_status sinter_detokenize(const sinter_artifact *a,
                                                          const int32_t *ids, size_t count,
                                                          char *text, size_t cap, size_t *out_len);

/* What a token is within a text, also half a character; of one that is nothing there, its name. */
SINTER_API SINTER_CHECKED sinter_status sinter_token_bytes(const sinter_artifact *a, int32_t id,
                                                           char *bytes, size_t cap, size_t *out_len,
                                                           bool *out_special);

/* The text of ids that arrive one by one. What all calls gave, joined, is sinter_detokenize of all
 * ids; it never ends in half a character. The text is valid until the next call; finish gives what
 * was held back. */
typedef struct sinter_stream sinter_stream;

SINTER_API SINTER_CHECKED sinter_status sinter_stream_create(const sinter_artifact *a,
                                                             sinter_stream **out);
/* Before the first push: the ids go on with a text, so a space that they begin with is kept. */
SINTER_API void sinter_stream_continue(sinter_stream *s);
SINTER_API SINTER_CHECKED sinter_status sinter_stream_push(sinter_stream *s, int32_t id,
                                                           const char **out_text, size_t *out_len);
SINTER_API SINTER_CHECKED sinter_status sinter_stream_finish(sinter_stream *s,
                                                             const char **out_text,
                                                             size_t *out_len);
SINTER_API void sinter_stream_destroy(sinter_stream *s);

typedef struct sinter_chat_options {
   size_t size;
   const char *messages; /* JSON array, OpenAI-style */
   const char *tools;    /* JSON array that the template may show, or NULL */
   const char *extra;    /* JSON object of further variables of the template, or NULL */
} sinter_chat_options;

/* Applies the model's chat template and tokenizes it: special tokens come from the template only,
 * never from message text. */
SINTER_API SINTER_CHECKED sinter_status sinter_chat_tokens(const sinter_artifact *a,
                                                           const sinter_chat_options *options,
                                                           int32_t *ids, size_t cap,
                                                           size_t *out_count);

/* The text that sinter_chat_tokens tokenizes. */
SINTER_API SINTER_CHECKED sinter_status sinter_chat_text(const sinter_artifact *a,
                                                         const sinter_chat_options *options,
                                                         char *text, size_t cap, size_t *out_len);

/* ---- grammars ---- */

/* What a generated text may be. */
typedef struct sinter_grammar sinter_grammar;

/* Compiles a description, which is JSON text, one of
 *
 *    {"literal": "text"}   {"regex": "[a-z]+"}   {"json_schema": {…}}
 *    {"without": "text"}, any bytes that it does not occur in
 *    {"seq": [d, …]}   {"any": [d, …]}   {"repeat": d, "min": 0, "max": 3, "between": ", "}
 *
 * A keyword, format or regex feature that cannot be held to is an error (SINTER_unsupported, naming
 * it), so that no text which is not valid gets through; objects have the properties in their
 * schema's order. The artifact must stay open as long as the grammar, and the grammar as long as
 * requests that use it. Thread: a grammar is immutable and may be shared. */
SINTER_API SINTER_CHECKED sinter_status sinter_grammar_create(const sinter_artifact *a,
                                                              const char *json, size_t len,
                                                              sinter_grammar **out);
SINTER_API void sinter_grammar_destroy(sinter_grammar *g);

/* ---- engine ---- */

typedef struct sinter_engine sinter_engine;
typedef struct sinter_request sinter_request;

/* A block of tokens that the prefix cache can find from now on, or no more. Names are hashes over
 * all tokens before, salts and the model. */
typedef struct sinter_kv_event {
   bool removed, has_parent;
   uint64_t hash, parent; /* of the block, of the one before it */
   const int32_t *tokens; /* of the block */
   uint32_t num_tokens;
   uint32_t group;  /* of layers with caches of one kind */
   uint32_t window; /* tokens that these layers look back, 0: all */
   bool is_state;   /* a state after the block, of layers that keep no keys */
} sinter_kv_event;

typedef void sinter_on_kv(void *user, const sinter_kv_event *event);

typedef struct sinter_engine_options {
   size_t size;
   const char *device;     /* a name of base/devices.def: "cpu" (NULL), "cuda", "ref", … */
   uint32_t threads;       /* 0: one per core */
   uint32_t kv_tokens;     /* KV pool size in tokens; 0: the trained context, bounded by memory */
   uint32_t max_sequences; /* 0: 64 */
   uint32_t step_tokens;   /* token budget of a step; 0: the plan's largest bucket */
   bool no_prefix_cache;
   bool time_launches; /* run every launch alone and time it: slower, the same results */
   /* while others generate, a step takes only as much of a prompt as should keep it within this
    * time; 0: as much as fits. Results do not depend on it */
   uint32_t max_step_ms;
   /* guess so many tokens ahead from what was said before, and check them in one step: fewer
    * steps, the same tokens. 0: off. SINTER_unsupported for models with recurrent states */
   uint32_t draft_tokens;
   /* one pool for all engines of the process that ask for it: a step each in turn */
   bool share_threads;
   sinter_on_kv *on_kv; /* told, inside of calls of the engine, what the prefix cache can find */
   void *kv_user;
   /* of requests that have to give way, so many are kept aside in the host's memory when that is
    * cheaper than to compute them again, at most as many as the pool has; 0: none. Results do not
    * depend on it */
   uint32_t host_kv_tokens;
} sinter_engine_options;

/* Opens the device and takes memory for the KV pool and all steps: none is taken later. The
 * artifact must outlive the engine. Errors SINTER_no_device; SINTER_unsupported when the artifact
 * holds nothing for the device; SINTER_usage for options out of range. */
SINTER_API SINTER_CHECKED sinter_status sinter_engine_create(sinter_artifact *a,
                                                             const sinter_engine_options *options,
                                                             sinter_engine **out);
/* Unfinished requests are cancelled without a callback, and must still be destroyed. */
SINTER_API void sinter_engine_destroy(sinter_engine *e);

typedef struct sinter_sampling {
   float temperature;        /* 0: greedy */
   int32_t top_k;            /* 0: off */
   float top_p, min_p;       /* 1, 0: off */
   float repetition_penalty; /* 1: off */
   float presence_penalty, frequency_penalty;
   uint64_t seed;
   uint32_t num_bias;
   const int32_t *bias_ids;
   const float *bias;
} sinter_sampling;

#ifdef __cplusplus
#define SINTER_SAMPLING_GREEDY                                                                     \
   ([] {                                                                                           \
      sinter_sampling made = {};                                                                   \
      made.top_p = made.repetition_penalty = 1;                                                    \
      return made;                                                                                 \
   }())
#else
#define SINTER_SAMPLING_GREEDY ((sinter_sampling){.top_p = 1, .repetition_penalty = 1})
#endif

typedef enum sinter_finish {
   SINTER_FINISH_none,
   SINTER_FINISH_stop,      /* an end-of-sequence token, or the end of the grammar */
   SINTER_FINISH_length,    /* max_tokens, or the KV pool can hold no more of it */
   SINTER_FINISH_cancelled, /* by sinter_cancel or the end of the engine */
   SINTER_FINISH_error      /* no token could be sampled */
} sinter_finish;

/* One token of a request, or its end (finish != none; id -1 when nothing was sampled with it). */
typedef struct sinter_token {
   int32_t id;
   float logprob;  /* of id, natural log, before temperature and filters */
   uint32_t index; /* 0 for the first generated token */
   sinter_finish finish;
   uint32_t num_top; /* the top_logprobs largest, descending; ties: lower id first */
   const int32_t *top_ids;
   const float *top_logprobs;
} sinter_token;

/* Callbacks run inside sinter_step, on its thread. They may submit and cancel requests, and must
 * not destroy any or step. What they point to is valid until they return. */
typedef void sinter_on_token(void *user, sinter_request *r, const sinter_token *token);

/* Called with the f32[vocab] logits of prompt position pos, in order; with its state, f32[hidden],
 * when the artifact has no head. */
typedef void sinter_on_logits(void *user, sinter_request *r, uint32_t pos, const float *logits);

/* log of the sum of exp over a row of logits: a token's logprob is its logit less this, with the
 * same bits as those of generated tokens. NaN when a logit is NaN or +inf, or all are -inf. */
SINTER_API double sinter_log_sum(const float *logits, uint32_t vocab);

/* Called with the expert ids of position pos when its row has been computed: k ascending ids for
 * each layer of sinter_artifact_routes, one after the other. Positions that the prefix cache holds
 * are not computed; those of a preempted request are, again. */
typedef void sinter_on_experts(void *user, sinter_request *r, uint32_t pos, const int32_t *ids);

/* The features of an image, made by sinter_vision_encode, and its grid. */
typedef struct sinter_features {
   const float *rows; /* f32[grid[0] * grid[1] * grid[2] / merge^2][width] */
   uint32_t grid[3];
} sinter_features;

typedef struct sinter_request_options {
   size_t size;
   const int32_t *prompt; /* at least one id, all below vocab */
   uint32_t num_prompt;
   uint32_t max_tokens; /* generated tokens; 0: prompt only (with on_logits) */
   bool ignore_eos;
   bool want_logprobs;    /* fill token.logprob */
   uint32_t top_logprobs; /* at most 20 */
   sinter_sampling sampling;
   sinter_on_token *on_token;
   sinter_on_logits *on_logits;
   uint32_t logits_from; /* first prompt position on_logits is called for */
   uint64_t salt;        /* prefix cache is shared within one salt only */
   void *user;
   sinter_on_experts *on_experts; /* of prompt and generated tokens */
   const sinter_grammar *grammar; /* of the text, NULL: any; an end-of-sequence token ends it where
                                     it is complete, or where nothing can follow */
   int32_t priority; /* lower ones are admitted first, and give way last; within one, by age */
   const sinter_features *images; /* in the order of their tokens; copied */
   uint32_t num_images;
   uint32_t min_tokens; /* so many come without an end-of-sequence token, unless a grammar ends */
} sinter_request_options;

/* Queues a request; the prompt, biases and images are copied, a grammar must outlive it. Errors
 * SINTER_usage for options out of range; SINTER_exhausted for a prompt that the KV pool can never
 * hold; SINTER_unsupported for images of a model that sees none. */
SINTER_API SINTER_CHECKED sinter_status sinter_submit(sinter_engine *e,
                                                      const sinter_request_options *options,
                                                      sinter_request **out);
/* Takes effect, with a last callback, when the next step begins. */
SINTER_API void sinter_cancel(sinter_request *r);
SINTER_API sinter_finish sinter_request_finish(const sinter_request *r);
/* Why it ended with SINTER_FINISH_error, like sinter_error(); else "". The request owns it. */
SINTER_API const char *sinter_request_error(const sinter_request *r);
SINTER_API void *sinter_request_user(const sinter_request *r);
/* Cancels if unfinished, and frees. Not from inside a callback. */
SINTER_API void sinter_request_destroy(sinter_request *r);

typedef struct sinter_request_stats {
   size_t size;
   uint32_t prompt_tokens, prefix_hit_tokens, generated_tokens, preemptions;
   double queue_seconds;       /* from sinter_submit to its first step */
   double first_token_seconds; /* from sinter_submit to the first token; 0: none yet */
   double seconds;             /* from sinter_submit to its end, or until now */
   uint32_t kv_pages;          /* held now, of all cache groups; 0 while it waits */
   sinter_status error;        /* of SINTER_FINISH_error; SINTER_exhausted: its grammar's states */
} sinter_request_stats;

SINTER_API void sinter_request_get_stats(const sinter_request *r, sinter_request_stats *out);

/* Runs one step over all requests; *out_busy: work is left. On an error, destroy the engine. */
SINTER_API SINTER_CHECKED sinter_status sinter_step(sinter_engine *e, bool *out_busy);

/* Has a thread of the device that waits call fn(user) once. False, and no call, when none waits. */
SINTER_API bool sinter_post(sinter_engine *e, void (*fn)(void *user), void *user);

/* Calls on_kv for everything that the prefix cache can find now, parents before children. */
SINTER_API void sinter_engine_kv_blocks(sinter_engine *e);

/* ---- images ---- */

/* An image, or frames of one size, cut into patches: rows of patch_width numbers, frame by frame;
 * within one squares of merge x merge patches, row by row, and within a square its patches. */
typedef struct sinter_image {
   const float *pixels;
   uint32_t grid[3]; /* frames, rows, columns of patches; the latter multiples of merge */
} sinter_image;

/* Decodes a PNG, JPEG or WebP file, resizes it to whole squares of patches within the model's
 * bounds, and cuts it; free with sinter_image_free. Errors SINTER_bad_input for bytes that are no
 * image, damaged or too large (64 MiB, 2^14 pixels a side, 2^26 together); SINTER_no_device naming
 * a library that is not there; SINTER_unsupported when the model sees no images. */
SINTER_API SINTER_CHECKED sinter_status sinter_image_read(const sinter_artifact *a,
                                                          const void *bytes, size_t size,
                                                          sinter_image *out);
SINTER_API void sinter_image_free(sinter_image *image);

/* The tower that makes rows beside embeddings of images. It belongs to one thread at a time. */
typedef struct sinter_vision sinter_vision;

/* Of the options device, threads, share_threads count, and step_tokens: most patches of a step, so
 * also of a frame; 0: those of the largest image that sinter_image_read makes, at least 4096.
 * Errors SINTER_unsupported when the model sees no images. */
SINTER_API SINTER_CHECKED sinter_status sinter_vision_create(sinter_artifact *a,
                                                             const sinter_engine_options *options,
                                                             sinter_vision **out);
SINTER_API void sinter_vision_destroy(sinter_vision *v);

/* Writes features f32[tokens of all images][width of the model], image by image. Frames of all
 * images are packed into as few steps as small ones first need; a frame's features do not depend on
 * that. Errors SINTER_usage for a grid that is not whole squares, SINTER_exhausted for a frame past
 * step_tokens. */
SINTER_API SINTER_CHECKED sinter_status sinter_vision_encode(sinter_vision *v,
                                                             const sinter_image *images,
                                                             uint32_t count, float *features);

/* What becomes of the keys, values and states of a preempted request: WAY(name, why). */
#define SINTER_PREEMPT_MAP(WAY)                                                                    \
   WAY(swapped, "swapped to host memory: cheaper than recomputing")                                \
   WAY(recomputed, "recomputed: cheaper than swapping")                                            \
   WAY(no_room, "recomputed: the room of host_kv_tokens is full")                                  \
   WAY(off, "recomputed: host_kv_tokens is 0, or the device hands out no pages")

typedef enum sinter_preempt {
#define WAY(name, why) SINTER_PREEMPT_##name,
   SINTER_PREEMPT_MAP(WAY)
#undef WAY
      SINTER_PREEMPT_COUNT
} sinter_preempt;

/* Where tokens were sampled from their logits: on the device, or on the host and why. */
#define SINTER_SAMPLED(X)                                                                          \
   X(device, "the host read no logits")                                                            \
   X(no_sampler, "the device, or the artifact for it, has no sampler")                             \
   X(grammar, "tokens were masked")                                                                \
   X(penalties, "they depend on earlier tokens")                                                   \
   X(bias, "logits were biased")                                                                   \
   X(logprobs, "log-probabilities were asked for")                                                 \
   X(logits, "the caller reads the logits")

typedef enum sinter_sampled {
#define SINTER_SAMPLED_ROW(name, what) SINTER_SAMPLED_##name,
   SINTER_SAMPLED(SINTER_SAMPLED_ROW)
#undef SINTER_SAMPLED_ROW
      SINTER_SAMPLED_COUNT
} sinter_sampled;

/* Counts since the engine was made, and what it holds now. Arrays have room for rows to come. */
typedef struct sinter_stats {
   size_t size;
   const char *device; /* static */
   uint64_t steps, tokens, launches, segments, graphs;
   uint64_t prefix_hit_tokens, kv_tokens_total, kv_tokens_used;
   uint64_t weight_bytes_read; /* bytes of weights and KV that the steps had to read */
   double prefill_seconds, decode_seconds;
   uint64_t ops; /* multiplications and additions of the steps, by the plan */
   uint64_t drafted_tokens, accepted_tokens;       /* with `draft_tokens`; of these, right */
   uint64_t swapped_out_tokens, swapped_in_tokens; /* with `host_kv_tokens` */
   uint64_t preempted[8];                          /* requests, by sinter_preempt */
   uint64_t sampled[16];                           /* tokens, by sinter_sampled */
   uint32_t running, waiting;     /* requests that have a slot; that have none yet */
   uint64_t kv_bytes, kv_refused; /* GPU memory of KV pages, which can grow; times it could not */
   uint64_t graph_bytes;          /* GPU memory that graphs took when the engine was made */
   uint64_t byte_ops;             /* of `ops`: products of signed bytes (q8_0, iq4_nl), on a CPU */
} sinter_stats;

SINTER_API void sinter_engine_stats(const sinter_engine *e, sinter_stats *out);

/* What one launch of the plan took, with `time_launches`. Strings are owned by the artifact. */
typedef struct sinter_launch_time {
   const char *variant;       /* "decode", "deep", "prefill" */
   const char *group, *rule;  /* kernel group it came from, and the pass that made it ("": none) */
   const char *kernel;        /* symbol of its code */
   uint64_t runs, bytes, ops; /* bytes and operations of the last run, as the plan counts them */
   double seconds, best_seconds; /* of all runs; of the fastest */
} sinter_launch_time;

/* Launches of all variants in plan order; *out belongs to the engine and moves with its steps. 0
 * without `time_launches`, and on devices without launches. */
SINTER_API uint32_t sinter_engine_launches(const sinter_engine *e, const sinter_launch_time **out);

/* Runs the launches of the next `steps` steps one by one and times them, as `time_launches` does of
 * all: a step then takes longer, with the same results. Errors SINTER_unsupported on devices
 * without launches. */
SINTER_API SINTER_CHECKED sinter_status sinter_engine_time_steps(sinter_engine *e, uint32_t steps);

/* The instructions of a kernel (`kernel` of a launch), as text, a line each; free with sinter_free.
 * Opens the compiler. Errors SINTER_not_found when the artifact has none of that name;
 * SINTER_unsupported for code that is not of a CPU. */
SINTER_API SINTER_CHECKED sinter_status sinter_artifact_code(const sinter_artifact *a,
                                                             const char *kernel, char **out_text);

#ifdef __cplusplus
}
#endif
#endif
