// Forward pass: tiles of queries.

#pragma once

#include <atomic>
#include <cstring>
#include <vector>

#include "packing.h"

namespace {

// Keys and values of one span, packed when the tiles need them.
template <class Format, int D>
struct Keys {
  static constexpr int64_t WORDS = D / Format::DEPTH;
  Buffer<float> transposed, values;  // [block][D / DEPTH][W], [column / DEPTH][D]
  Buffer<int32_t> labels;

  explicit Keys(int64_t columns) : transposed(columns * WORDS), values(columns * WORDS), labels(columns) {}

  // Fill the W columns from `at` with the keys from `first`. Keys before `begin` and from `end` on
  // are missing.
  void pack(const Call& c, int64_t b, int64_t h, int64_t at, int64_t first, int64_t begin, int64_t end) {
    for (int w = 0; w < W; ++w) labels[at + w] = key_label(c, b, first + w, begin, end);
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

  // Queries before `begin` and from `end` on are missing.
  void load_rows(const Call& c, int64_t b, int64_t h, int64_t first, int64_t begin, int64_t end) {
    copy_rows<Format, D>(Rows<Format, D>(head_of<Format>(c.q, b, h), c.q.row, first, c.length), rows);
    for (int r = 0; r < T; ++r) {
      labels[r] = query_label(c, b, first + r, begin, end);
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

  // Store row r, multiplied by `factor`.
  void store_row(const Call& c, int64_t b, int64_t h, int64_t r, int64_t query, float factor) const {
    auto* to = head_of<Format>(c.out, b, h) + query * c.out.row;
    for (int d = 0; d < D; d += W) Format::store_item(to + d, load(out + r * D + d) * splat(factor));
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

template <class Format>
vec exponentiate(const Call& c, float* scores, int64_t blocks, float peak, uint32_t query, int64_t first) {
  return c.threshold ? exponentiate<Format, true>(scores, blocks, peak, query, first, c.threshold)
                     : exponentiate<Format, false>(scores, blocks, peak, query, first, c.threshold);
}

// Return whether one of the T queries from `first` may attend to a global key outside its band.
bool out_of_band(const Call& c, int64_t first) { return first + T - 1 > c.left || (c.right > 0 && c.num_global - 1 - first > c.right); }

// Keys that a tile attends to, and its scores.
template <class Format, int D>
struct Segment {
  const Keys<Format, D>& keys;
  Blocks blocks;
  int64_t key;        // of column 0
  const float* bias;  // of row 0, column 0
  float* scores;
};

constexpr int64_t CHUNK_KEYS = 256;  // keys that the rows process at a time

// The first queries of a head, which attend to all keys: a running softmax over chunks of keys.
template <class Format, int D>
void forward_rows(const Call& c, const Shape& shape, int64_t b, int64_t h) {
  Keys<Format, D> keys(CHUNK_KEYS);
  Buffer<float> scores(CHUNK_KEYS * T);
  const int64_t count = up(c.num_rows, T);
  std::vector<QueryTile<Format, D>> tiles(count / T, QueryTile<Format, D>(c));
  // the peak that the weights so far are relative to, and their sum
  std::vector<float> peaks(count), totals(count);
  for (int64_t first = 0; first < count; first += T) tiles[first / T].load_rows(c, b, h, first, 0, c.num_rows);
  for (int64_t begin = 0; begin < c.length; begin += CHUNK_KEYS) {
    for (int64_t at = 0; at < CHUNK_KEYS; at += W) keys.pack(c, b, h, at, begin + at, 0, c.length);
    for (int64_t first = 0; first < count; first += T) {
      auto& tile = tiles[first / T];
      const Blocks blocks(tile.labels, keys.labels, 0, CHUNK_KEYS / W);
      tile.score_all(keys, blocks, c.row_bias + h * shape.global_size + shape.longest + T - first + begin, scores);
      for (int64_t r = 0; r < T && first + r < c.num_rows; ++r) {
        float peak = largest(load(tile.peaks + r * W)), &total = totals[first + r];
        if (peak == -INFINITY) peak = 0.0f;
        const float factor = total == 0.0f ? 0.0f : std::exp2(peaks[first + r] - peak);
        peaks[first + r] = peak;
        total = total * factor + sum(exponentiate<Format>(c, scores + r * W, blocks.end - blocks.begin, peak,
                                                          query_hash(c, b, h, first + r), begin + blocks.begin * W));
        for (int d = 0; d < D; d += W) store(tile.out + r * D + d, load(tile.out + r * D + d) * splat(factor));
      }
      tile.add_values(keys, blocks, scores);
    }
  }
  for (int64_t i = 0; i < c.num_rows; ++i) {
    tiles[i / T].store_row(c, b, h, i % T, i, totals[i] == 0.0f ? 0.0f : c.keep_scale / totals[i]);
    c.lse[(b * c.heads + h) * c.length + i] = totals[i] == 0.0f ? INFINITY : peaks[i] + std::log2(totals[i]);
  }
}

template <class Format, int D>
void forward_spans(const Call& c) {
  const Shape shape(c, true);
  Keys<Format, D> keys(shape.columns), global_keys(shape.globals), sampled_keys(c.count * c.block);
  Buffer<float> scores((shape.globals + shape.blocks * W + c.count * c.block) * T);
  QueryTile<Format, D> tile(c);
  std::vector<Segment<Format, D>> segments;
  std::vector<int64_t> sampled(c.count);

  auto* next = reinterpret_cast<std::atomic<int64_t>*>(c.next);
  const int64_t heads = c.num_rows ? c.batches * c.heads : 0;  // units of `forward_rows`
  for (int64_t number; (number = next->fetch_add(1)) < heads + Unit::count(c, shape);) {
    if (number < heads) {
      forward_rows<Format, D>(c, shape, number / c.heads, number % c.heads);
      continue;
    }
    const Unit unit(c, shape, number - heads);
    const int64_t b = unit.b, h = unit.h, start = unit.start, stop = unit.stop;
    for (int64_t at = 0; at < shape.globals; at += W) global_keys.pack(c, b, h, at, at, 0, c.num_global);
    int64_t packed = 0, num_sampled = 0;

    for (int64_t first = start; first < stop; first += T) {
      const int64_t column = first - start;  // column of the key first - before
      for (; packed < column + shape.blocks * W; packed += W) keys.pack(c, b, h, packed, start - shape.before + packed, 0, c.length);
      if (c.count && (first == start || first % c.block == 0)) {
        num_sampled = sampled_for(c, b, first / c.block, sampled.data());
        for (int64_t at = 0; at < num_sampled * c.block; at += W)
          sampled_keys.pack(c, b, h, at, sampled[at / c.block] * c.block + at % c.block, c.num_global, c.length);
      }
      tile.load_rows(c, b, h, first, c.num_rows, c.length);
      tile.upcoming.forget();
      tile.upcoming.add(head_of<Format>(c.q, b, h), c.q.row, first + T, c.length);
      tile.upcoming.add(head_of<Format>(c.k, b, h), c.k.row, start - shape.before + packed, c.length);
      tile.upcoming.add(head_of<Format>(c.v, b, h), c.v.row, start - shape.before + packed, c.length);
      tile.upcoming.add(head_of<Format>(c.out, b, h), c.out.row, first, c.length);

      segments.clear();
      float* free = scores;
      const auto add = [&](const Keys<Format, D>& of, int64_t block, int64_t count, int64_t key, const float* bias) {
        const Blocks blocks(tile.labels, of.labels, block, count);
        segments.push_back({of, blocks, key, bias, free});
        free += (blocks.end - blocks.begin) * T * W;
      };
      const float* far_bias = c.global_bias + h * shape.global_size + shape.longest + T - first;
      add(global_keys, 0, out_of_band(c, first) ? shape.globals / W : 0, 0, far_bias);
      add(keys, column / W, shape.blocks, start - shape.before, c.band_bias + h * shape.band_size + T - column);
      for (int64_t n = 0; n < num_sampled; ++n) {
        const int64_t key = (sampled[n] - n) * c.block;
        add(sampled_keys, n * c.block / W, c.block / W, key, far_bias + key);
      }
      for (const auto& each : segments) tile.score_all(each.keys, each.blocks, each.bias, each.scores);

      const int64_t begin = c.num_rows > first ? c.num_rows - first : 0;  // earlier ones are in `forward_rows`
      float factors[T];
      for (int64_t r = begin; r < T && first + r < stop; ++r) {
        float peak = largest(load(tile.peaks + r * W));
        // no allowed keys: the weights become 0 instead of NaN
        if (peak == -INFINITY) peak = 0.0f;
        const uint32_t query = query_hash(c, b, h, first + r);
        vec weights = splat(0.0f);
        for (const auto& each : segments)
          weights = weights + exponentiate<Format>(c, each.scores + r * W, each.blocks.end - each.blocks.begin, peak, query,
                                                   each.key + each.blocks.begin * W);
        const float total = sum(weights);
        factors[r] = total == 0.0f ? 0.0f : c.keep_scale / total;
        c.lse[(b * c.heads + h) * c.length + first + r] = total == 0.0f ? INFINITY : peak + std::log2(total);
      }
      for (const auto& each : segments) tile.add_values(each.keys, each.blocks, each.scores);
      for (int64_t r = begin; r < T && first + r < stop; ++r) tile.store_row(c, b, h, r, first + r, factors[r]);
    }
  }
}

}  // namespace
