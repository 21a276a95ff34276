"""What some methods must know from data: functions of a model and of batches, which know no corpus and no files.

A model is one of transformers' sequence classifiers (a batch's ``input_ids`` and ``attention_mask`` in, ``logits``
out), and a batch holds those two tensors, of shape [rows, tokens].
"""
