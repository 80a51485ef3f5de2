/* bisect.c - --bisect: which sites make the result wrong.
 *
 * Of the sites that fired, the fewest that still break the contract are found (fewest.c). Sites
 * that had not fired stay out, so that no rival takes the place of one that is left out. With what
 * remains, the first value out of contract is looked up in both runs. */
#include "opt.h"

#include "passes/exec.h"
#include "base/json.h"

#include <stdio.h>

typedef struct search {
   const ir_func *f;
   pass_options po;
   const opt_site *kept; /* what may fire in the run to come */
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
static sinter_status try_sites(void *user, const opt_site *sites, uint32_t n, bool *out_wrong)
{
   search *s = user;
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

/* ---- the report ---- */

static const pass_site *find_site(const pass_report *r, opt_site n)
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

static void write_json(text_buf *t, const opt_site *sites, uint32_t n, const pass_site *site,
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

static void write_text(text_buf *t, const opt_site *sites, uint32_t n, const pass_site *site,
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
      text_printf(t, " is %s, with %s inputs: %s\n", pass_numbers(t->a, s->got, ", not ", s->want),
                  pass_probe_names[s->probe], s->what);
   } else {
      text_printf(t, "   %.*s\n", (int)strcspn(v->why, "\n"), v->why);
   }
}

static sinter_status report(search *s, arena *a, opt_site *sites, uint32_t n, bool as_json)
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
   VEC(opt_site) sites;
} fired;

static void note_fired(void *user, const pass_site *site, const ir_func *f)
{
   fired *x = user;

   (void)f;
   *vec_push(x->a, &x->sites) = (opt_site){site->pass, site->number};
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
           : all.sites.count ? "the result is in contract: there is nothing to find"
                             : "no site was carried out: --sites lists them with their reasons");
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

   SINTER_TRY(opt_fewest(a, try_sites, &s, all.sites.data, &n));
   return report(&s, a, all.sites.data, n, o->json);
}
