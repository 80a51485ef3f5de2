/* faults.c - errors as clients see them: a status, a stable code, the parameter, a sentence. */
#include <stdarg.h>
#include <string.h>

#include "fault.h"

bool fault_set(fault *f, int http, const char *code, const char *param, const char *fmt, ...)
{
   va_list args;

   f->http = http;
   f->code = code;
   snprintf(f->param, sizeof f->param, "%s", param ? param : "");
   va_start(args, fmt);
   vsnprintf(f->message, sizeof f->message, fmt, args);
   va_end(args);
   return false;
}

bool fault_from_library(fault *f, sinter_status status, const char *param)
{
   static const int http[] = {
#define STATUS(name, exit_code, http, text) http,
      SINTER_STATUS_MAP(STATUS)
#undef STATUS
   };
   return fault_set(f, http[status], sinter_status_name(status), param, "%s", sinter_error());
}

static const char *fault_type(int http)
{
   switch (http) {
   case 401: return "authentication_error";
   case 403: return "permission_error";
   case 404: return "not_found_error";
   case 429: return "rate_limit_error";
   case 503: return "unavailable_error";
   default: return http < 500 ? "invalid_request_error" : "server_error";
   }
}

void fault_json(const fault *f, buffer *out)
{
   buffer_printf(out, "{\"error\":{\"message\":");
   buffer_json_string(out, f->message, strlen(f->message));
   buffer_printf(out, ",\"type\":\"%s\",\"param\":", fault_type(f->http));
   if (f->param[0] && f->http != 405)
      buffer_json_string(out, f->param, strlen(f->param));
   else
      buffer_printf(out, "null");
   buffer_printf(out, ",\"code\":\"%s\"}}", f->code);
}
