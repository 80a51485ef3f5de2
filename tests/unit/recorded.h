/* recorded.h - documents of tests/data: what another implementation gave. */
#ifndef TESTS_RECORDED_H
#define TESTS_RECORDED_H

#include "base/json.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* The document of that name, which must parse. */
static inline json *recorded(arena *a, const char *name)
{
   enum { MOST = 1 << 20 };
   char *text = arena_alloc(a, MOST);
   json *j = NULL;
   FILE *f = fopen(arena_printf(a, TEST_ROOT "/data/%s", name), "rb");

   cr_assert(f, "%s", name);
   size_t len = fread(text, 1, MOST, f);
   fclose(f);
   cr_assert_eq(json_parse(a, text, len, name, &j), SINTER_ok, "%s", sinter_error());
   return j;
}

#endif
