"""Bias by class: whether the pictures of some classes are nearer to a border than those of others."""

import hamguard as hg

data = hg.data("digits")
found = hg.measure("shipped:digits", data, hg.Budget(hg.Linf(0.1)), measures=["class-bias"], queries=40)

for row in found.rows:
    if row.metric and row.metric.startswith("class-"):
        print(f"{row.metric}: {row.value:.4f}, {row.n} pictures")
