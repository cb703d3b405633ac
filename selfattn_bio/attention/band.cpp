// Banded self-attention on the CPU, forward and backward, with a learned bias by distance. It has a
// plain C interface; `band.py` compiles and calls it.
//
// Both directions work on tiles of T rows, whose columns go from `before` to `after` of each row.
// In the forward pass, rows are queries and columns are keys. In the backward pass, rows are keys
// and columns are queries: the gradients of keys and values then stay in the buffers of a tile, and
// only the gradient of the queries is scattered. Scores are computed in base 2: log2(e) is
// multiplied into the rows and into the bias. The bias is -inf at distances that may not attend, so
// that the band needs no mask.
//
// Work is divided into spans of rows of one (batch, head). The result of a span depends only on its
// number, and spans that add to the same gradients run in separate phases. Results are therefore
// identical to the bit for any number of threads.

#include <immintrin.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace {

// ------------------------------------------------------------ vectors

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

#define INLINE inline __attribute__((always_inline))

// 2^x within 1 ulp, 0 for -inf: minimax polynomial of the relative error over the fraction of x in
// [0, 1).
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

// Inner loop of all products: sums[r][n] += left[r, k] * right[k, n-th vector], over k.
template <int N>
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
      for (int n = 0; n < N; ++n) sums[r][n] = fma(x, y[n], sums[r][n]);
    }
  }
}

// out[r][:] += weights[r, k] * rows[k][:], over k. `out` and `rows` have D floats per row. Weights
// may be stored in blocks of `steps` steps.
template <int D>
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
      multiply<N>(sums, weights + k * weights_block, weights_row, weights_step, rows + k * steps * D + d, D, W, steps);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) store(out + r * D + d + n * W, sums[r][n]);
  }
}

// ------------------------------------------------------------ dropout: a hash

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

// ------------------------------------------------------------ the interface

// A (batch, head, row, head_dim) tensor of float32. Strides are in floats; that of head_dim is 1.
struct View {
  float* data;
  int64_t batch, head, row;
};

// `Call` in native.py has the same fields in the same order.
struct Call {
  int64_t batches, heads, length, head_dim;
  int64_t left, right, num_global, span, max_distance;
  View q, k, v, out, grad_out, grad_q, grad_k, grad_v;
  float* lse;                  // (B, H, L), base 2; +inf for a query without allowed keys
  const float* band_bias;      // (H, band_size): see `Shape`
  const float* global_bias;    // (H, global_size)
  float* band_grad;            // (B, spans, H, band_size) or null
  float* global_grad;          // (B, spans, H, global_grad_size) or null
  float* global_grad_k;        // (B, spans, H, globals, Dh), globals = num_global rounded up to T
  float* global_grad_v;
  double* table_grad;          // (H, 2 max_distance + 1)
  const int32_t* query_label;  // (B, L) or null: a query attends to keys with its label
  const int32_t* key_label;
  uint64_t seed;
  uint32_t threshold;  // a weight is kept if its hash is at least this
  float keep_scale;
  int64_t phase;
  int64_t* next;  // the next span to be taken
};

namespace {

int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

// Sizes used by both directions and by `_Shape` in band.py.
struct Shape {
  int64_t before, after;  // columns go from row - before to row + after
  int64_t blocks;         // vectors of columns of a tile of the band
  int64_t spans, globals;
  int64_t columns;           // columns of all tiles of a span
  // size of a bias row of the band: the distances column - row from -before - T
  int64_t band_size;
  // size of a bias row of the global keys: the distances from -length - T (forward) or from
  // -globals - T (backward)
  int64_t global_size;
  // size of such a row in the gradient of one span
  int64_t global_grad_size;

  Shape(const Call& c, bool forward) {
    before = forward ? c.left : c.right;
    after = forward ? c.right : c.left;
    blocks = up(T + before + after, W) / W;
    spans = (c.length + c.span - 1) / c.span;
    globals = up(c.num_global, T);
    band_size = T + blocks * W;
    global_size = globals + T + c.length + T;
    columns = c.span - T + blocks * W;
    global_grad_size = globals + T + columns;
  }
};

// A unit of work: a span of rows of one head. The heads of a span follow each other, because their
// rows share pages.
struct Unit {
  int64_t number, b, h, span, start, stop;  // rows start, ..., stop - 1

