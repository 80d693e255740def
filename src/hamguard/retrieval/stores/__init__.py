"""Where an index is kept: a folder, or a data base."""
