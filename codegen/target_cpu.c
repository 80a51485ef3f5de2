/* target_cpu.c - one LLVM module for a level, checked to stand alone. */
#include "target_cpu.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- checks ---- */

static sinter_status not_alone(const char *where, const char *what, const char *name)
{
   return base_fail(SINTER_failed, where, "report this with the model",
                    "generated code is not self-contained: %s %s", what, name);
}

static sinter_status check_symbols(const uint8_t *object, const Elf64_Shdr *table,
                                   const char *names, const char *where)
{
   const Elf64_Sym *symbols = (const void *)(object + table->sh_offset);

   for (size_t i = 1; i < table->sh_size / sizeof *symbols; i++)
      if (symbols[i].st_shndx == SHN_UNDEF)
         return not_alone(where, "undefined symbol", names + symbols[i].st_name);
   return SINTER_ok;
}

static sinter_status check_relocations(const uint8_t *object, const Elf64_Shdr *table,
                                       const Elf64_Shdr *target, const char *where)
{
   const Elf64_Rela *relocations = (const void *)(object + table->sh_offset);

   if (!(target->sh_flags & SHF_ALLOC))
      return SINTER_ok;
   for (size_t i = 0; i < table->sh_size / sizeof *relocations; i++) {
      char type[16];
      switch (ELF64_R_TYPE(relocations[i].r_info)) {
      case R_X86_64_PC32:
      case R_X86_64_PLT32: break;
      default:
         snprintf(type, sizeof type, "%u", (unsigned)ELF64_R_TYPE(relocations[i].r_info));
         return not_alone(where, "relocation", type);
      }
   }
   return SINTER_ok;
}

sinter_status cg_check_object(const uint8_t *object, size_t size, const char *where)
{
   const Elf64_Ehdr *head = (const void *)object;

   if (size < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0)
      return not_alone(where, "it is no", "ELF object");
   const Elf64_Shdr *sections = (const void *)(object + head->e_shoff);
   for (uint32_t i = 0; i < head->e_shnum; i++) {
      const Elf64_Shdr *s = &sections[i];
      if (s->sh_type == SHT_SYMTAB)
         SINTER_TRY(
            check_symbols(object, s, (const char *)object + sections[s->sh_link].sh_offset, where));
      if (s->sh_type == SHT_RELA)
         SINTER_TRY(check_relocations(object, s, &sections[s->sh_info], where));
      if (s->sh_flags & SHF_ALLOC && s->sh_flags & SHF_WRITE && s->sh_size)
         return not_alone(where, "writable data,", "section");
   }
   return SINTER_ok;
}

/* ---- dumps ---- */

sinter_status cg_dump(const char *name, const char *ending, const void *data, size_t size)
{
   const char *dir = getenv("SINTER_DUMP");
   char path[4096];

   if (!dir || !*dir)
      return SINTER_ok;
   if (snprintf(path, sizeof path, "%s/%s.%s", dir, name, ending) >= (int)sizeof path)
      return base_fail(SINTER_io, dir, "use a shorter path", "the dump folder's name is too long");
   (void)mkdir(dir, 0777); /* where it fails, opening does */
   FILE *f = fopen(path, "wb");
   bool ok = f && fwrite(data, 1, size, f) == size;
   if (f && fclose(f) != 0)
      ok = false;
   return ok ? SINTER_ok
             : base_fail(SINTER_io, path, "let SINTER_DUMP name a folder that can be written",
                         "the dump cannot be written: %s", strerror(errno));
}

static sinter_status dump_all(vec_module *m, const char *level, const uint8_t *object, size_t size)
{
   const char *dir = getenv("SINTER_DUMP");

   if (!dir || !*dir)
      return SINTER_ok;
   char *text = vec_module_text(m);
   sinter_status status = cg_dump(level, "ll", text, strlen(text));
   vec_text_free(text);
   SINTER_TRY(status);
   return cg_dump(level, "o", object, size);
}

/* ---- objects ---- */

typedef struct making {
   arena *a;
   const isa_info *isa;
   const cg_kernel *kernels;
   uint32_t num_kernels;
   sinter_progress *progress;
   void *user;
   vec_module *m;
   uint8_t *object;
   size_t size;
} making;

/* $SINTER_KERNELS/<level>.o, corrected by hand or made by another compiler, in the place of ours. A
 * level without a file keeps its own. Its digest is part of the cache key (runtime/key.c). */
static sinter_status substitute(making *k)
{
   const char *dir = getenv("SINTER_KERNELS");
   char path[4096];
   struct stat st;

   if (!dir || !*dir)
      return SINTER_ok;
   if (snprintf(path, sizeof path, "%s/%s.o", dir, k->isa->name) >= (int)sizeof path)
      return base_fail(SINTER_io, dir, "use a shorter path", "the folder's name is too long");
   FILE *f = fopen(path, "rb");
   if (!f)
      return SINTER_ok;
   size_t size = fstat(fileno(f), &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
   uint8_t *bytes = malloc(size + 1);
   bool ok = bytes && size && fread(bytes, 1, size, f) == size;
   fclose(f);
   if (!ok) {
      free(bytes);
      return base_fail(SINTER_io, path, "write the object again", "it cannot be read");
   }
   free(k->object);
   k->object = bytes;
   k->size = size;
   return SINTER_ok;
}

static sinter_status make(void *user)
{
   making *k = user;

   for (uint32_t i = 0; i < k->num_kernels; i++) {
      k->kernels[i].emit(k->a, k->m, k->kernels[i].what);
      if (k->progress)
         k->progress(k->user, SINTER_STAGE_codegen, i, k->num_kernels, k->kernels[i].symbol);
   }
   SINTER_TRY(vec_module_object(k->m, &k->object, &k->size));
   SINTER_TRY(substitute(k));
   SINTER_TRY(cg_check_object(k->object, k->size, k->isa->name));
   return dump_all(k->m, k->isa->name, k->object, k->size);
}

/* Takes the object over into the arena. */
static sinter_status keep(void *user)
{
   making *k = user;
   uint8_t *own = arena_copy(k->a, k->object, k->size);

   free(k->object);
   k->object = own;
   return SINTER_ok;
}

sinter_status cg_cpu_object(arena *a, const isa_info *isa, const cg_kernel *kernels,
                            uint32_t num_kernels, sinter_progress *progress, void *user,
                            const uint8_t **out, size_t *out_size)
{
   making k = {a, isa, kernels, num_kernels, progress, user, NULL, NULL, 0};

   SINTER_TRY(vec_module_create(isa, &k.m));
   sinter_status status = arena_catch(make, &k);
   vec_module_destroy(k.m);
   if (status == SINTER_ok) {
      uint8_t *made = k.object;
      status = arena_catch(keep, &k);
      if (status != SINTER_ok)
         free(made);
   } else {
      free(k.object);
   }
   *out = k.object;
   *out_size = k.size;
   if (status == SINTER_ok && progress)
      progress(user, SINTER_STAGE_codegen, num_kernels, num_kernels, "");
   return status;
}
