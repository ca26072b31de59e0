// Numbers in order: of floats as integers, and the highest of a block.
#pragma once
#include "common.cuh"

// Orders as its float does. What is no number is below all.
DEVICE u32 ordered(float x) {
    u32 bits = __float_as_uint(x);
    return x != x ? 0 : bits >> 31 ? ~bits : bits | 0x80000000u;
}

// Before that by a smaller column.
DEVICE u64 rank_of(float x, u32 column) { return (u64)ordered(x) << 32 | (0xffffffffu - column); }

DEVICE u32 column_of(u64 rank) { return 0xffffffffu - (u32)rank; }

// The highest of all threads' ranks, in each of them; `room` holds one for each warp.
DEVICE u64 block_highest(u64 best, u64 *room) {
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
    return best;
}