  Unit(const Call& c, const Shape& shape, int64_t unit)
      : number(unit), b(unit / c.heads / shape.spans), h(unit % c.heads), span(unit / c.heads % shape.spans), start(span * c.span) {
    stop = start + c.span < c.length ? start + c.span : c.length;
  }
  static int64_t count(const Call& c, const Shape& shape) { return c.batches * c.heads * shape.spans; }
};

// Uninitialised memory aligned to a cache line.
template <typename Item>
class Buffer {
 public:
  explicit Buffer(int64_t count) : data_(static_cast<Item*>(::operator new(static_cast<size_t>(count) * sizeof(Item), LINE))) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete(data_, LINE); }
  operator Item*() const { return data_; }

 private:
  static constexpr std::align_val_t LINE{64};
  Item* data_;
};

// ------------------------------------------------------------ packed rows and columns

// Labels beyond the ends of the sequence, and of padding. No query has the label OUTSIDE_KEY, and
// no key has OUTSIDE_QUERY.
constexpr int32_t OUTSIDE_KEY = -1, OUTSIDE_QUERY = -2;

const float* head_of(const View& x, int64_t b, int64_t h) { return x.data + b * x.batch + h * x.head; }
float* writable_head_of(const View& x, int64_t b, int64_t h) { return x.data + b * x.batch + h * x.head; }

int32_t key_label(const Call& c, int64_t b, int64_t j, int64_t end) {
  return j < 0 || j >= end ? OUTSIDE_KEY : c.key_label ? c.key_label[b * c.length + j] : 0;
}

int32_t query_label(const Call& c, int64_t b, int64_t i) {
  return i < 0 || i >= c.length ? OUTSIDE_QUERY : c.query_label ? c.query_label[b * c.length + i] : 0;
}

float score_scale(const Call& c) { return 1.0f / std::sqrt(static_cast<float>(c.head_dim)); }

constexpr float LOG2_E = 1.44269504f;

// Hash of a query. Combined with the hash of a key it gives the hash of the pair.
uint32_t query_hash(const Call& c, int64_t b, int64_t h, int64_t i) {
  const uint32_t seed = mixed(static_cast<uint32_t>(c.seed) ^ mixed(static_cast<uint32_t>(c.seed >> 32)));
  return mixed(mixed(seed + static_cast<uint32_t>(b * c.heads + h)) + static_cast<uint32_t>(i));
}

// T rows of a head, beginning with `first`. They are used in place if all are within the sequence,
// else copied with zeros beyond its ends.
template <int D>
class Rows {
 public:
  Rows(const float* head, int64_t stride, int64_t first, int64_t length) : data_(head + first * stride), stride_(stride) {
    if (first >= 0 && first + T <= length) return;
    data_ = copy_;
    stride_ = D;
    for (int64_t r = 0; r < T; ++r)
      for (int d = 0; d < D; d += W) {
        const bool inside = first + r >= 0 && first + r < length;
        store(copy_ + r * D + d, inside ? load(head + (first + r) * stride + d) : splat(0.0f));
      }
  }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  const float* operator[](int64_t r) const { return data_ + r * stride_; }

 private:
  const float* data_;
  int64_t stride_;
  alignas(64) float copy_[T * D];
};

// Rows that will soon be read or written. They are far apart in memory, so the CPU does not
// prefetch them, and prefetching all at the same time would stall. Each product of blocks
// prefetches its share.
class Upcoming {
 public:
  // Add T rows of a head, beginning with `first`; rows beyond the ends of the sequence are left
  // out, and so are rows for which there is no more space.
  void add(const float* head, int64_t stride, int64_t first, int64_t length) {
    for (int64_t at = first < 0 ? 0 : first; at < first + T && at < length && count_ < CAPACITY; ++at) rows_[count_++] = head + at * stride;
  }
  // Prefetch the share of one product, with `products` products left.
  template <int D>
  INLINE void fetch_share(int64_t products) {
    for (const int64_t rest = count_ - count_ / products; count_ > rest;) {
      --count_;
      for (int d = 0; d < D; d += 16) __builtin_prefetch(rows_[count_] + d);
    }
  }
  void forget() { count_ = 0; }

 private:
  static constexpr int CAPACITY = 8 * T;  // a tile of the backward pass adds 8 times T rows
  const float* rows_[CAPACITY];
  int count_ = 0;
};

