/* elf.c - reads a relocatable object with every offset checked against the file before it is used.
 *
 *    image   [ executable sections | read-only sections ]     pages between the two, one mmap
 *
 * Source: System V ABI, AMD64 supplement, relocation types of table 4.9. */
#include "elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"

enum { PAGE = 4096, MAX_IMAGE = 1 << 30, MAX_SECTIONS = 1 << 20 };

typedef struct function {
   const char *name;
   void *address;
   uint64_t size;
} function;

struct rt_elf {
   uint8_t *image;
   size_t image_size, code_size;      /* both whole pages */
   uint32_t num_functions, num_slots; /* slots: a power of two */
   function *slots;
   char *names;
};

/* A load in progress; nothing in it points to unchecked bytes. */
typedef struct loader {
   const uint8_t *bytes;
   size_t size;
   const char *where;
   const Elf64_Ehdr *header;
   const Elf64_Shdr *sections;
   uint32_t num_sections;
   uint64_t *place; /* offset in the image + 1; 0: not loaded */
   const Elf64_Sym *symbols;
   uint64_t num_symbols;
   const char *strings; /* of the symbols */
   uint64_t strings_size;
   rt_elf *e;
} loader;

#define FAIL(l, ...) base_fail(SINTER_bad_input, (l)->where, "compile the model again", __VA_ARGS__)

static bool inside(const loader *l, uint64_t offset, uint64_t size, uint64_t align)
{
   uint64_t end;

   return offset % align == 0 && base_add(offset, size, &end) && end <= l->size;
}

static sinter_status read_header(loader *l)
{
   const Elf64_Ehdr *h = (const Elf64_Ehdr *)l->bytes;
   uint64_t table;

   if (l->size < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
      return FAIL(l, "the code is no ELF object");
   if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
       h->e_machine != EM_X86_64 || h->e_type != ET_REL)
      return FAIL(l, "the code is no relocatable x86-64 object");
   if (h->e_shentsize != sizeof(Elf64_Shdr) || !h->e_shnum)
      return FAIL(l, "the code has no usable section table");
   if (!base_mul((uint64_t)h->e_shnum, sizeof(Elf64_Shdr), &table) ||
       !inside(l, h->e_shoff, table, _Alignof(Elf64_Shdr)))
      return FAIL(l, "the section table lies outside the code");
   l->header = h;
   l->sections = (const Elf64_Shdr *)(l->bytes + h->e_shoff);
   l->num_sections = h->e_shnum;
   return SINTER_ok;
}

/* Sections that code reads or runs; unwind tables and notes are of no use here. */
static bool is_loaded(const Elf64_Shdr *s)
{
   return (s->sh_flags & SHF_ALLOC) && s->sh_type == SHT_PROGBITS && s->sh_size;
}

static sinter_status check_section(const loader *l, uint32_t index)
{
   const Elf64_Shdr *s = &l->sections[index];

   if (s->sh_type != SHT_NOBITS && s->sh_type != SHT_NULL &&
       !inside(l, s->sh_offset, s->sh_size, 1))
      return FAIL(l, "section %u lies outside the code", index);
   if ((s->sh_flags & SHF_ALLOC) && s->sh_size &&
       ((s->sh_flags & (SHF_WRITE | SHF_TLS | SHF_COMPRESSED)) || s->sh_type == SHT_NOBITS))
      return FAIL(l, "section %u is writable data, which kernels do not have", index);
   if (is_loaded(s) && (s->sh_addralign > PAGE || (s->sh_addralign & (s->sh_addralign - 1))))
      return FAIL(l, "section %u has an impossible alignment", index);
   return SINTER_ok;
}

/* Gives every loaded section its offset; executable ones when `exec`, else the others. */
static bool place_sections(loader *l, bool exec, uint64_t *at)
{
   for (uint32_t i = 0; i < l->num_sections; i++) {
      const Elf64_Shdr *s = &l->sections[i];
      if (!is_loaded(s) || !!(s->sh_flags & SHF_EXECINSTR) != exec)
         continue;
      uint64_t offset = base_align(*at, MAX(s->sh_addralign, 1u));
      if (!base_add(offset, s->sh_size, at) || *at > MAX_IMAGE)
         return false;
      l->place[i] = offset + 1;
   }
   *at = base_align(*at, PAGE);
   return true;
}

