// Backward pass: tiles of keys.

#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "packing.h"

namespace {

constexpr int CHUNK = 18;                // blocks of columns whose weights are stored at a time
// stride of a row of weights: a block of zeros on each side for the diagonals
constexpr int STRIDE = (CHUNK + 2) * W;

// Queries of one span, packed when the tiles need them, and their gradient.
template <class Format, int D>
struct Queries {
  static constexpr int64_t WORDS = D / Format::DEPTH;
  Buffer<float> transposed, rows, grad_out_transposed, grad_out;
  Buffer<float> grad;              // before the factor 1 / sqrt(Dh)
  Buffer<float> lse, minus_delta;  // minus_delta: -sum(grad_out * out)
  Buffer<int32_t> labels;
  Buffer<uint32_t> hashes;

  explicit Queries(int64_t columns)
      : transposed(columns * WORDS),
        rows(columns * WORDS),
        grad_out_transposed(columns * WORDS),
        grad_out(columns * WORDS),
        grad(columns * D),
        lse(columns),
        minus_delta(columns),
        labels(columns),
        hashes(columns) {}

  // Fill the W columns from `at` with the queries from `first`. Queries before `begin` and from
  // `end` on are missing.
  void pack(const Call& c, int64_t b, int64_t h, int64_t at, int64_t first, int64_t begin, int64_t end) {
    for (int w = 0; w < W; ++w) labels[at + w] = query_label(c, b, first + w, begin, end);
    if (first + W <= 0 || first >= c.length) return;
    const Rows<Format, D> from(head_of<Format>(c.q, b, h), c.q.row, first, c.length);
    copy_interleaved<Format, D>(from, rows + at * WORDS);
    copy_transposed<Format, D>(from, transposed + at * WORDS);
    const Rows<Format, D> grads(head_of<Format>(c.grad_out, b, h), c.grad_out.row, first, c.length);
    copy_interleaved<Format, D>(grads, grad_out + at * WORDS);
    copy_transposed<Format, D>(grads, grad_out_transposed + at * WORDS);
    std::memset(grad + at * D, 0, W * D * sizeof(float));

    const Rows<Format, D> out(head_of<Format>(c.out, b, h), c.out.row, first, c.length);
    for (int64_t w = 0; w < W; ++w) {
      const int64_t i = first + w;
      vec delta = splat(0.0f);
      for (int d = 0; d < D; d += W) delta = fma(Format::load_item(grads[w] + d), Format::load_item(out[w] + d), delta);
      minus_delta[at + w] = -sum(delta);
      lse[at + w] = i >= 0 && i < c.length ? c.lse[(b * c.heads + h) * c.length + i] : INFINITY;
      if (c.threshold) hashes[at + w] = query_hash(c, b, h, i);
    }
  }

  // Add the gradient of `count` columns from `at` to that of the queries from `first`.
  void add_grad(const Call& c, int64_t b, int64_t h, int64_t at, int64_t first, int64_t count) const {
    auto* head = head_of<Format>(c.grad_q, b, h);
    const vec scale = splat(score_scale(c));
    for (int64_t n = first < 0 ? -first : 0; n < count && first + n < c.length; ++n)
      for (int d = 0; d < D; d += W) {
        auto* to = head + (first + n) * c.grad_q.row + d;
        Format::store_item(to, fma(load(grad + (at + n) * D + d), scale, Format::load_item(to)));
      }
  }
};

// A tile of keys and its gradients.
template <class Format, int D>
struct KeyTile {
  using Item = typename Format::Item;
  static constexpr int DEPTH = Format::DEPTH;
  static constexpr int64_t WORDS = D / DEPTH;
  alignas(64) float rows[T * WORDS];
  alignas(64) float interleaved[T * WORDS];  // the rows, as `copy_interleaved` packs them
  alignas(64) float values[T * WORDS];
  alignas(64) float grad_rows[T * D];  // before the factor 1 / sqrt(Dh)
  alignas(64) float grad_values[T * D];
  alignas(64) Item weights[T * STRIDE];
  // gradients of the scores: float32, items, and words of DEPTH rows
  alignas(64) float grad_scores[T * STRIDE];
  alignas(64) Item grad_items[T * STRIDE];
  alignas(64) float grad_words[T / DEPTH * STRIDE];
  int32_t labels[T];
  uint32_t hashes[T];
  uint32_t threshold;
  float keep_scale;
  float scale;  // log2(e) / sqrt(Dh)
  Upcoming upcoming;

  explicit KeyTile(const Call& c) : threshold(c.threshold), keep_scale(c.keep_scale), scale(score_scale(c) * LOG2_E) {
    std::memset(grad_scores, 0, sizeof(grad_scores));
  }

