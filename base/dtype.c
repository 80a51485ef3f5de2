/* dtype.c - conversions of the plain element types. */
#include "dtype.h"

#include <math.h>

const dtype_info dtype_infos[DT_COUNT] = {
#define DTYPE(name, kind, block, bytes, gguf, rel) {#name, DTYPE_##kind, block, bytes, gguf, rel},
#include "dtypes.def"
#undef DTYPE
};

dtype dtype_from_name(const char *name, size_t len)
{
   for (int t = 1; t < DT_COUNT; t++)
      if (strlen(dtype_infos[t].name) == len && memcmp(dtype_infos[t].name, name, len) == 0)
         return (dtype)t;
   return DT_none;
}

dtype dtype_from_gguf(uint32_t type)
{
   for (int t = 1; t < DT_COUNT; t++)
      if (dtype_infos[t].gguf >= 0 && (uint32_t)dtype_infos[t].gguf == type)
         return (dtype)t;
   return DT_none;
}

bool dtype_size(dtype t, uint64_t n, uint64_t *out_bytes)
{
   const dtype_info *info = &dtype_infos[t];

   if (info->kind == DTYPE_SCALED) {
      uint64_t short_block = n % info->block;
      return base_mul(n / info->block, (uint64_t)info->bytes, out_bytes) &&
             base_add(*out_bytes, short_block ? short_block + DTYPE_SCALE_BYTES : 0, out_bytes);
   }
   return n % info->block == 0 && base_mul(n / info->block, (uint64_t)info->bytes, out_bytes);
}

static uint32_t bits_of(float v)
{
   uint32_t u;

   memcpy(&u, &v, sizeof u);
   return u;
}

static float of_bits(uint32_t u)
{
   float v;

   memcpy(&v, &u, sizeof v);
   return v;
}

float f16_to_f32(uint16_t h)
{
   uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff;

   if (exp == 31)
      return of_bits(sign | 0x7f800000 | man << 13);
   if (exp)
      return of_bits(sign | (exp + 112) << 23 | man << 13);
   return of_bits(sign | bits_of((float)man * 0x1p-24f));
}

uint16_t f16_from_f32(float v)
{
   uint32_t u = bits_of(v), sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;

   if (mag > 0x7f800000)
      return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x1ff));
   if (mag >= 0x477ff000) /* 65520 and above round to infinity */
      return (uint16_t)(sign | 0x7c00);
   if (mag < 0x38800000) /* subnormal or zero: the float adder rounds to even */
      return (uint16_t)(sign | (bits_of(of_bits(mag) + 0.5f) - 0x3f000000));
   uint32_t odd = mag >> 13 & 1;
   return (uint16_t)(sign | ((mag - 0x38000000 + 0xfff + odd) >> 13));
}

