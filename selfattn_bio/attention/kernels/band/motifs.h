// Scores of a record, and of its copies with one base replaced, by position weight matrices. The lanes
// of a vector are motifs. `_replace_bases` in motifs/scores.py does the same without a compiler.

#pragma once

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "interface.h"

// `replace_bases` of __init__.py passes the same fields in the same order.
struct MotifCall {
  int64_t length, motifs, widest, strands;
  const uint8_t* codes;   // (length + widest): bases 0 to 3; others are 4, as after the end
  const float* values;    // (motifs, widest, 4): log-odds
  const double* odds;     // exp(values); a call of exp here would need the newest libm
  const int64_t* widths;  // (motifs)
  float* best;            // (motifs): the best hit
  double* total;          // (motifs): the sum of exp(score)
  float* changed_best;    // (motifs, 4, length): those of the copies, by new base and position
  double* changed_total;
};

namespace {

typedef float Scores __attribute__((vector_size(4 * W)));
typedef double HalfOdds __attribute__((vector_size(4 * W)));

// exp(score) of each lane
struct Odds {
  HalfOdds low, high;

  static INLINE Odds all(double x) { return {HalfOdds{} + x, HalfOdds{} + x}; }
  INLINE Odds operator+(const Odds& other) const { return {low + other.low, high + other.high}; }
  INLINE Odds operator*(const Odds& other) const { return {low * other.low, high * other.high}; }
  double& lane(int number) { return number < W / 2 ? reinterpret_cast<double*>(&low)[number] : reinterpret_cast<double*>(&high)[number - W / 2]; }
};

INLINE Scores highest(Scores a, Scores b) { return a > b ? a : b; }

// Motifs of similar widths that are scored together
class MotifBlock {
 public:
  static constexpr int CODES = 5;

  MotifBlock(const MotifCall& c, const int64_t* motifs, int count)
      : c_(c), motifs_(motifs), count_(count), length_(std::max<int64_t>(c.length, 1)), matrix_(c.widest * CODES),
        factors_(c.widest * CODES), inverse_(c.widest * CODES), scores_(length_), odds_(length_), best_(4 * length_ + 1),
        total_(4 * length_ + 1) {
    for (int lane = 0; lane < count; ++lane) width_ = std::max(width_, c.widths[motifs[lane]]);
  }

  void run() {
    std::fill_n(&best_[0], 4 * length_ + 1, LOWEST);
    std::fill_n(&total_[0], 4 * length_ + 1, Odds::all(0));
    for (int strand = 0; strand < c_.strands; ++strand) {
      read_matrix(strand);
      score_windows();
      add_other_windows();
      for (int64_t at = 0; at < length_; ++at) replace(at);
    }
    write();
  }

 private:
  const Scores LOWEST = Scores{} - std::numeric_limits<float>::infinity();

  void read_matrix(int strand) {
    std::fill_n(&matrix_[0], width_ * CODES, Scores{});
    std::fill_n(&factors_[0], width_ * CODES, Odds::all(1));
    for (int lane = 0; lane < count_; ++lane) {
      const int64_t width = c_.widths[motifs_[lane]], first = motifs_[lane] * c_.widest * 4;
      for (int64_t i = 0; i < width * 4; ++i) {
        const int64_t from = first + (strand ? width * 4 - 1 - i : i), to = i / 4 * CODES + i % 4;
        matrix_[to][lane] = c_.values[from];
        factors_[to].lane(lane) = c_.odds[from];
      }
    }
    for (int64_t i = 0; i < width_ * CODES; ++i) inverse_[i] = {1 / factors_[i].low, 1 / factors_[i].high};
  }

