/* npy.c - numpy's array files: a magic, a version, a header that is a Python dict, the elements. */
#include "opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_HEADER = 65536 };

static const struct {
   const char *descr;
   dtype type;
} types[] = {
   {"<f8", DT_f64}, {"<f4", DT_f32}, {"<f2", DT_f16}, {"|i1", DT_i8},
   {"|u1", DT_u8},  {"<i4", DT_i32}, {"<i8", DT_i64},
};

static sinter_status bad(const char *path, const char *why)
{
   return base_fail(SINTER_bad_input, path, "Write it with numpy.save.", "%s", why);
}

/* 'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), */
static sinter_status read_header(const char *path, const char *h, dtype *out_type, npy *out)
{
   const char *shape = strstr(h, "'shape': (");

   *out_type = DT_none;
   for (size_t i = 0; i < countof(types); i++)
      if (strstr(h, types[i].descr))
         *out_type = types[i].type;
   if (*out_type == DT_none)
      return bad(path, "the element type is none of f2 f4 f8 i1 u1 i4 i8");
   if (!shape || !strstr(h, "'fortran_order': False"))
      return bad(path, "the array is not in C order");
   out->count = 1;
   for (shape += 10; *shape && *shape != ')';) {
      char *end;
      int64_t d = strtoll(shape, &end, 10);

      if (end == shape || d < 0 || out->rank == IR_MAX_RANK ||
          !base_mul(out->count, d, &out->count))
         return bad(path, "the shape is damaged or has more than 6 dimensions");
      out->dim[out->rank++] = d;
      shape = end + strspn(end, ", ");
   }
   return SINTER_ok;
}

sinter_status npy_read(arena *a, const char *path, npy *out)
{
   const char *text;
   size_t len, header, at;
   uint64_t bytes;
   dtype t;

   *out = (npy){0};
   SINTER_TRY(opt_read(a, path, &text, &len));
   const uint8_t *b = (const uint8_t *)text;

   if (len < 12 || memcmp(text, "\x93NUMPY", 6) != 0)
      return bad(path, "this is no numpy array");
   header = b[8] | (size_t)b[9] << 8;
   at = 10;
   if (b[6] > 1) {
      header |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
      at = 12;
   }
   if (header > MAX_HEADER || at + header > len)
      return bad(path, "the header is longer than the file");
   SINTER_TRY(read_header(path, arena_strndup(a, text + at, header), &t, out));
   if (!dtype_size(t, (uint64_t)out->count, &bytes) || bytes != len - at - header)
      return bad(path, "the file does not hold as many elements as its shape says");
   out->data = arena_array(a, double, (size_t)out->count + 1);
   dtype_load(t, text + at + header, (uint64_t)out->count, out->data);
   return SINTER_ok;
}

static dtype file_type(dtype t)
{
   if (t == DT_f64 || t == DT_i64)
      return t;
   return dtype_infos[t].kind == DTYPE_INT ? DT_i32 : DT_f32;
}

static int header_text(char *h, size_t cap, const npy *array, dtype t)
{
   const char *descr = "";
   int n;

   for (size_t i = 0; i < countof(types); i++)
      if (types[i].type == t)
         descr = types[i].descr;
   n = snprintf(h, cap, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
   for (uint32_t i = 0; i < array->rank; i++)
      n += snprintf(h + n, cap - (size_t)n, "%lld,", (long long)array->dim[i]);
   n += snprintf(h + n, cap - (size_t)n, "), }");
   while ((n + 11) % 64)
      h[n++] = ' ';
   h[n++] = '\n';
   return n;
}

sinter_status npy_write(const char *path, const npy *array, dtype declared)
{
   dtype t = file_type(declared);
   char h[512];
   int n = header_text(h, sizeof h - 64, array, t);
   const uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)n, (uint8_t)(n >> 8)};
   FILE *file = fopen(path, "wb");
   bool ok;

   if (!file)
      return base_fail(SINTER_io, path, "", "cannot write: %s", strerror(errno));
   ok = fwrite(start, 1, sizeof start, file) == sizeof start &&
        fwrite(h, 1, (size_t)n, file) == (size_t)n;
   for (int64_t i = 0; i < array->count && ok; i++) {
      uint8_t element[8];

      dtype_store(t, element, &array->data[i], 1);
      ok = fwrite(element, dtype_infos[t].bytes, 1, file) == 1;
   }
   ok &= fclose(file) == 0;
   if (!ok)
      return base_fail(SINTER_io, path, "Check the free space.", "writing failed");
   return SINTER_ok;
}
