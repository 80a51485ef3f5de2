/* slow.c - closes connections whose client is slow with its headers, or has too many of them.
 *
 * libmicrohttpd's own timeout begins anew with every byte, so that a client which sends one now and
 * then would keep its connection for hours. Here a connection is one of
 *
 *    silent ─a byte arrived─▶ heading ─headers are read─▶ busy ─answered─▶ silent
 *
 * and `heading` may last header_seconds (a TLS handshake is part of it). libmicrohttpd does not
 * tell of single bytes, so the kernel is asked how many came, once a second.
 *
 * Its limit for an address would count clients of this machine, too, a proxy in front of the server
 * among them. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "slow.h"

struct watched {
   struct watched *next, **link; /* link: what points here */
   int socket;
   struct in6_addr from; /* IPv4 as IPv6 maps it */
   bool busy;
   uint64_t heard; /* bytes that came before this request */
   double since;   /* clock of its first byte, 0: silent */
};

/* Bytes of a connection so far. */
static uint64_t heard(int socket)
{
   struct tcp_info info;
   socklen_t len = sizeof info;

   memset(&info, 0, sizeof info);
   return getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_bytes_received
                                                                      : 0;
}

static struct in6_addr address_of(struct MHD_Connection *connection)
{
   const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
   const struct sockaddr *a = info ? info->client_addr : NULL;
   struct in6_addr out = IN6ADDR_LOOPBACK_INIT;

   if (a && a->sa_family == AF_INET6)
      out = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
   if (a && a->sa_family == AF_INET) {
      memset(&out, 0, 10);
      memset(&out.s6_addr[10], 0xff, 2);
      memcpy(&out.s6_addr[12], &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
   }
   return out;
}

static bool is_here(const struct in6_addr *a)
{
   return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

/* Whether w is one connection too many of another machine. */
static bool is_beyond(const server *s, const struct watched *w)
{
   int64_t same = 0;

   for (const struct watched *i = is_here(&w->from) ? NULL : s->watched; i; i = i->next)
      same += memcmp(&i->from, &w->from, sizeof w->from) == 0;
   return same > serve_most.connections_per_address;
}

/* Nothing else is written to a connection whose headers are not complete. */
static void cut(server *s, struct watched *w, const char *answer)
{
   if (!s->tls_cert.len)
      (void)!send(w->socket, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
   shutdown(w->socket, SHUT_RDWR); /* libmicrohttpd sees the end, and closes it */
   w->busy = true;                 /* once is enough */
   atomic_fetch_add(&s->answers[SERVE_ROUTES][4], 1);
}

static void opened(server *s, struct MHD_Connection *connection, void **context)
{
   static const char many[] =
      "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
   const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
   struct watched *w = calloc(1, sizeof *w);

   if (!w || !info) {
      free(w);
      return; /* the idle timeout still holds */
   }
   w->socket = info->connect_fd;
   w->from = address_of(connection);
   pthread_mutex_lock(&s->watching);
   w->next = s->watched;
   w->link = &s->watched;
   if (w->next)
      w->next->link = &w->next;
   s->watched = w;
   if (is_beyond(s, w))
      cut(s, w, many);
   pthread_mutex_unlock(&s->watching);
   *context = w;
}

/* Called before the socket is closed: its number is not another connection's yet. */
static void closed(server *s, void **context)
{
   struct watched *w = *context;

   if (!w)
      return;
   pthread_mutex_lock(&s->watching);
   *w->link = w->next;
   if (w->next)
      w->next->link = w->link;
   pthread_mutex_unlock(&s->watching);
   free(w);
   *context = NULL;
}

void slow_connection(void *user, struct MHD_Connection *connection, void **context,
                     enum MHD_ConnectionNotificationCode what)
{
   if (what == MHD_CONNECTION_NOTIFY_STARTED)
      opened(user, connection, context);
   else
      closed(user, context);
}

void slow_request(server *s, struct MHD_Connection *connection, bool begins)
{
   const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
   struct watched *w = info ? info->socket_context : NULL;

   if (!w)
      return;
   pthread_mutex_lock(&s->watching);
   w->busy = begins;
   w->since = 0;
   w->heard = begins ? 0 : heard(w->socket);
   pthread_mutex_unlock(&s->watching);
}

void slow_sweep(server *s)
{
   static const char late[] =
      "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
   double now = cli_seconds();

   if (now - s->swept < 0.9)
      return;
   s->swept = now;
   pthread_mutex_lock(&s->watching);
   for (struct watched *w = s->watched; w; w = w->next) {
      if (w->busy)
         continue;
      if (!w->since && heard(w->socket) > w->heard)
         w->since = now;
      if (!w->since || now - w->since < (double)serve_most.header_seconds)
         continue;
      cut(s, w, late);
   }
   pthread_mutex_unlock(&s->watching);
}
