"""Letters, records, k-mers and splits; no torch."""
