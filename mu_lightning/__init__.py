"""mu-lightning: train intent classifiers of several locales together and merge them by typology."""

__version__ = "0.1.0"
