"""Networks: stem, encoder, heads and baselines; their construction and their folders."""
