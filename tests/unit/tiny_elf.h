/* tiny_elf.h - a relocatable object made by hand, with a call, a constant and two functions.
 *
 *    answer:  mov eax, [rip + constant]; ret        constant: 42
 *    twice:   call answer; add eax, eax; ret */
#ifndef TINY_ELF_H
#define TINY_ELF_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TINY_TEXT = 1, TINY_RODATA, TINY_RELA, TINY_SYMTAB, TINY_STRTAB, TINY_SECTIONS };

typedef struct tiny_elf {
   Elf64_Ehdr header;
   uint8_t text[32];
   uint8_t rodata[16];
   Elf64_Rela rela[2];
   Elf64_Sym symbols[4];
   char strings[32];
   Elf64_Shdr sections[TINY_SECTIONS];
} tiny_elf;

static inline Elf64_Shdr tiny_section(uint32_t type, uint64_t flags, size_t offset, size_t size,
                                      size_t entry)
{
   return (Elf64_Shdr){.sh_type = type,
                       .sh_flags = flags,
                       .sh_offset = offset,
                       .sh_size = size,
                       .sh_addralign = 16,
                       .sh_entsize = entry};
}

static inline void tiny_elf_sections(tiny_elf *o)
{
   Elf64_Shdr *s = o->sections;

   s[TINY_TEXT] = tiny_section(SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, offsetof(tiny_elf, text),
                               sizeof o->text, 0);
   s[TINY_RODATA] =
      tiny_section(SHT_PROGBITS, SHF_ALLOC, offsetof(tiny_elf, rodata), sizeof o->rodata, 0);
   s[TINY_RELA] =
      tiny_section(SHT_RELA, 0, offsetof(tiny_elf, rela), sizeof o->rela, sizeof(Elf64_Rela));
   s[TINY_RELA].sh_info = TINY_TEXT;
   s[TINY_RELA].sh_link = TINY_SYMTAB;
   s[TINY_SYMTAB] = tiny_section(SHT_SYMTAB, 0, offsetof(tiny_elf, symbols), sizeof o->symbols,
                                 sizeof(Elf64_Sym));
   s[TINY_SYMTAB].sh_link = TINY_STRTAB;
   s[TINY_STRTAB] = tiny_section(SHT_STRTAB, 0, offsetof(tiny_elf, strings), sizeof o->strings, 0);
}

static inline void tiny_elf_make(tiny_elf *o)
{
   static const uint8_t answer[] = {0x8b, 0x05, 0, 0, 0, 0, 0xc3};
   static const uint8_t twice[] = {0xe8, 0, 0, 0, 0, 0x01, 0xc0, 0xc3};
   static const char names[] = "\0answer\0twice";
   const uint8_t func = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);

   memset(o, 0, sizeof *o);
   memcpy(o->header.e_ident, ELFMAG, SELFMAG);
   o->header.e_ident[EI_CLASS] = ELFCLASS64;
   o->header.e_ident[EI_DATA] = ELFDATA2LSB;
   o->header.e_type = ET_REL;
   o->header.e_machine = EM_X86_64;
   o->header.e_shentsize = sizeof(Elf64_Shdr);
   o->header.e_shnum = TINY_SECTIONS;
   o->header.e_shoff = offsetof(tiny_elf, sections);
   memcpy(o->text, answer, sizeof answer);
   memcpy(o->text + 16, twice, sizeof twice);
   o->rodata[4] = 42;
   o->rela[0] = (Elf64_Rela){2, ELF64_R_INFO(1, R_X86_64_PC32), 4 - 4};
   o->rela[1] = (Elf64_Rela){17, ELF64_R_INFO(2, R_X86_64_PLT32), -4};
   o->symbols[1] =
      (Elf64_Sym){.st_info = ELF64_ST_INFO(STB_LOCAL, STT_SECTION), .st_shndx = TINY_RODATA};
   o->symbols[2] =
      (Elf64_Sym){.st_name = 1, .st_info = func, .st_shndx = TINY_TEXT, .st_size = sizeof answer};
   o->symbols[3] = (Elf64_Sym){.st_name = 8,
                               .st_info = func,
                               .st_shndx = TINY_TEXT,
                               .st_value = 16,
                               .st_size = sizeof twice};
   memcpy(o->strings, names, sizeof names);
   tiny_elf_sections(o);
}

#endif
