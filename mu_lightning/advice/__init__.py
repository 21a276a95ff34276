"""Advice before training: which languages to train on for a target, and how well that may do."""
