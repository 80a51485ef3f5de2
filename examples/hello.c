/* hello.c - the public interface in one screen: compile a model (or find it in the cache) and
 * answer a prompt.
 *
 *    cc examples/hello.c -Iinclude -Lbuild -lsinter_rt -Wl,-rpath,$PWD/build -o build/hello
 *    build/hello MODEL "Hello" */
#include <stdio.h>
#include <string.h>

#include "sinter.h"

static int fail(const char *what)
{
   fprintf(stderr, "%s: %s\n", what, sinter_error());
   return 1;
}

/* Tokens are pieces of characters: the stream hands out whole ones. */
static void on_token(void *user, sinter_request *request, const sinter_token *token)
{
   const char *text;
   size_t len;

   (void)request;
   if (token->id >= 0 && sinter_stream_push(user, token->id, &text, &len) == SINTER_ok)
      fwrite(text, 1, len, stdout);
}

int main(int argc, char **argv)
{
   sinter_compile_options compile = SINTER_INIT(sinter_compile_options);
   sinter_engine_options options = SINTER_INIT(sinter_engine_options);
   sinter_request_options request = SINTER_INIT(sinter_request_options);
   sinter_artifact *artifact;
   sinter_engine *engine;
   sinter_request *answer;
   sinter_stream *stream;
   int32_t prompt[512];
   size_t count;
   char path[4096];
   bool cached, busy = true;

   if (argc != 3) {
      fprintf(stderr, "usage: hello MODEL PROMPT\n");
      return 2;
   }
   compile.model = argv[1];
   if (sinter_compile(&compile, path, sizeof path, &cached) != SINTER_ok)
      return fail("compile");
   if (sinter_artifact_open(path, &artifact) != SINTER_ok)
      return fail("open");
   if (sinter_tokenize(artifact, argv[2], strlen(argv[2]), 0, prompt, 512, &count) != SINTER_ok)
      return fail("tokenize");
   if (count > 512) {
      fprintf(stderr, "the prompt has %zu tokens: this example has room for 512\n", count);
      return 1;
   }
   if (sinter_engine_create(artifact, &options, &engine) != SINTER_ok)
      return fail("engine");
   if (sinter_stream_create(artifact, &stream) != SINTER_ok)
      return fail("stream");
   sinter_stream_continue(stream); /* the answer goes on with the prompt */

   request.prompt = prompt;
   request.num_prompt = (uint32_t)count;
   request.max_tokens = 32;
   request.sampling = SINTER_SAMPLING_GREEDY;
   request.on_token = on_token;
   request.user = stream;
   if (sinter_submit(engine, &request, &answer) != SINTER_ok)
      return fail("submit");
   while (busy)
      if (sinter_step(engine, &busy) != SINTER_ok)
         return fail("step");
   putchar('\n');
   sinter_request_destroy(answer);
   sinter_stream_destroy(stream);
   sinter_engine_destroy(engine);
   sinter_artifact_close(artifact);
   return 0;
}
