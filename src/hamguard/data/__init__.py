"""Named data sources, splits by published protocol, and checks of both (level 2)."""
