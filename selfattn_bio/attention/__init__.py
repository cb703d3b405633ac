"""Softmax attention: patterns, positions, kernels, and their reference."""
