/* prediction.c - the table of what kernels should take on a machine, by what is lost against its
 * peaks.
 *
 *    kernels of the explain document ─by operations─▶ kinds ─sort by loss─▶ a table for decode, one for a prompt
 *
 * Loss is predicted time less that of the same bytes and multiplications at the machine's peaks.
 * Nothing is measured. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "tree.h"

enum { MAX_KINDS = 256, MAX_ROWS = 12, NAME = 200 };

typedef struct kind {
   char name[NAME]; /* the operations */
   const char *bound;
   unsigned count;
   double ns, light_ns;
} kind;

static double number(const tree *t, const char *step, const char *what)
{
   char key[64];

   snprintf(key, sizeof key, "%s_%s", step, what);
   return strtod(tree_string(tree_get(t, key)), NULL);
}

/* The operations of a kernel; a name that is too long ends in dots. */
static void name_of(const tree *kernel, char out[NAME])
{
   size_t len = 0;

   out[0] = 0;
   for (const tree *op = tree_first(tree_get(kernel, "ops")); op; op = op->next) {
      int n = snprintf(out + len, NAME - len, "%s%s", len ? " " : "", tree_string(op));
      if (n < 0 || (size_t)n >= NAME - len) {
         memcpy(out + NAME - 4, "...", 4);
         return;
      }
      len += (size_t)n;
   }
}

static kind *find(kind *kinds, size_t *num, const char *name)
{
   for (size_t i = 0; i < *num; i++)
      if (strcmp(kinds[i].name, name) == 0)
         return &kinds[i];
   if (*num == MAX_KINDS)
      return &kinds[MAX_KINDS - 1]; /* what is rare by then shares the last row */
   kind *new = &kinds[(*num)++];
   *new = (kind){0};
   memcpy(new->name, name, NAME);
   return new;
}

static int by_loss(const void *a, const void *b)
{
   const kind *x = a, *y = b;
   double one = x->ns - x->light_ns, other = y->ns - y->light_ns;

   return one != other ? (one < other) - (one > other) : strcmp(x->name, y->name);
}

static void print_step(const tree *explain, const char *step, const char *title)
{
   static kind kinds[MAX_KINDS];
   const tree *sum = tree_get(explain, "prediction");
   size_t num = 0;
   char name[NAME];

   for (const tree *k = tree_first(tree_get(explain, "kernels")); k; k = k->next) {
      char bound[32];
      name_of(k, name);
      kind *to = find(kinds, &num, name);
      snprintf(bound, sizeof bound, "%s_bound", step);
      to->bound = tree_string(tree_get(k, bound));
      to->count++;
      to->ns += number(k, step, "ns");
      to->light_ns += number(k, step, "light_ns");
   }
   qsort(kinds, num, sizeof *kinds, by_loss);
   printf("\n%s: %.1f us, %.1f us at the machine's peaks\n", title, number(sum, step, "ns") / 1e3,
          number(sum, step, "light_ns") / 1e3);
   printf("%12s %12s %8s  %-10s  %s\n", "lost us", "takes us", "kernels", "bound by", "operations");
   for (size_t i = 0; i < num && i < MAX_ROWS; i++)
      printf("%12.1f %12.1f %8u  %-10s  %s\n", (kinds[i].ns - kinds[i].light_ns) / 1e3,
             kinds[i].ns / 1e3, kinds[i].count, kinds[i].bound, kinds[i].name);
   if (num > MAX_ROWS)
      printf("%12s %zu more kinds lose less\n", "", num - MAX_ROWS);
}

void cli_prediction(const tree *explain)
{
   const tree *sum = tree_get(explain, "prediction");
   char title[64];

   printf("\nA prediction from figures of data sheets (--json: of every kernel); nothing was "
          "measured.\n");
   print_step(explain, "decode", "one token at the start of a context");
   snprintf(title, sizeof title, "a prompt of %s tokens",
            tree_string(tree_get(sum, "prefill_rows")));
   print_step(explain, "prefill", title);
}
