// Banded self-attention on the CPU, forward and backward, with a learned bias by distance, global
// tokens and sampled blocks. It has a plain C interface; `build.py` compiles it and `__init__.py`
// calls it.
//
// Both directions work on tiles of T rows, whose columns go from `before` to `after` of each row.
// In the forward pass, rows are queries and columns are keys. In the backward pass, rows are keys
// and columns are queries: the gradients of keys and values then stay in the buffers of a tile, and
// only the gradient of the queries is scattered. Scores are computed in base 2: log2(e) is in their
// scale and in the bias. The bias is -inf at distances that may not attend, so that the band needs
// no mask.
//
// Tensors are float32, or bfloat16 if the compiler's target has AVX512-BF16. The library is compiled
// on the machine that uses it, so no check of the CPU is needed at run time.
//
// Work is divided into spans of rows of one (batch, head). The result of a span depends only on its
// number, and spans that add to the same gradients run in separate phases. Pairs of sampled blocks,
// and of the queries of global tokens, are units of one (batch, head). Results are therefore
// identical to the bit for any number of threads.

#include "backward.h"
#include "convolution.h"
#include "encoder.h"
#include "motifs.h"

namespace {

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
    if (c.far_grad && unit.span == 0)
      add(c.far_grad + (unit.b * c.heads + unit.h) * shape.global_size, shape.global_size, -shape.far - T);
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

// Run `spans<Format, head_dim>`.
#define FOR_HEAD_DIM(spans, Format, c) \
  ((c).head_dim == 16 ? spans<Format, 16>(c) : (c).head_dim == 32 ? spans<Format, 32>(c) : spans<Format, 64>(c))
#ifdef HAS_BFLOAT16
#define FOR_FORMAT(spans, c) ((c).item_size == 2 ? FOR_HEAD_DIM(spans, Bfloat16, c) : FOR_HEAD_DIM(spans, Float32, c))
#else
#define FOR_FORMAT(spans, c) FOR_HEAD_DIM(spans, Float32, c)
#endif

}  // namespace

// Each function returns 0, 1 if memory ran out, or 2 if a token is not in the table. Several threads may run the first three with the
// same `next`.
extern "C" int band_forward(const Call* c) {
  return guarded([&] { FOR_FORMAT(forward_spans, *c); });
}

extern "C" int band_backward(const Call* c) {
  return guarded([&] { FOR_FORMAT(backward_spans, *c); });
}

extern "C" int band_encode(const Call* c) {
  return guarded([&] { FOR_HEAD_DIM(encode, Float32, *c); });
}

extern "C" int band_fold_bias_grad(const Call* c) {
  return guarded([&] { fold_bias_grad(*c); });
}

extern "C" int band_token_maxima(const TokenCall* c) {
  return c->has_bad_token() ? 2 : guarded([&] { token_maxima(*c); });
}

extern "C" int band_token_gradient(const TokenCall* c) {
  return guarded([&] { token_gradient(*c); });
}

extern "C" int band_replace_bases(const MotifCall* c) {
  return guarded([&] { replace_bases(*c); });
}

extern "C" int band_tile() { return T; }

// Return whether the tensors may be bfloat16.
extern "C" int band_bfloat16() {
#ifdef HAS_BFLOAT16
  return 1;
#else
  return 0;
#endif
}

extern "C" int64_t band_call_size() { return sizeof(Call); }
