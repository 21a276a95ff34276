"""Merge methods: one file per method, each a pure function of tensors and weights, with a reference to its paper."""
