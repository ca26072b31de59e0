// A token of each row of logits [rows, vocab] f32, as the hal's host sampler chooses it: penalties, mask, ends
// that come too early, temperature, top-k, top-p, min-p, and the highest of log probabilities with Gumbel noise,
// which is a pure function of seed, position and token.
//
// A block to a row; `work` [rows, vocab] f32 is scratch of rows whose logits change, so that logits stay as they
// are. Nothing is sorted. What top-k and top-p keep is all above a threshold, so it is the threshold that is
// searched: floats order as integers (rank.cuh), and the largest integer above which there is still enough (k
// tokens, or a share p of probability) is found two bits at a time, from the highest on, each in one pass over the
// row that weighs three candidates at once: 16 passes, of 4 bytes a token, which L2 holds. Tokens that share the
// threshold's value are kept from the first column on, as many as are needed; their last column is found in the
// same way. Sums are made in one order, so equal rows give equal tokens.
// What the host does in f64 is f32 here. A token may differ from the host's where two noisy log probabilities are
// within 1e-5 of each other, or the share of the last token that top-p keeps within 1e-5 of p.
// Bytes: rows · vocab · 4. FLOPs: rows · vocab. Bound: memory, and with top-k or top-p the passes' latency.
// Source: Maddison et al. 2014, §2 (Gumbel); Steele et al. 2014 (SplitMix64); flashinfer for choosing by a pivot.
#include "rank.cuh"

// Noise spans less than this many nats: what is further below the best is never chosen.
#define NOISE_SPAN 42.0f
#define NONE 0xffffffffu
#define INFINITE __uint_as_float(0x7f800000)
#define NOT_FINITE 1
#define EMPTY_MASK 2

// A row's parameters: `Draw` in src/launch/sample.rs.
struct Draw {
    u64 seed;
    u32 position;
    float temperature;
    u32 top_k;
    float top_p;
    // ln of min-p.
    float least;
    float repetition, presence, frequency;
    // Where in `lists` this row's pairs of token and times in the output begin, and how many there are.
    u32 seen, seen_count;
    // The same of tokens that are held back.
    u32 ends, ends_count;
    // Its first word, or NONE; one bit a token.
    u32 mask, mask_words;
    u32 is_scored;
    // The slot whose newest token this becomes, or NONE; whether the one before it is an output not yet in `seen`.
    u32 slot, adds_newest, unused;
};

struct Drawn {
    u32 token, fault;
    // Of the token, and ln Σ e^x of all logits where it is scored.
    float logit, log_sum;
};

// What is kept: above a value, or of that value up to a column.
struct Bound {
    u32 value, column;
};

DEVICE bool is_within(Bound bound, u32 value, u32 column) {
    return value > bound.value || (value == bound.value && column <= bound.column);
}

// Calls f(column) for all columns, each by one thread.
template <class F> DEVICE void for_each_column(int vocab, F f) {
    for (int c = threadIdx.x; c < vocab; c += blockDim.x) f(c);
}

// Sums of all threads' values, in each of them, three at once. No thread reads them as another comes again.
DEVICE void block_sums(float (&x)[3], float (*room)[3]) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < 3; i++) x[i] = warp_sum(x[i]);
    if (lane == 0)
#pragma unroll
        for (int i = 0; i < 3; i++) room[warp][i] = x[i];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 3; i++) x[i] = warp_sum(lane < (int)blockDim.x / WARP ? room[lane][i] : 0.0f);
    __syncthreads();
}

// The largest number at or above which there is a weight of `goal`; weigh(c, number) is told of each column its
// number, and returns its weight. 0 where all together have less. `from` is the highest bit's place.
template <class F> DEVICE u32 threshold(int vocab, float goal, int from, float (*room)[3], F weigh) {
    u32 found = 0;
    for (int shift = from; shift >= 0; shift -= 2) {
        float sum[3] = {};
        for_each_column(vocab, [&](int c) {
            u32 number = 0;
            float weight = weigh(c, number);
#pragma unroll
            for (int i = 0; i < 3; i++)
                if (number >= (found | (u32)(i + 1) << shift)) sum[i] += weight;
        });
        block_sums(sum, room);
        u32 digit = sum[2] >= goal ? 3 : sum[1] >= goal ? 2 : sum[0] >= goal ? 1 : 0;
        found |= digit << shift;
    }
    return found;
}

