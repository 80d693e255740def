"""Defenses of a hash model: adversarial training in all its forms."""
