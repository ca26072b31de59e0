// The largest logit's column, of equal ones the first: token[row] = argmax over [rows, vocab] f32.
//
// A block to a row. Bytes: rows · vocab · 4. FLOPs: rows · vocab. Bound: memory.
#include "rank.cuh"

KERNEL __launch_bounds__(256) argmax(u32 *token, const float *logits, int vocab) {
    __shared__ u64 room[WARP];
    const float *row = logits + (u64)blockIdx.x * vocab;
    u64 best = 0;
    for (int c = threadIdx.x; c < vocab; c += blockDim.x) {
        u64 rank = rank_of(row[c], c);
        best = rank > best ? rank : best;
    }
    best = block_highest(best, room);
    if (threadIdx.x == 0) token[blockIdx.x] = column_of(best);
}
