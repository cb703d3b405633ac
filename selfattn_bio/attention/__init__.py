"""Softmax attention and other kinds: patterns, positions, kernels, mixers, and their reference."""
