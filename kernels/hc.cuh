/* hc.cuh - hyper-connections; a template by inclusion. Pointers, partials and the two kinds of kernels: kernels/cpu/hc.h.
 *
 *    HC_NAME, HC_N (streams), HC_D (width), HC_EXPAND, HC_MIX, HC_FINISH, HC_COLLAPSE, HC_NORM
 *    HC_EPS, HC_OFFSET, HC_ITERS of the mix; HC_NORM_EPS, HC_NORM_OFFSET
 *
 * part: a block takes HC_ROWS rows and HC_BLOCK columns of every stream, one stream after the other. Half a warp loads a line
 * of fn, 16 outputs; lines go to half warps in turn, and their sums are added in order. The squares of a row are one more
 * output. finish: a block takes a row. */
#define HC_PARTS ((2 + HC_N) * HC_N)
#define HC_EACH ((HC_PARTS + PANEL_ROWS) / PANEL_ROWS * PANEL_ROWS) /* partials of a block: one more than parts */
#define HC_BLOCKS ((HC_D + HC_BLOCK - 1) / HC_BLOCK)

#if !HC_FINISH

typedef struct SIMT_PASTE(HC_NAME, _shared)
{
   float x[HC_ROWS][HC_BLOCK];
   float part[SIMT_THREADS / PANEL_ROWS][HC_ROWS][PANEL_ROWS];
}
SIMT_PASTE(HC_NAME, _shared);

/* Element c of stream j of a row: as it is, or as it becomes; that one is stored. */
SIMT_FN float SIMT_PASTE(HC_NAME, _element)(const simt_args *a, simt_i64 row, int j, simt_i64 c)
{
   const float *x = (const float *)a->ptr[HC_EXPAND ? 4 : 0] + row * HC_N * HC_D + c;
#if HC_EXPAND
   const float *comb = (const float *)a->ptr[3] + row * HC_N * HC_N + j;
   float v = ((const float *)a->ptr[1])[row * HC_D + c] * ((const float *)a->ptr[2])[row * HC_N + j];

   for (int i = 0; i < HC_N; i++)
      v = simt_fma(x[i * HC_D], comb[i * HC_N], v);
   ((float *)a->ptr[0])[(row * HC_N + j) * HC_D + c] = v;
   return v;
#else
   return x[j * HC_D];
#endif
}

SIMT_KERNEL(HC_NAME)
{
   enum { FN = HC_EXPAND ? 5 : 1, PANELS = HC_EACH / PANEL_ROWS, LINES = SIMT_THREADS / PANEL_ROWS };
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(HC_NAME, _shared), s);
   const simt_i64 block = simt_tile() % HC_BLOCKS, m0 = simt_tile() / HC_BLOCKS * HC_ROWS;
   const simt_i64 rows = a->konst[HC_FIXED] + a->konst[HC_PER_SYM] * a->step[a->konst[HC_SYM]];
   const simt_i64 many = simt_least(HC_ROWS, rows - m0), c0 = block * HC_BLOCK;
   const int columns = (int)simt_least(HC_BLOCK, HC_D - c0);
#if HC_MIX
   const int r = simt_thread() % PANEL_ROWS, line = simt_thread() / PANEL_ROWS;
   const float *fn = (const float *)a->ptr[FN];
   float *to = (float *)a->ptr[FN + 1];
   float sum[PANELS][HC_ROWS];

   SIMT_UNROLL
   for (int p = 0; p < PANELS; p++)
      SIMT_UNROLL
   for (int m = 0; m < HC_ROWS; m++)
      sum[p][m] = 0;
#endif
   for (int j = 0; j < HC_N; j++) {
      simt_sync(); /* the last stream has been read */
      for (int i = simt_thread(); i < HC_ROWS * HC_BLOCK; i += SIMT_THREADS) {
         const int m = i / HC_BLOCK, c = i % HC_BLOCK;
         float v = 0;
         if (m < many && c < columns)
            v = SIMT_PASTE(HC_NAME, _element)(a, m0 + m, j, c0 + c);
         s->x[m][c] = v;
      }
      simt_sync();
#if HC_MIX
      for (int k = line; k < columns; k += LINES) {
         SIMT_UNROLL
         for (int p = 0; p < PANELS; p++) {
            const int output = p * PANEL_ROWS + r;
            const simt_i64 at = (simt_i64)p * HC_N * HC_D + j * HC_D + c0 + k;
            const float w = output < HC_PARTS ? fn[at * PANEL_ROWS + r] : 0;
            SIMT_UNROLL
            for (int m = 0; m < HC_ROWS; m++)
               sum[p][m] = simt_fma(s->x[m][k], output == HC_PARTS ? s->x[m][k] : w, sum[p][m]);
         }
      }
#endif
   }
#if HC_MIX
   SIMT_UNROLL
   for (int p = 0; p < PANELS; p++) {
      SIMT_UNROLL
      for (int m = 0; m < HC_ROWS; m++)
         s->part[line][m][r] = sum[p][m];
      simt_sync();
      for (int m = line; m < many; m += LINES) {
         float total = s->part[0][m][r];
         for (int i = 1; i < LINES; i++)
            total += s->part[i][m][r];
         to[((m0 + m) * HC_BLOCKS + block) * HC_EACH + p * PANEL_ROWS + r] = total;
      }
      simt_sync(); /* before it is written again */
   }
#endif
}

#else

