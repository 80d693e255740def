"""Objectives that learn hash codes, one file a method (level 3)."""