// Of those of a bound, the smallest set from the best on whose weight reaches `goal`; weight(value) is a token's.
template <class F>
DEVICE Bound tighten(const float *values, int vocab, Bound bound, float goal, float (*room)[3], F weight) {
    u32 value = threshold(vocab, goal, 30, room, [&](int c, u32 &number) {
        number = ordered(values[c]);
        return is_within(bound, number, c) ? weight(values[c]) : 0.0f;
    });
    if (value < bound.value) return bound;
    // The weight above the threshold; how many are at it, and what each weighs.
    float sum[3] = {};
    for_each_column(vocab, [&](int c) {
        u32 number = ordered(values[c]);
        if (!is_within(bound, number, c)) return;
        if (number > value) sum[0] += weight(values[c]);
        if (number == value) sum[1] += 1.0f, sum[2] += weight(values[c]);
    });
    block_sums(sum, room);
    float needed = ceilf((goal - sum[0]) * sum[1] / sum[2]);
    if (!(needed < sum[1])) return {value, value == bound.value ? bound.column : NONE};
    // From the first column on: the largest complement at or above which so many lie.
    u32 complement = threshold(vocab, needed, 30, room, [&](int c, u32 &number) {
        number = (u32)0x7fffffff - (u32)c;
        bool is_at = ordered(values[c]) == value && is_within(bound, value, c);
        return is_at ? 1.0f : 0.0f;
    });
    return {value, (u32)0x7fffffff - complement};
}

