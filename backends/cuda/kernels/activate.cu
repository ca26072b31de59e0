// Gated activations: out = act(gate) · up, of [rows, 2 · width] T with the gates first.
//
// silu(x) = x / (1 + e^-x); gelu(x) = x / (1 + e^-2u) with u = √(2/π) · (x + 0.044715 x³), its tanh form.
// Grid: (width / 256, rows). Bytes: rows · width · 6. Bound: memory.
// silu_mul: FLOPs: rows · width · 5. gelu_mul: FLOPs: rows · width · 9.
// Source: Shazeer 2020; Hendrycks & Gimpel 2016.
#include "common.cuh"

DEVICE float silu(float x) { return x / (1.0f + exp2_approx(-LOG2_E * x)); }

DEVICE float gelu(float x) {
    float twice = x * (1.5957691216057308f + 0.07135481282551731f * x * x);
    return x / (1.0f + exp2_approx(-LOG2_E * twice));
}

template <class T, float ACT(float)> DEVICE void activate(T *out, const T *both, int width) {
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= width) return;
    const T *row = both + (u64)blockIdx.y * 2 * width;
    out[(u64)blockIdx.y * width + c] = from_float<T>(ACT(to_float(row[c])) * to_float(row[width + c]));
}

#define DEFINE(T)                                                                                     \
    KERNEL __launch_bounds__(256) silu_mul_##T(T *out, const T *both, int width) {                    \
        activate<T, silu>(out, both, width);                                                          \
    }                                                                                                 \
    KERNEL __launch_bounds__(256) gelu_mul_##T(T *out, const T *both, int width) {                    \
        activate<T, gelu>(out, both, width);                                                          \
    }
FOR_EACH_TYPE(DEFINE)
#undef DEFINE