  // Keys from `end` on are missing.
  void load_rows(const Call& c, int64_t b, int64_t h, int64_t first, int64_t end) {
    const Rows<Format, D> from(head_of<Format>(c.k, b, h), c.k.row, first, end);
    copy_rows<Format, D>(from, rows);
    copy_interleaved<Format, D>(from, interleaved);
    copy_rows<Format, D>(Rows<Format, D>(head_of<Format>(c.v, b, h), c.v.row, first, end), values);
    for (int r = 0; r < T; ++r) {
      labels[r] = key_label(c, b, first + r, 0, end);
      hashes[r] = static_cast<uint32_t>(first + r) * GOLDEN;
    }
    std::memset(grad_rows, 0, sizeof(grad_rows));
    std::memset(grad_values, 0, sizeof(grad_values));
  }

  // Write the weights of N blocks from column `at`, and the gradients of their scores, to position
  // `to` of their rows. The bias of row r is at bias - r.
  template <int N, bool labelled, bool dropping>
  INLINE void weigh(const Queries<Format, D>& queries, int64_t at, const float* bias, int64_t to) {
    for (int half = 0; half < T; half += R) {
      alignas(64) float weight[R * N * W];
      vec s[R][N];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) s[r][n] = splat(0.0f);
      multiply<Format>(s, rows + half * WORDS, WORDS, 1, queries.transposed + at * WORDS, W, WORDS * W, WORDS);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
          s[r][n] = fma(s[r][n], splat(scale), load(bias - half - r + n * W) - load(queries.lse + at + n * W));
          if (labelled) s[r][n] = where_equal(queries.labels + at + n * W, labels[half + r], s[r][n], -INFINITY);
          store(weight + (r * N + n) * W, Format::power(s[r][n]));
        }

      vec g[R][N];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) g[r][n] = dropping ? splat(0.0f) : load(queries.minus_delta + at + n * W);
      multiply<Format>(g, values + half * WORDS, WORDS, 1, queries.grad_out_transposed + at * WORDS, W, WORDS * W, WORDS);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        vec p[N];
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
          p[n] = load(weight + (r * N + n) * W);
          if (dropping) {
            const ivec hash = mixed(exclusive_or(load_int(queries.hashes + at + n * W), splat_int(hashes[half + r])));
            const vec keep = where_at_least(hash, threshold, splat(keep_scale));
            g[r][n] = fma(keep, g[r][n], load(queries.minus_delta + at + n * W)) * p[n];
            p[n] = p[n] * keep;
          } else {
            g[r][n] = g[r][n] * p[n];
          }
          store(grad_scores + (half + r) * STRIDE + to + n * W, g[r][n]);
        }
        Format::template store_items<N>(weights + (half + r) * STRIDE + to, p);
        if constexpr (DEPTH > 1) Format::template store_items<N>(grad_items + (half + r) * STRIDE + to, g[r]);
      }
      if constexpr (DEPTH > 1)
#pragma GCC unroll 8
        for (int r = 0; r < R; r += DEPTH)
