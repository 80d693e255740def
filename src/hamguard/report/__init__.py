"""Tables, pictures and pages made from rows (level 7)."""