template <int D>
INLINE void copy_rows(const Rows<D>& from, float scale, float* rows) {
  for (int64_t r = 0; r < T; ++r)
    for (int d = 0; d < D; d += W) store(rows + r * D + d, load(from[r] + d) * splat(scale));
}

INLINE void transpose(vec (&x)[W]) {
#pragma GCC unroll 4
  for (int stage = 1; stage < W; stage *= 2) {  // each stage rotates the bits of (row, lane) by one
    vec y[W];
#pragma GCC unroll 8
    for (int i = 0; i < W / 2; ++i) {
      y[2 * i] = lower_of_both(x[i], x[i + W / 2]);
      y[2 * i + 1] = upper_of_both(x[i], x[i + W / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) x[i] = y[i];
  }
}

// (W, D) -> (D, W)
template <int D>
INLINE void copy_transposed(const Rows<D>& from, float* transposed) {
  for (int d = 0; d < D; d += W) {
    vec x[W];
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) x[w] = load(from[w] + d);
    transpose(x);
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) store(transposed + (d + w) * W, x[w]);
  }
}

// Blocks of columns that a tile must process: from the first to the last that contains a label of
// its rows.
struct Blocks {
  int64_t begin, end;
  // false: all pairs have the same label and need no comparison
  bool labelled;

  Blocks(const int32_t* row_labels, const int32_t* column_labels, int64_t first, int64_t count) : begin(first), end(first + count) {
    int32_t low = INT32_MAX, high = -1;
    bool outside = false;
    for (int r = 0; r < T; ++r) {
      outside |= row_labels[r] < 0;
      if (row_labels[r] < 0) continue;
      low = row_labels[r] < low ? row_labels[r] : low;
      high = row_labels[r] > high ? row_labels[r] : high;
    }
    while (begin < end && !meets(column_labels + begin * W, low, high)) ++begin;
    while (begin < end && !meets(column_labels + (end - 1) * W, low, high)) --end;
    labelled = outside || low != high;
    int32_t differ = 0;
    for (int64_t c = begin * W; c < end * W; ++c) differ |= column_labels[c] ^ low;
    labelled |= differ != 0;
  }

 private:
  static bool meets(const int32_t* labels, int32_t low, int32_t high) {
    bool any = false;
    for (int w = 0; w < W; ++w) any |= labels[w] >= low && labels[w] <= high;
    return any;
  }
};

// ------------------------------------------------------------ forward

// Keys and values of one span, packed when the tiles need them.
template <int D>
struct Keys {
  Buffer<float> transposed, values;  // [block][D][W], [column][D]
  Buffer<int32_t> labels;

  explicit Keys(int64_t columns) : transposed(columns * D), values(columns * D), labels(columns) {}

  // Fill the W columns from `at` with the keys from `first`. Keys from `end` on are missing.
  void pack(const Call& c, int64_t b, int64_t h, int64_t at, int64_t first, int64_t end) {
    for (int w = 0; w < W; ++w) labels[at + w] = key_label(c, b, first + w, end);
    if (first + W <= 0 || first >= end) return;
    copy_transposed<D>(Rows<D>(head_of(c.k, b, h), c.k.row, first, end), transposed + at * D);
    copy_rows<D>(Rows<D>(head_of(c.v, b, h), c.v.row, first, end), 1.0f, values + at * D);
  }
};

// A tile of queries and its softmax.
template <int D>
struct QueryTile {
  alignas(64) float rows[T * D];  // times log2(e) / sqrt(Dh)
  alignas(64) float out[T * D];
  alignas(64) float peaks[T * W];  // largest score so far, for each lane
  int32_t labels[T];
  Upcoming upcoming;

  void load_rows(const Call& c, int64_t b, int64_t h, int64_t first) {
    copy_rows<D>(Rows<D>(head_of(c.q, b, h), c.q.row, first, c.length), score_scale(c) * LOG2_E, rows);
    for (int r = 0; r < T; ++r) {
      labels[r] = query_label(c, b, first + r);
      store(peaks + r * W, splat(-INFINITY));
    }
    std::memset(out, 0, sizeof(out));
  }

