"""hamguard: the robustness workbench for hash-based image retrieval."""

__version__ = "0.1.0"
