"""What a defense is worth: hardened models, detectors, purifiers."""
