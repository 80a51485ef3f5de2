/* rope.c - inverse frequencies of every RoPE kind.
 *
 *    default   f[i] = base^(-2i/n)
 *    linear    f / factor
 *    dynamic   base grows with the length: base * (factor * L/max - (factor - 1))^(n/(n-2)), L >= max
 *    yarn      f / factor where a turn is longer than original/beta_slow, f where shorter than
 *              original/beta_fast, a linear ramp over i between
 *    llama3    the same idea with a ramp over the wavelength
 *    longrope  f / short[i], or f / long[i] once L exceeds the original context */
#include "rope.h"

#include <math.h>

#define TURN 6.283185307179586

static double dynamic_base(const rope_spec *r, double length)
{
   double n = r->width;
   double l = MAX(length, r->max_context);

   return r->base * pow(r->factor * l / r->max_context - (r->factor - 1), n / (n - 2));
}

/* The index whose frequency makes `turns` turns over the original context. */
static double yarn_bound(const rope_spec *r, double turns)
{
   return r->width * log(r->original_context / (turns * TURN)) / (2 * log(r->base));
}

static void yarn(const rope_spec *r, double *f)
{
   double low = yarn_bound(r, r->beta_fast), high = yarn_bound(r, r->beta_slow);

   if (r->truncate) {
      low = floor(low);
      high = ceil(high);
   }
   low = MAX(low, 0);
   high = MIN(high, (double)r->width - 1);
   if (low == high)
      high += 0.001;
   for (uint32_t i = 0; i < r->width / 2; i++) {
      double ramp = MIN(MAX((i - low) / (high - low), 0), 1);
      f[i] = f[i] / r->factor * ramp + f[i] * (1 - ramp);
   }
}

static void llama3(const rope_spec *r, double *f)
{
   for (uint32_t i = 0; i < r->width / 2; i++) {
      double wave = TURN / f[i];
      double turns = r->original_context / wave;

      if (turns < r->low_freq_factor) {
         f[i] /= r->factor;
      } else if (turns <= r->high_freq_factor) {
         double smooth = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
         f[i] = (1 - smooth) * f[i] / r->factor + smooth * f[i];
      }
   }
}

static void divide(uint32_t n, double *f, const double *by)
{
   for (uint32_t i = 0; i < n; i++)
      f[i] /= by[i];
}

void rope_inv_freq(const rope_spec *r, double length, double *out, double *out_scale)
{
   uint32_t n = r->width / 2;
   double base = r->kind == ROPE_dynamic ? dynamic_base(r, length) : r->base;

   for (uint32_t i = 0; i < n; i++)
      out[i] = r->axial ? pow(base, -2.0 * (i % (n / 2)) / n) : pow(base, -2.0 * i / r->width);
   switch (r->kind) {
   case ROPE_default:
   case ROPE_dynamic: break;
   case ROPE_linear:
      for (uint32_t i = 0; i < n; i++)
         out[i] /= r->factor;
      break;
   case ROPE_yarn: yarn(r, out); break;
   case ROPE_llama3: llama3(r, out); break;
   case ROPE_longrope:
      divide(n, out, length > r->original_context ? r->long_factor : r->short_factor);
      break;
   }
   if (r->has_freq_factors && r->kind != ROPE_longrope)
      divide(n, out, r->long_factor);
   *out_scale = r->attention_factor;
}

uint32_t rope_axis(const rope_spec *r, uint32_t i)
{
   const uint32_t *s = r->sections;

   if (r->axial)
      return i < r->width / 4 ? 1 : 2;
   if (!(s[0] + s[1] + s[2]))
      return 0;
   if (r->interleaved)
      return i % 3 && i < 3 * s[i % 3] ? i % 3 : 0;
   return i < s[0] ? 0 : i < s[0] + s[1] ? 1 : 2;
}

bool rope_depends_on_length(const rope_spec *r)
{
   return r->kind == ROPE_dynamic || r->kind == ROPE_longrope;
}
