"""Which code to approach or leave."""
