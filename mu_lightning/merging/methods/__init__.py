"""The merge methods: one a file, each a pure function of tensors and weights with its paper named."""
