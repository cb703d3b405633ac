"""Training: steps, evaluations, checkpoints, and the model folder at the end."""