typedef struct SIMT_PASTE(HC_NAME, _shared)
{
   float m[HC_EACH], pre[HC_N], comb[HC_N * HC_N], each[SIMT_WARPS];
}
SIMT_PASTE(HC_NAME, _shared);

/* Divides HC_N elements that are `step` apart by their sum. */
SIMT_FN void SIMT_PASTE(HC_NAME, _normalise)(float *c, int step)
{
   float sum = c[0];

   for (int i = 1; i < HC_N; i++)
      sum += c[i * step];
   sum += HC_OFFSET;
   for (int i = 0; i < HC_N; i++)
      c[i * step] = c[i * step] / sum;
}

SIMT_FN void SIMT_PASTE(HC_NAME, _softmax)(float *c)
{
   float most = c[0], sum = 0;

   for (int i = 1; i < HC_N; i++)
      most = simt_max(most, c[i]);
   for (int i = 0; i < HC_N; i++)
      sum += c[i] = simt_exp(c[i] - most);
   for (int i = 0; i < HC_N; i++)
      c[i] = c[i] / sum + HC_OFFSET;
}

#if HC_MIX
/* pre to shared memory; post, comb and, where nothing here takes it, pre to their arrays. */
SIMT_FN void SIMT_PASTE(HC_NAME, _mix)(const simt_args *a, simt_i64 row,
                                       SIMT_PASTE(HC_NAME, _shared) * s)
{
   enum { PRE = 3, POST = HC_COLLAPSE ? 3 : 4 };
   const float *from = (const float *)a->ptr[0] + row * HC_BLOCKS * HC_EACH;
   const float *scale = (const float *)a->ptr[1], *base = (const float *)a->ptr[2];
   const int t = simt_thread();

   for (int i = t; i <= HC_PARTS; i += SIMT_THREADS) {
      float sum = 0;
      for (int b = 0; b < HC_BLOCKS; b++)
         sum += from[b * HC_EACH + i];
      s->m[i] = sum;
   }
   simt_sync();
   const float root = simt_sqrt(s->m[HC_PARTS] / (float)(HC_N * HC_D) + HC_EPS);
   for (int i = t; i < HC_PARTS; i += SIMT_THREADS) {
      const int part = i < HC_N ? 0 : i < 2 * HC_N ? 1 : 2;
      const float v = s->m[i] / root * scale[part] + base[i];
      if (part == 0)
         s->pre[i] = simt_sigmoid(v) + HC_OFFSET;
      else if (part == 1)
         ((float *)a->ptr[POST])[row * HC_N + i - HC_N] = simt_sigmoid(v) * 2.0f;
      else
         s->comb[i - 2 * HC_N] = v;
   }
   simt_sync();
   if (t < HC_N)
      SIMT_PASTE(HC_NAME, _softmax)(s->comb + t * HC_N);
   for (int k = 0; k < HC_ITERS; k++) {
      if (k && t < HC_N)
         SIMT_PASTE(HC_NAME, _normalise)(s->comb + t * HC_N, 1);
      simt_sync();
      if (t < HC_N)
         SIMT_PASTE(HC_NAME, _normalise)(s->comb + t, HC_N);
      simt_sync();
   }
   for (int i = t; i < HC_N * HC_N; i += SIMT_THREADS)
      ((float *)a->ptr[POST + 1])[row * HC_N * HC_N + i] = s->comb[i];
   for (int i = t; !HC_COLLAPSE && i < HC_N; i += SIMT_THREADS)
      ((float *)a->ptr[PRE])[row * HC_N + i] = s->pre[i];
}
#endif

SIMT_KERNEL(HC_NAME)
{
   enum { Y = HC_MIX ? 5 : 0, X = Y + 1, W = X + 1 + !HC_MIX };
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(HC_NAME, _shared), s);
   const simt_i64 row = simt_tile();
#if HC_MIX
   SIMT_PASTE(HC_NAME, _mix)(a, row, s);
   const float *pre = s->pre;
#else
   const float *pre = (const float *)a->ptr[X + 1] + row * HC_N;
   (void)s;
#endif
#if HC_COLLAPSE
   const float *x = (const float *)a->ptr[X] + row * HC_N * HC_D;
   float *y = (float *)a->ptr[Y] + row * HC_D;

   for (int i = simt_thread(); i < HC_D; i += SIMT_THREADS) {
      float sum = x[i] * pre[0];
      for (int j = 1; j < HC_N; j++)
         sum = simt_fma(x[j * HC_D + i], pre[j], sum);
      y[i] = sum;
   }
#endif
#if HC_NORM
   const float *w = (const float *)a->ptr[W];
   float squares = 0;

   for (int i = simt_thread(); i < HC_D; i += SIMT_THREADS)
      squares = simt_fma(y[i], y[i], squares);
   const float mean = simt_block_sum(squares, s->each) / (float)HC_D;
   const float factor = 1.0f / simt_sqrt(mean + HC_NORM_EPS);
   for (int i = simt_thread(); i < HC_D; i += SIMT_THREADS)
      y[i] = y[i] * factor * (w[i] + HC_NORM_OFFSET);
#endif
   (void)pre;
}

#endif
#undef HC_PARTS
#undef HC_EACH
#undef HC_BLOCKS
#undef HC_NAME
#undef HC_N
#undef HC_D
#undef HC_EXPAND
#undef HC_MIX
#undef HC_FINISH
#undef HC_COLLAPSE
#undef HC_NORM
#undef HC_EPS
#undef HC_OFFSET
#undef HC_ITERS
#undef HC_NORM_EPS
#undef HC_NORM_OFFSET
