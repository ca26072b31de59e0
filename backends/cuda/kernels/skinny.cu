// x · Wᵀ of one to eight rows: out[row, n] = Σ_k x[row, k] · w[n, k].
//
// Shapes: x [rows, k] T, w [n, k] T; k a multiple of 8. A warp to a column n, which it reads once for all
// rows; four columns to a block. Results are T, or are f32 (logits), or are added to f32 (the residual
// stream); rows of them are `stride` apart, so that other products may lie beside them. Bytes: n · k · 2 + rows · k · 2 + rows · n · 2. FLOPs: rows · n · k · 2. Bound: memory.
#include "common.cuh"

// ROWS rows in registers; `rows` of them are there.
template <class T, int ROWS, class PUT, class O>
DEVICE void skinny(O *out, const T *x, const T *w, int rows, int n, int k, int stride) {
    int column = blockIdx.x * 4 + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (column >= n) return;
    const Quad *weight = (const Quad *)(w + (u64)column * k);
    float sum[ROWS] = {};
    for (int i = lane; i < k / 8; i += WARP) {
        Quad values = weight[i];
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            if (row >= rows) break;
            Quad acts = ((const Quad *)(x + (u64)row * k))[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                Two a = unpack<T>(values.word[j]), b = unpack<T>(acts.word[j]);
                sum[row] = fmaf(a.a, b.a, sum[row]);
                sum[row] = fmaf(a.b, b.b, sum[row]);
            }
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        float total = warp_sum(sum[row]);
        if (lane == 0 && row < rows) PUT::put(out + (u64)row * stride + column, total);
    }
}

#define SIZE(T, ROWS)                                                                                 \
    KERNEL __launch_bounds__(128)                                                                     \
        skinny##ROWS##_##T(T *out, const T *x, const T *w, int rows, int n, int k, int stride) {      \
        skinny<T, ROWS, Replaces<T>>(out, x, w, rows, n, k, stride);                                  \
    }                                                                                                 \
    KERNEL __launch_bounds__(128)                                                                     \
        skinny##ROWS##_f32_##T(float *out, const T *x, const T *w, int rows, int n, int k,            \
                               int stride) {                                                          \
        skinny<T, ROWS, Replaces<float>>(out, x, w, rows, n, k, stride);                              \
    }                                                                                                 \
    KERNEL __launch_bounds__(128)                                                                     \
        skinny##ROWS##_add_##T(float *out, const T *x, const T *w, int rows, int n, int k,            \
                               int stride) {                                                          \
        skinny<T, ROWS, Adds>(out, x, w, rows, n, k, stride);                                         \
    }
#define DEFINE(T) SIZE(T, 1) SIZE(T, 2) SIZE(T, 4) SIZE(T, 8)
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
#undef SIZE
