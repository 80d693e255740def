"""Attacks on hash models: guide x loss x search x threat, four values that a method file puts together (level 3)."""
