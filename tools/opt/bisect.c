/* bisect.c - --bisect: which sites make the result wrong.
 *
 * Of the sites that fired, the fewest that still break the contract are found by delta debugging
 * (Zeller and Hildebrandt 2002): chunks and complements of chunks are tried, ever smaller. Sites
 * that had not fired stay out, so that no rival takes the place of one that is left out. With what
 * remains, the first value out of contract is looked up in both runs. */
#include "opt.h"

#include "passes/exec.h"
#include "base/json.h"

#include <stdio.h>

typedef struct site_name {
   pass_id pass;
   uint32_t number;
} site_name;

typedef struct search {
   const ir_func *f;
   pass_options po;
   site_name *kept; /* what may fire in the run to come */
   uint32_t num_kept, runs;
} search;

static bool allow(void *user, pass_id pass, uint32_t number)
{
   const search *s = user;

   for (uint32_t i = 0; i < s->num_kept; i++)
      if (s->kept[i].pass == pass && s->kept[i].number == number)
         return true;
   return false;
}

static bool is_wrong(const opt_verdict *v)
{
   return v->failed || !v->same;
}

/* Whether these sites alone make it wrong; the run's memory is given back. */
static sinter_status try_sites(search *s, site_name *sites, uint32_t n, bool *out_wrong)
{
   opt_verdict v;
   arena *a;

   SINTER_TRY(arena_create(&a));
   s->kept = sites;
   s->num_kept = n;
   s->runs++;
   sinter_status status = opt_judge(a, s->f, &s->po, &v);

   *out_wrong = status == SINTER_ok && is_wrong(&v);
   arena_destroy(a);
   return status;
}

static uint32_t without(const site_name *all, uint32_t n, uint32_t from, uint32_t to,
                        site_name *out)
{
   uint32_t count = 0;

   for (uint32_t i = 0; i < n; i++)
      if (i < from || i >= to)
         out[count++] = all[i];
   return count;
}

/* One round over all chunks: true when a smaller set was found, which is then in sites[0..*n). */
static sinter_status shrink(search *s, site_name *sites, uint32_t *n, uint32_t *chunks,
                            site_name *scratch, bool *out_smaller)
{
   uint32_t size = (*n + *chunks - 1) / *chunks;

   *out_smaller = false;
   for (int complement = 0; complement < 2; complement++)
      for (uint32_t at = 0; at < *n; at += size) {
         uint32_t end = MIN(at + size, *n);
         uint32_t count = complement ? without(sites, *n, at, end, scratch) : end - at;

         if (!complement)
            memcpy(scratch, sites + at, count * sizeof *scratch);
         if (count == *n || (complement && *chunks == 2))
            continue;
         SINTER_TRY(try_sites(s, scratch, count, out_smaller));
         if (!*out_smaller)
            continue;
         memcpy(sites, scratch, count * sizeof *sites);
         *n = count;
         *chunks = complement ? MAX(*chunks - 1, 2) : 2;
         return SINTER_ok;
      }
   return SINTER_ok;
}

static sinter_status minimise(search *s, arena *a, site_name *sites, uint32_t *n)
{
   site_name *scratch = arena_array(a, site_name, *n + 1);
   uint32_t chunks = 2;

   while (*n > 1) {
      bool smaller;

      chunks = MIN(chunks, *n);
      SINTER_TRY(shrink(s, sites, n, &chunks, scratch, &smaller));
      if (smaller)
         continue;
      if (chunks >= *n)
         return SINTER_ok;
      chunks = MIN(2 * chunks, *n);
   }
   return SINTER_ok;
}

/* ---- the report ---- */

static const pass_site *find_site(const pass_report *r, site_name n)
{
   const pass_entry *e = &r->entry[n.pass];

   return n.number < e->sites.count ? e->sites.data[n.number] : NULL;
}

static void write_index(text_buf *t, const pass_spot *s)
{
   text_printf(t, "[");
   for (uint32_t i = 0; i < s->rank; i++)
      text_printf(t, "%s%lld", i ? "," : "", (long long)s->index[i]);
   text_printf(t, "]");
}

static void member(text_buf *t, const char *key, const char *value)
{
   text_printf(t, ",\"%s\":", key);
   json_write_string(t, value, strlen(value));
}

