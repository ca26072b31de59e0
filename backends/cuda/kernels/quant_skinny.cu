// x · Wᵀ of one to eight rows, W in blocks (quants.cuh): out[row, n] = Σ_k x[row, k] · w[n, k].
//
// Shapes: x [rows, k] T, W [n, k]; k a multiple of 32. A warp to a column n, which it reads and unpacks once for
// all rows; a lane to every 32nd unit of eight elements, so that a warp reads 128 bytes of nibbles and rows' 512
// bytes at once; four columns to a block. `output` says what becomes of results. `blocks` are those of a row,
// of `block` bytes. Bytes: n · blocks · block + rows · k · 2 + rows · n · 2. FLOPs: rows · n · k · 2.
// Bound: memory with one row; with eight the CUDA cores.
#include "quants.cuh"

// ROWS rows in registers; `rows` of them are there.
template <class T, int ROWS, class Q>
DEVICE void quant_skinny(void *out, int output, const T *x, Q w, int rows, int stride) {
    int column = blockIdx.x * 4 + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (column >= (int)w.n) return;
    float sum[ROWS] = {};
    for (int i = lane; i < w.k / UNIT; i += WARP) {
        float weight[UNIT];
        w.read(weight, column, i);
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            if (row >= rows) break;
            Quad acts = ((const Quad *)(x + (u64)row * w.k))[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                Two act = unpack<T>(acts.word[j]);
                sum[row] = fmaf(weight[2 * j], act.a, sum[row]);
                sum[row] = fmaf(weight[2 * j + 1], act.b, sum[row]);
            }
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        float total = warp_sum(sum[row]);
        if (lane == 0 && row < rows) put<T>(out, output, (u64)row * stride + column, total);
    }
}

#define SIZE(T, Q, ROWS)                                                                              \
    KERNEL __launch_bounds__(128) skinny##ROWS##_##Q##_##T(void *out, int output, const T *x,         \
                                                           const u8 *w, int rows, int n, int k,       \
                                                           int stride) {                              \
        quant_skinny<T, ROWS>(out, output, x, Q{{w, (u64)n, k}}, rows, stride);                       \
    }
#define OF_BF16(Q) SIZE(bf16, Q, 1) SIZE(bf16, Q, 2) SIZE(bf16, Q, 4) SIZE(bf16, Q, 8)
#define OF_F16(Q) SIZE(f16, Q, 1) SIZE(f16, Q, 2) SIZE(f16, Q, 4) SIZE(f16, Q, 8)
#if __CUDA_ARCH__ >= 800
FOR_EACH_QUANT(OF_BF16)
#endif
FOR_EACH_QUANT(OF_F16)
#undef OF_BF16
#undef OF_F16
#undef SIZE
