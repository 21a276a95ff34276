"""argparse, which jsonargparse builds on, has no public way to ask a parser for its arguments."""

from argparse import Action, ArgumentParser


def arguments(parser: ArgumentParser) -> list[Action]:
    """All arguments of a parser, those of its groups included, in the order in which they were added."""
    return list(parser._actions)
