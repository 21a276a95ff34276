"""Choices without labels of the target: what classifies sources that are left out is taken for the target."""
