// LINK: runtime base
/* A chat template and messages, separated by the first byte 0xFF. */
#include "runtime/text/chat.h"

typedef struct input {
   arena *a;
   const char *source, *messages;
   size_t source_len, messages_len;
} input;

static sinter_status body(void *user)
{
   input *in = user;
   text_rendered r;
   text_chat_options o = {
      .bos_token = "<s>", .eos_token = "</s>", .add_generation_prompt = true, .now = 1};

   return text_chat_render(in->a, in->source, in->source_len, in->messages, in->messages_len, &o,
                           &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   const uint8_t *cut = memchr(data, 0xff, size);
   input in = {
      .source = (const char *)data,
      .source_len = cut ? (size_t)(cut - data) : size,
      .messages =
         "[{\"role\":\"user\",\"content\":\"Hi <b>\"},{\"role\":\"assistant\",\"content\":\"x\"}]"};

   in.messages_len = strlen(in.messages);
   if (cut) {
      in.messages = (const char *)cut + 1;
      in.messages_len = size - in.source_len - 1;
   }
   if (arena_create(&in.a) != SINTER_ok)
      return 0;
   sinter_status s = arena_catch(body, &in);
   (void)s;
   arena_destroy(in.a);
   return 0;
}
