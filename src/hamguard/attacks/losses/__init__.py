"""Scores of relaxed codes against a guide code, one number an image, lower is better for the attacker."""
