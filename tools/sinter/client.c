/* client.c - a connection for each question, HTTP/1.0, and TLS in between for https. A server whose
 * certificate is not trusted is told nothing. */
#include "client.h"

#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/tls.h"

enum { MAX_ANSWER = 16 << 20, MAX_SECONDS = 30, TIMEOUT_SECONDS = 5 };

/* ---- who is asked ---- */

/* http[s]://HOST[:PORT], with the ports that such URLs mean. */
static bool read_url(client *c, const char *url, bool *out_tls)
{
   bool is_plain = strncmp(url, "http://", 7) == 0;
   const char *at = url + (is_plain ? 7 : 8);
   char *end = NULL;
   int len = 0;

   *out_tls = strncmp(url, "https://", 8) == 0;
   if (!*out_tls && !is_plain)
      return false;
   if (sscanf(at, "[%255[0-9a-fA-F:.]]%n", c->host, &len) < 1)
      (void)sscanf(at, "%255[^][:/?#@ ]%n", c->host, &len);
   at += len;
   long port = *at == ':' ? strtol(at + 1, &end, 10) : *out_tls ? 443 : 80;
   snprintf(c->port, sizeof c->port, "%ld", port);
   at = end ? end : at;
   return len && port > 0 && port <= 65535 && (!*at || strcmp(at, "/") == 0);
}

static int read_options(client *c, const options *o, bool *out_tls)
{
   int64_t port = cli_int(o->port, 8080);
   const char *host = o->host ? o->host : "127.0.0.1";

   *out_tls = false;
   if (o->num_args && (o->host || o->port != CLI_UNSET))
      return cli_usage_error("a URL says what --host and --port say");
   if (o->num_args && !read_url(c, o->args[0], out_tls))
      return cli_usage_error("a server is http://HOST:PORT or https://HOST:PORT, not '%s'",
                             o->args[0]);
   if (o->tls_ca && !*out_tls)
      return cli_usage_error("--tls-ca says nothing without https://HOST:PORT");
   if (port > 65535)
      return cli_usage_error("--port is at most 65535");
   if (strlen(host) >= sizeof c->host)
      return cli_usage_error("--host has at most %zu characters", sizeof c->host - 1);
   if (!o->num_args) {
      snprintf(c->host, sizeof c->host, "%s", host);
      snprintf(c->port, sizeof c->port, "%d", (int)port);
   }
   return 0;
}

static int load_trust(client *c, const char *ca)
{
   gnutls_certificate_credentials_t trust = NULL;

   if (!tls_load(c->at))
      return 1;
   int n = gnutls_certificate_allocate_credentials(&trust);
   c->trust = trust;
   if (n >= 0)
      n = ca ? gnutls_certificate_set_x509_trust_file(trust, ca, GNUTLS_X509_FMT_PEM)
             : gnutls_certificate_set_x509_system_trust(trust);
   if (n > 0)
      return 0;
   return cli_fail(1, ca ? ca : c->at,
                   ca ? "name a file of certificates in PEM form"
                      : "apt-get install ca-certificates, or name whom to trust with --tls-ca FILE",
                   "there are no certificates to trust: %s", n ? gnutls_strerror(n) : "none found");
}

int client_init(client *c, const options *o)
{
   bool tls;

   *c = (client){.key = getenv("SINTER_API_KEY")};
   int code = read_options(c, o, &tls);
   if (code)
      return code;
   snprintf(c->at, sizeof c->at, strchr(c->host, ':') ? "%s://[%s]:%s" : "%s://%s:%s",
            tls ? "https" : "http", c->host, c->port);
   if (tls)
      code = load_trust(c, o->tls_ca);
   if (code)
      client_deinit(c);
   return code;
}

void client_deinit(client *c)
{
   if (c->trust)
      gnutls_certificate_free_credentials(c->trust);
   c->trust = NULL;
}

/* ---- a connection ---- */

static int dial(const client *c)
{
   struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *list = NULL;
   struct timeval limit = {TIMEOUT_SECONDS, 0};
   int fd = -1;

   if (getaddrinfo(c->host, c->port, &want, &list) != 0)
      return -1;
   for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
      fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
      if (fd < 0)
         continue;
      (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
         close(fd);
         fd = -1;
      }
   }
   freeaddrinfo(list);
   return fd;
}

static void say_untrusted(const client *c, unsigned doubts)
{
   const char *remedy = doubts & GNUTLS_CERT_SIGNER_NOT_FOUND
                           ? "--tls-ca FILE: the certificate of who signed it; its own, if it is "
                             "self-signed"
                        : doubts & GNUTLS_CERT_UNEXPECTED_OWNER
                           ? "name the server as its certificate does"
                           : "give the server another certificate";
   gnutls_datum_t text = {0};

   (void)gnutls_certificate_verification_status_print(doubts, GNUTLS_CRT_X509, &text, 0);
   (void)cli_fail(1, c->at, remedy, "the server's certificate is refused: %s",
                  text.data ? (const char *)text.data : "it is not valid");
   free(text.data);
}

