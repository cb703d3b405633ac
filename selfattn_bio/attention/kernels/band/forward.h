// Forward pass: tiles of queries.

#pragma once

#include <atomic>
#include <cstring>

#include "packing.h"

namespace {

// Keys and values of one span, packed when the tiles need them.
template <class Format, int D>
struct Keys {
  static constexpr int64_t WORDS = D / Format::DEPTH;
  Buffer<float> transposed, values;  // [block][D / DEPTH][W], [column / DEPTH][D]
  Buffer<int32_t> labels;

  explicit Keys(int64_t columns) : transposed(columns * WORDS), values(columns * WORDS), labels(columns) {}

  // Fill the W columns from `at` with the keys from `first`. Keys from `end` on are missing.
  void pack(const Call& c, int64_t b, int64_t h, int64_t at, int64_t first, int64_t end) {
    for (int w = 0; w < W; ++w) labels[at + w] = key_label(c, b, first + w, end);
    if (first + W <= 0 || first >= end) return;
    copy_transposed<Format, D>(Rows<Format, D>(head_of<Format>(c.k, b, h), c.k.row, first, end), transposed + at * WORDS);
    copy_interleaved<Format, D>(Rows<Format, D>(head_of<Format>(c.v, b, h), c.v.row, first, end), values + at * WORDS);
  }
};

// A tile of queries and its softmax.
template <class Format, int D>
struct QueryTile {
  static constexpr int64_t WORDS = D / Format::DEPTH;
  alignas(64) float rows[T * WORDS];
  alignas(64) float out[T * D];
  alignas(64) float peaks[T * W];  // largest score so far, for each lane
  int32_t labels[T];
  float scale;  // log2(e) / sqrt(Dh)
  Upcoming upcoming;

  explicit QueryTile(const Call& c) : scale(score_scale(c) * LOG2_E) {}

  void load_rows(const Call& c, int64_t b, int64_t h, int64_t first) {
    copy_rows<Format, D>(Rows<Format, D>(head_of<Format>(c.q, b, h), c.q.row, first, c.length), rows);
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
        for (int n = 0; n < N; ++n) s[r][n] = splat(0.0f);
      multiply<Format>(s, rows + half * WORDS, WORDS, 1, keys, W, WORDS * W, WORDS);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        vec peak = load(peaks + (half + r) * W);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
          s[r][n] = fma(s[r][n], splat(scale), load(bias - half - r + n * W));
          if (labelled) s[r][n] = where_equal(key_labels + n * W, labels[half + r], s[r][n], -INFINITY);
          store(scores + (n * T + half + r) * W, s[r][n]);
          peak = larger(peak, s[r][n]);
        }
        store(peaks + (half + r) * W, peak);
      }
    }
  }

  template <bool labelled>
  void score_all(const Keys<Format, D>& keys, const Blocks& blocks, const float* bias, float* scores) {
    int64_t k = blocks.begin;
    for (; k + 2 <= blocks.end; k += 2, scores += 2 * T * W) {
      upcoming.template fetch_share<Format, D>((blocks.end - k) / 2);
      score<2, labelled>(keys.transposed + k * W * WORDS, keys.labels + k * W, bias + k * W, scores);
    }
    if (k < blocks.end) score<1, labelled>(keys.transposed + k * W * WORDS, keys.labels + k * W, bias + k * W, scores);
  }

  void score_all(const Keys<Format, D>& keys, const Blocks& blocks, const float* bias, float* scores) {
    if (blocks.labelled)
      score_all<true>(keys, blocks, bias, scores);
    else
      score_all<false>(keys, blocks, bias, scores);
  }

  void add_values(const Keys<Format, D>& keys, const Blocks& blocks, const float* weights) {
    for (int half = 0; half < T; half += R)
      add_weighted<Format, D>(out + half * D, weights + half * W, W, 1, keys.values + blocks.begin * W * WORDS, W / Format::DEPTH,
                              blocks.end - blocks.begin, T * W);
  }
};

// A row of scores, which becomes a row of weights in place: the items of a block are at the start of
// its scores.
template <class Format, bool dropping>
INLINE vec exponentiate(float* scores, int64_t blocks, float peak, uint32_t query, int64_t first, uint32_t threshold) {
  vec total = splat(0.0f);
  for (int64_t k = 0; k < blocks; ++k, scores += T * W) {
    vec p = Format::power(load(scores) - splat(peak));
    total = total + p;
    if (dropping) {
      const ivec keys = multiply_int(count_from(static_cast<uint32_t>(first + k * W)), splat_int(GOLDEN));
      p = where_at_least(mixed(exclusive_or(keys, splat_int(query))), threshold, p);
    }
    Format::store_item(reinterpret_cast<typename Format::Item*>(scores), p);
  }
  return total;
}

// Return whether one of the T queries from `first` may attend to a global key outside its band.
bool out_of_band(const Call& c, int64_t first) { return first + T - 1 > c.left || (c.right > 0 && c.num_global - 1 - first > c.right); }

template <class Format, int D>
void forward_spans(const Call& c) {
  const Shape shape(c, true);
  Keys<Format, D> keys(shape.columns), global_keys(shape.globals);
  Buffer<float> scores((shape.globals + shape.blocks * W) * T);
  QueryTile<Format, D> tile(c);

  auto* next = reinterpret_cast<std::atomic<int64_t>*>(c.next);
  for (int64_t number; (number = next->fetch_add(1)) < Unit::count(c, shape);) {
    const Unit unit(c, shape, number);
    const int64_t b = unit.b, h = unit.h, start = unit.start, stop = unit.stop;
    for (int64_t at = 0; at < shape.globals; at += W) global_keys.pack(c, b, h, at, at, c.num_global);
    auto* out = head_of<Format>(c.out, b, h);
    int64_t packed = 0;

    for (int64_t first = start; first < stop; first += T) {
      const int64_t column = first - start;  // column of the key first - before
      for (; packed < column + shape.blocks * W; packed += W) keys.pack(c, b, h, packed, start - shape.before + packed, c.length);
      tile.load_rows(c, b, h, first);
      tile.upcoming.forget();
      tile.upcoming.add(head_of<Format>(c.q, b, h), c.q.row, first + T, c.length);
      tile.upcoming.add(head_of<Format>(c.k, b, h), c.k.row, start - shape.before + packed, c.length);
      tile.upcoming.add(head_of<Format>(c.v, b, h), c.v.row, start - shape.before + packed, c.length);
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
        const uint32_t query = query_hash(c, b, h, first + r);
        const auto weigh = [&](float* of, int64_t blocks, int64_t key) {
          return c.threshold ? exponentiate<Format, true>(of + r * W, blocks, peak, query, key, c.threshold)
                             : exponentiate<Format, false>(of + r * W, blocks, peak, query, key, c.threshold);
        };
        const float total = sum(weigh(scores, num_far, far.begin * W) +
                                weigh(near_scores, num_near, start - shape.before + near.begin * W));
        factors[r] = total == 0.0f ? 0.0f : c.keep_scale / total;
        c.lse[(b * c.heads + h) * c.length + first + r] = total == 0.0f ? INFINITY : peak + std::log2(total);
      }
      tile.add_values(global_keys, far, scores);
      tile.add_values(keys, near, near_scores);
      for (int r = 0; r < T && first + r < stop; ++r)
        for (int d = 0; d < D; d += W) Format::store_item(out + (first + r) * c.out.row + d, load(tile.out + r * D + d) * splat(factors[r]));
    }
  }
}

}  // namespace
