"""Recordings of policies: GIF, MP4, and PNG sheets of frames, made without a display.

A recording is encoded in memory while the episodes are played and written when it is complete, so
that no half of one is ever on the disk. Importing this package loads no encoder.
"""

from trpotui.recording.options import SUFFIXES, RecordOptions, check_encoder

__all__ = ["SUFFIXES", "RecordOptions", "check_encoder"]
