"""Words to calls: one file a verb, heavy imports inside functions (level 8)."""
