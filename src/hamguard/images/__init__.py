"""Pictures as files and as tensors: decode, encode, round to 8 bits, views (level 1)."""
