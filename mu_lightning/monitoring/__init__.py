"""What a run shows while it trains: numbers for loggers, a page, a picture, a W&B workspace, logs that go on."""
