"""Train, watch and replay trust-region policies in the terminal."""

__version__ = "0.3.0"
