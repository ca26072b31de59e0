// RMS norms: y = x / sqrt(mean(x²) + eps) · weight. Weights are f32: rounded to T, the 1 + w of some
// families would lose what w says.
//
// Bound: memory. Source: Zhang & Sennrich 2019.
#include "common.cuh"

// rms_norm: x [.., cols] f32 → out [rows, cols] T; row r reads row picked[r], or r where nothing is
// picked. A block to a row. Bytes: rows · cols · 6. FLOPs: rows · cols · 4.
template <class T>
DEVICE void rms_norm(T *out, const float *x, const float *weight, const u32 *picked, float eps, int cols) {
    __shared__ float room[WARP];
    const float *from = x + (u64)(picked ? picked[blockIdx.x] : blockIdx.x) * cols;
    float sum = 0.0f;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) sum += from[c] * from[c];
    float by = rsqrtf(block_sum(sum, room) / cols + eps);
    T *to = out + (u64)blockIdx.x * cols;
    for (int c = threadIdx.x; c < cols; c += blockDim.x)
        to[c] = from_float<T>(from[c] * by * weight[c]);
}

// rms_norm_add: hidden [rows, cols] f32 += norm of x [rows, cols] T. A block to a row.
// Bytes: rows · cols · 10. FLOPs: rows · cols · 5.
template <class T>
DEVICE void rms_norm_add(float *hidden, const T *x, const float *weight, float eps, int cols) {
    __shared__ float room[WARP];
    const T *from = x + (u64)blockIdx.x * cols;
    float sum = 0.0f;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        float value = to_float(from[c]);
        sum += value * value;
    }
    float by = rsqrtf(block_sum(sum, room) / cols + eps);
    float *to = hidden + (u64)blockIdx.x * cols;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) to[c] += to_float(from[c]) * by * weight[c];
}

// rms_norm_groups: in place, groups of `cols` neighbours of a row, from column `first` of [rows, stride] T;
// weight [cols] for each: norms of heads, or with one group of all of them. A block to (row, group).
// Bytes: rows · groups · cols · 4. FLOPs: rows · groups · cols · 4.
template <class T>
DEVICE void rms_norm_groups(T *x, const float *weight, float eps, int cols, int first, int stride) {
    __shared__ float room[WARP];
    T *group = x + (u64)blockIdx.x * stride + first + blockIdx.y * cols;
    float sum = 0.0f;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        float value = to_float(group[c]);
        sum += value * value;
    }
    float by = rsqrtf(block_sum(sum, room) / cols + eps);
    for (int c = threadIdx.x; c < cols; c += blockDim.x)
        group[c] = from_float<T>(to_float(group[c]) * by * weight[c]);
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(256) rms_norm_##T(T *out, const float *x, const float *weight,               \
                                               const u32 *picked, float eps, int cols) {              \
        rms_norm<T>(out, x, weight, picked, eps, cols);                                               \
    }                                                                                                 \
    KERNEL __launch_bounds__(256)                                                                     \
        rms_norm_add_##T(float *hidden, const T *x, const float *weight, float eps, int cols) {           \
        rms_norm_add<T>(hidden, x, weight, eps, cols);                                                \
    }                                                                                                 \
    KERNEL __launch_bounds__(256) rms_norm_groups_##T(T *x, const float *weight, float eps, int cols,     \
                                                      int first, int stride) {                        \
        rms_norm_groups<T>(x, weight, eps, cols, first, stride);                                      \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
