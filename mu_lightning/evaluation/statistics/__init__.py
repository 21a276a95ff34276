"""Statistics for comparing classifiers over utterances, targets and seeds: pure functions of arrays.

`resampling` computes bootstrap intervals over utterances and seeds, `paired` compares two classifiers on one target,
`ranks` compares methods over many targets, `baselines` defines baselines, `transfer` correlates typology with transfer.
"""
