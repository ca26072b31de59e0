// x · Wᵀ of many rows on tensor cores: out[m, n] = Σ_k x[m, k] · w[n, k], summed in f32.
//
// Shapes: x [rows, k] T, w [n, k] T; k a multiple of 32, n of 8. A block computes 64 rows and 64 columns
// with four warps, 16 rows each; k in steps of 32, in a ring of three stages that `cp.async` fills while
// the tensor cores work. Results as in skinny.cu. The order of a sum depends on k alone.
// Bytes: n · k · 2 + rows · k · 2 + rows · n · 2. FLOPs: rows · n · k · 2.
// Bound: memory up to as many rows as a device does FLOPs a byte (117 on A10G, 403 on L4), then tensor cores.
#include "gemm.cuh"

template <class T> struct Stages {
    T x[STAGES][TILE][PITCH], w[STAGES][TILE][PITCH];
};

template <class T, class PUT, class O>
DEVICE void gemm(O *out, const T *x, const T *w, int rows, int n, int k, int stride) {
    __shared__ __align__(16) Stages<T> at;
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
        multiply_step(sum, at.x[step % STAGES], at.w[step % STAGES]);
    }
    for_each_result(sum, row, column, rows, n, stride, [&](u64 i, float x) { PUT::put(out + i, x); });
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(128)                                                                     \
        gemm_##T(T *out, const T *x, const T *w, int rows, int n, int k, int stride) {                \
        gemm<T, Replaces<T>>(out, x, w, rows, n, k, stride);                                          \
    }                                                                                                 \
    KERNEL __launch_bounds__(128)                                                                     \
        gemm_f32_##T(float *out, const T *x, const T *w, int rows, int n, int k, int stride) {        \
        gemm<T, Replaces<float>>(out, x, w, rows, n, k, stride);                                      \
    }                                                                                                 \
    KERNEL __launch_bounds__(128)                                                                     \
        gemm_add_##T(float *out, const T *x, const T *w, int rows, int n, int k, int stride) {        \
        gemm<T, Adds>(out, x, w, rows, n, k, stride);                                                 \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
