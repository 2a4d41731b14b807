"""The learning core: numpy, torch and gymnasium only, no screen and no files."""
