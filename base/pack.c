/* pack.c - packing weights into panels, and reading them back. Layouts: panels.def. */
#include "pack.h"

#include "quant.h"

#include <math.h>

enum { CELL = 32, ROWS = PANEL_ROWS, LINE = 64, HALVES = 2 * PANEL_ROWS, SCALES = 4 * PANEL_ROWS };

#define LINES(low, high) (((low) + (high)) * LINE)
#define CELL_BYTES(low, high, block, min)                                                          \
   (LINES(low, high) + HALVES + ((block) == CELL ? (min)*HALVES : 0))
#define BLOCK_BYTES_NONE(name, cell, block, min) 0
#define BLOCK_BYTES_ROWS(name, cell, block, min) 0
#define FLOAT_BYTES_f32 4
#define FLOAT_BYTES_f16 2
#define FLOAT_BYTES_bf16 2
#define BLOCK_BYTES_FLOAT(name, cell, block, min) (ROWS * FLOAT_BYTES_##name)
#define BLOCK_BYTES_SCALED(name, cell, block, min) (SCALES + (block)*ROWS)
#define BLOCK_BYTES_CODES(name, cell, block, min)                                                  \
   ((block) == CELL ? (cell) : (block) / CELL * (cell) + HALVES * (1 + (min)))
#define BLOCK_BYTES_TOP BLOCK_BYTES_CODES
#define DROP_NONE 0
#define DROP_ROWS 0
#define DROP_FLOAT 0
#define DROP_CODES 0
#define DROP_SCALED 0
#define DROP_TOP TOP_DROP
#define DTYPE_NONE(name) DT_none
#define DTYPE_ROWS(name) DT_none
#define DTYPE_FLOAT(name) DT_##name
#define DTYPE_CODES(name) DT_##name
#define DTYPE_SCALED(name) DT_##name
#define DTYPE_TOP(name) DT_q8_0

