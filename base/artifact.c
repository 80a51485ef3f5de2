/* artifact.c - the header page of an artifact, both ways, and the digests of its parts.
 *
 *    0   "SINTERAF"   8  version u32, sections u32   16  file size u64   24  targets u32, 0
 *    32  digest of the page, taken with these 32 bytes zero
 *    64  per section: id u32, target u32, flags u64, offset u64, size u64, digest 32 */
#include "artifact.h"

#include <stdio.h>

enum { HEAD_BYTES = 64, ENTRY_BYTES = 64, DIGEST_AT = 32, FLAG_EXTERNAL = 1 };

static const char magic[8] = {'S', 'I', 'N', 'T', 'E', 'R', 'A', 'F'};

const artifact_section_info artifact_section_infos[ARTIFACT_SECTION_COUNT] = {
#define SECTION(name, align, per_target, text, what) {#name, align, per_target, text},
#include "sections.def"
#undef SECTION
};

bool artifact_is(const void *bytes, size_t size)
{
   return size >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

static void put32(uint8_t *p, uint32_t v)
{
   for (int i = 0; i < 4; i++)
      p[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *p, uint64_t v)
{
   put32(p, (uint32_t)v);
   put32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const uint8_t *p)
{
   return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
   return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* Targets with equal weights share them. */
static bool is_shared(const artifact_section *s)
{
   return s->id == ARTIFACT_weights || s->id == ARTIFACT_sums;
}

static bool is_same(const artifact_section *a, const artifact_section *b)
{
   return a->id == b->id && a->size == b->size && digest_equal(&a->digest, &b->digest);
}

void artifact_place(artifact_toc *toc)
{
   uint64_t at = ARTIFACT_PAGE;

   for (uint32_t i = 0; i < toc->num_sections; i++) {
      artifact_section *s = &toc->sections[i];
      s->offset = 0;
      for (uint32_t j = 0; j < i && is_shared(s) && !s->offset; j++)
         s->offset = is_same(s, &toc->sections[j]) ? toc->sections[j].offset : 0;
      if (s->offset || s->external)
         continue;
      s->offset = base_align(at, artifact_section_infos[s->id].align);
      at = s->offset + s->size;
   }
   toc->file_size = at;
}

void artifact_encode(const artifact_toc *toc, uint8_t page[ARTIFACT_PAGE])
{
   assert(toc->num_sections <= ARTIFACT_MAX_SECTIONS);
   memset(page, 0, ARTIFACT_PAGE);
   memcpy(page, magic, sizeof magic);
   put32(page + 8, ARTIFACT_VERSION);
   put32(page + 12, toc->num_sections);
   put64(page + 16, toc->file_size);
   put32(page + 24, toc->num_targets);
   for (uint32_t i = 0; i < toc->num_sections; i++) {
      const artifact_section *s = &toc->sections[i];
      uint8_t *entry = page + HEAD_BYTES + (size_t)i * ENTRY_BYTES;
      put32(entry, s->id);
      put32(entry + 4, s->target);
      put64(entry + 8, s->external ? FLAG_EXTERNAL : 0);
      put64(entry + 16, s->offset);
      put64(entry + 24, s->size);
      memcpy(entry + 32, s->digest.bytes, sizeof s->digest.bytes);
   }
   digest d = digest_bytes(page, ARTIFACT_PAGE);
   memcpy(page + DIGEST_AT, d.bytes, sizeof d.bytes);
}

/* ---- reading ---- */

static bool page_digest_matches(const uint8_t *bytes, digest *stored)
{
   static const uint8_t zeros[sizeof(digest)];
   digest_state s;
   digest d;

   digest_init(&s);
   digest_update(&s, bytes, DIGEST_AT);
   digest_update(&s, zeros, sizeof zeros);
   digest_update(&s, bytes + DIGEST_AT + sizeof zeros, ARTIFACT_PAGE - DIGEST_AT - sizeof zeros);
   d = digest_final(&s);
   memcpy(stored->bytes, bytes + DIGEST_AT, sizeof stored->bytes);
   return digest_equal(&d, stored);
}

static void read_entry(const uint8_t *entry, artifact_section *s)
{
   s->id = get32(entry);
   s->target = get32(entry + 4);
   s->external = get64(entry + 8) == FLAG_EXTERNAL;
   s->offset = get64(entry + 16);
   s->size = get64(entry + 24);
   memcpy(s->digest.bytes, entry + 32, sizeof s->digest.bytes);
}

/* Ascending by id, then by target; shared sections have target 0. */
static const char *check_order(const artifact_toc *toc)
{
   for (uint32_t i = 0; i < toc->num_sections; i++) {
      const artifact_section *s = &toc->sections[i];
      if (s->id >= ARTIFACT_SECTION_COUNT)
         return "a section is of no known kind";
      if (s->target >= (artifact_section_infos[s->id].per_target ? toc->num_targets : 1))
         return "a section belongs to no target";
      if (i && (s->id < s[-1].id || (s->id == s[-1].id && s->target <= s[-1].target)))
         return "sections are out of order";
      if (s->external && s->id != ARTIFACT_weights)
         return "a section that must be inside is not";
   }
   return NULL;
}

/* Sections are exactly where artifact_place puts them, which is inside the file and apart from each
 * other. */
static const char *check_places(const artifact_toc *toc)
{
   artifact_toc again = *toc;
   uint64_t sum = 0;

   for (uint32_t i = 0; i < toc->num_sections; i++) {
      if (toc->sections[i].size > ((uint64_t)1 << 46))
         return "a section is too large";
      sum += toc->sections[i].external ? 0 : toc->sections[i].size;
   }
   if (sum > ((uint64_t)1 << 47))
      return "sections are too large";
   artifact_place(&again);
   if (again.file_size != toc->file_size)
      return "the section table does not fill the file";
   for (uint32_t i = 0; i < toc->num_sections; i++)
      if (again.sections[i].offset != toc->sections[i].offset)
         return "a section is out of place";
   return NULL;
}

static const char *check_complete(const artifact_toc *toc)
{
   if (!artifact_find(toc, ARTIFACT_manifest, 0))
      return "there is no manifest";
   for (uint32_t t = 0; t < toc->num_targets; t++) {
      const artifact_section *w = artifact_find(toc, ARTIFACT_weights, t);
      const artifact_section *sums = artifact_find(toc, ARTIFACT_sums, t);
      if (!artifact_find(toc, ARTIFACT_plan, t) || !w || !sums)
         return "a target has no plan or no weights";
      if (sums->size != artifact_chunks(w->size) * sizeof(uint64_t))
         return "weights and their checksums do not agree";
   }
   return NULL;
}

sinter_status artifact_decode(const uint8_t *bytes, size_t size, uint64_t file_size,
                              const char *where, artifact_toc *out)
{
   const char *again = "compile the model again";

   if (!artifact_is(bytes, size))
      return base_fail(SINTER_bad_input, where, "pass a file made by `sinter compile`",
                       "this is not an artifact");
   if (size < ARTIFACT_PAGE)
      return base_fail(SINTER_bad_input, where, again, "the artifact is cut short in its header");
   if (get32(bytes + 8) != ARTIFACT_VERSION)
      return base_fail(SINTER_unsupported, where, again,
                       "the artifact has version %u; this build reads version %d", get32(bytes + 8),
                       ARTIFACT_VERSION);
   digest page;
   if (!page_digest_matches(bytes, &page))
      return base_fail(SINTER_verify_failed, where, again, "the artifact's header is damaged");
   *out = (artifact_toc){.file_size = get64(bytes + 16),
                         .digest = page,
                         .num_targets = get32(bytes + 24),
                         .num_sections = get32(bytes + 12)};
   if (out->file_size != file_size)
      return base_fail(SINTER_bad_input, where, again,
                       "the artifact has %llu bytes instead of %llu", (unsigned long long)file_size,
                       (unsigned long long)out->file_size);
   if (out->num_sections > ARTIFACT_MAX_SECTIONS || out->num_targets > ARTIFACT_MAX_TARGETS ||
       !out->num_targets)
      return base_fail(SINTER_bad_input, where, again, "the section table is too long");
   for (uint32_t i = 0; i < out->num_sections; i++)
      read_entry(bytes + HEAD_BYTES + (size_t)i * ENTRY_BYTES, &out->sections[i]);
   const char *why = check_order(out);
   why = why ? why : check_places(out);
   why = why ? why : check_complete(out);
   if (why)
      return base_fail(SINTER_bad_input, where, again, "%s", why);
   return SINTER_ok;
}

const artifact_section *artifact_find(const artifact_toc *toc, artifact_section_id id,
                                      uint32_t target)
{
   uint32_t t = artifact_section_infos[id].per_target ? target : 0;

   for (uint32_t i = 0; i < toc->num_sections; i++)
      if (toc->sections[i].id == (uint32_t)id && toc->sections[i].target == t)
         return &toc->sections[i];
   return NULL;
}

/* ---- weights ---- */

uint64_t artifact_chunks(uint64_t weight_bytes)
{
   return weight_bytes / ARTIFACT_CHUNK + (weight_bytes % ARTIFACT_CHUNK != 0);
}

digest artifact_leaf(const void *bytes, size_t size)
{
   return digest_bytes(bytes, size);
}

digest artifact_root(const digest *leaves, uint64_t count)
{
   return digest_bytes(leaves, (size_t)count * sizeof *leaves);
}

void artifact_weights_name(const digest *d, char out[80])
{
   char hex[65];

   digest_hex(d, hex);
   snprintf(out, 80, "%s.weights", hex);
}
