/* artifact.h - the container of a compiled model: header, section table, sections. Read and written
 * only by artifact.c.
 *
 *    0     magic, version, file size, digest of this page      ┐ one page of 4096 bytes
 *    64    section table: id, target, flags, extent, digest    ┘
 *    4096  sections in the order of sections.def, then by target, aligned, zeros between
 *
 * Numbers are little-endian. Every section has a BLAKE2b-256 digest in the table, and the page has
 * its own. The weight section is hashed as a tree, so that threads can share the work: its digest
 * is BLAKE2b-256 over the BLAKE2b-256 of each MiB. It may live in a file of its own, named by that
 * digest, in the folder `weights` beside the artifact. Targets with the same packed weights share
 * one extent. Nothing in the file says when, where or by whom it was made. */
#ifndef BASE_ARTIFACT_H
#define BASE_ARTIFACT_H

#include "arena.h"
#include "hash.h"

enum {
   ARTIFACT_VERSION = 4,
   ARTIFACT_PAGE = 4096,       /* header page, and alignment of the weights */
   ARTIFACT_MAX_SECTIONS = 62, /* what fits the page */
   ARTIFACT_MAX_TARGETS = 8,
   ARTIFACT_CHUNK = 1 << 20, /* unit of weight checksums */
};

typedef enum artifact_section_id {
#define SECTION(name, align, per_target, text, what) ARTIFACT_##name,
#include "sections.def"
#undef SECTION
   ARTIFACT_SECTION_COUNT
} artifact_section_id;

typedef struct artifact_section_info {
   const char *name;
   uint32_t align;
   bool per_target, text;
} artifact_section_info;

extern const artifact_section_info artifact_section_infos[ARTIFACT_SECTION_COUNT];

typedef struct artifact_section {
   uint32_t id, target;
   bool external; /* weights only: in a file named by the digest; offset is 0 */
   uint64_t offset, size;
   digest digest;
} artifact_section;

typedef struct artifact_toc {
   uint64_t file_size;
   digest digest; /* of the header page, so of everything: sections by their digests */
   uint32_t num_targets, num_sections;
   artifact_section sections[ARTIFACT_MAX_SECTIONS];
} artifact_toc;

/* True when the bytes begin like an artifact. */
bool artifact_is(const void *bytes, size_t size);

/* Gives every section its place, in table order: fills offset (but for external ones) and
 * file_size. Sections of one kind with equal digest and size share an extent when they are weights
 * or sums. */
void artifact_place(artifact_toc *toc);

/* Serialises the header page. */
void artifact_encode(const artifact_toc *toc, uint8_t page[ARTIFACT_PAGE]);

/* Reads the header page and checks its digest, then every extent: inside the file, aligned, in
 * order, apart from each other, known, once. Errors VERIFY_FAILED for a bad digest, BAD_INPUT for
 * all else, UNSUPPORTED for another version. */
SINTER_CHECKED sinter_status artifact_decode(const uint8_t *bytes, size_t size, uint64_t file_size,
                                             const char *where, artifact_toc *out);

/* The section, NULL when the file has none. Shared sections have target 0. */
const artifact_section *artifact_find(const artifact_toc *toc, artifact_section_id id,
                                      uint32_t target);

/* Number of ARTIFACT_CHUNK pieces of a weight section. */
uint64_t artifact_chunks(uint64_t weight_bytes);

/* Leaf and root of the weight digest. */
digest artifact_leaf(const void *bytes, size_t size);
digest artifact_root(const digest *leaves, uint64_t count);

/* The file name of external weights: 64 hex digits, ".weights", NUL. */
void artifact_weights_name(const digest *d, char out[80]);

#endif
