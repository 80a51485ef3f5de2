/* chat.c - rendering of chat templates. */
#include "chat.h"

sinter_status text_chat_render(arena *a, const char *source, size_t len, const char *messages_json,
                               size_t messages_len, const text_chat_options *options,
                               text_rendered *out)
{
   (void)a, (void)source, (void)len, (void)messages_json, (void)messages_len, (void)options,
      (void)out;
   return base_fail(SINTER_unsupported, "", "use --raw", "chat templates are not built in yet");
}
