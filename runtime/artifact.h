/* artifact.h - an opened artifact, for the rest of the runtime and for the `ref` device.
 *
 *    sinter_artifact_open ─▶ rt_artifact: mapped file + decoded plan per target
 *                                         + weights, on first use
 *
 * Opening checks the header, manifest, plans, code and vocab against their digests (the vocab once
 * per version of the file). Everything returned lives as long as the artifact and is read-only.
 * Thread: any, at once. */
#ifndef RT_ARTIFACT_H
#define RT_ARTIFACT_H

#include "base/artifact.h"
#include "base/plan.h"
#include "device.h"

/* Bytes inside the mapping; data NULL and size 0 when the artifact has no such section. Text
 * sections are NUL-terminated; their size does not count the NUL. */
typedef struct rt_bytes {
   const uint8_t *data;
   size_t size;
} rt_bytes;

/* The view of the runtime on a public handle. */
const rt_artifact *rt_artifact_of(const sinter_artifact *a);

const char *rt_artifact_path(const rt_artifact *a);
uint32_t rt_artifact_num_targets(const rt_artifact *a);

/* The best target that `device` ("cpu", "ref"; "null" takes any) can run on this machine, of the
 * model, or of its vision tower. Errors UNSUPPORTED with what the artifact holds and what the
 * machine offers, or when the model sees no images. */
SINTER_CHECKED sinter_status rt_artifact_target(const rt_artifact *a, const char *device,
                                                bool tower, uint32_t *out_target);

const plan *rt_artifact_plan(const rt_artifact *a, uint32_t target);

/* A section; target counts only for those kept per target (plan, code, ir, explain). Sections that
 * open does not check (ir, explain, template) are checked here, once; a damaged one reads as
 * absent. Weights: use rt_artifact_weights. */
rt_bytes rt_artifact_section(const rt_artifact *a, artifact_section_id id, uint32_t target);

/* Maps the weight section of a target, page-aligned, and checks every MiB of it before the first
 * use of this file version by this user; later calls and later processes know it by (device, inode,
 * size, mtime, ctime). Errors NOT_FOUND for a missing external file, VERIFY_FAILED naming the
 * offset of the damaged MiB. */
SINTER_CHECKED sinter_status rt_artifact_weights(const rt_artifact *a, uint32_t target,
                                                 rt_bytes *out);

/* One object that another part of the runtime keeps with the artifact (its tokenizer): made on
 * first use under a lock, destroyed on close. A failed make is tried again next time. */
typedef struct rt_attachment {
   sinter_status (*make)(const rt_artifact *a, void **out);
   void (*destroy)(void *object);
} rt_attachment;

typedef enum rt_slot { RT_SLOT_text, RT_SLOT_grammar, RT_SLOT_COUNT } rt_slot;

SINTER_CHECKED sinter_status rt_artifact_attach(const rt_artifact *a, rt_slot slot,
                                                const rt_attachment *kind, void **out);

#endif
