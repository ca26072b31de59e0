// Rows of the residual stream for a product, where no norm comes before it: out[row, c] = x[row, c] as T.
//
// Shapes: x [rows, cols] f32, out [rows, cols] T. A block to a row. Bytes: rows · cols · 6.
// FLOPs: rows · cols. Bound: memory.
#include "common.cuh"

template <class T> DEVICE void round(T *out, const float *x, int cols) {
    const float *from = x + (u64)blockIdx.x * cols;
    T *to = out + (u64)blockIdx.x * cols;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) to[c] = from_float<T>(from[c]);
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(256) round_##T(T *out, const float *x, int cols) { round<T>(out, x, cols); }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
