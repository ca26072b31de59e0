// The largest logit's column, of equal ones the first: token[row] = argmax over [rows, vocab] f32.
//
// A block to a row. Bytes: rows · vocab · 4. FLOPs: rows · vocab. Bound: memory.
#include "common.cuh"

// Orders as its float does, and before that by a smaller column. What is no number is below all.
DEVICE u64 rank_of(float x, u32 column) {
    u32 bits = __float_as_uint(x);
    u32 ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (u64)(x != x ? 0 : ordered) << 32 | (0xffffffffu - column);
}

KERNEL __launch_bounds__(256) argmax(u32 *token, const float *logits, int vocab) {
    __shared__ u64 room[WARP];
    const float *row = logits + (u64)blockIdx.x * vocab;
    u64 best = 0;
    for (int c = threadIdx.x; c < vocab; c += blockDim.x) {
        u64 rank = rank_of(row[c], c);
        best = rank > best ? rank : best;
    }
    // Of a warp, then of the block.
#pragma unroll
    for (int turn = 0; turn < 2; turn++) {
#pragma unroll
        for (int by = WARP / 2; by; by >>= 1) {
            u64 other = __shfl_xor_sync(ALL, (u32)best, by) | (u64)__shfl_xor_sync(ALL, (u32)(best >> 32), by) << 32;
            best = other > best ? other : best;
        }
        if (turn == 0) {
            if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = best;
            __syncthreads();
            best = threadIdx.x % WARP < blockDim.x / WARP ? room[threadIdx.x % WARP] : 0;
        }
    }
    if (threadIdx.x == 0) token[blockIdx.x] = 0xffffffffu - (u32)best;
}
