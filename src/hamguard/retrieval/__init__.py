"""Ranking metrics under ties, intervals, and the search index (level 2)."""
