/* npy.c - NumPy files of float32 matrices, both ways.
 *
 *    0x93 "NUMPY"  version 1 0  length u16  {'descr': '<f4', 'fortran_order': False, 'shape': (r, c), }  data
 *    version 2 has a length of u32 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { MAX_HEADER = 1 << 16, MAX_EXTENT = 1 << 26 };

bool npy_header(FILE *f, size_t rows, size_t cols)
{
   char text[128];
   /* Version 1.0: magic, length, a dict padded with spaces to a multiple of 64. */
   int len =
      snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }",
               rows, cols);
   int pad = 64 - (10 + len + 1) % 64;
   unsigned total = (unsigned)(len + pad % 64 + 1);

   unsigned char head[10] = {0x93,
                             'N',
                             'U',
                             'M',
                             'P',
                             'Y',
                             1,
                             0,
                             (unsigned char)(total & 255),
                             (unsigned char)(total >> 8)};
   return fwrite(head, 1, 10, f) == 10 && fprintf(f, "%s%*s\n", text, pad % 64, "") > 0;
}

static int bad(const char *path, const char *why)
{
   return cli_fail(3, path, "a float32 matrix, saved by numpy.save", "%s", why);
}

/* The dict in front of the data as text; NULL when the file does not begin like one. */
static char *read_dict(FILE *f)
{
   unsigned char head[12];
   size_t len;

   if (fread(head, 1, 10, f) != 10 || memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 ||
       head[6] > 3)
      return NULL;
   len = head[8] | (size_t)head[9] << 8;
   if (head[6] > 1) {
      if (fread(head + 10, 1, 2, f) != 2)
         return NULL;
      len |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
   }
   char *dict = len <= MAX_HEADER ? calloc(len + 1, 1) : NULL;
   if (dict && fread(dict, 1, len, f) == len)
      return dict;
   free(dict);
   return NULL;
}

/* The value behind a key, as text; NULL when there is none. */
static const char *value_of(const char *dict, const char *key)
{
   const char *at = strstr(dict, key);

   at = at ? strchr(at + strlen(key), ':') : NULL;
   return at ? at + 1 + strspn(at + 1, " ") : NULL;
}

static const char *read_shape(const char *dict, size_t out[2])
{
   const char *shape = value_of(dict, "'shape'"), *order = value_of(dict, "'fortran_order'");
   const char *descr = value_of(dict, "'descr'");
   unsigned long long r, c;

   if (!descr || strncmp(descr, "'<f4'", 5) != 0)
      return "its numbers are not float32";
   if (!order || strncmp(order, "False", 5) != 0)
      return "it is not in C order";
   if (!shape || sscanf(shape, "(%8llu, %8llu)", &r, &c) != 2 || !r || !c || r > MAX_EXTENT ||
       c > MAX_EXTENT)
      return "it has no two extents";
   out[0] = (size_t)r;
   out[1] = (size_t)c;
   return NULL;
}

static int read_data(const char *path, FILE *f, const size_t shape[2], float **out)
{
   size_t n = shape[0] * shape[1];

   *out = n <= SIZE_MAX / sizeof **out ? malloc(n * sizeof **out) : NULL;
   if (!*out)
      return cli_fail(6, path, "a smaller image", "there is no memory for %zu numbers", n);
   if (fread(*out, sizeof **out, n, f) == n && fgetc(f) == EOF)
      return 0;
   free(*out);
   *out = NULL;
   return bad(path, "it does not hold what its shape says");
}

int npy_read(const char *path, size_t *out_rows, size_t *out_cols, float **out)
{
   FILE *f = fopen(path, "rb");
   size_t shape[2];

   *out = NULL;
   if (!f)
      return cli_fail(3, path, "the path of a NumPy file", "the file cannot be read: %s",
                      strerror(errno));
   char *dict = read_dict(f);
   const char *why = dict ? read_shape(dict, shape) : "it is no NumPy file";
   int code = why ? bad(path, why) : read_data(path, f, shape, out);
   free(dict);
   fclose(f);
   if (!code) {
      *out_rows = shape[0];
      *out_cols = shape[1];
   }
   return code;
}
