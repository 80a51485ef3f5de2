/* history.c - bench.db. Its layout has a number (user_version); another number is an error, not a
 * guess. */
#include "history.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tree.h"

struct history {
   sqlite3 *db;
   char path[4096];
};

enum { LAYOUT = 1, BUSY_MS = 5000 };

static const char schema[] =
   "BEGIN IMMEDIATE;"
   "CREATE TABLE IF NOT EXISTS runs(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL,"
   " commit_id TEXT NOT NULL, model TEXT NOT NULL, source TEXT NOT NULL, artifact TEXT NOT NULL,"
   " machine TEXT NOT NULL, options TEXT NOT NULL, threads INTEGER NOT NULL,"
   " read_bytes_s REAL NOT NULL, int8_ops_s REAL NOT NULL);"
   "CREATE TABLE IF NOT EXISTS tests(run INTEGER NOT NULL REFERENCES runs, name TEXT NOT NULL,"
   " tok_s REAL NOT NULL, bytes REAL NOT NULL, ops REAL NOT NULL, limit_pct REAL NOT NULL,"
   " PRIMARY KEY(run, name));"
   "CREATE TABLE IF NOT EXISTS samples(run INTEGER NOT NULL, test TEXT NOT NULL, n INTEGER NOT "
   "NULL,"
   " tok_s REAL NOT NULL, PRIMARY KEY(run, test, n));"
   "PRAGMA user_version = 1;"
   "COMMIT;";

static void complain(const history *h, const char *what)
{
   fprintf(stderr, "error: %s: %s\n  %s\n  try: another SINTER_CACHE, or move this file away\n",
           what, h->db ? sqlite3_errmsg(h->db) : "out of memory", h->path);
}

static bool cache_folder(char *out, size_t cap)
{
   char *json = NULL;
   sinter_status status = sinter_doctor(&json);

   if (status != SINTER_ok) {
      cli_error(status);
      return false;
   }
   tree *t = tree_parse(json, strlen(json));
   snprintf(out, cap, "%s", tree_string(tree_get(t, "cache")));
   tree_free(t);
   sinter_free(json);
   return out[0] != 0;
}

