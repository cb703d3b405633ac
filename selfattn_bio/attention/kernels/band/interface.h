// Arguments of the functions, and how work is divided into units.

#pragma once

#include <cstdint>
#include <new>

#include "vectors.h"

// A (batch, head, row, head_dim) tensor. Strides are in items; that of head_dim is 1.
struct View {
  void* data;
  int64_t batch, head, row;
};

// Layers of a block of an encoder, as PyTorch has them: weights of linear layers are (out, in).
struct Norm {
  const float *scale, *shift;
};
struct Linear {
  const float *weights, *bias;
};
struct Block {
  const float* x;  // (B, L, D)
  float* y;        // (B, L, D)
  Norm attention_norm;
  Linear qkv, joined;  // joined: of the heads
  Norm feedforward_norm;
  Linear widened, narrowed;
};

// `Call` in calls.py has the same fields in the same order.
struct Call {
  int64_t batches, heads, length, head_dim;
  int64_t left, right, num_global;
  int64_t num_rows;      // the first queries, which attend to all keys
  int64_t block, count;  // each block of queries attends to `count` sampled blocks of keys; 0, 0: none
  int64_t span;
  int64_t item_size;  // of the tensors in `View`: 4 (float32) or 2 (bfloat16)
  int64_t max_distance;
  View q, k, v, out, grad_out, grad_q, grad_k, grad_v;
  float* lse;                  // (B, H, L), base 2; +inf for a query without allowed keys
  const float* band_bias;      // (H, band_size): see `Shape`
  const float* global_bias;    // (H, global_size)
  const float* row_bias;       // (H, global_size), without -inf
  float* band_grad;            // (B, spans, H, band_size) or null
  float* global_grad;          // (B, spans, H, global_grad_size) or null
  float* global_grad_k;        // (B, spans, H, globals, Dh), globals = num_global rounded up to T
  float* global_grad_v;
  float* far_grad;             // (B, H, global_size) or null: pairs of rows and sampled blocks
  double* table_grad;          // (H, 2 max_distance + 1)
  const int32_t* query_label;  // (B, L) or null: a query attends to keys with its label
  const int32_t* key_label;
  const int32_t* sampled;      // (B, length / block rounded up, count): numbers of blocks
  uint64_t seed;
  uint32_t threshold;  // a weight is kept if its hash is at least this
  float keep_scale;
  int64_t phase;
  int64_t* next;  // the next span to be taken
  int64_t hidden_size;  // of the feed-forward network
  float eps;            // of the norms
  Block layers;
};

namespace {

int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

// Sizes used by both directions and by `BandLayout` in calls.py.
struct Shape {
  int64_t before, after;  // columns go from row - before to row + after
  int64_t blocks;         // vectors of columns of a tile of the band
  int64_t spans, globals;
  int64_t longest;  // the length, rounded up to a block
  int64_t far;      // keys that rows out of their band may attend to
  int64_t columns;           // columns of all tiles of a span
  // size of a bias row of the band: the distances column - row from -before - T
  int64_t band_size;
  // size of a bias row of the other pairs: the distances from -longest - T (forward) or from
  // -far - T (backward)
  int64_t global_size;
  // size of such a row in the gradient of one span, from -globals - T
  int64_t global_grad_size;

  Shape(const Call& c, bool forward) {
    before = forward ? c.left : c.right;
    after = forward ? c.right : c.left;
    blocks = up(T + before + after, W) / W;
    spans = (c.length + c.span - 1) / c.span;
    globals = up(c.num_global, T);
    band_size = T + blocks * W;
    longest = c.block ? up(c.length, c.block) : c.length;
    far = c.block ? longest : globals;
    global_size = far + T + longest + T;
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

// Write the blocks of keys that a block of queries attends to, each once, and return their number.
// Blocks within the band of all queries are left out.
int64_t sampled_for(const Call& c, int64_t b, int64_t queries, int64_t* found) {
  int64_t count = 0;
  for (int64_t n = 0; n < c.count; ++n) {
    const int64_t keys = c.sampled[(b * (up(c.length, c.block) / c.block) + queries) * c.count + n];
    const int64_t distance = (keys - queries) * c.block, inside = c.block - 1;
    bool left_out = distance - inside >= -c.left && distance + inside <= c.right;
    for (int64_t m = 0; m < count; ++m) left_out |= found[m] == keys;
    if (!left_out) found[count++] = keys;
  }
  return count;
}

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

}  // namespace