  // Write the scores of N blocks as [block][T][W]. The bias of row r is at bias - r.
  template <int N, bool labelled>
  INLINE void score(const float* keys, const int32_t* key_labels, const float* bias, float* scores) {
    for (int half = 0; half < T; half += R) {
      vec s[R][N];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) s[r][n] = load(bias - half - r + n * W);
      multiply<N>(s, rows + half * D, D, 1, keys, W, D * W, D);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        vec peak = load(peaks + (half + r) * W);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
          if (labelled) s[r][n] = where_equal(key_labels + n * W, labels[half + r], s[r][n], -INFINITY);
          store(scores + (n * T + half + r) * W, s[r][n]);
          peak = larger(peak, s[r][n]);
        }
        store(peaks + (half + r) * W, peak);
      }
    }
  }

  template <bool labelled>
  void score_all(const Keys<D>& keys, const Blocks& blocks, const float* bias, float* scores) {
    int64_t k = blocks.begin;
    for (; k + 2 <= blocks.end; k += 2, scores += 2 * T * W) {
      upcoming.template fetch_share<D>((blocks.end - k) / 2);
      score<2, labelled>(keys.transposed + k * W * D, keys.labels + k * W, bias + k * W, scores);
    }
    if (k < blocks.end) score<1, labelled>(keys.transposed + k * W * D, keys.labels + k * W, bias + k * W, scores);
  }

  void score_all(const Keys<D>& keys, const Blocks& blocks, const float* bias, float* scores) {
    if (blocks.labelled)
      score_all<true>(keys, blocks, bias, scores);
    else
      score_all<false>(keys, blocks, bias, scores);
  }

  void add_values(const Keys<D>& keys, const Blocks& blocks, const float* weights) {
    for (int half = 0; half < T; half += R)
      add_weighted<D>(out + half * D, weights + half * W, W, 1, keys.values + blocks.begin * W * D, W, blocks.end - blocks.begin, T * W);
  }
};

// Convert scores to weights in place, not yet divided by their sum. Return the sum.
INLINE float exponentiate(float* scores, int64_t blocks, float peak) {
  vec total = splat(0.0f);
  for (int64_t k = 0; k < blocks; ++k) {
    const vec p = power_of_two(load(scores + k * T * W) - splat(peak));
    total = total + p;
    store(scores + k * T * W, p);
  }
  return sum(total);
}

// Set the dropped weights of a row to 0. The first key is `first`.
INLINE void drop(float* weights, int64_t blocks, uint32_t query, int64_t first, uint32_t threshold) {
  for (int64_t k = 0; k < blocks; ++k, weights += T * W) {
    const ivec keys = multiply_int(count_from(static_cast<uint32_t>(first + k * W)), splat_int(GOLDEN));
    store(weights, where_at_least(mixed(exclusive_or(keys, splat_int(query))), threshold, load(weights)));
  }
}

// Return whether one of the T queries from `first` may attend to a global key outside its band.
bool out_of_band(const Call& c, int64_t first) { return first + T - 1 > c.left || (c.right > 0 && c.num_global - 1 - first > c.right); }