static bool check_layout(history *h)
{
   sqlite3_stmt *s = NULL;
   int found = -1;

   if (sqlite3_prepare_v2(h->db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
       sqlite3_step(s) == SQLITE_ROW)
      found = sqlite3_column_int(s, 0);
   sqlite3_finalize(s);
   if (found == LAYOUT)
      return true;
   if (found == 0 && sqlite3_exec(h->db, schema, NULL, NULL, NULL) == SQLITE_OK)
      return true;
   if (found > 0)
      fprintf(stderr,
              "error: the bench history has layout %d, this program knows %d\n  %s\n  try: move "
              "this file away\n",
              found, LAYOUT, h->path);
   else
      complain(h, "the bench history cannot be used");
   return false;
}

history *history_open(void)
{
   history *h = calloc(1, sizeof *h);
   char folder[4000];

   if (!h || !cache_folder(folder, sizeof folder)) {
      free(h);
      return NULL;
   }
   /* An artifact outside the cache may be all there is so far. */
   mkdir(folder, 0700);
   snprintf(h->path, sizeof h->path, "%s/bench.db", folder);
   if (sqlite3_open(h->path, &h->db) != SQLITE_OK) {
      complain(h, "the bench history cannot be opened");
      history_close(h);
      return NULL;
   }
   sqlite3_busy_timeout(h->db, BUSY_MS);
   if (!check_layout(h)) {
      history_close(h);
      return NULL;
   }
   return h;
}

void history_close(history *h)
{
   if (h)
      sqlite3_close(h->db);
   free(h);
}

/* ---- a run and where it ran ---- */

static void cpu_model(char *out, size_t cap)
{
   char line[512];
   FILE *f = fopen("/proc/cpuinfo", "r");

   snprintf(out, cap, "unknown CPU");
   while (f && fgets(line, sizeof line, f)) {
      char *value = strchr(line, ':');
      if (strncmp(line, "model name", 10) == 0 && value) {
         value[strcspn(value, "\n")] = 0;
         snprintf(out, cap, "%s", value + 2);
         break;
      }
   }
   if (f)
      fclose(f);
}

static void describe_model(const session *s, history_run *out)
{
   const char *text = sinter_artifact_document(s->artifact, "manifest"),
              *slash = strrchr(s->path, '/');
   tree *t = text ? tree_parse(text, strlen(text)) : NULL;
   const tree *source = tree_first(tree_get(tree_get(t, "key"), "source"));

   snprintf(out->model, sizeof out->model, "%s",
            tree_string(tree_get(tree_get(t, "model"), "name")));
   snprintf(out->source, sizeof out->source, "%s", tree_string(tree_get(source, "digest")));
   snprintf(out->artifact, sizeof out->artifact, "%.255s", slash ? slash + 1 : s->path);
   char *suffix = strstr(out->artifact, ".sinter");
   if (suffix)
      *suffix = 0;
   tree_free(t);
}

void history_describe(const options *o, const session *s, history_run *out)
{
   const char *version = sinter_version(), *open = strchr(version, '(');
   const struct {
      const char *name, *value;
   } all[] = {
      {"numerics", o->numerics}, {"device", o->device}, {"with", o->with}, {"without", o->without}};
   char cpu[160];
   size_t len = 0;

   *out = (history_run){0};
   snprintf(out->commit, sizeof out->commit, "%.*s", open ? (int)strcspn(open + 1, ",)") : 0,
            open ? open + 1 : "");
   describe_model(s, out);
   cpu_model(cpu, sizeof cpu);
   snprintf(out->machine, sizeof out->machine, "%s, %ld cores", cpu, sysconf(_SC_NPROCESSORS_ONLN));
   for (size_t i = 0; i < countof(all); i++)
      if (all[i].value && len < sizeof out->options)
         len += (size_t)snprintf(out->options + len, sizeof out->options - len, "%s--%s %s",
                                 len ? " " : "", all[i].name, all[i].value);
}

/* ---- statements ---- */

static sqlite3_stmt *prepare(history *h, const char *sql)
{
   sqlite3_stmt *s = NULL;

   if (sqlite3_prepare_v2(h->db, sql, -1, &s, NULL) != SQLITE_OK) {
      complain(h, "the bench history cannot be read");
      return NULL;
   }
   return s;
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
   sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

static void take_text(sqlite3_stmt *s, int at, char *out, size_t cap)
{
   const unsigned char *text = sqlite3_column_text(s, at);

   snprintf(out, cap, "%s", text ? (const char *)text : "");
}

/* Runs a statement that gives no rows, and frees it. */
static bool finish(sqlite3_stmt *s)
{
   bool ok = s && sqlite3_step(s) == SQLITE_DONE;

   sqlite3_finalize(s);
   return ok;
}

static bool insert_run(history *h, history_run *r)
{
   sqlite3_stmt *s = prepare(
      h, "INSERT INTO runs(at, commit_id, model, source, artifact, machine, options, threads,"
         " read_bytes_s, int8_ops_s)"
         " VALUES(strftime('%Y-%m-%dT%H:%M:%SZ'), ?, ?, ?, ?, ?, ?, ?, ?, ?)");
   const char *const texts[] = {r->commit,   r->model,   r->source,
                                r->artifact, r->machine, r->options};
   int at = 1;

   if (!s)
      return false;
   for (size_t i = 0; i < countof(texts); i++)
      bind_text(s, at++, texts[i]);
   sqlite3_bind_int64(s, at++, r->threads);
   sqlite3_bind_double(s, at++, r->read_bytes_s);
   sqlite3_bind_double(s, at++, r->int8_ops_s);
   bool ok = finish(s);
   r->id = sqlite3_last_insert_rowid(h->db);
   return ok;
}

static bool insert_test(history *h, int64_t run, const history_test *t)
{
   sqlite3_stmt *s = prepare(h, "INSERT INTO tests VALUES(?, ?, ?, ?, ?, ?)");
   const double values[] = {t->tok_s, t->bytes, t->ops, t->limit_pct};

   if (!s)
      return false;
   sqlite3_bind_int64(s, 1, run);
   bind_text(s, 2, t->name);
   for (size_t i = 0; i < countof(values); i++)
      sqlite3_bind_double(s, 3 + (int)i, values[i]);
   bool ok = finish(s);
   for (size_t i = 0; ok && i < t->num_samples; i++) {
      s = prepare(h, "INSERT INTO samples VALUES(?, ?, ?, ?)");
      if (!s)
         return false;
      sqlite3_bind_int64(s, 1, run);
      bind_text(s, 2, t->name);
      sqlite3_bind_int64(s, 3, (int64_t)i);
      sqlite3_bind_double(s, 4, t->samples[i]);
      ok = finish(s);
   }
   return ok;
}

bool history_add(history *h, history_run *run, const history_test *tests, size_t num_tests)
{
   bool ok =
      sqlite3_exec(h->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK && insert_run(h, run);

   for (size_t i = 0; ok && i < num_tests; i++)
      ok = insert_test(h, run->id, &tests[i]);
   ok = ok && sqlite3_exec(h->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
   if (!ok) {
      complain(h, "the run cannot be kept");
      sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
   }
   return ok;
}

/* ---- reading ---- */

int history_runs(history *h, const char *where, const char *first, const char *second,
                 history_run *out, int cap)
{
   char sql[1024];
   int n = 0, code = SQLITE_DONE;

   snprintf(sql, sizeof sql,
            "SELECT id, at, commit_id, model, source, artifact, machine, options, threads,"
            " read_bytes_s, int8_ops_s FROM runs WHERE %s ORDER BY id DESC",
            where);
   sqlite3_stmt *s = prepare(h, sql);
   if (!s)
      return -1;
   if (first)
      bind_text(s, 1, first);
   if (second)
      bind_text(s, 2, second);
   while (n < cap && (code = sqlite3_step(s)) == SQLITE_ROW) {
      history_run *r = &out[n++];
      *r = (history_run){.id = sqlite3_column_int64(s, 0),
                         .threads = sqlite3_column_int64(s, 8),
                         .read_bytes_s = sqlite3_column_double(s, 9),
                         .int8_ops_s = sqlite3_column_double(s, 10)};
      take_text(s, 1, r->at, sizeof r->at);
      char *const texts[] = {r->commit, r->model, r->source, r->artifact, r->machine, r->options};
      for (size_t i = 0; i < countof(texts); i++)
         take_text(s, 2 + (int)i, texts[i], sizeof r->commit);
   }
   if (code != SQLITE_DONE && code != SQLITE_ROW)
      complain(h, "the bench history cannot be read");
   sqlite3_finalize(s);
   return code == SQLITE_DONE || code == SQLITE_ROW ? n : -1;
}

static bool read_samples(history *h, int64_t run, history_test *t)
{
   sqlite3_stmt *s = prepare(h, "SELECT tok_s FROM samples WHERE run = ? AND test = ? ORDER BY n");

   if (!s)
      return false;
   sqlite3_bind_int64(s, 1, run);
   bind_text(s, 2, t->name);
   while (t->num_samples < HISTORY_SAMPLES && sqlite3_step(s) == SQLITE_ROW)
      t->samples[t->num_samples++] = sqlite3_column_double(s, 0);
   sqlite3_finalize(s);
   return true;
}

int history_tests(history *h, int64_t run, history_test *out, int cap)
{
   sqlite3_stmt *s = prepare(
      h, "SELECT name, tok_s, bytes, ops, limit_pct FROM tests WHERE run = ? ORDER BY rowid");
   int n = 0;
   bool ok = s != NULL;

   if (s)
      sqlite3_bind_int64(s, 1, run);
   while (ok && n < cap && sqlite3_step(s) == SQLITE_ROW) {
      history_test *t = &out[n++];
      *t = (history_test){.tok_s = sqlite3_column_double(s, 1),
                          .bytes = sqlite3_column_double(s, 2),
                          .ops = sqlite3_column_double(s, 3),
                          .limit_pct = sqlite3_column_double(s, 4)};
      take_text(s, 0, t->name, sizeof t->name);
      ok = read_samples(h, run, t);
   }
   sqlite3_finalize(s);
   return ok ? n : -1;
}
