"""Data-dependent statistics for merge methods: functions of a model and batches.

A model is a sequence classifier of transformers. A batch has the tensors ``input_ids`` and ``attention_mask``, both of
shape [rows, tokens].
"""
