/* simt_files.h - the files of kernels/ that are part of the compiler library as text, and the only
 * list of them (CMakeLists.txt reads it). */
#ifndef CG_SIMT_FILES_H
#define CG_SIMT_FILES_H

#include <stddef.h>

/* clang-format off */
#define SIMT_FILES(F) \
   F("simt_host.h", simt_host) \
   F("prelude_cuda.h", prelude_cuda) \
   F("prelude_hip.h", prelude_hip) \
   F("prelude_host.h", prelude_host) \
   F("simt.h", simt) \
   F("weights.cuh", weights) \
   F("quant.cuh", quant) \
   F("fragments.cuh", fragments) \
   F("gemm_rows.cuh", gemm_rows) \
   F("gemm_int8.cuh", gemm_int8) \
   F("gemm_quant.cuh", gemm_quant) \
   F("gemm.cuh", gemm) \
   F("gemm_mma_weights.cuh", gemm_mma_weights) \
   F("gemm_mma_int8.cuh", gemm_mma_int8) \
   F("gemm_mma.cuh", gemm_mma) \
   F("gemm_end.cuh", gemm_end) \
   F("embed.cuh", embed) \
   F("attention_fold.cuh", attention_fold) \
   F("attention_quant.cuh", attention_quant) \
   F("attention.cuh", attention) \
   F("attention_columns.cuh", attention_columns) \
   F("attention_expand.cuh", attention_expand) \
   F("attention_mma_load.cuh", attention_mma_load) \
   F("attention_mma_product.cuh", attention_mma_product) \
   F("attention_mma.cuh", attention_mma) \
   F("attention_end.cuh", attention_end) \
   F("moe.cuh", moe) \
   F("route.cuh", route) \
   F("state.cuh", state) \
   F("conv.cuh", conv) \
   F("gdn.cuh", gdn) \
   F("hc.cuh", hc) \
   F("state_rows.cuh", state_rows) \
   F("compress.cuh", compress) \
   F("indexer.cuh", indexer) \
   F("sparse.cuh", sparse) \
   F("sample.cuh", sample)
/* clang-format on */

#define FILE_ROW(name, id)                                                                         \
   extern const unsigned char simt_file_##id[];                                                    \
   extern const size_t simt_file_##id##_len;
SIMT_FILES(FILE_ROW)
#undef FILE_ROW

#endif
