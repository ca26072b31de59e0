// Rows of the embedding table: out[row, c] = scale · table[id[row], c].
//
// Shapes: table [vocab, hidden] T, ids [rows], out [rows, hidden] f32. A block to a row. Where an id has its highest
// bit set, it is the one that newest [slots] has at the rest of it.
// Bytes: rows · hidden · 6. FLOPs: rows · hidden. Bound: memory.
#include "common.cuh"

template <class T>
DEVICE void embed(float *out, const T *table, const u32 *ids, const u32 *newest, float scale, int hidden) {
    const T *from = table + (u64)token_of(ids[blockIdx.x], newest) * hidden;
    float *to = out + (u64)blockIdx.x * hidden;
    for (int c = threadIdx.x; c < hidden; c += blockDim.x) to[c] = to_float(from[c]) * scale;
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(256)                                                                     \
        embed_##T(float *out, const T *table, const u32 *ids, const u32 *newest, float scale,         \
                  int hidden) {                                                                       \
        embed<T>(out, table, ids, newest, scale, hidden);                                             \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
