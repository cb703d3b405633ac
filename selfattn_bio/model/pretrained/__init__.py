"""Networks that start from a folder of a published language model."""
