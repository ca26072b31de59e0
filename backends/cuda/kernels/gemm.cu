// x · Wᵀ of many rows on tensor cores: out[m, n] = Σ_k x[m, k] · w[n, k], summed in f32.
//
// Shapes: x [rows, k] T, w [n, k] T; k a multiple of 32, n of 8. A block computes 64 rows and 64 columns
// with four warps, 16 rows each; k in steps of 32, in a ring of three stages that `cp.async` fills while
// the tensor cores work. Rows of a stage are 40 halves apart, so that the eight rows of a matrix lie in
// different banks. Results as in skinny.cu. The order of a sum depends on k alone.
// Bytes: n · k · 2 + rows · k · 2 + rows · n · 2. FLOPs: rows · n · k · 2.
// Bound: memory up to as many rows as a device does FLOPs a byte (117 on A10G, 403 on L4), then tensor cores.
#include "common.cuh"

#define TILE 64
#define STEP 32
#define STAGES 3
#define PITCH (STEP + 8)

template <class T> struct Stages {
    T x[STAGES][TILE][PITCH], w[STAGES][TILE][PITCH];
};

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

template <class T, class PUT, class O>
DEVICE void gemm(O *out, const T *x, const T *w, int rows, int n, int k) {
    __shared__ __align__(16) Stages<T> at;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int row = blockIdx.y * TILE, column = blockIdx.x * TILE, steps = k / STEP;
    float sum[8][4] = {};
    auto begin = [&](int step) {
        if (step < steps) {
            fill(at.x[step % STAGES], x, row, rows, step * STEP, k);
            fill(at.w[step % STAGES], w, column, n, step * STEP, k);
        }
        // Also where nothing is copied: what is waited for below is counted in groups.
        copies_commit();
    };
    for (int step = 0; step < STAGES - 1; step++) begin(step);
    for (int step = 0; step < steps; step++) {
        copies_wait<STAGES - 2>();
        // All threads' copies of this step are there, and none still reads the stage that is filled next.
        __syncthreads();
        begin(step + STAGES - 1);
        T(*xs)[PITCH] = at.x[step % STAGES], (*ws)[PITCH] = at.w[step % STAGES];
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
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int r = row + warp * 16 + lane / 4 + i / 2 * 8, c = column + j * 8 + lane % 4 * 2 + i % 2;
            if (r < rows && c < n) PUT::put(out + (u64)r * n + c, sum[j][i]);
        }
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(128) gemm_##T(T *out, const T *x, const T *w, int rows, int n, int k) {  \
        gemm<T, Replaces<T>>(out, x, w, rows, n, k);                                                  \
    }                                                                                                 \
    KERNEL __launch_bounds__(128)                                                                     \
        gemm_f32_##T(float *out, const T *x, const T *w, int rows, int n, int k) {                    \
        gemm<T, Replaces<float>>(out, x, w, rows, n, k);                                              \
    }                                                                                                 \
    KERNEL __launch_bounds__(128)                                                                     \
        gemm_add_##T(float *out, const T *x, const T *w, int rows, int n, int k) {                    \
        gemm<T, Adds>(out, x, w, rows, n, k);                                                         \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