static void say_broken(const client *c, ssize_t error)
{
   (void)cli_fail(1, c->at, "see its log; a server without --tls-cert is asked as http://HOST:PORT",
                  "TLS cannot be spoken with the server: %s", gnutls_strerror((int)error));
}

/* TLS on a connection, with a server that is who it should be; NULL after saying why not. */
static gnutls_session_t shake_hands(const client *c, int fd)
{
   gnutls_session_t tls = NULL;
   int e = gnutls_init(&tls, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);

   if (e >= 0)
      e = gnutls_set_default_priority(tls);
   if (e >= 0)
      e = gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, c->trust);
   if (e >= 0) /* does nothing for an address */
      e = gnutls_server_name_set(tls, GNUTLS_NAME_DNS, c->host, strlen(c->host));
   if (e >= 0) {
      gnutls_session_set_verify_cert(tls, c->host, 0);
      gnutls_transport_set_int(tls, fd);
      gnutls_handshake_set_timeout(tls, TIMEOUT_SECONDS * 1000);
      gnutls_record_set_timeout(tls, TIMEOUT_SECONDS * 1000);
      do
         e = gnutls_handshake(tls);
      while (e < 0 && !gnutls_error_is_fatal(e));
   }
   if (e >= 0)
      return tls;
   if (e == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
      say_untrusted(c, gnutls_session_get_verify_cert_status(tls));
   else
      say_broken(c, e);
   if (tls)
      gnutls_deinit(tls);
   return NULL;
}

/* ---- a question ---- */

/* 0 when the answer is whole, an error of TLS below it. */
static ssize_t exchange(int fd, gnutls_session_t tls, const buffer *request, buffer *answer)
{
   double end = cli_seconds() + MAX_SECONDS;
   char piece[16384];
   ssize_t n = tls ? gnutls_record_send(tls, request->data, request->len)
                   : send(fd, request->data, request->len, MSG_NOSIGNAL);
   bool goes_on = true;

   if (n != (ssize_t)request->len)
      return n < 0 ? n : 1;
   while (goes_on && answer->len < MAX_ANSWER && cli_seconds() < end) {
      n = tls ? gnutls_record_recv(tls, piece, sizeof piece) : recv(fd, piece, sizeof piece, 0);
      if (n > 0)
         buffer_add(answer, piece, (size_t)n);
      /* Tickets and the like come in between, as errors that are none. */
      goes_on = n > 0 || (tls && n < 0 && !gnutls_error_is_fatal((int)n));
   }
   return n;
}

static int parse(const client *c, const buffer *answer, buffer *out)
{
   const char *body = answer->len > 12 ? strstr(answer->data, "\r\n\r\n") : NULL;
   int status = body && strncmp(answer->data, "HTTP/", 5) == 0 ? atoi(answer->data + 9) : 0;

   if (body)
      buffer_printf(out, "%s", body + 4);
   if (status <= 0)
      return cli_fail(0, c->at,
                      c->trust ? "name a server that `sinter serve` has started"
                               : "a server with --tls-cert is asked as https://HOST:PORT",
                      "what listens there does not answer in HTTP");
   return status;
}

static int ask(const client *c, int fd, gnutls_session_t tls, const char *path, buffer *out)
{
   buffer request = {0}, answer = {0};

   /* Proxies go by the name; a server without TLS that only this machine reaches wants to be
    * called localhost. */
   buffer_printf(&request, "GET %s HTTP/1.0\r\nHost: %s\r\n", path,
                 tls ? strstr(c->at, "://") + 3 : "localhost");
   if (c->key) /* the first, should there be several */
      buffer_printf(&request, "Authorization: Bearer %.*s\r\n", (int)strcspn(c->key, "\r\n"),
                    c->key);
   buffer_printf(&request, "\r\n");
   ssize_t n = exchange(fd, tls, &request, &answer);
   int status = 0;
   if (tls && n < 0)
      say_broken(c, n);
   else
      status = parse(c, n ? &(buffer){0} : &answer, out);
   buffer_free(&request);
   buffer_free(&answer);
   return status;
}

int client_get(const client *c, const char *path, buffer *out)
{
   gnutls_session_t tls = NULL;
   int status = 0, fd = dial(c);

   out->len = 0;
   if (fd < 0)
      return cli_fail(0, c->at, "name the server with --host and --port, or as a URL",
                      "no server answers there");
   if (c->trust)
      tls = shake_hands(c, fd);
   if (tls || !c->trust)
      status = ask(c, fd, tls, path, out);
   if (tls) {
      (void)gnutls_bye(tls, GNUTLS_SHUT_WR);
      gnutls_deinit(tls);
   }
   close(fd);
   return status;
}
