// Rows of an embedding table in blocks (quants.cuh): out[row, c] = scale · table[id[row], c].
//
// Shapes: table [vocab, hidden], ids [rows], out [rows, hidden] f32; hidden a multiple of 32. A block to a row, a
// thread to a unit. Ids as in embed.cu. For tables that are the output projection, too, and so lie in blocks once.
// Bytes: rows · blocks · block + rows · hidden · 4. FLOPs: rows · hidden · 2. Bound: memory.
#include "quants.cuh"

template <class Q> DEVICE void quant_embed(float *out, Q table, const u32 *ids, const u32 *newest, float scale) {
    u32 id = token_of(ids[blockIdx.x], newest);
    float *to = out + (u64)blockIdx.x * table.k;
    for (int i = threadIdx.x; i < table.k / UNIT; i += blockDim.x) {
        float values[UNIT];
        table.read(values, id, i);
#pragma unroll
        for (int j = 0; j < UNIT; j++) to[i * UNIT + j] = values[j] * scale;
    }
}

#define DEFINE(Q)                                                                                     \
    KERNEL __launch_bounds__(256)                                                                     \
        embed_##Q(float *out, const u8 *table, const u32 *ids, const u32 *newest, float scale,        \
                  int vocab, int hidden) {                                                            \
        quant_embed(out, Q{{table, (u64)vocab, hidden}}, ids, newest, scale);                         \
    }
FOR_EACH_QUANT(DEFINE)
#undef DEFINE
