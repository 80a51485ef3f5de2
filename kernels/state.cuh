/* state.cuh - states that are whole per sequence: runs of rows go through a block in order. Pointers:
 * kernels/cpu/state.h. */
#ifndef STATE_CUH
#define STATE_CUH

/* Rows of one sequence in the step, and the pages of its state: -1 none. */
typedef struct state_run {
   simt_i64 first, rows, from, to, snap, snap_rows;
} state_run;

SIMT_FN state_run state_run_of(const simt_args *a, int ptr, simt_i64 q)
{
   const simt_i32 *runs = (const simt_i32 *)a->ptr[ptr];
   state_run r;

   r.first = runs[2 * q];
   r.rows = runs[2 * q + 1];
   r.from = ((const simt_i32 *)a->ptr[ptr + 2])[q];
   r.to = ((const simt_i32 *)a->ptr[ptr + 3])[q];
   r.snap = ((const simt_i32 *)a->ptr[ptr + 4])[q];
   r.snap_rows = r.snap >= 0 ? ((const simt_i32 *)a->ptr[ptr + 1])[q] : 0;
   return r;
}

#endif
