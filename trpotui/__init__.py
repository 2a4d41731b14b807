"""Train, watch and replay trust-region policies in the terminal."""

__version__ = "0.2.0"
