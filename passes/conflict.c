/* conflict.c - chooses among proposals that claim the same ops.
 *
 * The conflict graph has an edge between two sites that own a common op; it falls into small
 * components (one or two a layer), so the walk below is linear in the number of sites. Greedy by
 * gain, then local search: a chosen site makes way for the rejected ones that only it keeps out
 * when these are worth more together. Forced sites come before all others. Ties fall to the earlier
 * row of passes.def, then to the lower number: the choice depends on the function only. */
#include "run.h"

#include <stdlib.h>

enum { MAX_ROUNDS = 4, MAX_RIVALS = 64 };

/* Sites that own an op, and the chosen one among them. */
typedef struct claims {
   pass_site *chosen;
   VEC(pass_site *) sites;
} claims;

typedef struct solver {
   arena *a;
   claims *by_op;     /* by ir_op.id */
   pass_site **order; /* best first */
   size_t n;
} solver;

static double worth(const pass_site *s)
{
   return s->forced ? s->gain_ns + 1e15 : s->gain_ns;
}

static int better(const void *a, const void *b)
{
   const pass_site *x = *(pass_site *const *)a, *y = *(pass_site *const *)b;

   if (worth(x) != worth(y))
      return worth(x) > worth(y) ? -1 : 1;
   if (x->pass != y->pass)
      return x->pass < y->pass ? -1 : 1;
   return x->number < y->number ? -1 : x->number > y->number;
}

/* Chosen sites that own an op of s, each once. */
static size_t rivals(const solver *v, const pass_site *s, pass_site *out[MAX_RIVALS])
{
   size_t n = 0;

   for (size_t i = 0; i < s->own.count; i++) {
      pass_site *c = v->by_op[s->own.data[i]->id].chosen;
      size_t known = 0;

      while (known < n && out[known] != c)
         known++;
      if (c && known == n && n < MAX_RIVALS)
         out[n++] = c;
   }
   return n;
}

/* Whether `by` is chosen, and nothing else is, among the sites that s conflicts with. */
static bool is_only_rival(const solver *v, const pass_site *s, const pass_site *by)
{
   pass_site *all[MAX_RIVALS];

   return rivals(v, s, all) == 1 && all[0] == by;
}

static void choose(solver *v, pass_site *s, pass_site *to)
{
   for (size_t i = 0; i < s->own.count; i++)
      v->by_op[s->own.data[i]->id].chosen = to;
}

static bool is_chosen(const solver *v, const pass_site *s)
{
   return v->by_op[s->own.data[0]->id].chosen == s;
}

static bool take_if_free(solver *v, pass_site *s)
{
   pass_site *all[MAX_RIVALS];

   if (rivals(v, s, all))
      return false;
   choose(v, s, s);
   return true;
}

/* Sites that only `s` keeps out, best first, each once. */
static size_t kept_out_by(const solver *v, const pass_site *s, pass_site **out)
{
   size_t n = 0;

   for (size_t i = 0; i < s->own.count; i++) {
      const claims *c = &v->by_op[s->own.data[i]->id];

      for (size_t j = 0; j < c->sites.count && n < MAX_RIVALS; j++) {
         bool seen = false;

         for (size_t k = 0; k < n; k++)
            seen |= out[k] == c->sites.data[j];
         if (!seen && c->sites.data[j] != s && is_only_rival(v, c->sites.data[j], s))
            out[n++] = c->sites.data[j];
      }
   }
   qsort(out, n, sizeof *out, better);
   return n;
}

/* Replaces s by what it keeps out, if that is worth more. */
static bool improve(solver *v, pass_site *s)
{
   pass_site *out[MAX_RIVALS], *taken[MAX_RIVALS];
   size_t n = kept_out_by(v, s, out), num_taken = 0;
   double sum = 0;

   choose(v, s, NULL);
   for (size_t i = 0; i < n; i++) {
      if (take_if_free(v, out[i])) {
         taken[num_taken++] = out[i];
         sum += worth(out[i]);
      }
   }
   if (sum > worth(s))
      return true;
   for (size_t i = 0; i < num_taken; i++)
      choose(v, taken[i], NULL);
   choose(v, s, s);
   return false;
}

static void search(solver *v)
{
   bool progress = true;

   for (int round = 0; round < MAX_ROUNDS && progress; round++) {
      progress = false;
      for (size_t i = 0; i < v->n; i++)
         if (is_chosen(v, v->order[i]))
            progress |= improve(v, v->order[i]);
      for (size_t i = 0; i < v->n; i++)
         if (!is_chosen(v, v->order[i]))
            progress |= take_if_free(v, v->order[i]);
   }
}

/* Says to whom s lost: what took its ops saves at least as much, all together. */
static void lose(const solver *v, pass_site *s)
{
   pass_site *by[MAX_RIVALS];
   size_t n = rivals(v, s, by);
   text_buf names = {.a = v->a};

   qsort(by, n, sizeof *by, better);
   s->lost_to = by[0];
   for (size_t i = 0; i < n; i++) {
      s->lost_ns += by[i]->gain_ns;
      text_printf(&names, "%s%s:%u",
                  !i          ? ""
                  : i + 1 < n ? ", "
                              : " and ",
                  pass_infos[by[i]->pass].name, by[i]->number);
   }
   (void)pass_decline(s, "%s save%s %s: %.0f ns against %.0f ns%s", names.data, n > 1 ? "" : "s",
                      s->lost_ns > s->gain_ns || by[0]->forced ? "more" : "as much", s->lost_ns,
                      s->gain_ns, by[0]->forced ? ", and is forced" : "");
}

void pass_resolve(arena *a, const ir_func *f, pass_site **sites, size_t n)
{
   solver v = {.a = a, .by_op = arena_array(a, claims, f->num_ops + 1), .n = n};

   v.order = arena_array(a, pass_site *, n + 1);
   if (n)
      memcpy(v.order, sites, n * sizeof *sites);
   qsort(v.order, n, sizeof *v.order, better);
   for (size_t i = 0; i < n; i++)
      for (size_t k = 0; k < sites[i]->own.count; k++)
         *vec_push(a, &v.by_op[sites[i]->own.data[k]->id].sites) = sites[i];
   for (size_t i = 0; i < n; i++)
      (void)take_if_free(&v, v.order[i]);
   search(&v);
   for (size_t i = 0; i < n; i++)
      if (!is_chosen(&v, sites[i]))
         lose(&v, sites[i]);
}
