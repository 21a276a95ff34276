"""Model merging: methods, their registry, and the engines for models in memory and on disk.

Importing this package, or the names in the registry, does not import torch.
"""
