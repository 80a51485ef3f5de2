/* step_cost.c - least squares over the latest steps, in three unknowns that cannot be negative. */
#include "step_cost.h"

enum {
   BASE,
   ROW,
   SEEN,
   FIRST_ROWS = 32, /* before anything was learned */
   GROUP_ROWS = 4,  /* steps are filled up to a multiple of it */
};

void rt_step_cost_init(rt_step_cost *c, const plan *p)
{
   double all = 0;

   *c = (rt_step_cost){.level = 1};
   for (uint32_t g = 0; g < p->num_cache_groups; g++) {
      const plan_cache_group *group = &p->cache_groups[g];
      double bytes = (double)plan_token_bytes(group) * group->num_layers;

      if (bytes == 0)
         continue;
      c->kind[c->num_kinds].share = bytes;
      c->kind[c->num_kinds++].window = group->window;
      all += bytes;
   }
   for (uint32_t k = 0; k < c->num_kinds; k++)
      c->kind[k].share /= all;
}

/* The sum of 1 … n, of which none counts more than `window`. */
static double sum_to(int64_t n, int64_t window)
{
   double grows = (double)(window ? MIN(n, window) : n);

   return grows * (grows + 1) / 2 + ((double)n - grows) * (double)window;
}

rt_work rt_step_cost_work(const rt_step_cost *c, int64_t first, int64_t rows)
{
   rt_work work = {.rows = (double)rows};

   for (uint32_t k = 0; k < c->num_kinds; k++)
      work.seen += c->kind[k].share *
                   (sum_to(first + rows, c->kind[k].window) - sum_to(first, c->kind[k].window));
   return work;
}

/* ---- the fit ---- */

typedef struct normal {
   double a[RT_COST_PARTS][RT_COST_PARTS], b[RT_COST_PARTS];
} normal;

/* Solves for the unknowns that are in `use`, the others are 0. The matrix is positive definite: no
 * pivots are needed. */
static void solve(const normal *n, const bool *use, double *x)
{
   normal m = *n;

   for (int i = 0; i < RT_COST_PARTS; i++) {
      for (int k = i + 1; k < RT_COST_PARTS && use[i]; k++) {
         double f = m.a[k][i] / m.a[i][i];
         for (int j = i; j < RT_COST_PARTS; j++)
            m.a[k][j] -= f * m.a[i][j];
         m.b[k] -= f * m.b[i];
      }
   }
   for (int i = RT_COST_PARTS; i-- > 0;) {
      x[i] = use[i] ? m.b[i] : 0;
      for (int k = i + 1; k < RT_COST_PARTS && use[i]; k++)
         x[i] -= m.a[i][k] * x[k];
      if (use[i])
         x[i] /= m.a[i][i];
   }
}

/* Every step counts by its relative error, and a little by its rows alone: what the steps cannot
 * tell apart is then taken for a cost of rows, which is the cautious guess. The unknowns are in
 * units of the mean step's. */
static void fit(rt_step_cost *c)
{
   uint32_t count = (uint32_t)MIN(c->num_steps, (uint64_t)RT_COST_STEPS);
   double time = 0, unit[RT_COST_PARTS] = {0}, x[RT_COST_PARTS];
   bool use[RT_COST_PARTS] = {true, true, true};
   normal n = {0};

   for (uint32_t i = 0; i < count; i++) {
      time += c->steps[i].seconds / count;
      unit[ROW] += c->steps[i].work.rows / count;
      unit[SEEN] += c->steps[i].work.seen / count;
   }
   unit[BASE] = 1;
   unit[SEEN] = unit[SEEN] > 0 ? unit[SEEN] : 1;
   for (uint32_t i = 0; i < count; i++) {
      double of_mean = time / c->steps[i].seconds;
      double part[RT_COST_PARTS] = {of_mean, c->steps[i].work.rows / unit[ROW] * of_mean,
                                    c->steps[i].work.seen / unit[SEEN] * of_mean};
      for (int k = 0; k < RT_COST_PARTS; k++) {
         for (int j = 0; j < RT_COST_PARTS; j++)
            n.a[k][j] += part[k] * part[j];
         n.b[k] += part[k];
      }
   }
   for (int k = 0; k < RT_COST_PARTS; k++)
      n.a[k][k] += 1e-3 * count;
   n.b[ROW] += 1e-3 * count;
   for (int round = 0; round < RT_COST_PARTS; round++) {
      int worst = 0;

      solve(&n, use, x);
      for (int k = 1; k < RT_COST_PARTS; k++)
         worst = x[k] < x[worst] ? k : worst;
      if (x[worst] >= 0)
         break;
      use[worst] = false;
   }
   for (int k = 0; k < RT_COST_PARTS; k++)
      c->part[k] = MAX(x[k], 0) * time / unit[k];
}

static double expected(const rt_step_cost *c, rt_work work)
{
   return c->part[BASE] + c->part[ROW] * work.rows + c->part[SEEN] * work.seen;
}

void rt_step_cost_learn(rt_step_cost *c, rt_work work, double seconds)
{
   enum { MOST_LEVEL = 4 };

   if (!(seconds > 0 && work.rows > 0))
      return;
   /* A step that was dearer than expected counts at once, cheaper ones by and by. */
   if (c->num_steps) {
      double ratio = MIN(seconds / expected(c, work), (double)MOST_LEVEL);
      c->level = ratio > c->level ? ratio : 0.8 * c->level + 0.2 * ratio;
   }
   c->steps[c->num_steps % RT_COST_STEPS].work = work;
   c->steps[c->num_steps++ % RT_COST_STEPS].seconds = seconds;
   fit(c);
}

double rt_step_cost_seconds(const rt_step_cost *c, rt_work work)
{
   return c->num_steps ? c->level * expected(c, work) : 0;
}

/* Rows of a step that are not far from what was seen to work. */
static int64_t most_rows(const rt_step_cost *c)
{
   uint64_t count = MIN(c->num_steps, (uint64_t)RT_COST_STEPS);
   double most = FIRST_ROWS / 2;

   for (uint64_t i = 0; i < count; i++)
      most = MAX(most, c->steps[i].work.rows);
   return (int64_t)(2 * most);
}

int64_t rt_step_cost_rows(const rt_step_cost *c, rt_work planned, int64_t first, int64_t least,
                          int64_t most, double seconds)
{
   int64_t before = (int64_t)planned.rows;
   int64_t low = 0, high = MIN(most, MAX(most_rows(c) - before, 0)) + 1;

   /* low rows fit, high ones do not, or are more than may be asked for */
   while (high - low > 1) {
      int64_t rows = (low + high) / 2;
      rt_work more = rt_step_cost_work(c, first, rows);
      rt_work all = {planned.rows + more.rows, planned.seen + more.seen};

      if (rt_step_cost_seconds(c, all) <= seconds)
         low = rows;
      else
         high = rows;
   }
   if (low < most)
      low = (before + low) / GROUP_ROWS * GROUP_ROWS - before;
   return MIN(MAX(low, least), most);
}
