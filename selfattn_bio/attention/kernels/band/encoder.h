// A block of an encoder for inference: norm, attention, norm and feed-forward network of one
// sequence after the other, in float32. The values of a sequence stay in the cache of a core.

#pragma once

#include <algorithm>

#include "forward.h"

namespace {

// x * (1 + erf(x / sqrt(2))) / 2. The error of erf is below 1.5e-7 (Abramowitz and Stegun 1964,
// 7.1.26).
INLINE vec gelu(vec x) {
  const vec size = larger(x, -x), z = size * splat(0.707106781f);
  const vec t = splat(1.0f) / fma(z, splat(0.3275911f), splat(1.0f));
  vec p = splat(1.061405429f);
  p = fma(p, t, splat(-1.453152027f));
  p = fma(p, t, splat(1.421413741f));
  p = fma(p, t, splat(-0.284496736f));
  p = fma(p, t, splat(0.254829592f));
  const vec erf = splat(1.0f) - p * t * power_of_two(z * z * splat(-LOG2_E));
  return splat(0.5f) * fma(size, erf, x);
}

// Layer norm of rows of x.
void normalise(const Norm& norm, float eps, const float* x, int64_t rows, int64_t size, float* out) {
  for (const float* end = x + rows * size; x < end; x += size, out += size) {
    vec total = splat(0.0f), squares = splat(0.0f);
    for (int64_t d = 0; d < size; d += W) total = total + load(x + d);
    const vec mean = splat(sum(total) / static_cast<float>(size));
    for (int64_t d = 0; d < size; d += W) {
      const vec centred = load(x + d) - mean;
      squares = fma(centred, centred, squares);
    }
    const vec factor = splat(1.0f / std::sqrt(sum(squares) / static_cast<float>(size) + eps));
    for (int64_t d = 0; d < size; d += W) store(out + d, fma((load(x + d) - mean) * factor, load(norm.scale + d), load(norm.shift + d)));
  }
}

// A linear layer with the weights as products read them: [out / PANEL][in][PANEL]. `in` and `out`
// are multiples of PANEL.
class Layer {
 public:
  Layer(const Linear& layer, int64_t in, int64_t out) : bias_(layer.bias), in_(in), out_(out), weights_(in * out) {
    for (int64_t o = 0; o < out; o += W)
      for (int64_t i = 0; i < in; i += W) {
        vec x[W];
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) x[w] = load(layer.weights + (o + w) * in + i);
        transpose(x);
        float* panel = weights_ + o / PANEL * PANEL * in + i * PANEL + o % PANEL;
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) store(panel + w * PANEL, x[w]);
      }
  }

  // Apply the layer to rows of x, whose number is a multiple of R, and call finish(at, values) for
  // each vector of the result. `at` is its place in the rows of the result.
  template <class Finish>
  INLINE void apply(const float* x, int64_t rows, const Finish& finish) const {
    for (int64_t column = 0; column < out_; column += PANEL)
      for (int64_t row = 0; row < rows; row += R) {
        vec sums[R][2];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
          for (int n = 0; n < 2; ++n) sums[r][n] = load(bias_ + column + n * W);
        multiply<Float32>(sums, x + row * in_, in_, 1, weights_ + column * in_, PANEL, W, in_);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
          for (int n = 0; n < 2; ++n) finish((row + r) * out_ + column + n * W, sums[r][n]);
      }
  }

 private:
  static constexpr int64_t PANEL = 2 * W;
  const float* bias_;
  const int64_t in_, out_;
  Buffer<float> weights_;
};

// Attention over all pairs of one sequence.
template <class Format, int D>
class AllPairs {
 public:
  explicit AllPairs(const Call& c)
      : columns_(up(c.length, W)), band_size_(Shape(c, true).band_size), keys_(columns_), scores_(columns_ * T), tile_(c) {}

  void run(const Call& c) {
    for (int64_t h = 0; h < c.heads; ++h) {
      for (int64_t at = 0; at < columns_; at += W) keys_.pack(c, 0, h, at, at, 0, c.length);
      for (int64_t first = 0; first < c.length; first += T) {
        tile_.load_rows(c, 0, h, first, 0, c.length);
        const Blocks blocks(tile_.labels, keys_.labels, 0, columns_ / W);
        tile_.score_all(keys_, blocks, c.band_bias + h * band_size_ + T + c.left - first, scores_);
        for (int64_t r = 0; r < T; ++r) {
          const float peak = largest(load(tile_.peaks + r * W));
          totals_[r] = sum(exponentiate<Format>(c, scores_ + r * W, blocks.end - blocks.begin, peak == -INFINITY ? 0.0f : peak, 0, 0));
        }
        tile_.add_values(keys_, blocks, scores_);
        for (int64_t r = 0; r < T && first + r < c.length; ++r)
          tile_.store_row(c, 0, h, r, first + r, totals_[r] == 0.0f ? 0.0f : 1.0f / totals_[r]);
      }
    }
  }

 private:
  const int64_t columns_, band_size_;
  Keys<Format, D> keys_;
  Buffer<float> scores_;
  QueryTile<Format, D> tile_;
  float totals_[T];
};

template <class Format, int D>
void encode(const Call& batch) {
  const Block& block = batch.layers;
  const int64_t length = batch.length, rows = up(length, R), size = batch.heads * D, count = length * size;
  const Layer qkv_layer(block.qkv, size, 3 * size), joined(block.joined, size, size);
  const Layer widened(block.widened, size, batch.hidden_size), narrowed(block.narrowed, batch.hidden_size, size);
  Buffer<float> x(rows * size), normed(rows * size), qkv(rows * 3 * size), mixed(rows * size), hidden(rows * batch.hidden_size);
  std::fill(x + count, x + rows * size, 0.0f);  // rows beyond the end
  std::fill(mixed + count, mixed + rows * size, 0.0f);
  Call c = batch;  // attention of one sequence
  c.batches = 1;
  c.q = {qkv, 0, D, 3 * size};
  c.k = {qkv + size, 0, D, 3 * size};
  c.v = {qkv + 2 * size, 0, D, 3 * size};
  c.out = {mixed, 0, D, size};
  AllPairs<Format, D> attention(c);
  const auto add = [&](int64_t at, vec values) { store(x + at, load(x + at) + values); };
  auto* next = reinterpret_cast<std::atomic<int64_t>*>(batch.next);
  for (int64_t b; (b = next->fetch_add(1)) < batch.batches;) {
    std::memcpy(x, block.x + b * count, count * sizeof(float));
    normalise(block.attention_norm, batch.eps, x, rows, size, normed);
    qkv_layer.apply(normed, rows, [&](int64_t at, vec values) { store(qkv + at, values); });
    if (batch.query_label) c.query_label = batch.query_label + b * length;
    if (batch.key_label) c.key_label = batch.key_label + b * length;
    attention.run(c);
    joined.apply(mixed, rows, add);
    normalise(block.feedforward_norm, batch.eps, x, rows, size, normed);
    widened.apply(normed, rows, [&](int64_t at, vec values) { store(hidden + at, gelu(values)); });
    narrowed.apply(hidden, rows, add);
    std::memcpy(block.y + b * count, x, count * sizeof(float));
  }
}

}  // namespace