uint16_t bf16_from_f32(float v)
{
   uint32_t u = bits_of(v);

   if ((u & 0x7fffffff) > 0x7f800000)
      return (uint16_t)(u >> 16 | 0x40);
   return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float bf16_to_f32(uint16_t v)
{
   return of_bits((uint32_t)v << 16);
}

/* Rounds to `bits` of significand with smallest exponent emin, ties to even; v finite. */
static double round_to(double v, int bits, int emin)
{
   uint64_t u;

   if (v == 0)
      return v;
   memcpy(&u, &v, sizeof u);
   const int e = MAX((int)(u >> 52 & 2047) - 1023, emin) - bits + 1;
   double ulp;
   u = (uint64_t)(e + 1023) << 52; /* 2^e: all formats end far above the least double */
   memcpy(&ulp, &u, sizeof ulp);
   return nearbyint(v / ulp) * ulp;
}

static double round_float(double v, int bits, int emin, double max, bool saturates)
{
   if (!isfinite(v))
      return saturates && isinf(v) ? copysign(max, v) : v;
   double r = round_to(v, bits, emin);
   if (fabs(r) > max)
      return saturates ? copysign(max, v) : copysign(INFINITY, v);
   return r;
}

static double round_int(double v, double low, double high)
{
   if (isnan(v))
      return 0;
   return fmin(fmax(nearbyint(v), low), high);
}

double dtype_round(dtype t, double v)
{
   switch (t) {
   case DT_f32: return round_float(v, 24, -126, 0x1.fffffep127, false);
   case DT_f16: return round_float(v, 11, -14, 65504, false);
   case DT_bf16: return round_float(v, 8, -126, 0x1.fep127, false);
   case DT_f8e4m3: return round_float(v, 4, -6, 448, true);
   case DT_f8e4m3fnuz: return round_float(v, 4, -7, 240, true);
   case DT_i8: return round_int(v, -128, 127);
   case DT_u8: return round_int(v, 0, 255);
   case DT_i32: return round_int(v, -2147483648.0, 2147483647.0);
   case DT_i64: return round_int(v, -0x1p63, 0x1p63);
   default: return v;
   }
}

double dtype_code_max(dtype t)
{
   return t == DT_i8 ? 127 : t == DT_f8e4m3 ? 448 : t == DT_f8e4m3fnuz ? 224 : 0;
}

static double load_f8e4m3(uint8_t c)
{
   int exp = c >> 3 & 15, man = c & 7;
   double v = exp ? ldexp(8 + man, exp - 10) : ldexp(man, -9);

   if (exp == 15 && man == 7)
      v = NAN;
   return c & 0x80 ? -v : v;
}

static uint8_t store_f8e4m3(double v)
{
   uint8_t sign = signbit(v) ? 0x80 : 0;
   int e;

   if (isnan(v))
      return sign | 0x7f;
   double m = fabs(dtype_round(DT_f8e4m3, v));
   if (m < 0x1p-6)
      return sign | (uint8_t)(m * 512);
   frexp(m, &e);
   return (uint8_t)(sign | (e + 6) << 3 | ((int)ldexp(m, 4 - e) & 7));
}

/* One more in the exponent's bias; the code of minus zero is the only NaN. */
static double load_f8e4m3fnuz(uint8_t c)
{
   int exp = c >> 3 & 15, man = c & 7;
   double v = exp ? ldexp(8 + man, exp - 11) : ldexp(man, -10);

   if (c == 0x80)
      v = NAN;
   return c & 0x80 ? -v : v;
}

static uint8_t store_f8e4m3fnuz(double v)
{
   int e;

   if (isnan(v))
      return 0x80;
   double m = fabs(dtype_round(DT_f8e4m3fnuz, v));
   uint8_t sign = signbit(v) && m > 0 ? 0x80 : 0;
   if (m < 0x1p-7)
      return sign | (uint8_t)(m * 1024);
   frexp(m, &e);
   return (uint8_t)(sign | (e + 7) << 3 | ((int)ldexp(m, 4 - e) & 7));
}

void dtype_load(dtype t, const void *src, uint64_t n, double *dst)
{
#define LOAD(type, expr)                                                                           \
   for (uint64_t i = 0; i < n; i++) {                                                              \
      type x;                                                                                      \
      memcpy(&x, (const char *)src + i * sizeof x, sizeof x);                                      \
      dst[i] = (double)(expr);                                                                     \
   }                                                                                               \
   break
   switch (t) {
   case DT_f64: LOAD(double, x);
   case DT_f32: LOAD(float, x);
   case DT_f16: LOAD(uint16_t, f16_to_f32(x));
   case DT_bf16: LOAD(uint16_t, bf16_to_f32(x));
   case DT_f8e4m3: LOAD(uint8_t, load_f8e4m3(x));
   case DT_f8e4m3fnuz: LOAD(uint8_t, load_f8e4m3fnuz(x));
   case DT_i8: LOAD(int8_t, x);
   case DT_u8: LOAD(uint8_t, x);
   case DT_i32: LOAD(int32_t, x);
   case DT_i64: LOAD(int64_t, x);
   default: assert(!"plain types only");
   }
#undef LOAD
}

void dtype_store(dtype t, void *dst, const double *src, uint64_t n)
{
#define STORE(type, expr)                                                                          \
   for (uint64_t i = 0; i < n; i++) {                                                              \
      double v = src[i];                                                                           \
      type x = (type)(expr);                                                                       \
      memcpy((char *)dst + i * sizeof x, &x, sizeof x);                                            \
   }                                                                                               \
   break
   /* f16 and bf16 round from double once: through f32 a tie could round twice. */
   switch (t) {
   case DT_f64: STORE(double, v);
   case DT_f32: STORE(float, v);
   case DT_f16: STORE(uint16_t, f16_from_f32((float)dtype_round(t, v)));
   case DT_bf16: STORE(uint16_t, bf16_from_f32((float)dtype_round(t, v)));
   case DT_f8e4m3: STORE(uint8_t, store_f8e4m3(v));
   case DT_f8e4m3fnuz: STORE(uint8_t, store_f8e4m3fnuz(v));
   case DT_i8: STORE(int8_t, dtype_round(t, v));
   case DT_u8: STORE(uint8_t, dtype_round(t, v));
   case DT_i32: STORE(int32_t, dtype_round(t, v));
   case DT_i64:
      STORE(int64_t, dtype_round(t, v) >= 0x1p63 ? 0x1.fffffffffffffp62 : dtype_round(t, v));
   default: assert(!"plain types only");
   }
#undef STORE
}
