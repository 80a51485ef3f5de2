/* gemm_end.cuh - forgets the parameters of a template of products. */
#undef GEMM_NAME
#undef GEMM_W
#undef GEMM_W2
#undef GEMM_STEPS
#undef GEMM_GROUPED
#undef GEMM_ORDER
#undef GEMM_SLICES
#undef GEMM_REGISTERS
#undef GEMM_FORM
#undef GEMM_INT8
#undef GEMM_QUANT
#undef GEMM_X
#undef GEMM_AT_W