#pragma GCC unroll 4
          for (int n = 0; n < N; ++n)
            store(grad_words + (half + r) / DEPTH * STRIDE + to + n * W, Format::words(g[r][n], g[r + DEPTH - 1][n]));
    }
  }

  template <bool labelled, bool dropping>
  void weigh_all(const Queries<Format, D>& queries, int64_t begin, int64_t end, const float* bias) {
    int64_t k = begin;
    for (; k + 2 <= end; k += 2) {
      upcoming.template fetch_share<Format, D>((end - k) / 2);
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
  void add_grads(const Queries<Format, D>& queries, const Blocks& blocks, const float* bias, float* bias_grad) {
    for (int64_t begin = blocks.begin; begin < blocks.end; begin += CHUNK) {
      const int64_t end = begin + CHUNK < blocks.end ? begin + CHUNK : blocks.end, at = begin * W, columns = (end - begin) * W;
      if (threshold)
        weigh_all<true, true>(queries, begin, end, bias);
      else if (blocks.labelled)
        weigh_all<true, false>(queries, begin, end, bias);
      else
        weigh_all<false, false>(queries, begin, end, bias);

      const auto* kept = reinterpret_cast<const float*>(weights + W);
      const auto* by_key = DEPTH == 1 ? grad_scores + W : reinterpret_cast<const float*>(grad_items + W);
      const auto* by_query = (DEPTH == 1 ? grad_scores : grad_words) + W;
      for (int half = 0; half < T; half += R) {
        const int64_t row = half * STRIDE / DEPTH;
        add_weighted<Format, D>(grad_values + half * D, kept + row, STRIDE / DEPTH, 1, queries.grad_out + at * WORDS, columns / DEPTH);
        add_weighted<Format, D>(grad_rows + half * D, by_key + row, STRIDE / DEPTH, 1, queries.rows + at * WORDS, columns / DEPTH);
      }
      // the transpose of the gradients of the scores: one row per query
      for (int64_t i = 0; i < columns; i += R)
        add_weighted<Format, D>(queries.grad + (at + i) * D, by_query + i, 1, STRIDE, interleaved, T / DEPTH);
      if (bias_grad) add_diagonals(bias_grad + at, end - begin);
    }
  }

  // Store `count` rows of the two gradients as To::Item, or add them to those that are there.
  template <class To, bool adding>
  void store_grads(const Call& c, typename To::Item* grad_k, int64_t k_stride, typename To::Item* grad_v, int64_t v_stride, int64_t count) const {
    const vec factor = splat(score_scale(c));
    for (int64_t r = 0; r < count; ++r)
      for (int d = 0; d < D; d += W) {
        auto *to_k = grad_k + r * k_stride + d, *to_v = grad_v + r * v_stride + d;
        const vec of_k = load(grad_rows + r * D + d) * factor, of_v = load(grad_values + r * D + d);
        To::store_item(to_k, adding ? of_k + To::load_item(to_k) : of_k);
        To::store_item(to_v, adding ? of_v + To::load_item(to_v) : of_v);
      }
  }
};

// All global keys with the queries of one span that are outside their band. `queries` contains
// these queries, and no other span processes them.
template <class Format, int D>
void backward_global(const Call& c, const Shape& shape, const Unit& unit, Queries<Format, D>& queries, int64_t packed,
                     KeyTile<Format, D>& tile) {
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
    tile.add_grads(queries, blocks, c.global_bias + unit.h * shape.global_size + shape.far + T - first + column_zero,
                   c.global_grad ? c.global_grad + unit.number * shape.global_grad_size + shape.globals + T - first : nullptr);
    const int64_t at = (unit.number * shape.globals + first) * D;
    tile.template store_grads<Float32, false>(c, c.global_grad_k + at, D, c.global_grad_v + at, D, T);
  }
  queries.add_grad(c, unit.b, unit.h, begin * W, column_zero + begin * W, (end - begin) * W);
}

// The keys of one span with the queries around them.
template <class Format, int D>
void backward_span(const Call& c, const Shape& shape, const Unit& unit, Queries<Format, D>& queries, KeyTile<Format, D>& tile) {
  const int64_t b = unit.b, h = unit.h, start = unit.start, stop = unit.stop;
  auto *grad_k = head_of<Format>(c.grad_k, b, h), *grad_v = head_of<Format>(c.grad_v, b, h);
  int64_t packed = 0;
  for (int64_t first = start; first < stop; first += T) {
    const int64_t column = first - start;  // column of the query first - before
    for (; packed < column + shape.blocks * W; packed += W) queries.pack(c, b, h, packed, start - shape.before + packed, c.num_rows, c.length);
    tile.load_rows(c, b, h, first, c.length);
    tile.upcoming.forget();
    tile.upcoming.add(head_of<Format>(c.q, b, h), c.q.row, start - shape.before + packed, c.length);
    tile.upcoming.add(head_of<Format>(c.grad_out, b, h), c.grad_out.row, start - shape.before + packed, c.length);
    tile.upcoming.add(head_of<Format>(c.out, b, h), c.out.row, start - shape.before + packed, c.length);
    tile.upcoming.add(head_of<Format>(c.k, b, h), c.k.row, first + T, c.length);
    tile.upcoming.add(head_of<Format>(c.v, b, h), c.v.row, first + T, c.length);
    tile.upcoming.add(head_of<Format>(c.grad_q, b, h), c.grad_q.row, first - shape.before, c.length);
    tile.upcoming.add(grad_k, c.grad_k.row, first, c.length);
    tile.upcoming.add(grad_v, c.grad_v.row, first, c.length);

    const Blocks blocks(tile.labels, queries.labels, column / W, shape.blocks);
    tile.add_grads(queries, blocks, c.band_bias + h * shape.band_size + T - column,
                   c.band_grad ? c.band_grad + unit.number * shape.band_size + T - column : nullptr);
    tile.template store_grads<Format, false>(c, grad_k + first * c.grad_k.row, c.grad_k.row, grad_v + first * c.grad_v.row,
                                             c.grad_v.row, stop - first < T ? stop - first : T);
    // No later tile uses the first T columns of this one. The last tile adds all its columns.
    queries.add_grad(c, b, h, column, first - shape.before, first + T < stop ? T : packed - column);
  }
  if (shape.globals) backward_global<Format, D>(c, shape, unit, queries, packed, tile);
}

