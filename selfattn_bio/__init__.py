"""Self-attention for DNA and protein sequences, from FASTA to motifs with evidence."""
