"""What protection before publication is worth."""
