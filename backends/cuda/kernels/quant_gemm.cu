// x · Wᵀ of many rows on tensor cores, W in blocks (quants.cuh): out[m, n] = Σ_k x[m, k] · w[n, k], in f32.
//
// Shapes: x [rows, k] T, W [n, k]; k a multiple of 32, n of 8. As gemm.cu, but a block's tile of W becomes T on
// its way into shared memory: two threads unpack a column's 32 elements of the next step while the tensor cores
// work on this one, so that two stages of it are enough. A weight is rounded to T, as where all are kept in T.
// Bytes: n · blocks · block + rows · k · 2 + rows · n · 2. FLOPs: rows · n · k · 2.
// Bound: memory up to some hundred rows, then tensor cores.
#include "gemm.cuh"
#include "quants.cuh"

// Unpacks 64 columns of STEP elements from `first` on; columns from n on are zeros.
template <class T, class Q> DEVICE void unpack_tile(T (*stage)[PITCH], Q w, int column, int first) {
    int c = threadIdx.x / 2, begin = threadIdx.x % 2 * (STEP / 2);
#pragma unroll
    for (int i = begin; i < begin + STEP / 2; i += UNIT) {
        float values[UNIT] = {};
        if (column + c < (int)w.n) w.read(values, column + c, (first + i) / UNIT);
        Quad packed;
#pragma unroll
        for (int j = 0; j < 4; j++) packed.word[j] = pack<T>(values[2 * j], values[2 * j + 1]);
        *(Quad *)&stage[c][i] = packed;
    }
}

template <class T> struct UnpackedStages {
    T x[STAGES][TILE][PITCH], w[2][TILE][PITCH];
};

template <class T, class Q>
DEVICE void quant_gemm(void *out, int output, const T *x, Q w, int rows, int stride) {
    __shared__ __align__(16) UnpackedStages<T> at;
    int row = blockIdx.y * TILE, column = blockIdx.x * TILE, steps = w.k / STEP;
    float sum[8][4] = {};
    auto begin = [&](int step) {
        if (step < steps) fill(at.x[step % STAGES], x, row, rows, step * STEP, w.k);
        // Also where nothing is copied: what is waited for below is counted in groups.
        copies_commit();
    };
    for (int step = 0; step < STAGES - 1; step++) begin(step);
    unpack_tile(at.w[0], w, column, 0);
    for (int step = 0; step < steps; step++) {
        copies_wait<STAGES - 2>();
        // All threads' copies and columns of this step are there, and none still reads what is filled next.
        __syncthreads();
        begin(step + STAGES - 1);
        if (step + 1 < steps) unpack_tile(at.w[(step + 1) % 2], w, column, (step + 1) * STEP);
        multiply_step(sum, at.x[step % STAGES], at.w[step % 2]);
    }
    auto keep = [&](u64 i, float x) { put<T>(out, output, i, x); };
    for_each_result(sum, row, column, rows, (int)w.n, stride, keep);
}

#define SIZE(T, Q)                                                                                    \
    KERNEL __launch_bounds__(128) gemm_##Q##_##T(void *out, int output, const T *x, const u8 *w,      \
                                                 int rows, int n, int k, int stride) {                \
        quant_gemm(out, output, x, Q{{w, (u64)n, k}}, rows, stride);                                  \
    }
#define OF_BF16(Q) SIZE(bf16, Q)
#define OF_F16(Q) SIZE(f16, Q)
#if __CUDA_ARCH__ >= 800
FOR_EACH_QUANT(OF_BF16)
#endif
FOR_EACH_QUANT(OF_F16)
#undef OF_BF16
#undef OF_F16
#undef SIZE
