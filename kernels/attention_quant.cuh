/* attention_quant.cuh - results of an attention that leave its kernel as codes and scales. */
#ifndef ATTENTION_QUANT_CUH
#define ATTENTION_QUANT_CUH

/* Element `at` of a row of `width` in each of 32 threads that are a group. */
SIMT_FN void attn_quant(const simt_args *a, float v, simt_i64 row, simt_i64 at, simt_i64 width, int there)
{
   const simt_i64 scales = (width / SIMT_QUANT_GROUP * 12 + width / 8 + 63) / 64 * 64; /* bytes: pack_scales_stride */

   simt_quant(v, at / SIMT_QUANT_GROUP, width / SIMT_QUANT_GROUP, (simt_u8 *)a->ptr[0] + row * width,
              (simt_u8 *)a->ptr[1] + row * scales, there);
}

#endif
