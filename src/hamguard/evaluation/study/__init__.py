"""Studies: a recipe of models, attacks and defenses, run cell by cell."""