static sinter_status map_sections(loader *l)
{
   rt_elf *e = l->e;
   uint64_t at = 0;

   for (uint32_t i = 0; i < l->num_sections; i++)
      SINTER_TRY(check_section(l, i));
   if (!place_sections(l, true, &at))
      return FAIL(l, "the code is too large");
   e->code_size = at;
   if (!place_sections(l, false, &at))
      return FAIL(l, "the code is too large");
   if (!at)
      return SINTER_ok;
   uint8_t *image = mmap(NULL, at, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
   if (image == MAP_FAILED)
      return base_fail(SINTER_out_of_memory, l->where, "close other programs",
                       "there is no memory for %llu bytes of code", (unsigned long long)at);
   e->image = image;
   e->image_size = at;
   for (uint32_t i = 0; i < l->num_sections; i++)
      if (l->place[i])
         memcpy(image + l->place[i] - 1, l->bytes + l->sections[i].sh_offset,
                l->sections[i].sh_size);
   return SINTER_ok;
}

static sinter_status read_symbols(loader *l)
{
   for (uint32_t i = 0; i < l->num_sections; i++) {
      const Elf64_Shdr *s = &l->sections[i];
      if (s->sh_type != SHT_SYMTAB)
         continue;
      if (l->symbols)
         return FAIL(l, "the code has two symbol tables");
      if (s->sh_entsize != sizeof(Elf64_Sym) || s->sh_offset % _Alignof(Elf64_Sym) ||
          s->sh_link >= l->num_sections || l->sections[s->sh_link].sh_type != SHT_STRTAB)
         return FAIL(l, "the symbol table is malformed");
      const Elf64_Shdr *strings = &l->sections[s->sh_link];
      l->symbols = (const Elf64_Sym *)(l->bytes + s->sh_offset);
      l->num_symbols = s->sh_size / sizeof(Elf64_Sym);
      l->strings = (const char *)l->bytes + strings->sh_offset;
      l->strings_size = strings->sh_size;
      if (!l->strings_size || l->strings[l->strings_size - 1])
         return FAIL(l, "the symbol names are malformed");
   }
   return SINTER_ok;
}

/* ---- relocations ---- */

static sinter_status symbol_address(const loader *l, uint64_t index, uint64_t *out)
{
   if (index >= l->num_symbols)
      return FAIL(l, "a relocation names no symbol");
   const Elf64_Sym *s = &l->symbols[index];
   const char *name = s->st_name < l->strings_size ? l->strings + s->st_name : "?";
   if (s->st_shndx == SHN_UNDEF)
      return FAIL(l, "the code needs `%.80s`, which it does not hold", name);
   if (s->st_shndx >= l->num_sections || !l->place[s->st_shndx] ||
       s->st_value > l->sections[s->st_shndx].sh_size)
      return FAIL(l, "the symbol `%.80s` lies outside the code", name);
   *out = (uint64_t)(uintptr_t)l->e->image + l->place[s->st_shndx] - 1 + s->st_value;
   return SINTER_ok;
}

/* Stores value in the width of a relocation; false when it does not fit. */
static bool store(uint8_t *at, uint32_t type, uint64_t value, uint64_t pc)
{
   int64_t v = (int64_t)(type == R_X86_64_PC32 || type == R_X86_64_PLT32 ? value - pc : value);

   if (type == R_X86_64_64) {
      memcpy(at, &v, sizeof v);
      return true;
   }
   if (type == R_X86_64_32 ? v != (int64_t)(uint32_t)v : v != (int32_t)v)
      return false;
   uint32_t narrow = (uint32_t)v;
   memcpy(at, &narrow, sizeof narrow);
   return true;
}

static sinter_status relocate(const loader *l, uint32_t target, const Elf64_Rela *r)
{
   uint32_t type = (uint32_t)ELF64_R_TYPE(r->r_info);
   uint64_t width = type == R_X86_64_64 ? 8 : 4, end, symbol = 0;

   if (type == R_X86_64_NONE)
      return SINTER_ok;
   if (type != R_X86_64_64 && type != R_X86_64_PC32 && type != R_X86_64_PLT32 &&
       type != R_X86_64_32 && type != R_X86_64_32S)
      return FAIL(l, "the code has a relocation of type %u, which this loader does not know", type);
   if (!base_add(r->r_offset, width, &end) || end > l->sections[target].sh_size)
      return FAIL(l, "a relocation lies outside section %u", target);
   SINTER_TRY(symbol_address(l, ELF64_R_SYM(r->r_info), &symbol));
   uint8_t *at = l->e->image + l->place[target] - 1 + r->r_offset;
   if (!store(at, type, symbol + (uint64_t)r->r_addend, (uint64_t)(uintptr_t)at))
      return FAIL(l, "a relocation of type %u does not reach its symbol", type);
   return SINTER_ok;
}

static sinter_status relocate_all(const loader *l)
{
   for (uint32_t i = 0; i < l->num_sections; i++) {
      const Elf64_Shdr *s = &l->sections[i];
      if (s->sh_type == SHT_REL && s->sh_info < l->num_sections && l->place[s->sh_info])
         return FAIL(l, "the code has relocations without addends");
      if (s->sh_type != SHT_RELA || s->sh_info >= l->num_sections || !l->place[s->sh_info])
         continue;
      if (s->sh_entsize != sizeof(Elf64_Rela) || s->sh_offset % _Alignof(Elf64_Rela))
         return FAIL(l, "relocation table %u is malformed", i);
      const Elf64_Rela *r = (const Elf64_Rela *)(l->bytes + s->sh_offset);
      for (uint64_t k = 0; k < s->sh_size / sizeof *r; k++)
         SINTER_TRY(relocate(l, s->sh_info, &r[k]));
   }
   return SINTER_ok;
}

/* ---- functions by name ---- */

static function *find_slot(const rt_elf *e, const char *name)
{
   uint64_t i = hash64_bytes(name, strlen(name));

   for (;; i++) {
      function *f = &e->slots[i & (e->num_slots - 1)];
      if (!f->name || strcmp(f->name, name) == 0)
         return f;
   }
}

/* A kernel, or what kernels call: that is in no other symbol table that a profiler reads. */
static bool is_function(const loader *l, const Elf64_Sym *s)
{
   bool named = ELF64_ST_BIND(s->st_info) == STB_GLOBAL || ELF64_ST_TYPE(s->st_info) == STT_FUNC;

   return named && s->st_name && s->st_name < l->strings_size && s->st_shndx < l->num_sections &&
          l->place[s->st_shndx] && (l->sections[s->st_shndx].sh_flags & SHF_EXECINSTR) &&
          s->st_value < l->sections[s->st_shndx].sh_size;
}

static sinter_status index_functions(loader *l)
{
   rt_elf *e = l->e;

   e->num_slots = 16;
   for (uint64_t i = 0; i < l->num_symbols; i++)
      e->num_functions += is_function(l, &l->symbols[i]);
   while (e->num_slots < 2 * (uint64_t)e->num_functions)
      e->num_slots *= 2;
   e->slots = calloc(e->num_slots, sizeof *e->slots);
   e->names = malloc(MAX(l->strings_size, 1u));
   if (!e->slots || !e->names)
      return base_fail(SINTER_out_of_memory, l->where, "close other programs",
                       "memory is exhausted");
   if (l->strings_size)
      memcpy(e->names, l->strings, l->strings_size);
   for (uint64_t i = 0; i < l->num_symbols; i++) {
      const Elf64_Sym *s = &l->symbols[i];
      if (!is_function(l, s))
         continue;
      function *f = find_slot(e, e->names + s->st_name);
      if (f->name)
         return FAIL(l, "the code has two functions `%.80s`", f->name);
      *f = (function){e->names + s->st_name, e->image + l->place[s->st_shndx] - 1 + s->st_value,
                      s->st_size};
   }
   return SINTER_ok;
}

static sinter_status protect(const loader *l)
{
   const rt_elf *e = l->e;

   if (!e->image)
      return SINTER_ok;
   if ((e->code_size && mprotect(e->image, e->code_size, PROT_READ | PROT_EXEC) != 0) ||
       (e->image_size > e->code_size &&
        mprotect(e->image + e->code_size, e->image_size - e->code_size, PROT_READ) != 0))
      return base_fail(SINTER_failed, l->where, "allow this program to run generated code",
                       "the system refuses executable memory: %s", strerror(errno));
   return SINTER_ok;
}

static sinter_status load(loader *l)
{
   SINTER_TRY(read_header(l));
   l->place = calloc(l->num_sections, sizeof *l->place);
   if (!l->place)
      return base_fail(SINTER_out_of_memory, l->where, "close other programs",
                       "memory is exhausted");
   SINTER_TRY(map_sections(l));
   SINTER_TRY(read_symbols(l));
   SINTER_TRY(relocate_all(l));
   SINTER_TRY(index_functions(l));
   return protect(l);
}

sinter_status rt_elf_load(const uint8_t *bytes, size_t size, const char *where, rt_elf **out)
{
   /* Tables are read in place, so the bytes must be aligned as the file says they are. */
   void *copy = (uintptr_t)bytes % 8 ? malloc(MAX(size, 1u)) : NULL;
   loader l = {.bytes = bytes, .size = bytes ? size : 0, .where = where};

   *out = NULL;
   if (copy)
      l.bytes = memcpy(copy, bytes, size);
   l.e = (uintptr_t)l.bytes % 8 ? NULL : calloc(1, sizeof(rt_elf));
   sinter_status status =
      l.e ? load(&l)
          : base_fail(SINTER_out_of_memory, where, "close other programs", "memory is exhausted");
   free(l.place);
   free(copy);
   if (status == SINTER_ok)
      *out = l.e;
   else
      rt_elf_unload(l.e);
   return status;
}

void rt_elf_unload(rt_elf *e)
{
   if (!e)
      return;
   if (e->image)
      munmap(e->image, e->image_size);
   free(e->slots);
   free(e->names);
   free(e);
}

void *rt_elf_symbol(const rt_elf *e, const char *name)
{
   return find_slot(e, name)->address;
}

const uint8_t *rt_elf_code(const rt_elf *e, const char *name, uint64_t *out_size)
{
   const function *f = find_slot(e, name);

   *out_size = f->address ? f->size : 0;
   return f->address;
}

void rt_elf_write_perf_map(const rt_elf *e)
{
   char path[64];

   snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
   int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
   FILE *f = fd < 0 ? NULL : fdopen(fd, "a");
   if (!f)
      return;
   for (uint32_t i = 0; i < e->num_slots; i++)
      if (e->slots[i].name)
         fprintf(f, "%llx %llx sinter:%s\n", (unsigned long long)(uintptr_t)e->slots[i].address,
                 (unsigned long long)e->slots[i].size, e->slots[i].name);
   fclose(f);
}
