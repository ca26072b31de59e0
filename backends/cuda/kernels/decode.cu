// Attention of single rows over the paged cache: softmax(scale · q · Kᵀ) · V of the tokens a row sees.
//
// Shapes: q [rows, stride] T, the heads' columns first; keys and values [blocks, kv_heads, block_tokens, DIM]
// T; table [rows, table_stride], the block numbers of each row's sequence; length [rows], the tokens a row
// sees; parts [rows, heads, splits, DIM] f32 and weights [rows, heads, splits]: largest score and sum.
// A block computes GROUP query heads of one kv head (all of them, if it has no more) over SPLIT tokens, so
// that keys and values are read once for them; splits begin at multiples of SPLIT whatever the length, so the grid is the same
// for all steps of a graph, and a row's bits depend on its own tokens only. A warp takes every fourth
// token, a lane DIM / 32 neighbouring columns. Scores are in units of log 2.
// Bytes: rows · tokens · kv_heads · dim · 4. FLOPs: rows · tokens · heads · dim · 4. Bound: memory.
// Source: Dao et al. 2023 (Flash-Decoding).
#include "attend.cuh"

#define SPLIT 256

template <class T, int DIM, int GROUP>
DEVICE void decode(float *parts, Two *weights, const T *q, const T *keys, const T *values, const u32 *table,
                   const u32 *length, Attend at) {
    constexpr int EACH = DIM / WARP, WARPS = 4;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, split = blockIdx.y, row = blockIdx.z;
    int all = at.heads / at.kv_heads, blocks = (all + GROUP - 1) / GROUP;
    // Of these heads of the kv head's group: the last block may have fewer.
    int kv_head = blockIdx.x / blocks, sub = blockIdx.x % blocks * GROUP, group = min(GROUP, all - sub);
    int tokens = length[row];
    int first = at.window && tokens > at.window ? tokens - at.window : 0;
    int start = split * SPLIT > first ? split * SPLIT : first;
    int end = min(tokens, (split + 1) * SPLIT);
    float query[GROUP][EACH], acc[GROUP][EACH] = {}, most[GROUP], sum[GROUP];
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        most[g] = LEAST;
        sum[g] = 0.0f;
        // Heads that a smaller group lacks repeat its last one; nothing of them is kept.
        int head = kv_head * all + sub + min(g, group - 1);
        const T *from = q + (u64)row * at.stride + head * DIM + lane * EACH;
#pragma unroll
        for (int e = 0; e < EACH; e++) query[g][e] = to_float(from[e]) * at.scale;
    }
    for (int token = start + warp; token < end; token += WARPS) {
        u64 block = table[(u64)row * at.table_stride + token / at.block_tokens];
        u64 cell = ((block * at.kv_heads + kv_head) * at.block_tokens + token % at.block_tokens) * DIM + lane * EACH;
        float key[EACH], value[EACH];
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            key[e] = to_float(keys[cell + e]);
            value[e] = to_float(values[cell + e]);
        }
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float score = 0.0f;
#pragma unroll
            for (int e = 0; e < EACH; e++) score = fmaf(query[g][e], key[e], score);
            score = capped(warp_sum(score), at.softcap);
            float next = fmaxf(most[g], score), fade = exp2_approx(most[g] - next), share = exp2_approx(score - next);
            most[g] = next;
            sum[g] = fmaf(sum[g], fade, share);
#pragma unroll
            for (int e = 0; e < EACH; e++) acc[g][e] = fmaf(share, value[e], acc[g][e] * fade);
        }
    }
    // The four warps' parts together, one head after the other.
    __shared__ float room[WARPS][DIM];
    __shared__ Two state[WARPS];
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        if (g >= group) break;
#pragma unroll
        for (int e = 0; e < EACH; e++) room[warp][lane * EACH + e] = acc[g][e];
        if (lane == 0) state[warp] = {most[g], sum[g]};
        __syncthreads();
        float largest = LEAST, total = 0.0f, by[WARPS];
#pragma unroll
        for (int w = 0; w < WARPS; w++) largest = fmaxf(largest, state[w].a);
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            by[w] = exp2_approx(state[w].a - largest);
            total = fmaf(by[w], state[w].b, total);
        }
        u64 part = ((u64)row * at.heads + kv_head * all + sub + g) * gridDim.y + split;
        for (int c = threadIdx.x; c < DIM; c += 128) {
            float x = 0.0f;
#pragma unroll
            for (int w = 0; w < WARPS; w++) x = fmaf(by[w], room[w][c], x);
            parts[part * DIM + c] = x;
        }
        if (threadIdx.x == 0) weights[part] = {largest, total};
        __syncthreads();
    }
}

// merge: out [rows, heads · dim] T of the splits; one that saw no token has the sum 0. A block to
// (head, row). Bytes: rows · heads · splits · dim · 4 + rows · heads · dim · 2.
// FLOPs: rows · heads · splits · dim · 2. Bound: memory.
template <class T> DEVICE void merge(T *out, const float *parts, const Two *weights, int dim, int splits) {
    u64 first = ((u64)blockIdx.y * gridDim.x + blockIdx.x) * splits;
    float largest = LEAST, total = 0.0f;
    for (int s = 0; s < splits; s++) largest = fmaxf(largest, weights[first + s].a);
    for (int s = 0; s < splits; s++) total = fmaf(exp2_approx(weights[first + s].a - largest), weights[first + s].b, total);
    for (int c = threadIdx.x; c < dim; c += blockDim.x) {
        float x = 0.0f;
        for (int s = 0; s < splits; s++)
            if (weights[first + s].b > 0.0f)
                x = fmaf(exp2_approx(weights[first + s].a - largest), parts[(first + s) * dim + c], x);
        out[((u64)blockIdx.y * gridDim.x + blockIdx.x) * dim + c] = from_float<T>(x / total);
    }
}

#define SIZE(T, DIM, GROUP)                                                                           \
    KERNEL __launch_bounds__(128) decode_d##DIM##_g##GROUP##_##T(                                     \
        float *parts, Two *weights, const T *q, const T *keys, const T *values, const u32 *table,     \
        const u32 *length, Attend at) {                                                               \
        decode<T, DIM, GROUP>(parts, weights, q, keys, values, table, length, at);                    \
    }
#define DEFINE(T)                                                                                     \
    SIZE(T, 64, 1) SIZE(T, 64, 4) SIZE(T, 64, 8) SIZE(T, 96, 1) SIZE(T, 96, 2) SIZE(T, 128, 1)        \
    SIZE(T, 128, 4) SIZE(T, 128, 8) SIZE(T, 256, 1) SIZE(T, 256, 4)                                   \
    KERNEL __launch_bounds__(128)                                                                     \
        merge_##T(T *out, const float *parts, const Two *weights, int dim, int splits) {              \
        merge<T>(out, parts, weights, dim, splits);                                                   \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
#undef SIZE
