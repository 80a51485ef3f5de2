/* large_model.h - the IR of a model as deep and wide as DeepSeek-V3, as text: absorbed latent
 * attention, three dense layers, then mixtures of 256 experts with a shared one. */
#ifndef TEST_LARGE_MODEL_H
#define TEST_LARGE_MODEL_H

#include "base/arena.h"

static inline void large_attention(text_buf *t, int l)
{
   text_printf(t,
               "%%n%d = weight {name=\"blk.%d.n\"} : f32[7168]\n%%x%d = rmsnorm %%h%d, %%n%d "
               "{eps=1e-06}\n%%wqa%d = weight {name=\"blk.%d.qa\"} : q8_0[1536,7168]\n"
               "%%wkv%d = weight {name=\"blk.%d.kv\"} : q8_0[576,7168]\n",
               l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%qa%d = matmul %%x%d, %%wqa%d\n%%kv%d = matmul %%x%d, %%wkv%d\n"
               "%%nq%d = weight {name=\"blk.%d.nq\"} : f32[1536]\n%%qn%d = rmsnorm %%qa%d, %%nq%d "
               "{eps=1e-06}\n%%wqb%d = weight {name=\"blk.%d.qb\"} : q8_0[24576,1536]\n",
               l, l, l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%qb%d = matmul %%qn%d, %%wqb%d\n%%qh%d = reshape %%qb%d : f32[T,128,192]\n"
               "%%q%d = slice %%qh%d {axis=2, start=0, size=128}\n%%p%d = slice %%qh%d {axis=2, "
               "start=128, size=64}\n%%pr%d = rope %%p%d, %%cs {style=\"pair\"}\n",
               l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%wuk%d = weight {name=\"blk.%d.uk\"} : f32[128,512,128]\n%%ql%d = head_matmul "
               "%%q%d, %%wuk%d\n%%c%d = slice %%kv%d {axis=1, start=0, size=512}\n%%k%d = slice "
               "%%kv%d {axis=1, start=512, size=64}\n",
               l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%nc%d = weight {name=\"blk.%d.nc\"} : f32[512]\n%%cn%d = rmsnorm %%c%d, %%nc%d "
               "{eps=1e-06}\n%%cc%d = reshape %%cn%d : f32[T,1,512]\n%%kk%d = reshape %%k%d : "
               "f32[T,1,64]\n%%kr%d = rope %%kk%d, %%cs {style=\"pair\"}\n",
               l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%s%d = state {layer=%d} : f32 mla[1,576]\n%%t%d = mla_write %%s%d, %%cc%d, "
               "%%kr%d\n%%a%d = mla_attention %%ql%d, %%pr%d, %%t%d {scale=0.1}\n"
               "%%wuv%d = weight {name=\"blk.%d.uv\"} : f32[128,128,512]\n",
               l, l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%o%d = head_matmul %%a%d, %%wuv%d\n%%om%d = reshape %%o%d : f32[T,16384]\n"
               "%%wo%d = weight {name=\"blk.%d.o\"} : q8_0[7168,16384]\n%%y%d = matmul %%om%d, "
               "%%wo%d\n%%r%d = add %%h%d, %%y%d\n"
               "%%m%d = weight {name=\"blk.%d.m\"} : f32[7168]\n"
               "%%f%d = rmsnorm %%r%d, %%m%d {eps=1e-06}\n",
               l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l);
}

/* A gated feed-forward of width f on %f<l>, result %<out><l>. */
static inline void large_ffn(text_buf *t, int l, const char *out, int f)
{
   text_printf(t,
               "%%%sg%d = weight {name=\"blk.%d.%s.g\"} : q8_0[%d,7168]\n%%%su%d = weight "
               "{name=\"blk.%d.%s.u\"} : q8_0[%d,7168]\n%%%sd%d = weight {name=\"blk.%d.%s.d\"} : "
               "q8_0[7168,%d]\n",
               out, l, l, out, f, out, l, l, out, f, out, l, l, out, f);
   text_printf(t,
               "%%%sgo%d = matmul %%f%d, %%%sg%d\n%%%suo%d = matmul %%f%d, %%%su%d\n%%%sa%d = silu "
               "%%%sgo%d\n%%%sm%d = mul %%%sa%d, %%%suo%d\n%%%s%d = matmul %%%sm%d, %%%sd%d\n",
               out, l, l, out, l, out, l, l, out, l, out, l, out, l, out, l, out, l, out, l, out, l,
               out, l, out, l);
}

static inline void large_experts(text_buf *t, int l)
{
   text_printf(t,
               "%%wr%d = weight {name=\"blk.%d.r\"} : f32[256,7168]\n%%z%d = matmul %%f%d, "
               "%%wr%d\n%%b%d = weight {name=\"blk.%d.b\"} : f32[256]\n%%i%d, %%w%d = route %%z%d, "
               "%%b%d {k=8, score=\"sigmoid\", groups=8, kept=4, group_top=2, norm=1, scale=2.5}\n"
               "%%po%d, %%pf%d = permute %%i%d {experts=256}\n",
               l, l, l, l, l, l, l, l, l, l, l, l, l, l);
   text_printf(t,
               "%%eg%d = weight {name=\"blk.%d.eg\"} : q8_0[256,2048,7168]\n%%eu%d = weight "
               "{name=\"blk.%d.eu\"} : q8_0[256,2048,7168]\n%%ed%d = weight {name=\"blk.%d.ed\"} : "
               "q8_0[256,7168,2048]\n",
               l, l, l, l, l, l);
   text_printf(t,
               "%%ego%d = moe_matmul %%f%d, %%po%d, %%pf%d, %%eg%d\n%%euo%d = moe_matmul %%f%d, "
               "%%po%d, %%pf%d, %%eu%d\n%%ea%d = silu %%ego%d\n%%em%d = mul %%ea%d, %%euo%d\n"
               "%%e%d = moe_matmul %%em%d, %%po%d, %%pf%d, %%ed%d\n%%cb%d = combine %%e%d, %%w%d\n",
               l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l, l);
   large_ffn(t, l, "sh", 2048);
   text_printf(t, "%%v%d = add %%cb%d, %%sh%d\n%%h%d = add %%r%d, %%v%d\n", l, l, l, l + 1, l, l);
}

/* Text of a model with so many layers; the first three are dense. */
static inline const char *large_model(arena *a, int layers)
{
   text_buf t = {.a = a};

   text_printf(&t, "func @main(T in 1..512, R in 0..64, S in 1..64) {\n%%ids = meta "
                   "{field=token_ids} : i32[T]\n%%rows = meta {field=rows} : i32[R]\n%%cs = meta "
                   "{field=rope, index=0} : f32[T,64]\n%%we = weight {name=\"embd\"} : "
                   "q8_0[129280,7168]\n%%h0 = embed %%ids, %%we\n");
   for (int l = 0; l < layers; l++) {
      large_attention(&t, l);
      if (l >= 3) {
         large_experts(&t, l);
         continue;
      }
      large_ffn(&t, l, "d", 18432);
      text_printf(&t, "%%h%d = add %%r%d, %%d%d\n", l + 1, l, l);
   }
   text_printf(
      &t,
      "%%wn = weight {name=\"out_norm\"} : f32[7168]\n%%wv = weight {name=\"out\"} : "
      "q8_0[129280,7168]\n%%last = take_rows %%h%d, %%rows\n%%lastn = rmsnorm %%last, %%wn "
      "{eps=1e-06}\n%%logits = matmul %%lastn, %%wv\nreturn %%logits",
      layers);
   for (int l = 0; l < layers; l++)
      text_printf(&t, ", %%t%d", l);
   text_printf(&t, "\n}\n");
   return t.data;
}

#endif
