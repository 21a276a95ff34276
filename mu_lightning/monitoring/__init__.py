"""Monitoring of training: metrics, loggers, HTML page, plots and W&B workspace."""
