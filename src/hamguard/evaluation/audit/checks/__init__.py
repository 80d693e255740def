"""Checks of an attack's figure: one file an idea, each check registered under its name, and the batteries that ask for them."""
