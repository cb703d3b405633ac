// Vectors of float32 and int32 with AVX-512 or AVX2, the exponential, and the hash of the dropout.

#pragma once

#include <immintrin.h>

#include <cstdint>

#define INLINE inline __attribute__((always_inline))

namespace {

#if defined(__AVX512F__) && defined(__AVX512DQ__)

using vec = __m512;
constexpr int W = 16;  // floats per vector
constexpr int R = 8;   // rows of a register block: R x 2 sums, with 32 registers

inline vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, vec x) { _mm512_storeu_ps(p, x); }
inline vec splat(float x) { return _mm512_set1_ps(x); }
inline vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
inline vec larger(vec a, vec b) { return _mm512_max_ps(a, b); }
inline float sum(vec x) { return _mm512_reduce_add_ps(x); }
inline float largest(vec x) { return _mm512_reduce_max_ps(x); }
// x - floor(x); 0 for -inf
inline vec fraction(vec x) { return _mm512_reduce_ps(x, 1); }
// m * 2^floor(x); 0 for -inf
inline vec times_power(vec m, vec x, vec) { return _mm512_scalef_ps(m, x); }
inline vec in_range(vec x) { return x; }

// Return x where the labels are equal, else `other`.
inline vec where_equal(const int32_t* labels, int32_t label, vec x, float other) {
  return _mm512_mask_mov_ps(splat(other), _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(labels), _mm512_set1_epi32(label)), x);
}

// Interleave the lanes of a and b, a first, and return the lower or upper half of the 2 W lanes.
inline vec lower_of_both(vec a, vec b) {
  return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
inline vec upper_of_both(vec a, vec b) {
  return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}

using ivec = __m512i;
inline ivec load_int(const uint32_t* p) { return _mm512_loadu_si512(p); }
inline ivec splat_int(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
inline ivec count_from(uint32_t x) {
  return _mm512_add_epi32(splat_int(x), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
inline ivec multiply_int(ivec a, ivec b) { return _mm512_mullo_epi32(a, b); }
inline ivec exclusive_or(ivec a, ivec b) { return _mm512_xor_si512(a, b); }
template <int bits>
inline ivec shifted_right(ivec x) { return _mm512_srli_epi32(x, bits); }
inline vec where_at_least(ivec x, uint32_t threshold, vec y) { return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(x, splat_int(threshold)), y); }

#elif defined(__AVX2__) && defined(__FMA__)

using vec = __m256;
constexpr int W = 8;
constexpr int R = 4;  // R x 2 sums, with 16 registers: more would spill

inline vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, vec x) { _mm256_storeu_ps(p, x); }
inline vec splat(float x) { return _mm256_set1_ps(x); }
inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
inline vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
inline float sum(vec x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float largest(vec x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
inline vec fraction(vec x) { return _mm256_sub_ps(x, _mm256_floor_ps(x)); }
// 2^-127 gets exponent bits 0, which is the number 0. NaN stays NaN.
inline vec in_range(vec x) { return _mm256_max_ps(splat(-127.0f), x); }
inline vec times_power(vec m, vec x, vec fraction) {
  const __m256i exponent = _mm256_cvtps_epi32(_mm256_sub_ps(x, fraction));
  return _mm256_mul_ps(m, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(exponent, _mm256_set1_epi32(127)), 23)));
}

inline vec where_equal(const int32_t* labels, int32_t label, vec x, float other) {
  const __m256i same = _mm256_cmpeq_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(labels)), _mm256_set1_epi32(label));
  return _mm256_blendv_ps(splat(other), x, _mm256_castsi256_ps(same));
}

inline vec lower_of_both(vec a, vec b) { return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20); }
inline vec upper_of_both(vec a, vec b) { return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31); }

using ivec = __m256i;
inline ivec load_int(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline ivec splat_int(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
inline ivec count_from(uint32_t x) { return _mm256_add_epi32(splat_int(x), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
inline ivec multiply_int(ivec a, ivec b) { return _mm256_mullo_epi32(a, b); }
inline ivec exclusive_or(ivec a, ivec b) { return _mm256_xor_si256(a, b); }
template <int bits>
inline ivec shifted_right(ivec x) { return _mm256_srli_epi32(x, bits); }
inline vec where_at_least(ivec x, uint32_t threshold, vec y) {
  return _mm256_and_ps(y, _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(x, splat_int(threshold)), x)));
}

#else
#error "the band kernel needs AVX-512 (F and DQ), or AVX2 and FMA"
#endif

// rows of a tile: W, so that the columns of each tile begin at a vector
constexpr int T = W;
static_assert(T == 2 * R, "a tile is two register blocks high");

// 2^x, 0 for -inf: minimax polynomials of the relative error over the fraction of x in [0, 1), within
// 1 ulp of float32.
INLINE vec power_of_two(vec x) {
  x = in_range(x);
  const vec f = fraction(x);
  vec p = splat(0.000217043882f);
  p = fma(p, f, splat(0.00124393637f));
  p = fma(p, f, splat(0.00967883538f));
  p = fma(p, f, splat(0.0554833711f));
  p = fma(p, f, splat(0.240229822f));
  p = fma(p, f, splat(0.693146986f));
  p = fma(p, f, splat(1.0f));
  return times_power(p, x, f);
}

// The same within 3e-6, a thousandth of the rounding of bfloat16.
INLINE vec coarse_power_of_two(vec x) {
  x = in_range(x);
  const vec f = fraction(x);
  vec p = splat(0.01353417f);
  p = fma(p, f, splat(0.05201146f));
  p = fma(p, f, splat(0.24144276f));
  p = fma(p, f, splat(0.69300383f));
  p = fma(p, f, splat(1.00000259f));
  return times_power(p, x, f);
}

// The hash of the dropout, lowbias32 of Wellons 2018.

uint32_t mixed(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

INLINE ivec mixed(ivec x) {
  x = exclusive_or(x, shifted_right<16>(x));
  x = multiply_int(x, splat_int(0x7feb352du));
  x = exclusive_or(x, shifted_right<15>(x));
  x = multiply_int(x, splat_int(0x846ca68bu));
  return exclusive_or(x, shifted_right<16>(x));
}

// spreads key numbers over the 32 bits before they are combined with the query's hash
constexpr uint32_t GOLDEN = 0x9e3779b9u;

}  // namespace
