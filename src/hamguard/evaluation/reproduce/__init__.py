"""Published experiments, run again and printed beside the published figures."""
