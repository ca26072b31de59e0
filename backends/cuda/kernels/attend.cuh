// What both kernels of attention take, and scores.
#pragma once
#include "common.cuh"

struct Attend {
    int heads, kv_heads, stride, block_tokens, table_stride, window;
    // scale · log2 e, and the cap of scores before that (0: none).
    float scale, softcap;
};

DEVICE float capped(float score, float cap) {
    if (cap == 0.0f) return score;
    // tanh(x) = 1 - 2 / (1 + e^2x).
    float x = score / (cap * LOG2_E);
    return cap * LOG2_E * (1.0f - 2.0f / (1.0f + exp2_approx(2.0f * LOG2_E * x)));
}
