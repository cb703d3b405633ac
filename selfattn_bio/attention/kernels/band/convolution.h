// A convolution of tokens, as sums of rows of a table, and the maxima of groups of positions.
//
// Sums have the same order as those of torch in model/convolution.py, so that results are equal to
// the bit, for any number of threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "interface.h"

// `run_on_tokens` passes the same fields in the same order.
struct TokenCall {
  int64_t records, length, kernel, vocabulary, channels;
  int64_t pool;   // positions of a group
  int64_t piece;  // tokens whose gradients are added before their sum is added to the table; 0: it needs no gradient
  int64_t shifts;
  int64_t threads;
  float* table;           // (kernel, vocabulary, channels): products, or their gradient, which is 0 at first
  const int64_t* tokens;  // (records, length + kernel - 1)
  const bool* mask;       // (records, length): which positions may be a maximum
  float* maxima;          // (records, groups, channels), or their gradient; 0 for groups without position
  int32_t* at;            // (records, groups, channels): position of the maximum in its group; unused if pool is 1
  // (shifts, length, channels): row i is added to the sums of the records i, i + shifts, ...; or its
  // gradient, which is 0 at first
  float* shift;

  int64_t groups() const { return (length + pool - 1) / pool; }
  int64_t width() const { return length + kernel - 1; }
  bool has_bad_token() const {
    return std::any_of(tokens, tokens + records * width(), [this](int64_t token) { return token < 0 || token >= vocabulary; });
  }
};

