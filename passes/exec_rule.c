/* exec_rule.c - when is a value after a rewrite still what it was: per element, per value, and over
 * several runs. NaN equals NaN, and nothing else. */
#include "exec.h"

#include <math.h>
#include <stdlib.h>

#define MAX_GROWTH 1.05 /* of the rms error under ROUND_FEWER */
#define MAX_ERROR 0.03  /* of the size, when roundings were added */
#define MAX_REORDER                                                                                \
   1e-9 /* of the size in f64: sums of a few thousand terms in another order, with room */
#define TINY_ROW 1e-6      /* below it RANGE_CHANGE may flush or keep */
#define MAX_CODES_OFF 0.05 /* share of codes that may be one step off */
#define SMALL_CODE 0x1p-6  /* of the largest: float codes below it may be any steps off */

int64_t pass_tensor_count(const ir_tensor *t)
{
   int64_t n = 1;

   for (uint32_t i = 0; i < t->rank; i++)
      n *= t->dim[i];
   return n;
}

static bool same(double x, double y)
{
   return x == y || (isnan(x) && isnan(y));
}

static int64_t first_difference(const ir_tensor *x, const ir_tensor *y)
{
   for (int64_t i = 0, n = pass_tensor_count(x); i < n; i++)
      if (!same(x->data[i], y->data[i]))
         return i;
   return -1;
}

static pass_finding finding(const char *what, const ir_tensor *got, const ir_tensor *want,
                            int64_t element)
{
   return (pass_finding){what, got->data[element], want->data[element], element};
}

static int64_t row_length(const ir_tensor *t)
{
   return t->rank && t->dim[t->rank - 1] > 0 ? t->dim[t->rank - 1] : 1;
}

static double largest(const double *x, int64_t n)
{
   double most = 0;

   for (int64_t i = 0; i < n; i++)
      most = fmax(most, fabs(x[i]));
   return most;
}

/* ---- NaN ---- */

/* A quantisation may turn a NaN into a code; nothing may bring one to another row. */
static pass_finding check_nan(const pass_four *v, pass_rounding rounding)
{
   for (int64_t i = 0, n = pass_tensor_count(v->before); i < n; i++) {
      bool was = isnan(v->before->data[i]), is = isnan(v->after->data[i]);

      if (is && !was)
         return finding("NaN reached an element that it must not reach", v->after, v->before, i);
      if (was && !is && rounding <= PASS_REORDER)
         return finding("NaN was lost", v->after, v->before, i);
   }
   return (pass_finding){0};
}

/* ---- codes ---- */

/* Distance of two codes in steps of the type at the larger one. */
static double steps(dtype t, double x, double y)
{
   int exponent;

   if (dtype_infos[t].kind == DTYPE_INT)
      return fabs(x - y);
   (void)frexp(fmax(fabs(x), fabs(y)), &exponent);
   return fabs(x - y) / (2 * dtype_infos[t].rel * ldexp(1, exponent - 1));
}

static pass_finding check_codes(const pass_four *v)
{
   const double *was = v->before->data, *is = v->after->data;
   int64_t n = pass_tensor_count(v->before), off = 0, last = 0;
   double floor = dtype_infos[v->type].kind == DTYPE_FLOAT ? SMALL_CODE * largest(was, n) : 0;

   for (int64_t i = 0; i < n; i++) {
      if (same(was[i], is[i]))
         continue;
      off++;
      last = i;
      if (steps(v->type, was[i], is[i]) > 1.01 && !(fabs(was[i]) < floor))
         return finding("a code is more than one step off", v->after, v->before, i);
   }
   if ((double)off > fmax(1, MAX_CODES_OFF * (double)n))
      return finding("more than 5 % of the codes differ", v->after, v->before, last);
   return (pass_finding){0};
}

/* ---- index sets ---- */

static bool same_set(const double *x, const double *y, int64_t n)
{
   for (int64_t i = 0; i < n; i++) {
      bool found = false;

      for (int64_t k = 0; k < n && !found; k++)
         found = x[i] == y[k];
      if (!found)
         return false;
   }
   return true;
}

int64_t pass_agreement_add(pass_agreement *sum, const pass_four *v)
{
   int64_t n = pass_tensor_count(v->before), row = row_length(v->before), lost = 0;

   for (int64_t at = 0; at + row <= n; at += row) {
      bool before = same_set(v->before->data + at, v->before_f64->data + at, row);
      bool after = same_set(v->after->data + at, v->before_f64->data + at, row);

      sum->rows++;
      sum->before += before;
      sum->after += after;
      if (before && !after)
         lost = at;
   }
   return lost;
}

static pass_finding check_sets(const pass_four *v)
{
   pass_agreement sum = {0};
   int64_t bad = pass_agreement_add(&sum, v);

   if (sum.after < sum.before)
      return finding("index sets agree with f64 less often than before", v->after, v->before_f64,
                     bad);
   return (pass_finding){0};
}

/* ---- floats ---- */

/* Root mean squares over elements that are numbers; and where the error is largest. */
typedef struct measure {
   double size, was, is;
   int64_t count, worst;
} measure;

