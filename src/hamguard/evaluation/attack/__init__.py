"""An attack on a search: made, kept, measured, transferred."""
