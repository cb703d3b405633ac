// Number formats of the tensors, and the inner loops of all matrix products.
//
// Products read words of 32 bits: one float32, or two bfloat16 that follow each other along the
// summed dimension. Sums are float32.

#pragma once

#include "vectors.h"

namespace {

struct Float32 {
  using Item = float;
  static constexpr int DEPTH = 1;  // items per word

  static INLINE vec load_item(const float* p) { return load(p); }
  static INLINE void store_item(float* p, vec x) { store(p, x); }
  // N vectors of items that follow each other
  template <int N>
  static INLINE void store_items(float* p, const vec (&x)[N]) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(p + n * W, x[n]);
  }
  // the words of W columns of DEPTH rows
  static INLINE vec words(const float* first, const float*) { return load(first); }
  static INLINE vec words(vec first, vec) { return first; }
  static INLINE vec zero_padded(const float* half) { return load(half); }  // never used: D >= W
  static INLINE vec dot(vec sum, vec x, vec y) { return fma(x, y, sum); }
  static INLINE vec power(vec x) { return power_of_two(x); }
};

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define HAS_BFLOAT16

struct Bfloat16 {
  struct Item {
    uint16_t bits;
  };
  static constexpr int DEPTH = 2;

  static INLINE __m512i bits(const Item* p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static INLINE vec load_item(const Item* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(bits(p), 16)); }
  static INLINE void store_item(Item* p, vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(x));
  }
  template <int N>
  static INLINE void store_items(Item* p, const vec (&x)[N]) {
    if constexpr (N == 2)
      _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
    else
      store_item(p, x[0]);
  }
  static INLINE vec words(const Item* first, const Item* second) {
    return _mm512_castsi512_ps(_mm512_or_si512(bits(first), _mm512_slli_epi32(bits(second), 16)));
  }
  static INLINE vec words(vec first, vec second) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
                                           18, 2, 17, 1, 16, 0);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first)));
  }
  static INLINE vec zero_padded(const float* half) { return _mm512_zextps256_ps512(_mm256_loadu_ps(half)); }
  static INLINE vec dot(vec sum, vec x, vec y) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(x), (__m512bh)_mm512_castps_si512(y));
  }
  static INLINE vec power(vec x) { return coarse_power_of_two(x); }
};

#endif

// Inner loop of all products: sums[r][n] += left[r, k] * right[k, n-th vector], over the words k.
template <class Format, int N>
INLINE void multiply(vec (&sums)[R][N], const float* left, int64_t left_row, int64_t left_step, const float* right, int64_t right_step,
                     int64_t right_vector, int64_t steps) {
  for (int64_t k = 0; k < steps; ++k) {
    vec y[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) y[n] = load(right + k * right_step + n * right_vector);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const vec x = splat(left[r * left_row + k * left_step]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sums[r][n] = Format::dot(sums[r][n], x, y[n]);
    }
  }
}

// out[r][:] += weights[r, k] * rows[k][:], over the words k. `out` has D floats per row and `rows`
// has D words. Weights may be stored in blocks of `steps` steps.
template <class Format, int D>
INLINE void add_weighted(float* out, const float* weights, int64_t weights_row, int64_t weights_step, const float* rows, int64_t steps,
                         int64_t blocks = 1, int64_t weights_block = 0) {
  constexpr int N = D / W < 2 ? 1 : 2;
  for (int d = 0; d < D; d += N * W) {
    vec sums[R][N];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sums[r][n] = load(out + r * D + d + n * W);
    for (int64_t k = 0; k < blocks; ++k)
      multiply<Format>(sums, weights + k * weights_block, weights_row, weights_step, rows + k * steps * D + d, D, W, steps);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) store(out + r * D + d + n * W, sums[r][n]);
  }
}

}  // namespace
