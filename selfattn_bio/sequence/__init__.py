"""Alphabets, sequence files, genomes, k-mers, clusters and splits; does not import torch."""
