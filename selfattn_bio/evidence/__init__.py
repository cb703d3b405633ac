"""Evidence about motifs on held-out records: tests, nulls, effects alone, interactions."""
