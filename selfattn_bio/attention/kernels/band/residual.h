// A residual convolution of a stem in inference: x + GELU(convolution(x)), in float32.

#pragma once

#include <algorithm>

#include "convolution.h"
#include "encoder.h"

// `run_on_tokens` passes the same fields in the same order.
struct ResidualCall {
  int64_t records, length, channels, kernel, inputs;  // as many inputs as channels, a multiple of 2 W
  int64_t threads;
  const float* weights;  // (channels, kernel, inputs), with the scale of the norm
  const float* x;        // (records, length, channels), 0 for padding
  const bool* mask;      // (records, length): false for padding, whose result is 0
  const float* shift;    // (channels)
  float* y;              // (records, length, channels)
};

namespace {

void residual(const ResidualCall& c) {
  const int64_t rows = up(c.length, R), size = c.length * c.channels, margin = c.kernel / 2 * c.channels;
  const Layer layer({c.weights, c.shift}, c.kernel * c.inputs, c.channels);
  for_units(c.records, c.threads, [&](int64_t record) {
    const float* x = c.x + record * size;
    float* y = c.y + record * size;
    Buffer<float> padded(margin + rows * c.channels + margin);
    std::fill_n(static_cast<float*>(padded), margin, 0.0f);
    std::copy_n(x, size, padded + margin);
    std::fill(padded + margin + size, padded + margin + rows * c.channels + margin, 0.0f);
    layer.apply(padded, rows, c.channels, [&](int64_t at, vec values) {
      if (at < size) store(y + at, load(x + at) + gelu(values));
    });
    for (int64_t row = 0; row < c.length; ++row)
      if (!c.mask[record * c.length + row]) std::fill_n(y + row * c.channels, c.channels, 0.0f);
  });
}

}  // namespace
