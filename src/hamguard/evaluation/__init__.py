"""Joins the levels below into measured rows (level 6)."""
