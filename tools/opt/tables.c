/* tables.c - what the passes did, did not, and almost did, as tables for people. */
#include "opt.h"

#include <stdio.h>

static const char *const verdicts[] = {"open", "fired", "declined"};

void opt_print_sites(const pass_report *report)
{
   for (pass_id id = 0; id < pass_count(); id++) {
      const pass_entry *e = &report->entry[id];

      for (size_t i = 0; i < e->sites.count; i++) {
         const pass_site *s = e->sites.data[i];

         printf("%s:%u %s %s%s%s\n", pass_infos[id].name, s->number, s->at, verdicts[s->verdict],
                s->reason ? ": " : "", s->reason ? s->reason : "");
      }
   }
}

/* A name is a pass, a place %x, or a site act_mul:2. */
static bool is_wanted(const char *at, const char *site, const char *place)
{
   return !at || (site && !strcmp(at, site)) || !strcmp(at, place);
}

static void print_site(const pass_site *s, const char *at, uint32_t *shown)
{
   char site[64];

   snprintf(site, sizeof site, "%s:%u", pass_infos[s->pass].name, s->number);
   if (!is_wanted(at, site, s->at) || (!at && s->verdict == PASS_FIRED))
      return;
   printf("%-20s %-18s %s%s%s\n", site, s->at, verdicts[s->verdict], s->reason ? ": " : "",
          s->reason ? s->reason : "");
   if (s->lost_to)
      printf("%-20s %-18s it would save %.0f ns, %s:%u at %s%s %.0f: %.0f ns more\n", "", "",
             s->gain_ns, pass_infos[s->lost_to->pass].name, s->lost_to->number, s->lost_to->at,
             s->lost_ns > s->lost_to->gain_ns ? " and the others save" : " saves", s->lost_ns,
             s->lost_ns - s->gain_ns);
   ++*shown;
}

sinter_status opt_why_not(const pass_report *report, const opt_options *o)
{
   pass_id id = pass_find(o->why_not, strlen(o->why_not));
   uint32_t shown = 0;

   if (id == PASS_MAX)
      return base_fail(SINTER_usage, o->why_not, "sinter-opt --list shows all names.",
                       "there is no pass or fusion of this name");
   const pass_entry *e = &report->entry[id];

   printf("%s: %u matched, %u fired\n", o->why_not, e->matched, e->fired);
   for (size_t i = 0; i < e->sites.count; i++)
      print_site(e->sites.data[i], o->at, &shown);
   for (size_t i = 0; i < e->near.count; i++) {
      const pass_near *n = &e->near.data[i];

      if (!is_wanted(o->at, NULL, n->at))
         continue;
      printf("%-20s %-18s %u of %u parts: %s\n", "almost", n->at, n->matched, n->total, n->missing);
      shown++;
   }
   if (!shown && o->at)
      return base_fail(SINTER_usage, o->at, "--sites lists the sites.",
                       "%s has no site and no near miss there", o->why_not);
   if (!e->ran)
      printf("it did not run\n");
   return SINTER_ok;
}

void opt_print_breaks(const pass_report *report)
{
   for (size_t i = 0; i < report->breaks.count; i++) {
      const pass_break *b = &report->breaks.data[i];

      printf("break at %s: %s\n   because  %s\n   least change  %s\n", b->op, b->property, b->chain,
             b->remedy);
   }
   printf("%zu breaks\n", report->breaks.count);
}

void opt_print_stats(const pass_report *report)
{
   printf("%-20s %7s %7s %8s %6s %10s  %s\n", "pass", "matched", "fired", "declined", "almost",
          "ms", "rounding");
   for (pass_id id = 0; id < pass_count(); id++) {
      const pass_entry *e = &report->entry[id];

      if (e->ran)
         printf("%-20s %7u %7u %8u %6zu %10.3f  %s\n", pass_infos[id].name, e->matched, e->fired,
                e->matched - e->fired, e->near.count, 1e3 * e->seconds,
                pass_rounding_name(e->rounding));
   }
}