static measure measure_errors(const pass_four *v, bool skip_tiny)
{
   int64_t n = pass_tensor_count(v->before), row = row_length(v->before);
   measure m = {0};
   double most = -1;

   for (int64_t i = 0; i < n; i++) {
      double x = v->before_f64->data[i], b = v->before->data[i] - x, a = v->after->data[i] - x;

      if (skip_tiny && largest(v->before_f64->data + i / row * row, row) < TINY_ROW)
         continue;
      if (isnan(x) || isnan(b) || isnan(a))
         continue;
      m.size += x * x;
      m.was += b * b;
      m.is += a * a;
      m.count++;
      if (fabs(a) > most) {
         most = fabs(a);
         m.worst = i;
      }
   }
   double k = 1 / (double)MAX(m.count, 1);

   m.size = sqrt(k * m.size);
   m.was = sqrt(k * m.was);
   m.is = sqrt(k * m.is);
   return m;
}

/* One run is a small sample: two draws of n errors differ by about 1/sqrt(n) by chance alone. */
static pass_finding check_fewer(const pass_four *v)
{
   measure m = measure_errors(v, false);
   double growth = MAX_GROWTH + 1 / sqrt((double)MAX(m.count, 1));

   if (m.is > growth * m.was + 1e-12 * m.size)
      return finding("the error against f64 grew", v->after, v->before_f64, m.worst);
   return (pass_finding){0};
}

static pass_finding check_more(const pass_four *v, pass_rounding rounding)
{
   measure m = measure_errors(v, rounding == PASS_RANGE_CHANGE);

   if (m.count && !(m.is <= MAX_ERROR * m.size))
      return finding("the error against f64 is above 3 % of the size", v->after, v->before_f64,
                     m.worst);
   return (pass_finding){0};
}

/* Another order of a sum moves its f64 by roundings only. */
static pass_finding check_reordered(const pass_four *v)
{
   double size = measure_errors(v, false).size;

   for (int64_t i = 0, n = pass_tensor_count(v->before_f64); i < n; i++) {
      double x = v->before_f64->data[i], y = v->after_f64->data[i];

      if (!same(x, y) && !(fabs(x - y) <= MAX_REORDER * fmax(fabs(x), size)))
         return finding("the f64 meaning changed", v->after_f64, v->before_f64, i);
   }
   return (pass_finding){0};
}

pass_finding pass_rule_check(const pass_four *v, pass_rounding rounding)
{
   const dtype_info *t = &dtype_infos[v->type];
   pass_finding f;
   int64_t at;

   if (rounding <= PASS_ROUND_FEWER && (at = first_difference(v->after_f64, v->before_f64)) >= 0)
      return finding("the f64 meaning changed", v->after_f64, v->before_f64, at);
   if (rounding == PASS_EXACT && (at = first_difference(v->after, v->before)) >= 0)
      return finding("EXACT, but declared bits changed", v->after, v->before, at);
   if (rounding == PASS_REORDER && (f = check_reordered(v)).what)
      return f;
   f = check_nan(v, rounding);
   if (f.what || rounding == PASS_EXACT)
      return f;
   if (t->bytes == 1)
      return check_codes(v);
   if (t->kind == DTYPE_INT)
      return check_sets(v);
   return rounding <= PASS_REORDER ? check_fewer(v) : check_more(v, rounding);
}

/* ---- over several runs ---- */

void pass_errors_add(arena *a, pass_errors *e, const pass_four *v)
{
   int64_t n = pass_tensor_count(v->before), cap = e->count + n;
   double size = measure_errors(v, false).size, ulp = 2 * dtype_infos[v->type].rel;

   if (cap > e->cap) {
      double **arrays[] = {&e->was, &e->is, &e->unit};

      e->cap = 2 * cap;
      for (size_t i = 0; i < countof(arrays); i++) {
         double *more = arena_array(a, double, (size_t)e->cap);

         if (e->count)
            memcpy(more, *arrays[i], (size_t)e->count * sizeof *more);
         *arrays[i] = more;
      }
   }
   for (int64_t i = 0; i < n; i++) {
      double x = v->before_f64->data[i], b = v->before->data[i], c = v->after->data[i];

      if (isnan(x) || isnan(b) || isnan(c))
         continue;
      e->was[e->count] = fabs(b - x);
      e->is[e->count] = fabs(c - x);
      e->unit[e->count++] = ulp * fmax(fabs(x), size);
   }
}

static int ascending(const void *x, const void *y)
{
   double a = *(const double *)x, b = *(const double *)y;

   return a < b ? -1 : a > b;
}

static double percentile(double *x, int64_t n)
{
   qsort(x, (size_t)n, sizeof *x, ascending);
   return x[(int64_t)(0.999 * (double)(n - 1))];
}

pass_finding pass_errors_check(const pass_errors *e)
{
   double was = 0, is = 0;

   if (!e->count)
      return (pass_finding){0};
   for (int64_t i = 0; i < e->count; i++) {
      was += e->was[i] * e->was[i];
      is += e->is[i] * e->is[i];
   }
   was = sqrt(was / (double)e->count);
   is = sqrt(is / (double)e->count);
   if (is > MAX_GROWTH * was * (1 + 1e-12))
      return (pass_finding){"over all runs the rms error against f64 grew", is, was, 0};
   for (int64_t i = 0; i < e->count; i++) {
      e->was[i] = e->unit[i] > 0 ? e->was[i] / e->unit[i] : 0;
      e->is[i] = e->unit[i] > 0 ? e->is[i] / e->unit[i] : 0;
   }
   was = percentile(e->was, e->count);
   is = percentile(e->is, e->count);
   if (is > was + 1)
      return (pass_finding){"the error at the 99.9th percentile grew by more than an ulp", is, was,
                            0};
   return (pass_finding){0};
}
