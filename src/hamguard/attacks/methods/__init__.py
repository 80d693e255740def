"""Published attacks: each file chooses four values and gives the paper's defaults."""
