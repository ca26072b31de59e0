// What products of many rows share: tiles of 64 rows and 64 columns in shared memory, k in steps of 32, and
// four warps that multiply 16 rows of them each on tensor cores.
//
// Rows of a stage are 40 halves apart, so that the eight rows of a matrix lie in different banks.
#pragma once
#include "common.cuh"

#define TILE 64
#define STEP 32
#define STAGES 3
#define PITCH (STEP + 8)

// Copies 64 rows of STEP columns from column `first` on; rows from `count` on are zeros.
template <class T>
DEVICE void fill(T (*stage)[PITCH], const T *from, int row, int count, int first, int k) {
#pragma unroll
    for (int i = 0; i < TILE * STEP / 8 / 128; i++) {
        int piece = threadIdx.x + i * 128, r = piece / (STEP / 8), c = piece % (STEP / 8) * 8;
        bool is_there = row + r < count;
        const T *at = from + (u64)(is_there ? row + r : 0) * k + first + c;
        copy_16(&stage[r][c], at, is_there);
    }
}

// sum += x · wᵀ of one step: a warp's 16 rows, 64 columns.
template <class T> DEVICE void multiply_step(float (&sum)[8][4], T (*xs)[PITCH], T (*ws)[PITCH]) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll
    for (int depth = 0; depth < STEP; depth += 16) {
        u32 a[4];
        load_matrices(a, &xs[warp * 16 + lane % 16][depth + lane / 16 * 8]);
#pragma unroll
        for (int pair = 0; pair < 4; pair++) {
            // Two times eight columns of w: matrices of (columns, depth) 0 0, 0 8, 8 0, 8 8.
            u32 b[4];
            load_matrices(b, &ws[pair * 16 + lane / 16 * 8 + lane % 8][depth + lane / 8 % 2 * 8]);
            multiply_add(sum[2 * pair], a, b[0], b[1], T());
            multiply_add(sum[2 * pair + 1], a, b[2], b[3], T());
        }
    }
}

// Calls put(index, value) for each result of a warp's that is in [rows, n], whose rows are `stride` apart.
template <class F>
DEVICE void for_each_result(const float (&sum)[8][4], int row, int column, int rows, int n, int stride, F put) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int r = row + warp * 16 + lane / 4 + i / 2 * 8, c = column + j * 8 + lane % 4 * 2 + i % 2;
            if (r < rows && c < n) put((u64)r * stride + c, sum[j][i]);
        }
}
