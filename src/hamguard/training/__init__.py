"""The one training loop: schedules, checkpoints, exact resume, code statistics (level 4)."""