namespace {

// Channels and positions of the kernel whose gradients are added together, in registers
constexpr int CHANNELS = 32, TAPS = R / 2;
typedef float Lanes __attribute__((vector_size(4 * W)));
typedef int32_t Places __attribute__((vector_size(4 * W)));

// Write the maxima of a group in count x W channels, or in the last channels if they are fewer.
template <int count, bool is_last = false>
void maxima_of_group(const TokenCall& c, int64_t record, int64_t group, int64_t channel) {
  const size_t lanes = is_last ? static_cast<size_t>(c.channels - channel) : W;
  const int64_t start = group * c.pool, stop = std::min(start + c.pool, c.length);
  Lanes best[count] = {};
  Places place[count] = {};
  bool is_first = true;
  for (int64_t n = start; n < stop; ++n) {
    if (!c.mask[record * c.length + n]) continue;
    const int64_t* tokens = c.tokens + record * c.width() + n;
    Lanes sum[count] = {};
    for (int64_t k = 0; k < c.kernel; ++k) {
      const float* row = c.table + (k * c.vocabulary + tokens[k]) * c.channels + channel;
      for (int j = 0; j < count; ++j) {
        Lanes x = {};
        std::memcpy(&x, row + j * W, lanes * sizeof(float));
        sum[j] += x;
      }
    }
    for (int j = 0; j < count && c.shifts; ++j) {
      Lanes x = {};
      std::memcpy(&x, c.shift + (record % c.shifts * c.length + n) * c.channels + channel + j * W, lanes * sizeof(float));
      sum[j] += x;
    }
    for (int j = 0; j < count; ++j) {
      // NaN is larger, as in torch
      const Places larger = is_first ? Places{} == 0 : (sum[j] > best[j]) | (sum[j] != sum[j]);
      best[j] = larger ? sum[j] : best[j];
      place[j] = larger ? Places{} + static_cast<int32_t>(n - start) : place[j];
    }
    is_first = false;
  }
  for (int j = 0; j < count; ++j) {
    const int64_t to = (record * c.groups() + group) * c.channels + channel + j * W;
    std::memcpy(c.maxima + to, &best[j], lanes * sizeof(float));
    if (c.pool > 1) std::memcpy(c.at + to, &place[j], lanes * sizeof(int32_t));
  }
}

// Call work(unit) for each unit, in several threads, or in fewer if no more can be started.
template <typename Work>
void for_units(int64_t units, int64_t threads, const Work& work) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  const auto run = [&] {
    try {
      for (int64_t unit; (unit = next.fetch_add(1)) < units;) work(unit);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  };
  std::vector<std::thread> others;
  try {
    for (int64_t i = 1; i < std::min(units, threads); ++i) others.emplace_back(run);
  } catch (const std::system_error&) {
  }
  run();
  for (std::thread& other : others) other.join();
  if (failed) throw std::bad_alloc();
}

void token_maxima(const TokenCall& c) {
  for_units(c.records, c.threads, [&](int64_t record) {
    for (int64_t group = 0; group < c.groups(); ++group) {
      int64_t channel = 0;
      for (; channel + 4 * W <= c.channels; channel += 4 * W) maxima_of_group<4>(c, record, group, channel);
      for (; channel + W <= c.channels; channel += W) maxima_of_group<1>(c, record, group, channel);
      if (channel < c.channels) maxima_of_group<1, true>(c, record, group, channel);
    }
  });
}

// Add the gradients of the maxima of all records to those of their shifts.
void shift_gradient(const TokenCall& c) {
  for_units(c.shifts, c.threads, [&](int64_t shift) {
    for (int64_t record = shift; record < c.records; record += c.shifts)
      for (int64_t group = 0; group < c.groups(); ++group) {
        const int64_t from = (record * c.groups() + group) * c.channels, start = group * c.pool;
        for (int64_t d = 0; d < c.channels; ++d) {
          const int64_t n = start + (c.pool > 1 ? c.at[from + d] : 0);
          if (c.mask[record * c.length + n]) c.shift[(shift * c.length + n) * c.channels + d] += c.maxima[from + d];
        }
      }
  });
}

// Write the gradient of a position, which is 0 unless it is a maximum. Positions are counted with
// kernel - 1 others between the records.
void position_gradient(const TokenCall& c, int64_t number, int64_t channel, float* row) {
  const int64_t record = number / c.width(), n = number % c.width();
  std::fill_n(row, CHANNELS, 0.0f);
  if (number < 0 || record >= c.records || n >= c.length || !c.mask[record * c.length + n]) return;
  const int64_t from = (record * c.groups() + n / c.pool) * c.channels + channel;
  const int64_t size = std::min<int64_t>(CHANNELS, c.channels - channel);
  const float* __restrict gradient = c.maxima + from;
  const int32_t* __restrict at = c.at + from;
  const int32_t place = static_cast<int32_t>(n % c.pool);
  if (c.pool == 1) std::copy_n(gradient, size, row);
  else
    for (int64_t d = 0; d < size; ++d) row[d] = at[d] == place ? gradient[d] : 0.0f;
}

// Add the gradients that tokens get by the positions k, ..., k + count - 1 of the kernel to the table.
template <int count>
void add_rows(const TokenCall& c, const int64_t* begin, const int64_t* end, const float* rows, int64_t k, float* table, int64_t size) {
  Lanes sums[count][CHANNELS / W] = {};
  for (const int64_t* at = begin; at < end; ++at)
    for (int i = 0; i < count; ++i)
      for (int j = 0; j < CHANNELS / W; ++j) {
        Lanes x;
        std::memcpy(&x, rows + (*at + c.kernel - 1 - k - i) * CHANNELS + j * W, sizeof x);
        sums[i][j] += x;
      }
  for (int i = 0; i < count; ++i)
    for (int64_t d = 0; d < size; ++d) table[(k + i) * c.vocabulary * c.channels + d] += sums[i][d / W][d % W];
}

void token_gradient(const TokenCall& c) {
  shift_gradient(c);
  if (!c.piece) return;
  const int64_t blocks = (c.channels + CHANNELS - 1) / CHANNELS, all = c.records * c.width();
  for_units(blocks, c.threads, [&](int64_t block) {
    const int64_t channel = block * CHANNELS, size = std::min<int64_t>(CHANNELS, c.channels - channel);
    Buffer<float> rows((std::min(c.piece, all) + c.kernel - 1) * CHANNELS);
    std::vector<int64_t> order(static_cast<size_t>(std::min(c.piece, all))), ends(static_cast<size_t>(c.vocabulary));
    for (int64_t start = 0; start < all; start += c.piece) {
      const int64_t count = std::min(c.piece, all - start);
      for (int64_t i = 0; i < count + c.kernel - 1; ++i) position_gradient(c, start + i - c.kernel + 1, channel, rows + i * CHANNELS);
      // sort the tokens, stable
      std::fill(ends.begin(), ends.end(), 0);
      const int64_t* tokens = c.tokens + start;
      for (int64_t i = 0; i < count; ++i) ++ends[tokens[i]];
      for (int64_t token = 0, total = 0; token < c.vocabulary; ++token) total += std::exchange(ends[token], total);
      for (int64_t i = 0; i < count; ++i) order[ends[tokens[i]]++] = i;
      for (int64_t token = 0; token < c.vocabulary; ++token) {
        const int64_t *begin = order.data() + (token ? ends[token - 1] : 0), *end = order.data() + ends[token];
        if (begin == end) continue;
        float* table = c.table + token * c.channels + channel;
        int64_t k = 0;
        for (; k + TAPS <= c.kernel; k += TAPS) add_rows<TAPS>(c, begin, end, rows, k, table, size);
        for (; k < c.kernel; ++k) add_rows<1>(c, begin, end, rows, k, table, size);
      }
    }
  });
}

}  // namespace
