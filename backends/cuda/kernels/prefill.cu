// Attention of several rows of one sequence over the paged cache, on tensor cores.
//
// Shapes as in decode.cu, and tiles [n]: each some rows of one sequence, that follow each other. Row r of a
// tile has position start + r and sees the tokens up to its own, or the newest `window` of them. out
// [rows, heads · DIM] T. A block computes one query head for one tile, 16 rows to a warp; tokens in steps of
// TOKENS, whose keys arrive while the values are on their way. Softmax is online; shares are rounded to T
// for the second product, as everywhere. The order of a row's sums depends on its
// position alone. Bytes: keys · kv_heads · dim · 4 + rows · heads · dim · 4. FLOPs: rows · seen · heads · dim · 4.
// Here `keys` are all tokens of the sequence, and `seen` those that a row sees in the mean. Bound: tensor cores
// from about a hundred rows on.
// Source: Dao 2023 (FlashAttention-2), Milakov & Gimelshein 2018.
#include "attend.cuh"

struct alignas(16) Tile {
    u32 row, rows, sequence, start;
};

// Copies ROWS rows of DIM columns; row r is at `place(r)`, and zeros where `place` has none.
template <class T, int DIM, int ROWS, int THREADS, class PLACE>
DEVICE void gather(T (*to)[DIM + 8], const T *from, PLACE place) {
    for (int piece = threadIdx.x; piece < ROWS * DIM / 8; piece += THREADS) {
        int r = piece / (DIM / 8), c = piece % (DIM / 8) * 8;
        i64 at = place(r);
        copy_16(&to[r][c], from + (at < 0 ? 0 : at) + c, at >= 0);
    }
    copies_commit();
}

template <class T, int DIM, int WARPS, int TOKENS>
DEVICE void prefill(T *out, const T *q, const T *keys, const T *values, const u32 *table, const Tile *tiles,
                    Attend at) {
    constexpr int ROWS = WARPS * 16, THREADS = WARPS * WARP;
    __shared__ __align__(16) T sq[ROWS][DIM + 8], sk[TOKENS][DIM + 8], sv[TOKENS][DIM + 8];
    Tile tile = tiles[blockIdx.x];
    int head = blockIdx.y, kv_head = head / (at.heads / at.kv_heads);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int start = tile.start, last = start + tile.rows - 1;
    int first = at.window && start + 1 > at.window ? start + 1 - at.window : 0;
    gather<T, DIM, ROWS, THREADS>(sq, q, [&](int r) -> i64 {
        return r < (int)tile.rows ? (i64)(tile.row + r) * at.stride + head * DIM : -1;
    });
    float acc[DIM / 8][4] = {}, most[2] = {LEAST, LEAST}, sum[2] = {};
    // Steps begin at multiples of TOKENS, so that a row's sums do not depend on its tile.
    for (int step = first / TOKENS * TOKENS; step <= last; step += TOKENS) {
        auto cell = [&](int r) -> i64 {
            int token = step + r;
            if (token > last) return -1;
            i64 block = table[(u64)tile.sequence * at.table_stride + token / at.block_tokens];
            return ((block * at.kv_heads + kv_head) * at.block_tokens + token % at.block_tokens) * DIM;
        };
        // None still reads the keys and values of the step before.
        __syncthreads();
        gather<T, DIM, TOKENS, THREADS>(sk, keys, cell);
        gather<T, DIM, TOKENS, THREADS>(sv, values, cell);
        copies_wait<1>();
        __syncthreads();
        float score[TOKENS / 8][4] = {};
#pragma unroll
        for (int depth = 0; depth < DIM; depth += 16) {
            u32 a[4];
            load_matrices(a, &sq[warp * 16 + lane % 16][depth + lane / 16 * 8]);
#pragma unroll
            for (int pair = 0; pair < TOKENS / 16; pair++) {
                u32 b[4];
                load_matrices(b, &sk[pair * 16 + lane / 16 * 8 + lane % 8][depth + lane / 8 % 2 * 8]);
                multiply_add(score[2 * pair], a, b[0], b[1], T());
                multiply_add(score[2 * pair + 1], a, b[2], b[3], T());
            }
        }
        float next[2] = {most[0], most[1]};
#pragma unroll
        for (int j = 0; j < TOKENS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int token = step + j * 8 + lane % 4 * 2 + i % 2;
                int position = start + warp * 16 + lane / 4 + i / 2 * 8;
                bool is_seen = token <= position && (at.window == 0 || token > position - at.window);
                score[j][i] = is_seen ? capped(score[j][i] * at.scale, at.softcap) : LEAST;
                next[i / 2] = fmaxf(next[i / 2], score[j][i]);
            }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            // Four lanes hold a row.
            next[half] = fmaxf(next[half], __shfl_xor_sync(ALL, next[half], 1));
            next[half] = fmaxf(next[half], __shfl_xor_sync(ALL, next[half], 2));
            // A row that has seen no token yet fades to nothing with its first one.
            float fade = exp2_approx(most[half] - next[half]);
            most[half] = next[half];
            sum[half] *= fade;
#pragma unroll
            for (int j = 0; j < DIM / 8; j++) {
                acc[j][2 * half] *= fade;
                acc[j][2 * half + 1] *= fade;
            }
        }
#pragma unroll
        for (int j = 0; j < TOKENS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                score[j][i] = exp2_approx(score[j][i] - most[i / 2]);
                sum[i / 2] += score[j][i];
            }
        copies_wait<0>();
        __syncthreads();
#pragma unroll
        for (int depth = 0; depth < TOKENS / 16; depth++) {
            const float *low = score[2 * depth], *high = score[2 * depth + 1];
            u32 a[4] = {pack<T>(low[0], low[1]), pack<T>(low[2], low[3]), pack<T>(high[0], high[1]),
                        pack<T>(high[2], high[3])};
#pragma unroll
            for (int pair = 0; pair < DIM / 16; pair++) {
                u32 b[4];
                load_matrices_transposed(b, &sv[depth * 16 + lane % 16][pair * 16 + lane / 16 * 8]);
                multiply_add(acc[2 * pair], a, b[0], b[1], T());
                multiply_add(acc[2 * pair + 1], a, b[2], b[3], T());
            }
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sum[half] += __shfl_xor_sync(ALL, sum[half], 1);
        sum[half] += __shfl_xor_sync(ALL, sum[half], 2);
        int r = warp * 16 + lane / 4 + half * 8;
        if (r >= (int)tile.rows) continue;
        float by = 1.0f / sum[half];
        T *to = out + ((u64)(tile.row + r) * at.heads + head) * DIM + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < DIM / 8; j++)
            *(u32 *)(to + j * 8) = pack<T>(acc[j][2 * half] * by, acc[j][2 * half + 1] * by);
    }
}

#define SIZE(T, DIM, WARPS, TOKENS)                                                                   \
    KERNEL __launch_bounds__(WARPS * 32, 3) prefill_d##DIM##_##T(                                        \
        T *out, const T *q, const T *keys, const T *values, const u32 *table, const Tile *tiles,      \
        Attend at) {                                                                                  \
        prefill<T, DIM, WARPS, TOKENS>(out, q, keys, values, table, tiles, at);                       \
    }
#define DEFINE(T) SIZE(T, 64, 4, 64) SIZE(T, 96, 4, 32) SIZE(T, 128, 4, 32) SIZE(T, 256, 2, 16)
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
#undef SIZE