static void write_json(text_buf *t, const site_name *sites, uint32_t n, const pass_site *site,
                       const opt_verdict *v, const pass_spot *s, uint32_t runs)
{
   text_printf(t, "{\"pass\":\"%s\",\"rule\":%u,\"site\":\"%s:%u\"", pass_infos[site->pass].name,
               site->rule, pass_infos[site->pass].name, site->number);
   member(t, "at", site->at);
   if (s->found) {
      member(t, "value", s->value);
      text_printf(t, ",\"element\":");
      write_index(t, s);
      text_printf(t, ",\"got\":%.17g,\"want\":%.17g", s->got, s->want);
      member(t, "inputs", pass_probe_names[s->probe]);
   } else {
      text_printf(t, ",\"value\":null,\"element\":null");
   }
   member(t, "why", s->found ? s->what : v->why);
   text_printf(t, ",\"with\":[");
   for (uint32_t i = 0; i + 1 < n; i++)
      text_printf(t, "%s\"%s:%u\"", i ? "," : "", pass_infos[sites[i].pass].name, sites[i].number);
   text_printf(t, "],\"runs\":%u}\n", runs);
}

static void write_text(text_buf *t, const site_name *sites, uint32_t n, const pass_site *site,
                       const opt_verdict *v, const pass_spot *s)
{
   text_printf(t, "%s:%u, rule %u, at %s\n", pass_infos[site->pass].name, site->number, site->rule,
               site->at);
   for (uint32_t i = 0; i + 1 < n; i++)
      text_printf(t, "   only together with %s:%u\n", pass_infos[sites[i].pass].name,
                  sites[i].number);
   if (s->found) {
      text_printf(t, "   first value out of contract: %s", s->value);
      write_index(t, s);
      text_printf(t, " is %.9g, not %.9g, with %s inputs: %s\n", s->got, s->want,
                  pass_probe_names[s->probe], s->what);
   } else {
      text_printf(t, "   %s\n", v->why);
   }
}

static sinter_status report(search *s, arena *a, site_name *sites, uint32_t n, bool as_json)
{
   text_buf t = {.a = a};
   pass_spot spot = {0};
   opt_verdict v;

   s->kept = sites;
   s->num_kept = n;
   SINTER_TRY(opt_judge(a, s->f, &s->po, &v));
   if (!v.failed)
      SINTER_TRY(pass_exec_first(a, v.before, v.after, v.rounding, &spot));
   const pass_site *site = find_site(v.report, sites[n - 1]);

   if (!site)
      return base_fail(SINTER_failed, s->f->name, "", "the passes fail before any site: %s", v.why);
   if (as_json)
      write_json(&t, sites, n, site, &v, &spot, s->runs);
   else
      write_text(&t, sites, n, site, &v, &spot);
   fputs(t.data, stdout);
   return SINTER_ok;
}

/* ---- which sites fired ---- */

typedef struct fired {
   arena *a;
   VEC(site_name) sites;
} fired;

static void note_fired(void *user, const pass_site *site, const ir_func *f)
{
   fired *x = user;

   (void)f;
   *vec_push(x->a, &x->sites) = (site_name){site->pass, site->number};
}

sinter_status opt_bisect(arena *a, const ir_func *f, const opt_options *o)
{
   fired all = {.a = a};
   search s = {.f = f};
   pass_target target;
   opt_verdict v;
   bool none = false;

   SINTER_TRY(opt_setup(a, o, &target, &s.po));
   s.po.site_hook = note_fired;
   s.po.user = &all;
   SINTER_TRY(opt_judge(a, f, &s.po, &v));
   if (!is_wrong(&v)) {
      puts(o->json ? "{\"pass\":null,\"rule\":null,\"site\":null,\"value\":null,\"element\":null}"
                   : "the result is in contract: there is nothing to find");
      return SINTER_ok;
   }
   s.po.site_hook = NULL;
   s.po.allow = allow;
   s.po.user = &s;
   SINTER_TRY(try_sites(&s, NULL, 0, &none));
   if (none || !all.sites.count)
      return base_fail(SINTER_failed, f->name, "Look at the FINISH passes.",
                       "it is wrong without any site: %s", v.why);
   uint32_t n = (uint32_t)all.sites.count;

   SINTER_TRY(minimise(&s, a, all.sites.data, &n));
   return report(&s, a, all.sites.data, n, o->json);
}
