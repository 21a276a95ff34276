"""Statistics for comparing classifiers over utterances, targets and seeds: pure functions of arrays.

`resampling` gives intervals (utterances and seeds are resampled), `paired` compares two classifiers on one target,
`ranks` compares them over many targets, `baselines` says what a method has to beat, `transfer` what typology explains.
"""