constexpr int64_t AHEAD = 4 * T;  // rows from those in use to those that are prefetched

// The pairs of a head that are in no span: those of the first queries with all keys, and those of
// sampled blocks.
template <class Format, int D>
void backward_head(const Call& c, const Shape& shape, int64_t b, int64_t h, Queries<Format, D>& rows, Queries<Format, D>& queries,
                   KeyTile<Format, D>& tile) {
  const int64_t num_rows = up(c.num_rows, W);
  for (int64_t at = 0; at < num_rows; at += W) rows.pack(c, b, h, at, at, 0, c.num_rows);
  tile.upcoming.forget();
  for (int64_t at = 0; at < shape.longest; at += W) {
    for (const View* x : {&c.q, &c.grad_out, &c.out}) tile.upcoming.add(head_of<Format>(*x, b, h), x->row, at + AHEAD, c.length);
    tile.upcoming.template fetch_all<Format, D>();
    queries.pack(c, b, h, at, at, c.num_rows, c.length);
  }
  // for each block of keys, the blocks of queries that attend to it
  std::vector<std::vector<int64_t>> attending(shape.longest / c.block);
  std::vector<int64_t> sampled(c.count);
  for (size_t block = 0; block < attending.size(); ++block)
    for (int64_t n = sampled_for(c, b, static_cast<int64_t>(block), sampled.data()); n-- > 0;)
      attending[sampled[n]].push_back(static_cast<int64_t>(block));

  for (int64_t first = 0; first < c.length; first += T) {
    tile.load_rows(c, b, h, first, c.length);
    tile.upcoming.forget();
    for (const View* x : {&c.k, &c.v}) tile.upcoming.add(head_of<Format>(*x, b, h), x->row, first + T, c.length);
    for (const View* x : {&c.grad_k, &c.grad_v}) tile.upcoming.add(head_of<Format>(*x, b, h), x->row, first, c.length);
    const int64_t bias = h * shape.global_size + shape.far + T - first;
    float* bias_grad = c.far_grad ? c.far_grad + b * c.heads * shape.global_size + bias : nullptr;
    tile.add_grads(rows, Blocks(tile.labels, rows.labels, 0, num_rows / W), c.row_bias + bias, bias_grad);
    for (int64_t r = 0; r < T && first + r < c.num_global; ++r) tile.labels[r] = OUTSIDE_KEY;  // their pairs are in spans
    for (const int64_t block : attending[first / c.block])
      tile.add_grads(queries, Blocks(tile.labels, queries.labels, block * c.block / W, c.block / W), c.global_bias + bias, bias_grad);
    tile.template store_grads<Format, true>(c, head_of<Format>(c.grad_k, b, h) + first * c.grad_k.row, c.grad_k.row,
                                            head_of<Format>(c.grad_v, b, h) + first * c.grad_v.row, c.grad_v.row,
                                            c.length - first < T ? c.length - first : T);
  }
  rows.add_grad(c, b, h, 0, 0, num_rows);
  tile.upcoming.forget();
  for (int64_t at = 0; at < shape.longest; at += T) {
    tile.upcoming.add(head_of<Format>(c.grad_q, b, h), c.grad_q.row, at + AHEAD, c.length);
    tile.upcoming.template fetch_all<Format, D>();
    queries.add_grad(c, b, h, at, at, T);
  }
}

// Phase 0 takes the even spans and phase 1 the odd ones, because adjacent spans add to the same
// queries. Phase 2 takes heads.
template <class Format, int D>
void backward_spans(const Call& c) {
  const Shape shape(c, false);
  Queries<Format, D> queries(c.phase == 2 ? shape.longest : shape.columns);
  const auto tile = std::make_unique<KeyTile<Format, D>>(c);
  auto* next = reinterpret_cast<std::atomic<int64_t>*>(c.next);
  if (c.phase == 2) {
    Queries<Format, D> rows(up(c.num_rows, W));
    for (int64_t number; (number = next->fetch_add(1)) < c.batches * c.heads;)
      backward_head<Format, D>(c, shape, number / c.heads, number % c.heads, rows, queries, *tile);
    return;
  }
  for (int64_t number; (number = next->fetch_add(1)) < Unit::count(c, shape);) {
    const Unit unit(c, shape, number);
    if (unit.span % 2 == c.phase) backward_span<Format, D>(c, shape, unit, queries, *tile);
  }
}

}  // namespace
