// Partial sums of all ranks, which lie one behind the other: y[i] = Σ over ranks of parts[rank, i], in the
// order of ranks, so that every rank gets the same bits.
//
// Shapes: parts [ranks, count] f32; reduce: out [count] T; reduce_add: out [count] f32, added to. A thread to
// a value. Bound: memory. Of reduce: Bytes: count · ranks · 4 + count · 2. FLOPs: count · ranks.
// Of reduce_add: Bytes: count · ranks · 4 + count · 8. FLOPs: count · ranks + count.
#include "common.cuh"

DEVICE float sum_of_ranks(const float *parts, int ranks, int count, int i) {
    float sum = parts[i];
    for (int rank = 1; rank < ranks; rank++) sum += parts[(u64)rank * count + i];
    return sum;
}

KERNEL __launch_bounds__(256) reduce_add(float *out, const float *parts, int ranks, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] += sum_of_ranks(parts, ranks, count, i);
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(256) reduce_##T(T *out, const float *parts, int ranks, int count) {      \
        int i = blockIdx.x * blockDim.x + threadIdx.x;                                                \
        if (i < count) out[i] = from_float<T>(sum_of_ranks(parts, ranks, count, i));                  \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