  // Windows that a motif does not have score -inf. A record shorter than a motif has one.
  void score_windows() {
    for (int64_t window = 0; window < length_; ++window) {
      Scores score = {};
      Odds odds = Odds::all(1);
      for (int64_t offset = 0; offset < width_; ++offset) {
        const int64_t entry = offset * CODES + c_.codes[window + offset];
        score += matrix_[entry];
        odds = odds * factors_[entry];
      }
      for (int lane = 0; lane < count_ && window > std::max<int64_t>(length_ - width_, 0); ++lane)
        if (window + c_.widths[motifs_[lane]] > length_) {
          score[lane] = LOWEST[0];
          odds.lane(lane) = 0;
        }
      scores_[window] = score;
      odds_[window] = odds;
    }
  }

  // Add the windows that do not contain a position to its four copies, and all windows to the record.
  // Those that start up to width_ positions earlier are added by `replace`, also if a narrower motif ends before it.
  void add_other_windows() {
    Scores best = LOWEST;
    Odds total = Odds::all(0);
    for (int64_t at = width_; at < length_; ++at) {
      best = highest(best, scores_[at - width_]);
      total = total + odds_[at - width_];
      add(at, best, total);
    }
    best = LOWEST;
    total = Odds::all(0);
    for (int64_t at = length_ - 1; at >= 0; --at) {
      add(at, best, total);
      best = highest(best, scores_[at]);
      total = total + odds_[at];
    }
    best_[4 * length_] = highest(best_[4 * length_], best);
    total_[4 * length_] = total_[4 * length_] + total;
  }

  INLINE void add(int64_t at, Scores best, const Odds& total) {
    for (int64_t i = 4 * at; i < 4 * at + 4; ++i) {
      best_[i] = highest(best_[i], best);
      total_[i] = total_[i] + total;
    }
  }

  // Add the windows that contain a position to its four copies.
  void replace(int64_t at) {
    Scores best[4];
    Odds total[4];
    std::copy_n(best_ + 4 * at, 4, best);
    std::copy_n(total_ + 4 * at, 4, total);
    for (int64_t offset = 0; offset < std::min(width_, at + 1); ++offset) {
      const int64_t entries = offset * CODES, entry = entries + c_.codes[at];
      const Scores rest = scores_[at - offset] - matrix_[entry];
      const Odds odds = odds_[at - offset] * inverse_[entry];
#pragma GCC unroll 4
      for (int base = 0; base < 4; ++base) {
        best[base] = highest(best[base], rest + matrix_[entries + base]);
        total[base] = total[base] + odds * factors_[entries + base];
      }
    }
    std::copy_n(best, 4, best_ + 4 * at);
    std::copy_n(total, 4, total_ + 4 * at);
  }

  void write() {
    for (int lane = 0; lane < count_; ++lane) {
      const int64_t motif = motifs_[lane];
      c_.best[motif] = best_[4 * length_][lane];
      c_.total[motif] = total_[4 * length_].lane(lane);
    }
    for (int64_t base = 0; base < 4; ++base)
      for (int64_t at = 0; at < c_.length; ++at)
        for (int lane = 0; lane < count_; ++lane) {
          const int64_t to = (motifs_[lane] * 4 + base) * c_.length + at;
          c_.changed_best[to] = best_[4 * at + base][lane];
          c_.changed_total[to] = total_[4 * at + base].lane(lane);
        }
  }

  const MotifCall& c_;
  const int64_t* motifs_;
  const int count_;
  const int64_t length_;
  int64_t width_ = 0;
  Buffer<Scores> matrix_;  // (width_, CODES), as are the next two
  Buffer<Odds> factors_, inverse_;
  Buffer<Scores> scores_;  // of windows
  Buffer<Odds> odds_;
  Buffer<Scores> best_;  // (length, 4), then the record
  Buffer<Odds> total_;
};

void replace_bases(const MotifCall& c) {
  std::vector<int64_t> order(static_cast<size_t>(c.motifs));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return c.widths[a] < c.widths[b]; });
  for (int64_t first = 0; first < c.motifs; first += W)
    MotifBlock(c, order.data() + first, static_cast<int>(std::min<int64_t>(W, c.motifs - first))).run();
}

}  // namespace
