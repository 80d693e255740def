"""Hash codes: relax, sign, pack, compare, keep in banks, count distances (level 1)."""
