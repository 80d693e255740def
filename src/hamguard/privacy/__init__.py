"""PPL, protecting image files, proof of effect."""
