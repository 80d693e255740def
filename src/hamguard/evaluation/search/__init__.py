"""How well a search finds: codes, rows, curves, copies."""