// The finaliser of SplitMix64.
DEVICE u64 mix(u64 x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// -ln(-ln u) with u = (b + 1/2) / 2^53 of 53 random bits b. Near 1 the inner logarithm is that of what is missing
// to 1, which its integer gives to the last bit.
DEVICE float gumbel(u64 seed, u32 position, u32 token) {
    u64 bits = mix(mix(seed ^ 0x9e3779b97f4a7c15ull) ^ ((u64)position << 32 | token)) >> 11;
    bool is_upper = bits >> 52;
    u64 small = is_upper ? 0x1fffffffffffffull - bits : bits;
    float u = ((float)small + 0.5f) * 1.1102230246251565e-16f;
    return -logf(is_upper ? -log1pf(-u) : -logf(u));
}

// A token's value that is so many times in the output.
DEVICE void penalise(float *to, const Draw &at, u32 token, u32 outputs, int vocab) {
    if (token >= (u32)vocab) return;
    float x = to[token];
    x = x > 0.0f ? x / at.repetition : x * at.repetition;
    if (outputs > 0) x -= at.presence + at.frequency * (float)outputs;
    to[token] = x;
}

// The row's values as penalties, mask and ends leave them; `newest` is a token that was seen beside the others, or
// NONE.
DEVICE void change(float *to, const float *logits, const Draw &at, const u32 *lists, u32 newest, bool holds_ends,
                   int vocab, float (*room)[3]) {
    for_each_column(vocab, [&](int c) {
        u32 word = c / 32;
        bool is_allowed = at.mask == NONE || (word < at.mask_words && lists[at.mask + word] >> c % 32 & 1);
        to[c] = is_allowed ? logits[c] : -INFINITE;
    });
    __syncthreads();
    float known[3] = {};
    for (u32 i = threadIdx.x; i < at.seen_count; i += blockDim.x) {
        const u32 *pair = lists + at.seen + 2 * i;
        bool is_newest = pair[0] == newest;
        known[0] += is_newest ? 1.0f : 0.0f;
        penalise(to, at, pair[0], pair[1] + is_newest, vocab);
    }
    block_sums(known, room);
    if (threadIdx.x == 0 && known[0] == 0.0f) penalise(to, at, newest, 1, vocab);
    __syncthreads();
    if (holds_ends)
        for (u32 i = threadIdx.x; i < at.ends_count; i += blockDim.x)
            if (lists[at.ends + i] < (u32)vocab) to[lists[at.ends + i]] = -INFINITE;
    __syncthreads();
}

DEVICE u64 best_of(const float *values, int vocab, u64 *room) {
    u64 best = 0;
    for_each_column(vocab, [&](int c) {
        u64 rank = rank_of(values[c], c);
        best = rank > best ? rank : best;
    });
    best = block_highest(best, room);
    // Before another is searched in the same room.
    __syncthreads();
    return best;
}

// Of the values near the best, what top-k and top-p keep, and of that the one that noise makes highest.
DEVICE u64 draw(const float *values, float most, u64 best, const Draw &at, int vocab, u64 *room, float (*sums)[3]) {
    Bound bound = {ordered(most - NOISE_SPAN * at.temperature), NONE};
    auto scaled = [&](float x) { return (x - most) / at.temperature; };
    auto share = [&](float x) { return exp2_approx(LOG2_E * scaled(x)); };
    auto one = [](float) { return 1.0f; };
    if (at.top_k > 0 && at.top_k < (u32)vocab) bound = tighten(values, vocab, bound, (float)at.top_k, sums, one);
    if (at.top_p < 1.0f) {
        float total[3] = {};
        for_each_column(vocab, [&](int c) {
            if (is_within(bound, ordered(values[c]), c)) total[0] += share(values[c]);
        });
        block_sums(total, sums);
        bound = tighten(values, vocab, bound, at.top_p * total[0], sums, share);
    }
    u64 chosen = 0;
    for_each_column(vocab, [&](int c) {
        float x = scaled(values[c]);
        if (!is_within(bound, ordered(values[c]), c) || !(x >= at.least)) return;
        u64 rank = rank_of(x + gumbel(at.seed, at.position, c), c);
        chosen = rank > chosen ? rank : chosen;
    });
    chosen = block_highest(chosen, room);
    return chosen ? chosen : best;
}

KERNEL __launch_bounds__(1024, 1)
    sample(Drawn *drawn, const float *logits, float *work, const Draw *draws, const u32 *lists, u32 *newest,
           int vocab) {
    __shared__ u64 room[WARP];
    __shared__ float sums[WARP][3];
    const Draw at = draws[blockIdx.x];
    const float *row = logits + (u64)blockIdx.x * vocab, *values = row;
    float *own = work + (u64)blockIdx.x * vocab;
    // x · 0 is 0 of finite numbers alone.
    float odd[3] = {};
    for_each_column(vocab, [&](int c) { odd[0] += row[c] * 0.0f; });
    block_sums(odd, sums);
    u32 fault = odd[0] == 0.0f ? 0 : NOT_FINITE;
    float log_sum = 0.0f;
    if (at.is_scored) {
        float most = row[column_of(best_of(row, vocab, room))], sum[3] = {};
        for_each_column(vocab, [&](int c) { sum[0] += exp2_approx(LOG2_E * (row[c] - most)); });
        block_sums(sum, sums);
        log_sum = most + logf(sum[0]);
    }
    u32 before = NONE;
    bool changes = at.seen_count > 0 || at.ends_count > 0 || at.mask != NONE;
    if (changes) {
        before = at.adds_newest ? newest[at.slot] : NONE;
        change(own, row, at, lists, before, true, vocab, sums);
        values = own;
    }
    u64 best = best_of(values, vocab, room);
    if (at.ends_count > 0 && best >> 32 == ordered(-INFINITE)) {
        // A grammar that has come to its end leaves nothing else.
        change(own, row, at, lists, before, false, vocab, sums);
        best = best_of(values, vocab, room);
    }
    if (fault == 0 && best >> 32 == ordered(-INFINITE)) fault = EMPTY_MASK;
    if (fault == 0 && at.temperature > 0.0f)
        best = draw(values, values[column_of(best)], best, at, vocab, room, sums);
    if (threadIdx.x == 0) {
        u32 token = fault ? NONE : column_of(best);
        drawn[blockIdx.x] = {token, fault, fault ? 0.0f : row[token], log_sum};
        // Of a row at fault it is read once more, by a step that was queued before the host knew.
        if (at.slot != NONE) newest[at.slot] = fault ? 0 : token;
    }
}