template <int D>
void forward_spans(const Call& c) {
  const Shape shape(c, true);
  Keys<D> keys(shape.columns), global_keys(shape.globals);
  Buffer<float> scores((shape.globals + shape.blocks * W) * T);
  QueryTile<D> tile;

  auto* next = reinterpret_cast<std::atomic<int64_t>*>(c.next);
  for (int64_t number; (number = next->fetch_add(1)) < Unit::count(c, shape);) {
    const Unit unit(c, shape, number);
    const int64_t b = unit.b, h = unit.h, start = unit.start, stop = unit.stop;
    for (int64_t at = 0; at < shape.globals; at += W) global_keys.pack(c, b, h, at, at, c.num_global);
    float* out = writable_head_of(c.out, b, h);
    int64_t packed = 0;

    for (int64_t first = start; first < stop; first += T) {
      const int64_t column = first - start;  // column of the key first - before
      for (; packed < column + shape.blocks * W; packed += W) keys.pack(c, b, h, packed, start - shape.before + packed, c.length);
      tile.load_rows(c, b, h, first);
      tile.upcoming.forget();
      tile.upcoming.add(head_of(c.q, b, h), c.q.row, first + T, c.length);
      tile.upcoming.add(head_of(c.k, b, h), c.k.row, start - shape.before + packed, c.length);
      tile.upcoming.add(head_of(c.v, b, h), c.v.row, start - shape.before + packed, c.length);
      tile.upcoming.add(out, c.out.row, first, c.length);

      const Blocks far(tile.labels, global_keys.labels, 0, out_of_band(c, first) ? shape.globals / W : 0);
      const Blocks near(tile.labels, keys.labels, column / W, shape.blocks);
      const int64_t num_far = far.end - far.begin, num_near = near.end - near.begin;
      float* near_scores = scores + num_far * T * W;
      tile.score_all(global_keys, far, c.global_bias + h * shape.global_size + c.length + T - first, scores);
      tile.score_all(keys, near, c.band_bias + h * shape.band_size + T - column, near_scores);

      float factors[T];
      for (int r = 0; r < T && first + r < stop; ++r) {
        float peak = largest(load(tile.peaks + r * W));
        // no allowed keys: the weights become 0 instead of NaN
        if (peak == -INFINITY) peak = 0.0f;
        const float total = exponentiate(scores + r * W, num_far + num_near, peak);
        factors[r] = total == 0.0f ? 0.0f : c.keep_scale / total;
        c.lse[(b * c.heads + h) * c.length + first + r] = total == 0.0f ? INFINITY : peak + std::log2(total);
        if (!c.threshold) continue;
        const uint32_t query = query_hash(c, b, h, first + r);
        drop(scores + r * W, num_far, query, far.begin * W, c.threshold);
        drop(near_scores + r * W, num_near, query, start - shape.before + near.begin * W, c.threshold);
      }
      tile.add_values(global_keys, far, scores);
      tile.add_values(keys, near, near_scores);
      for (int r = 0; r < T && first + r < stop; ++r)
        for (int d = 0; d < D; d += W) store(out + (first + r) * c.out.row + d, load(tile.out + r * D + d) * splat(factors[r]));
    }
  }
}

// ------------------------------------------------------------ backward

constexpr int CHUNK = 18;                // blocks of columns whose weights are stored at a time
// stride of a row of weights: a block of zeros on each side for the diagonals
constexpr int STRIDE = (CHUNK + 2) * W;

// Queries of one span, packed when the tiles need them, and their gradient.
template <int D>
struct Queries {
  Buffer<float> transposed, rows, grad_out_transposed, grad_out;
  Buffer<float> grad;              // times log2(e)
  Buffer<float> lse, minus_delta;  // minus_delta: -sum(grad_out * out)
  Buffer<int32_t> labels;
  Buffer<uint32_t> hashes;

  explicit Queries(int64_t columns)
      : transposed(columns * D),
        rows(columns * D),
        grad_out_transposed(columns * D),
        grad_out(columns * D),
        grad(columns * D),
        lse(columns),
        minus_delta(columns),
        labels(columns),
        hashes(columns) {}

  // Fill the W columns from `at` with the queries from `first`.
  void pack(const Call& c, int64_t b, int64_t h, int64_t at, int64_t first) {
    for (int w = 0; w < W; ++w) labels[at + w] = query_label(c, b, first + w);
    if (first + W <= 0 || first >= c.length) return;
    const Rows<D> from(head_of(c.q, b, h), c.q.row, first, c.length);
    copy_rows<D>(from, 1.0f, rows + at * D);
    copy_transposed<D>(from, transposed + at * D);
    const Rows<D> grads(head_of(c.grad_out, b, h), c.grad_out.row, first, c.length);
    copy_rows<D>(grads, 1.0f, grad_out + at * D);
    copy_transposed<D>(grads, grad_out_transposed + at * D);
    std::memset(grad + at * D, 0, W * D * sizeof(float));

    const Rows<D> out(head_of(c.out, b, h), c.out.row, first, c.length);
    for (int64_t w = 0; w < W; ++w) {
      const int64_t i = first + w;
      vec delta = splat(0.0f);
      for (int d = 0; d < D; d += W) delta = fma(load(grads[w] + d), load(out[w] + d), delta);
      minus_delta[at + w] = -sum(delta);
      lse[at + w] = i >= 0 && i < c.length ? c.lse[(b * c.heads + h) * c.length + i] : INFINITY;
      if (c.threshold) hashes[at + w] = query_hash(c, b, h, i);
    }
  }

