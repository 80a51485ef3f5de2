/* state_rows.cuh - states with a row a position, or an entry a closed chunk: where their rows are (base/plan.h). */
#ifndef STATE_ROWS_CUH
#define STATE_ROWS_CUH

/* The block table of the sequence of row `row`. */
SIMT_FN const simt_i32 *state_table(const simt_args *a, const void *table, const void *seq_of,
                                    simt_i64 row)
{
   return (const simt_i32 *)table + ((const simt_i32 *)seq_of)[row] * a->step[SYM_B];
}

SIMT_FN simt_i64 state_position(const simt_i32 *table, simt_i64 at)
{
   return (simt_i64)table[at / PAGE_TOKENS] * PAGE_TOKENS + at % PAGE_TOKENS;
}

/* plan_entry_slot of the position that closes entry i. */
SIMT_FN simt_i64 state_entry(const simt_i32 *table, simt_i64 ratio, simt_i64 i)
{
   const simt_i64 number = ((i + 1) * ratio - 1) / PAGE_TOKENS;

   return table[number] * ((PAGE_TOKENS + ratio - 1) / ratio) + i - number * PAGE_TOKENS / ratio;
}

/* Chunks that are closed at the position of row `row`. */
SIMT_FN simt_i64 state_closed(const void *positions, simt_i64 row, simt_i64 ratio)
{
   return (((const simt_i32 *)positions)[row] + 1) / ratio;
}

#endif
