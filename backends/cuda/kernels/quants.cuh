// Weights in blocks, as GGUF files have them, told apart by planes: of a matrix [n, k] all quants lie
// together, then all upper bits, then all scales, so that neighbours are read by neighbouring lanes and
// every read is aligned. A matrix has as many bytes as in the file (`repack` in src/quants.rs makes it).
//
// Eight neighbours of a row are a unit: a thread unpacks one from one word of four-bit quants. Each value is
// an integer times a scale, and an offset added in some types; the integer is put under an exponent that makes
// its last bit 1, so that no instruction of the slow converting unit is needed for it: what that adds to the
// integer is taken away with the offset, by the one fused multiplication and addition that scales.
// Source: ggml `ggml-common.h` for types and values.
#pragma once
#include "common.cuh"

#define UNIT 8
// Units of a group that shares a scale.
#define UNITS 4

struct alignas(8) Pair {
    u32 word[2];
};

DEVICE float half_of(u32 word) {
    f16 x;
    x.bits = (u16)word;
    return to_float(x);
}

// 16 + nibble j: four bits below the exponent of 2⁴.
DEVICE float nibble(u32 word, int j) {
    u32 bits = j < 5 ? word << (19 - 4 * j) : word >> (4 * j - 19);
    return as_float(0x41800000 | (bits & 0x780000));
}

DEVICE void scale_nibbles(float (&out)[UNIT], u32 word, float scale, float offset) {
    float rest = fmaf(-16.0f, scale, offset);
#pragma unroll
    for (int j = 0; j < UNIT; j++) out[j] = fmaf(nibble(word, j), scale, rest);
}

// A matrix [n, k] of a type of weights: `at` its planes, read(out, column, unit) eight values.
struct Weights {
    const u8 *at;
    u64 n;
    int k;
    // Elements before a unit.
    DEVICE_MEMBER u64 before(int column, int unit) const { return (u64)column * k + unit * UNIT; }
    DEVICE_MEMBER u64 all() const { return n * k; }
};

// d · (q - 8). Planes: nibbles; d.
struct q4_0 : Weights {
    DEVICE_MEMBER void read(float (&out)[UNIT], int column, int unit) const {
        u64 i = before(column, unit);
        u32 quants = *(const u32 *)(at + i / 2);
        float d = half_of(*(const u16 *)(at + all() / 2 + i / 32 * 2));
        scale_nibbles(out, quants, d, -8.0f * d);
    }
};

// d · q + m. Planes: nibbles; d and m.
struct q4_1 : Weights {
    DEVICE_MEMBER void read(float (&out)[UNIT], int column, int unit) const {
        u64 i = before(column, unit);
        u32 quants = *(const u32 *)(at + i / 2);
        u32 scales = *(const u32 *)(at + all() / 2 + i / 32 * 4);
        scale_nibbles(out, quants, half_of(scales), half_of(scales >> 16));
    }
};

// d · (q - 128), of bytes. Planes: bytes; d.
struct q8_0 : Weights {
    DEVICE_MEMBER void read(float (&out)[UNIT], int column, int unit) const {
        u64 i = before(column, unit);
        Pair quants = *(const Pair *)(at + i);
        float d = half_of(*(const u16 *)(at + all() + i / 32 * 2));
#pragma unroll
        for (int j = 0; j < UNIT; j++) {
            u32 byte = quants.word[j / 4] >> j % 4 * 8 & 0xff;
            // 256 + q, under an exponent of 2⁸.
            out[j] = fmaf(as_float(0x43800000 | byte << 15), d, -384.0f * d);
        }
    }
};

// d · s · q - m · o, with s and o of six bits for each of eight groups. Planes: nibbles; sixteen bytes of each
// 256 elements: d and m, then a byte of each group with s and o's lower two bits, then a nibble with the rest.
struct q4_k : Weights {
    DEVICE_MEMBER void read(float (&out)[UNIT], int column, int unit) const {
        u64 i = before(column, unit);
        u32 quants = *(const u32 *)(at + i / 2);
        Quad scales = *(const Quad *)(at + all() / 2 + i / 256 * 16);
        int group = unit / UNITS % 8;
        u32 byte = (group < 4 ? scales.word[1] : scales.word[2]) >> group % 4 * 8;
        u32 scale = byte & 63, offset = (byte >> 6 & 3) | (scales.word[3] >> group * 4 & 15) << 2;
        scale_nibbles(out, quants, half_of(scales.word[0]) * scale, half_of(scales.word[0] >> 16) * -(float)offset);
    }
};

// d · s · (q - 32), with s of eight bits for 16 elements. Planes: nibbles; upper two bits; s; d.
struct q6_k : Weights {
    DEVICE_MEMBER void read(float (&out)[UNIT], int column, int unit) const {
        u64 i = before(column, unit);
        u32 low = *(const u32 *)(at + i / 2);
        u32 high = *(const u16 *)(at + all() / 2 + i / 4);
        int small = *(const signed char *)(at + all() / 4 * 3 + i / 16);
        float scale = half_of(*(const u16 *)(at + all() / 16 * 13 + i / 256 * 2)) * small;
#pragma unroll
        for (int j = 0; j < UNIT; j++) {
            u32 quant = (low >> 4 * j & 15) | (high >> 2 * j & 3) << 4;
            // 64 + q, under an exponent of 2⁶.
            out[j] = fmaf(as_float(0x42800000 | quant << 17), scale, -96.0f * scale);
        }
    }
};

// Calls `DEFINE(Q)` for every type of weights in blocks.
#define FOR_EACH_QUANT(DEFINE) DEFINE(q4_0) DEFINE(q4_1) DEFINE(q8_0) DEFINE(q4_k) DEFINE(q6_k)

// What becomes of a product, told at run time: the reading of weights is what these kernels wait for.
enum Output { SAME, FLOAT, ADD };

template <class T> DEVICE void put(void *out, int output, u64 at, float x) {
    if (output == SAME)
        ((T *)out)[at] = from_float<T>(x);
    else if (output == FLOAT)
        ((float *)out)[at] = x;
    else
        ((float *)out)[at] += x;
}