  // Add the gradient of `count` columns from `at` to that of the queries from `first`.
  void add_grad(const Call& c, int64_t b, int64_t h, int64_t at, int64_t first, int64_t count) const {
    float* head = writable_head_of(c.grad_q, b, h);
    // removes log2(e), which is in the rows of the keys
    const vec scale = splat(1.0f / LOG2_E);
    for (int64_t n = first < 0 ? -first : 0; n < count && first + n < c.length; ++n)
      for (int d = 0; d < D; d += W) {
        float* to = head + (first + n) * c.grad_q.row + d;
        store(to, fma(load(grad + (at + n) * D + d), scale, load(to)));
      }
  }
};

// A tile of keys and its gradients.
template <int D>
struct KeyTile {
  alignas(64) float rows[T * D];  // times log2(e) / sqrt(Dh)
  alignas(64) float values[T * D];
  alignas(64) float grad_rows[T * D];  // before the factor 1 / sqrt(Dh)
  alignas(64) float grad_values[T * D];
  alignas(64) float weights[T * STRIDE];
  alignas(64) float grad_scores[T * STRIDE];
  int32_t labels[T];
  uint32_t hashes[T];
  uint32_t threshold;
  float keep_scale;
  Upcoming upcoming;

  KeyTile(const Call& c) : threshold(c.threshold), keep_scale(c.keep_scale) { std::memset(grad_scores, 0, sizeof(grad_scores)); }

  // Keys from `end` on are missing.
  void load_rows(const Call& c, int64_t b, int64_t h, int64_t first, int64_t end) {
    copy_rows<D>(Rows<D>(head_of(c.k, b, h), c.k.row, first, end), score_scale(c) * LOG2_E, rows);
    copy_rows<D>(Rows<D>(head_of(c.v, b, h), c.v.row, first, end), 1.0f, values);
    for (int r = 0; r < T; ++r) {
      labels[r] = key_label(c, b, first + r, end);
      hashes[r] = static_cast<uint32_t>(first + r) * GOLDEN;
    }
    std::memset(grad_rows, 0, sizeof(grad_rows));
    std::memset(grad_values, 0, sizeof(grad_values));
  }

  // Write the weights of N blocks from column `at`, and the gradients of their scores, to position
  // `to` of their rows. The bias of row r is at bias - r.
  template <int N, bool labelled, bool dropping>
  INLINE void weigh(const Queries<D>& queries, int64_t at, const float* bias, int64_t to) {
    for (int half = 0; half < T; half += R) {
      float* p = weights + half * STRIDE + to;
      float* ds = grad_scores + half * STRIDE + to;
      vec s[R][N];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) s[r][n] = load(bias - half - r + n * W) - load(queries.lse + at + n * W);
      multiply<N>(s, rows + half * D, D, 1, queries.transposed + at * D, W, D * W, D);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
          if (labelled) s[r][n] = where_equal(queries.labels + at + n * W, labels[half + r], s[r][n], -INFINITY);
          store(p + r * STRIDE + n * W, power_of_two(s[r][n]));
        }

