"""The public door: what a notebook calls and what every command calls. `import hamguard as hg` shows all of it."""
