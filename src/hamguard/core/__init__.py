"""Shared types, errors, argument checks, seeds, digests and safe file writing (level 0)."""