      vec g[R][N];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) g[r][n] = dropping ? splat(0.0f) : load(queries.minus_delta + at + n * W);
      multiply<N>(g, values + half * D, D, 1, queries.grad_out_transposed + at * D, W, D * W, D);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
          const vec weight = load(p + r * STRIDE + n * W);
          if (dropping) {
            const ivec hash = mixed(exclusive_or(load_int(queries.hashes + at + n * W), splat_int(hashes[half + r])));
            const vec keep = where_at_least(hash, threshold, splat(keep_scale));
            store(p + r * STRIDE + n * W, weight * keep);
            g[r][n] = fma(keep, g[r][n], load(queries.minus_delta + at + n * W));
          }
          store(ds + r * STRIDE + n * W, weight * g[r][n]);
        }
    }
  }

  template <bool labelled, bool dropping>
  void weigh_all(const Queries<D>& queries, int64_t begin, int64_t end, const float* bias) {
    int64_t k = begin;
    for (; k + 2 <= end; k += 2) {
      upcoming.template fetch_share<D>((end - k) / 2);
      weigh<2, labelled, dropping>(queries, k * W, bias + k * W, (k - begin + 1) * W);
    }
    if (k < end) weigh<1, labelled, dropping>(queries, k * W, bias + k * W, (k - begin + 1) * W);
  }

  // Add to bias_grad[column - row] the sum along that diagonal, for a chunk of `blocks` blocks.
  void add_diagonals(float* bias_grad, int64_t blocks) {
    for (int r = 0; r < T; ++r) store(grad_scores + r * STRIDE + (blocks + 1) * W, splat(0.0f));
    for (int64_t d = -W; d < blocks * W; d += W) {
      vec total = load(bias_grad + d);
#pragma GCC unroll 16
      for (int r = 0; r < T; ++r) total = total + load(grad_scores + r * STRIDE + W + d + r);
      store(bias_grad + d, total);
    }
  }

  // Add all gradients of this tile and some blocks of queries. `bias_grad` may be null. `bias` and
  // `bias_grad` point to row 0, column 0.
  void add_grads(const Queries<D>& queries, const Blocks& blocks, const float* bias, float* bias_grad) {
    for (int64_t begin = blocks.begin; begin < blocks.end; begin += CHUNK) {
      const int64_t end = begin + CHUNK < blocks.end ? begin + CHUNK : blocks.end, at = begin * W, columns = (end - begin) * W;
      if (threshold)
        weigh_all<true, true>(queries, begin, end, bias);
      else if (blocks.labelled)
        weigh_all<true, false>(queries, begin, end, bias);
      else
        weigh_all<false, false>(queries, begin, end, bias);

      for (int half = 0; half < T; half += R) {
        add_weighted<D>(grad_values + half * D, weights + half * STRIDE + W, STRIDE, 1, queries.grad_out + at * D, columns);
        add_weighted<D>(grad_rows + half * D, grad_scores + half * STRIDE + W, STRIDE, 1, queries.rows + at * D, columns);
      }
      // the transpose of grad_scores: one row per query, one step per key
      for (int64_t i = 0; i < columns; i += R)
        add_weighted<D>(queries.grad + (at + i) * D, grad_scores + W + i, 1, STRIDE, rows, T);
      if (bias_grad) add_diagonals(bias_grad + at, end - begin);
    }
  }

  // Store `count` rows of the two gradients.
  void store_grads(const Call& c, float* grad_k, int64_t k_stride, float* grad_v, int64_t v_stride, int64_t count) const {
    const vec scale = splat(score_scale(c));
    for (int64_t r = 0; r < count; ++r)
      for (int d = 0; d < D; d += W) {
        store(grad_k + r * k_stride + d, load(grad_rows + r * D + d) * scale);
        store(grad_v + r * v_stride + d, load(grad_values + r * D + d));
      }
  }
};

// All global keys with the queries of one span that are outside their band. `queries` contains
// these queries, and no other span processes them.
template <int D>
void backward_global(const Call& c, const Shape& shape, const Unit& unit, Queries<D>& queries, int64_t packed, KeyTile<D>& tile) {
  // Complete blocks: the first one that begins in the span, and as many as the span has. The
  // remainders at both ends of the sequence belong to the first and the last span.
  const int64_t inner = up(shape.before, W) / W;
  const int64_t begin = unit.start == 0 ? 0 : inner, end = unit.stop == c.length ? packed / W : inner + c.span / W;
  std::memset(queries.grad + begin * W * D, 0, (end - begin) * W * D * sizeof(float));
  tile.upcoming.forget();
  const int64_t column_zero = unit.start - shape.before;
  for (int64_t first = 0; first < shape.globals; first += T) {
    tile.load_rows(c, unit.b, unit.h, first, c.num_global);
    const Blocks blocks(tile.labels, queries.labels, begin, end - begin);
    const int64_t origin = shape.globals + T - first;
    tile.add_grads(queries, blocks, c.global_bias + unit.h * shape.global_size + origin + column_zero,
                   c.global_grad ? c.global_grad + unit.number * shape.global_grad_size + origin : nullptr);
    const int64_t at = (unit.number * shape.globals + first) * D;
    tile.store_grads(c, c.global_grad_k + at, D, c.global_grad_v + at, D, T);
  }
  queries.add_grad(c, unit.b, unit.h, begin * W, column_zero + begin * W, (end - begin) * W);
}