const panel_info panel_infos[PANEL_COUNT] = {
#define PANEL(name, kind, low, high, block, sub, min, code, bias)                                  \
   {#name,                                                                                         \
    DTYPE_##kind(name),                                                                            \
    PANEL_KIND_##kind,                                                                             \
    low,                                                                                           \
    high,                                                                                          \
    block,                                                                                         \
    sub,                                                                                           \
    DROP_##kind,                                                                                   \
    min,                                                                                           \
    PANEL_CODE_##code,                                                                             \
    bias,                                                                                          \
    LINES(low, high),                                                                              \
    CELL_BYTES(low, high, block, min),                                                             \
    BLOCK_BYTES_##kind(name, CELL_BYTES(low, high, block, min), block, min)},
#include "panels.def"
#undef PANEL
};

/* ---- sizes ---- */

panel_layout pack_layout_of(dtype t)
{
   for (int i = 0; i < PANEL_COUNT; i++)
      if (panel_infos[i].dtype == t && t != DT_none && panel_infos[i].kind != PANEL_KIND_TOP)
         return (panel_layout)i;
   return PANEL_none;
}

panel_layout pack_top_of(dtype t)
{
   for (int i = 0; i < PANEL_COUNT; i++)
      if (panel_infos[i].kind == PANEL_KIND_TOP && panel_infos[i].dtype == t)
         return (panel_layout)i;
   return PANEL_none;
}

uint32_t pack_quant_group(dtype t)
{
   const panel_info *p = &panel_infos[pack_layout_of(t)];

   return p->kind == PANEL_KIND_CODES ? CELL : 0;
}

bool pack_panel_size(panel_layout layout, uint64_t cols, uint64_t *out_bytes)
{
   const panel_info *p = &panel_infos[layout];

   if (p->kind == PANEL_KIND_SCALED) {
      uint64_t blocks = cols / p->block + (cols % p->block != 0);
      return base_mul(cols, (uint64_t)ROWS, out_bytes) &&
             base_add(*out_bytes, blocks * SCALES, out_bytes);
   }
   return p->block_bytes && cols % p->block == 0 &&
          base_mul(cols / p->block, p->block_bytes, out_bytes);
}

bool pack_size(panel_layout layout, uint64_t rows, uint64_t cols, uint64_t *out_bytes)
{
   uint64_t panel;

   return pack_panel_size(layout, cols, &panel) &&
          base_mul(rows / ROWS + (rows % ROWS != 0), panel, out_bytes);
}

uint64_t pack_codes_stride(uint64_t cols)
{
   return cols;
}

uint64_t pack_scales_stride(uint64_t cols, uint64_t group)
{
   return base_align(cols / group * 4 + cols / CELL * 8 + cols / 16 * 2, 64);
}

/* ---- codes to lines and back ---- */

static uint32_t word_at(const uint8_t *p)
{
   uint32_t w;

   memcpy(&w, p, 4);
   return w;
}

static void put_word(uint8_t *p, uint32_t w)
{
   memcpy(p, &w, 4);
}

/* The lowest `bits` bits of each byte. */
static uint32_t mask_of(uint32_t bits)
{
   return 0x01010101u * ((1u << bits) - 1);
}

/* One row's 8 groups of `bits`-bit fields into lines of 8 / bits groups each. */
static void put_fields(uint8_t *dst, const uint32_t *group, uint32_t shift, uint32_t bits)
{
   uint32_t per = 8 / bits;

   for (uint32_t g = 0; g < 8; g += per) {
      uint32_t w = 0;
      for (uint32_t j = 0; j < per; j++)
         w |= (group[g + j] >> shift & mask_of(bits)) << bits * j;
      put_word(dst + g / per * LINE, w);
   }
}

static void get_fields(const uint8_t *src, uint32_t *group, uint32_t shift, uint32_t bits)
{
   uint32_t per = 8 / bits;

   for (uint32_t g = 0; g < 8; g++) {
      uint32_t w = word_at(src + g / per * LINE);
      group[g] |= (w >> bits * (g % per) & mask_of(bits)) << shift;
   }
}

/* 32 codes of one row into a cell's lines. */
static void put_codes(const panel_info *p, uint8_t *cell, uint32_t r, const uint8_t *codes)
{
   uint32_t group[8];

   memcpy(group, codes, sizeof group);
   put_fields(cell + 4 * r, group, 0, p->low);
   if (p->high)
      put_fields(cell + p->low * LINE + 4 * r, group, p->low, p->high);
}

static void get_codes(const panel_info *p, const uint8_t *cell, uint32_t r, uint8_t *codes)
{
   uint32_t group[8] = {0};

   get_fields(cell + 4 * r, group, 0, p->low);
   if (p->high)
      get_fields(cell + p->low * LINE + 4 * r, group, p->low, p->high);
   memcpy(codes, group, sizeof group);
}

/* ---- stored codes and the planes' codes ---- */

/* Super-blocks have signed codes in their planes, 32-blocks have the bias in their min. */
static int32_t bias_of(const panel_info *p)
{
   return p->block == CELL ? 0 : p->bias;
}

const int8_t *panel_table(const panel_info *p)
{
   return p->code == PANEL_CODE_T   ? quant_iq4_values
          : p->code == PANEL_CODE_E ? quant_e2m1_values
                                    : NULL;
}

static uint8_t table_index(const int8_t *table, int16_t value)
{
   uint8_t i = 0;

   while (table[i] != value)
      i++;
   return i;
}

static void codes_of_planes(const panel_info *p, const quant_planes *planes, uint8_t *codes)
{
   const int8_t *table = panel_table(p);
   int32_t bias = bias_of(p);

   if (table)
      for (uint32_t i = 0; i < p->block; i++)
         codes[i] = table_index(table, planes->code[i]);
   else if (p->drop)
      for (uint32_t i = 0; i < p->block; i++)
         codes[i] = (uint8_t)((planes->code[i] + p->bias) >> p->drop);
   else
      for (uint32_t i = 0; i < p->block; i++)
         codes[i] = (uint8_t)(planes->code[i] + bias);
}

static int16_t code_value(const panel_info *p, uint8_t code)
{
   if (panel_table(p))
      return panel_table(p)[code];
   return (int16_t)(p->code == PANEL_CODE_S ? (int8_t)code : (code << p->drop) - bias_of(p));
}

/* ---- scales ---- */

static void put_half(const panel_info *p, uint8_t *at, uint32_t r, float v)
{
   uint16_t h = p->code == PANEL_CODE_E ? bf16_from_f32(v) : f16_from_f32(v);

   memcpy(at + 2 * r, &h, 2);
}

static float get_half(const panel_info *p, const uint8_t *at, uint32_t r)
{
   uint16_t h;

   memcpy(&h, at + 2 * r, 2);
   return p->code == PANEL_CODE_E ? bf16_to_f32(h) : f16_to_f32(h);
}

/* Where the min of row r and cell c lies in a super-block with sub 32. */
static uint32_t min_at(const panel_info *p, uint32_t c, uint32_t r)
{
   uint32_t cell = (c & ~1u) + r / 8;

   return cell * p->cell_bytes + p->scales_at + ROWS + 2 * (r % 8) + c % 2;
}

static void put_sub_scales(const panel_info *p, uint8_t *block, uint32_t r, const quant_planes *q)
{
   for (uint32_t c = 0; c < p->block / CELL; c++) {
      uint8_t *at = block + c * p->cell_bytes + p->scales_at;
      if (p->sub == CELL) {
         at[r] = (uint8_t)q->scale[c];
         if (p->has_min)
            block[min_at(p, c, r)] = (uint8_t)q->min[c];
      } else {
         for (uint32_t s = 0; s < 2; s++) {
            int both = q->scale[2 * c + s] | (p->has_min ? q->min[2 * c + s] << 4 : 0);
            at[2 * r + s] = (uint8_t)both;
         }
      }
   }
}

static void get_sub_scales(const panel_info *p, const uint8_t *block, uint32_t r, quant_planes *q)
{
   for (uint32_t c = 0; c < p->block / CELL; c++) {
      const uint8_t *at = block + c * p->cell_bytes + p->scales_at;
      if (p->sub == CELL) {
         q->scale[c] = (int8_t)at[r];
         q->min[c] = p->has_min ? block[min_at(p, c, r)] : 0;
      } else {
         for (uint32_t s = 0; s < 2; s++) {
            uint8_t both = at[2 * r + s];
            q->scale[2 * c + s] = p->has_min ? both & 15 : (int8_t)both;
            q->min[2 * c + s] = p->has_min ? both >> 4 : 0;
         }
      }
   }
}

/* ---- blocks ---- */

static void put_block(const panel_info *p, uint8_t *block, uint32_t r, const void *src)
{
   quant_planes planes;
   uint8_t codes[256];

   quant_planes_of(p->dtype, src, &planes);
   codes_of_planes(p, &planes, codes);
   for (uint32_t c = 0; c < p->block / CELL; c++)
      put_codes(p, block + c * p->cell_bytes, r, codes + c * CELL);
   if (p->block == CELL) {
      put_half(p, block + p->scales_at, r, p->drop && planes.d < 0 ? NAN : planes.d);
      if (p->has_min)
         put_half(p, block + p->scales_at + HALVES, r, -planes.dmin);
      return;
   }
   uint8_t *tail = block + p->block / CELL * p->cell_bytes;
   put_sub_scales(p, block, r, &planes);
   put_half(p, tail, r, planes.d);
   if (p->has_min)
      put_half(p, tail + HALVES, r, planes.dmin);
}

/* The planes of one row of a block, as quant_planes_of would give them. */
static void get_block(const panel_info *p, const uint8_t *block, uint32_t r, quant_planes *q)
{
   uint8_t codes[256];

   for (uint32_t c = 0; c < p->block / CELL; c++)
      get_codes(p, block + c * p->cell_bytes, r, codes + c * CELL);
   for (uint32_t i = 0; i < p->block; i++)
      q->code[i] = code_value(p, codes[i]);
   if (p->block == CELL) {
      q->sub_block = CELL;
      q->scale[0] = 1;
      q->d = get_half(p, block + p->scales_at, r);
      q->min[0] = (int16_t)(p->has_min ? 1 : p->bias);
      q->dmin = p->has_min ? -get_half(p, block + p->scales_at + HALVES, r) : p->bias ? q->d : 0;
      return;
   }
   const uint8_t *tail = block + p->block / CELL * p->cell_bytes;
   get_sub_scales(p, block, r, q);
   q->sub_block = p->sub;
   q->d = get_half(p, tail, r);
   q->dmin = p->has_min ? get_half(p, tail + HALVES, r) : 0;
}

/* ---- panels ---- */

typedef struct source {
   const uint8_t *row[ROWS];
   uint32_t count; /* rows of this panel that exist */
} source;

static void put_float_panel(const source *s, uint64_t cols, uint32_t bytes, uint8_t *dst)
{
   for (uint64_t k = 0; k < cols; k++, dst += ROWS * bytes)
      for (uint32_t r = 0; r < s->count; r++)
         memcpy(dst + r * bytes, s->row[r] + k * bytes, bytes);
}

static void put_codes_panel(const panel_info *p, const source *s, uint64_t cols, uint8_t *dst)
{
   uint32_t bytes = dtype_infos[p->dtype].bytes;

   for (uint64_t b = 0; b < cols / p->block; b++, dst += p->block_bytes)
      for (uint32_t r = 0; r < s->count; r++)
         put_block(p, dst, r, s->row[r] + b * bytes);
}

/* A NaN among the codes makes the row's whole block one: products with any of it are NaN anyway. */
static void put_scaled_row(const panel_info *p, const uint8_t *src, uint64_t n, uint32_t r,
                           uint8_t *dst)
{
   for (uint64_t k = 0; k < n; k += p->block, dst += p->block_bytes) {
      uint64_t m = MIN(n - k, (uint64_t)p->block);
      float scale;
      memcpy(&scale, src, sizeof scale);
      src += sizeof scale;
      for (uint64_t i = 0; i < m; i++) {
         dst[SCALES + i * ROWS + r] = src[i];
         if (p->code == PANEL_CODE_U && (src[i] & 0x7f) == 0x7f)
            scale = NAN;
      }
      memcpy(dst + 4 * r, &scale, sizeof scale);
      src += m;
   }
}

static void get_scaled_row(const panel_info *p, const uint8_t *src, uint64_t n, uint32_t r,
                           float *dst)
{
   uint8_t row[256];

   for (uint64_t k = 0; k < n; k += p->block, src += p->block_bytes) {
      uint64_t m = MIN(n - k, (uint64_t)p->block);
      memcpy(row, src + 4 * r, 4);
      for (uint64_t i = 0; i < m; i++)
         row[4 + i] = src[SCALES + i * ROWS + r];
      quant_to_f32(p->dtype, row, m, dst + k);
   }
}

static void copy_rows(const source *s, dtype t, uint64_t cols, uint8_t *dst)
{
   uint64_t bytes = 0;

   if (!dtype_size(t, cols, &bytes))
      return;
   for (uint32_t r = 0; r < s->count; r++)
      memcpy(dst + r * bytes, s->row[r], bytes);
}

void pack_panels(panel_layout layout, dtype t, uint64_t rows, uint64_t cols, uint64_t first,
                 uint64_t count, const void *(*row)(void *user, uint64_t r), void *user,
                 uint8_t *dst)
{
   const panel_info *p = &panel_infos[layout];
   uint64_t bytes = 0;

   if (p->kind == PANEL_KIND_ROWS) {
      if (dtype_size(t, cols, &bytes))
         bytes *= ROWS;
   } else if (!pack_panel_size(layout, cols, &bytes)) {
      return;
   }
   for (uint64_t i = first; i < first + count; i++, dst += bytes) {
      source s = {.count = i * ROWS < rows ? (uint32_t)MIN(rows - i * ROWS, ROWS) : 0};
      for (uint32_t r = 0; r < s.count; r++)
         s.row[r] = row(user, i * ROWS + r);
      if (p->kind != PANEL_KIND_ROWS) /* padding too: equal inputs, equal bytes */
         memset(dst, 0, bytes);
      if (p->kind == PANEL_KIND_CODES || p->kind == PANEL_KIND_TOP)
         put_codes_panel(p, &s, cols, dst);
      else if (p->kind == PANEL_KIND_SCALED)
         for (uint32_t r = 0; r < s.count; r++)
            put_scaled_row(p, s.row[r], cols, r, dst);
      else if (p->kind == PANEL_KIND_FLOAT)
         put_float_panel(&s, cols, p->block_bytes / ROWS, dst);
      else
         copy_rows(&s, t, cols, dst);
   }
}

void pack_unpack_row(panel_layout layout, const uint8_t *panels, uint64_t rows, uint64_t cols,
                     uint64_t r, float *dst)
{
   const panel_info *p = &panel_infos[layout];
   uint64_t bytes = 0;
   quant_planes q;

   assert(r < rows && "row of another weight");
   if (!pack_panel_size(layout, cols, &bytes) || r >= rows)
      return;
   const uint8_t *at = panels + r / ROWS * bytes;
   uint32_t lane = (uint32_t)(r % ROWS);
   if (p->kind == PANEL_KIND_FLOAT) {
      uint32_t size = p->block_bytes / ROWS;
      for (uint64_t k = 0; k < cols; k++, at += p->block_bytes)
         quant_to_f32(p->dtype, at + lane * size, 1, dst + k);
      return;
   }
   if (p->kind == PANEL_KIND_SCALED) {
      get_scaled_row(p, at, cols, lane, dst);
      return;
   }
   for (uint64_t b = 0; b < cols / p->block; b++, at += p->block_bytes, dst += p->block) {
      get_block(p, at, lane, &q);
      quant_planes_to_f32(&q, p->block, dst);
   }
}
