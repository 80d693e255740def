"""Hash models: backbones, heads, model folders, foreign models (level 2)."""