// The keys of one span with the queries around them.
template <int D>
void backward_span(const Call& c, const Shape& shape, const Unit& unit, Queries<D>& queries, KeyTile<D>& tile) {
  const int64_t b = unit.b, h = unit.h, start = unit.start, stop = unit.stop;
  float *grad_k = writable_head_of(c.grad_k, b, h), *grad_v = writable_head_of(c.grad_v, b, h);
  int64_t packed = 0;
  for (int64_t first = start; first < stop; first += T) {
    const int64_t column = first - start;  // column of the query first - before
    for (; packed < column + shape.blocks * W; packed += W) queries.pack(c, b, h, packed, start - shape.before + packed);
    tile.load_rows(c, b, h, first, c.length);
    tile.upcoming.forget();
    tile.upcoming.add(head_of(c.q, b, h), c.q.row, start - shape.before + packed, c.length);
    tile.upcoming.add(head_of(c.grad_out, b, h), c.grad_out.row, start - shape.before + packed, c.length);
    tile.upcoming.add(head_of(c.out, b, h), c.out.row, start - shape.before + packed, c.length);
    tile.upcoming.add(head_of(c.k, b, h), c.k.row, first + T, c.length);
    tile.upcoming.add(head_of(c.v, b, h), c.v.row, first + T, c.length);
    tile.upcoming.add(head_of(c.grad_q, b, h), c.grad_q.row, first - shape.before, c.length);
    tile.upcoming.add(grad_k, c.grad_k.row, first, c.length);
    tile.upcoming.add(grad_v, c.grad_v.row, first, c.length);

    const Blocks blocks(tile.labels, queries.labels, column / W, shape.blocks);
    tile.add_grads(queries, blocks, c.band_bias + h * shape.band_size + T - column,
                   c.band_grad ? c.band_grad + unit.number * shape.band_size + T - column : nullptr);
    tile.store_grads(c, grad_k + first * c.grad_k.row, c.grad_k.row, grad_v + first * c.grad_v.row, c.grad_v.row,
                     stop - first < T ? stop - first : T);
    // No later tile uses the first T columns of this one. The last tile adds all its columns.
    queries.add_grad(c, b, h, column, first - shape.before, first + T < stop ? T : packed - column);
  }
  if (shape.globals) backward_global<D>(c, shape, unit, queries, packed, tile);
}

// Phase 0 takes the even spans and phase 1 the odd ones, because adjacent spans add to the same
// queries.
template <int D>
void backward_spans(const Call& c) {
  const Shape shape(c, false);
  Queries<D> queries(shape.columns);
  const auto tile = std::make_unique<KeyTile<D>>(c);
  auto* next = reinterpret_cast<std::atomic<int64_t>*>(c.next);
  for (int64_t number; (number = next->fetch_add(1)) < Unit::count(c, shape);) {
    const Unit unit(c, shape, number);
    if (unit.span % 2 == c.phase) backward_span<D>(c, shape, unit, queries, *tile);
  }
}

// Sum the gradients of the bias of all spans into the table, in a fixed order and in double
// precision.
void fold_bias_grad(const Call& c) {
  const Shape shape(c, false);
  for (int64_t number = 0; number < Unit::count(c, shape); ++number) {
    const Unit unit(c, shape, number);
    double* table = c.table_grad + unit.h * (2 * c.max_distance + 1);
    const auto add = [&](const float* grads, int64_t size, int64_t first) {
      for (int64_t t = 0; t < size; ++t) {
        const int64_t distance = -(first + t);  // rows are keys here, so first + t is query - key
        const int64_t clipped = distance < -c.max_distance ? -c.max_distance : distance > c.max_distance ? c.max_distance : distance;
        table[clipped + c.max_distance] += static_cast<double>(grads[t]);
      }
    };
    add(c.band_grad + number * shape.band_size, shape.band_size, -shape.before - T);
    if (shape.globals)
      add(c.global_grad + number * shape.global_grad_size, shape.global_grad_size, unit.start - shape.before - shape.globals - T);
  }
}

template <typename Work>
int guarded(const Work& work) {
  try {
    work();
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // namespace

// Each function returns 0, or 1 if memory ran out. Several threads may run the first two with the
// same `next`.
extern "C" int band_forward(const Call* c) {
  return guarded([&] { c->head_dim == 16 ? forward_spans<16>(*c) : c->head_dim == 32 ? forward_spans<32>(*c) : forward_spans<64>(*c); });
}

extern "C" int band_backward(const Call* c) {
  return guarded([&] { c->head_dim == 16 ? backward_spans<16>(*c) : c->head_dim == 32 ? backward_spans<32>(*c) : backward_spans<64>(*c); });
}

extern "C" int band_fold_bias_grad(const Call* c) {
  return guarded([&] { fold_bias_grad(*c); });
}

extern "C" int band_tile() { return T; }

extern "C" int64_t band_call_size() { return sizeof(Call); }
