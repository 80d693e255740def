"""Search engines as people run them, each a class that says only how it is asked."""
