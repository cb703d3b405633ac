// Rows and columns of the tensors, packed as products read them.

#pragma once

#include <cmath>
#include <cstring>

#include "interface.h"
#include "products.h"

namespace {

// Labels beyond the ends of the sequence, and of padding. No query has the label OUTSIDE_KEY, and
// no key has OUTSIDE_QUERY.
constexpr int32_t OUTSIDE_KEY = -1, OUTSIDE_QUERY = -2;

// The rows of a head, in the number format of the call.
template <class Format>
typename Format::Item* head_of(const View& x, int64_t b, int64_t h) {
  return static_cast<typename Format::Item*>(x.data) + b * x.batch + h * x.head;
}

int32_t key_label(const Call& c, int64_t b, int64_t j, int64_t begin, int64_t end) {
  return j < begin || j >= end ? OUTSIDE_KEY : c.key_label ? c.key_label[b * c.length + j] : 0;
}

int32_t query_label(const Call& c, int64_t b, int64_t i, int64_t begin, int64_t end) {
  return i < begin || i >= end ? OUTSIDE_QUERY : c.query_label ? c.query_label[b * c.length + i] : 0;
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
template <class Format, int D>
class Rows {
 public:
  using Item = typename Format::Item;
  Rows(const Item* head, int64_t stride, int64_t first, int64_t length) : data_(head + first * stride), stride_(stride) {
    if (first >= 0 && first + T <= length) return;
    data_ = copy_;
    stride_ = D;
    std::memset(copy_, 0, sizeof(copy_));
    for (int64_t r = first < 0 ? -first : 0; r < T && first + r < length; ++r)
      std::memcpy(copy_ + r * D, head + (first + r) * stride, D * sizeof(Item));
  }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  const Item* operator[](int64_t r) const { return data_ + r * stride_; }
  const float* words(int64_t r) const { return reinterpret_cast<const float*>((*this)[r]); }

 private:
  const Item* data_;
  int64_t stride_;
  alignas(64) Item copy_[T * D];
};

// Rows that will soon be read or written. They are far apart in memory, so the CPU does not
// prefetch them, and prefetching all at the same time would stall. Each product of blocks
// prefetches its share.
class Upcoming {
 public:
  // Add T rows of a head, beginning with `first`; rows beyond the ends of the sequence are left
  // out, and so are rows for which there is no more space.
  template <class Item>
  void add(const Item* head, int64_t stride, int64_t first, int64_t length) {
    for (int64_t at = first < 0 ? 0 : first; at < first + T && at < length && count_ < CAPACITY; ++at) rows_[count_++] = head + at * stride;
  }
  // Prefetch the share of one product, with `products` products left.
  template <class Format, int D>
  INLINE void fetch_share(int64_t products) {
    for (const int64_t rest = count_ - count_ / products; count_ > rest;) {
      --count_;
      const auto* row = static_cast<const char*>(rows_[count_]);
      for (int64_t byte = 0; byte < int64_t{4} * D / Format::DEPTH; byte += 64) __builtin_prefetch(row + byte);
    }
  }
  template <class Format, int D>
  void fetch_all() { fetch_share<Format, D>(1); }
  void forget() { count_ = 0; }

 private:
  static constexpr int CAPACITY = 8 * T;  // a tile of the backward pass adds 8 times T rows
  const void* rows_[CAPACITY];
  int count_ = 0;
};

// (T, D) items: each row in words, the left side of products that sum over D
template <class Format, int D>
INLINE void copy_rows(const Rows<Format, D>& from, float* rows) {
  constexpr int64_t WORDS = D / Format::DEPTH;
  for (int64_t r = 0; r < T; ++r) std::memcpy(rows + r * WORDS, from[r], WORDS * sizeof(float));
}

// (T, D) items -> (T / DEPTH, D) words, the right side of products that sum over rows
template <class Format, int D>
INLINE void copy_interleaved(const Rows<Format, D>& from, float* words) {
  for (int64_t r = 0; r < T; r += Format::DEPTH)
    for (int d = 0; d < D; d += W) store(words + r / Format::DEPTH * D + d, Format::words(from[r] + d, from[r + Format::DEPTH - 1] + d));
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

// (W, D) items -> (D / DEPTH, W) words, the right side of products that sum over D
template <class Format, int D>
INLINE void copy_transposed(const Rows<Format, D>& from, float* transposed) {
  constexpr int WORDS = D / Format::DEPTH, FILLED = WORDS < W ? WORDS : W;
  for (int d = 0; d < WORDS; d += W) {
    vec x[W];
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) x[w] = FILLED < W ? Format::zero_padded(from.words(w) + d) : load(from.words(w) + d);
    transpose(x);
#pragma GCC unroll 16
    for (int w = 0; w < FILLED; ++w) store(transposed + (d + w) * W, x[w]);
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

}  // namespace
