// Biases, rotation of queries and keys, and keys and values into the paged cache, in one pass.
//
// Shapes: qkv [rows, (heads + 2 · kv_heads) · dim] T, rotated in place where it holds queries; angles
// [positions, pairs, 2] f32, cosines and sines with their magnitude; position [rows]; cell [rows], the
// number of the row's cell: block · block_tokens + offset, below 0 for none; keys and values
// [blocks, kv_heads, block_tokens, dim] T. Pair i of a head are columns 2 i and 2 i + 1 (adjacent) or i and
// i + pairs (halves); columns past the pairs stay. A block to a row.
// Bytes: rows · heads · dim · 4 + rows · kv_heads · dim · 8.
// FLOPs: rows · heads · dim · 3 + rows · kv_heads · dim · 3. Bound: memory. Source: Su et al. 2021.
#include "common.cuh"

struct Rope {
    int heads, kv_heads, dim, pairs, is_adjacent, block_tokens;
};

// A head's column with its bias.
template <class T> DEVICE float biased(const T *row, const T *bias, int column) {
    return to_float(row[column]) + (bias ? to_float(bias[column]) : 0.0f);
}

template <class T>
DEVICE void rope_kv_write(T *qkv, T *keys, T *values, const T *bias, const Two *angles,
                          const u32 *position, const int *cell, Rope at) {
    int row = blockIdx.x, dim = at.dim, queries = at.heads * dim, all_keys = at.kv_heads * dim;
    T *from = qkv + (u64)row * (queries + 2 * all_keys);
    const Two *turn = angles + (u64)position[row] * at.pairs;
    int to = cell[row];
    u64 block = to / at.block_tokens, token = to % at.block_tokens;
    // Where column c of kv head h of this row's cell lies.
    auto place = [&](int h, int c) { return ((block * at.kv_heads + h) * at.block_tokens + token) * dim + c; };
    for (int i = threadIdx.x; i < (at.heads + at.kv_heads) * at.pairs; i += blockDim.x) {
        int head = i / at.pairs, pair = i % at.pairs;
        int first = at.is_adjacent ? 2 * pair : pair;
        int second = at.is_adjacent ? first + 1 : pair + at.pairs;
        float a = biased(from, bias, head * dim + first), b = biased(from, bias, head * dim + second);
        T x = from_float<T>(a * turn[pair].a - b * turn[pair].b);
        T y = from_float<T>(a * turn[pair].b + b * turn[pair].a);
        if (head < at.heads) {
            from[head * dim + first] = x;
            from[head * dim + second] = y;
        } else if (to >= 0) {
            keys[place(head - at.heads, first)] = x;
            keys[place(head - at.heads, second)] = y;
        }
    }
    int rest = dim - 2 * at.pairs;
    for (int i = threadIdx.x; i < (at.heads + at.kv_heads) * rest; i += blockDim.x) {
        int head = i / rest, column = 2 * at.pairs + i % rest;
        T x = from_float<T>(biased(from, bias, head * dim + column));
        if (head < at.heads)
            from[head * dim + column] = x;
        else if (to >= 0)
            keys[place(head - at.heads, column)] = x;
    }
    if (to < 0) return;
    for (int i = threadIdx.x; i < all_keys; i += blockDim.x)
        values[place(i / dim, i % dim)] = from_float<T>(biased(from, bias, queries + all_keys + i));
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(256)                                                                     \
        rope_kv_write_##T(T *qkv, T *keys, T *values, const T *bias, const Two *angles,               \
                          const u32 *position, const int *cell, Rope at) {                            \
        rope_kv_write<T>(qkv, keys, values, bias, angles, position, cell, at);                        \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
