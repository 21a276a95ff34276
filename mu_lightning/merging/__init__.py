"""Merging: methods (one a file), their registry, and the engine that feeds them tensors from memory or from disk.

Importing this package imports nothing heavy; `registry` knows the methods' names without torch.
"""
