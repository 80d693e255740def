"""The audit: a worst case over a fixed battery of attacks, with checks of the battery itself and a verdict."""
