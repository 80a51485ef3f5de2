// LINK: runtime base
/* The ELF loader: code runs, and nothing damaged is let in. */
#include "runtime/elf.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tiny_elf.h"

typedef int function(void);

static sinter_status load(const tiny_elf *o, rt_elf **out)
{
   return rt_elf_load((const uint8_t *)o, sizeof *o, "tiny.o", out);
}

static void expect_declined(const tiny_elf *o, const char *reason)
{
   rt_elf *e;

   cr_assert_eq(load(o, &e), SINTER_bad_input, "%s", reason);
   cr_assert_null(e);
   cr_assert(strstr(sinter_error(), reason), "%s", sinter_error());
}

/* Kills: a wrong addend or place in PC32 or PLT32, a symbol looked up by the wrong name. */
Test(elf, runs)
{
   tiny_elf o;
   rt_elf *e;

   tiny_elf_make(&o);
   cr_assert_eq(load(&o, &e), SINTER_ok, "%s", sinter_error());
   function *answer = (function *)(uintptr_t)rt_elf_symbol(e, "answer");
   function *twice = (function *)(uintptr_t)rt_elf_symbol(e, "twice");
   cr_assert(answer && twice);
   cr_assert_eq(answer(), 42);
   cr_assert_eq(twice(), 84);
   cr_assert_null(rt_elf_symbol(e, "thrice"));
   rt_elf_unload(e);
}

/* Kills: a map of global functions only, where a profile's time is in what they call. */
Test(elf, perf_map)
{
   tiny_elf o;
   rt_elf *e;
   char path[64], line[256];
   int seen = 0;

   tiny_elf_make(&o);
   o.symbols[2].st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC);
   cr_assert_eq(load(&o, &e), SINTER_ok, "%s", sinter_error());
   snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
   remove(path);
   rt_elf_write_perf_map(e);
   FILE *map = fopen(path, "r");
   cr_assert(map);
   while (fgets(line, sizeof line, map))
      seen += strstr(line, " 7 sinter:answer\n") || strstr(line, " 8 sinter:twice\n");
   fclose(map);
   remove(path);
   cr_assert_eq(seen, 2);
   rt_elf_unload(e);
}

/* Kills: leaving the image writable, or constants executable. */
Test(elf, write_or_execute)
{
   tiny_elf o;
   rt_elf *e;
   char line[256];
   int seen = 0;

   tiny_elf_make(&o);
   cr_assert_eq(load(&o, &e), SINTER_ok);
   uintptr_t code = (uintptr_t)rt_elf_symbol(e, "answer");
   FILE *maps = fopen("/proc/self/maps", "r");
   while (fgets(line, sizeof line, maps)) {
      unsigned long from, to;
      char rights[8];
      cr_assert_eq(sscanf(line, "%lx-%lx %7s", &from, &to, rights), 3);
      if (code >= from && code < to) {
         cr_assert_str_eq(rights, "r-xp");
         seen++;
      }
   }
   fclose(maps);
   cr_assert_eq(seen, 1);
   rt_elf_unload(e);
}

/* Kills: dropping any one of the checks. */
Test(elf, declines)
{
   tiny_elf o;

#define CASE(change, reason)                                                                       \
   tiny_elf_make(&o);                                                                              \
   change;                                                                                         \
   expect_declined(&o, reason)
   CASE(o.header.e_ident[0] = 0, "no ELF");
   CASE(o.header.e_machine = EM_AARCH64, "no relocatable x86-64");
   CASE(o.header.e_type = ET_DYN, "no relocatable x86-64");
   CASE(o.header.e_shnum = 0, "section table");
   CASE(o.header.e_shoff = sizeof o - 64, "section table lies outside");
   CASE(o.sections[TINY_TEXT].sh_size = sizeof o, "lies outside");
   CASE(o.sections[TINY_TEXT].sh_offset = UINT64_MAX - 8, "lies outside");
   CASE(o.sections[TINY_RODATA].sh_flags |= SHF_WRITE, "writable");
   CASE(o.sections[TINY_RODATA].sh_type = SHT_NOBITS, "writable");
   CASE(o.sections[TINY_RODATA].sh_addralign = 48, "alignment");
   CASE(o.sections[TINY_RODATA].sh_addralign = 8192, "alignment");
   CASE(o.rela[0].r_offset = 29, "outside section");
   CASE(o.rela[0].r_offset = UINT64_MAX - 1, "outside section");
   CASE(o.rela[0].r_info = ELF64_R_INFO(1, R_X86_64_GOTPCREL), "type 9");
   CASE(o.rela[0].r_info = ELF64_R_INFO(4, R_X86_64_PC32), "names no symbol");
   CASE(o.rela[0].r_addend = INT64_MAX / 2, "does not reach");
   CASE(o.symbols[1].st_shndx = SHN_UNDEF, "does not hold");
   CASE(o.symbols[1].st_shndx = SHN_ABS, "lies outside");
   CASE(o.symbols[1].st_value = 17, "lies outside");
   CASE(o.symbols[3].st_name = 1, "two functions");
   CASE(o.strings[31] = 'x', "names are malformed");
   CASE(o.sections[TINY_SYMTAB].sh_link = 77, "symbol table is malformed");
   CASE(o.sections[TINY_RELA].sh_entsize = 16, "malformed");
#undef CASE
}

static void mutate(tiny_elf *o, size_t at, uint8_t bits)
{
   rt_elf *e;

   ((uint8_t *)o)[at] ^= bits;
   if (load(o, &e) == SINTER_ok)
      rt_elf_unload(e);
   ((uint8_t *)o)[at] ^= bits;
}

/* Every cut and every flipped bit ends in an error or a loaded image, under the sanitizers. */
Test(elf, damage)
{
   tiny_elf o;
   rt_elf *e;

   tiny_elf_make(&o);
   for (size_t size = 0; size < sizeof o; size++) {
      uint8_t *copy = malloc(size ? size : 1);
      memcpy(copy, &o, size);
      cr_assert_eq(rt_elf_load(copy, size, "cut", &e), SINTER_bad_input);
      free(copy);
   }
   for (size_t at = 0; at < sizeof o; at++)
      for (int bit = 0; bit < 8; bit++)
         mutate(&o, at, (uint8_t)(1 << bit));
}
