"""A few requests to an X server through libX11: read a window's pixels, press its close button."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

CLIENT_MESSAGE = 33
Z_PIXMAP = 2


class _ClientMessage(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("pad", ctypes.c_long * 24),  # an XEvent is a union of this size
    ]


class _Image(ctypes.Structure):
    _fields_ = [
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("xoffset", ctypes.c_int),
        ("format", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_char)),
        ("byte_order", ctypes.c_int),
        ("bitmap_unit", ctypes.c_int),
        ("bitmap_bit_order", ctypes.c_int),
        ("bitmap_pad", ctypes.c_int),
        ("depth", ctypes.c_int),
        ("bytes_per_line", ctypes.c_int),
        ("bits_per_pixel", ctypes.c_int),
    ]


_x11 = ctypes.CDLL("libX11.so.6")
_x11.XOpenDisplay.restype = ctypes.c_void_p
_x11.XOpenDisplay.argtypes = [ctypes.c_char_p]
_x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
_x11.XSync.argtypes = [ctypes.c_void_p, ctypes.c_int]
_x11.XInternAtom.restype = ctypes.c_ulong
_x11.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
_x11.XSendEvent.argtypes = [
    *(ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long),
    ctypes.POINTER(_ClientMessage),
]
_x11.XGetImage.restype = ctypes.POINTER(_Image)
_x11.XGetImage.argtypes = [
    *(ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_int),
    *(ctypes.c_uint, ctypes.c_uint, ctypes.c_ulong, ctypes.c_int),
]
_x11.XGetGeometry.argtypes = [ctypes.c_void_p, ctypes.c_ulong, *([ctypes.c_void_p] * 7)]
_x11.XDestroyImage.argtypes = [ctypes.POINTER(_Image)]


@contextmanager
def _connection(name: str) -> Iterator[int]:
    display = _x11.XOpenDisplay(name.encode())
    assert display, f"no X server at {name}"
    try:
        yield display
    finally:
        _x11.XCloseDisplay(display)


def press_close_button(name: str, window: int) -> None:
    """Send what a window manager sends when the person presses the close button."""
    with _connection(name) as display:
        message = _ClientMessage(
            type=CLIENT_MESSAGE,
            window=window,
            message_type=_x11.XInternAtom(display, b"WM_PROTOCOLS", 0),
            format=32,
        )
        message.data[0] = _x11.XInternAtom(display, b"WM_DELETE_WINDOW", 0)
        assert _x11.XSendEvent(display, window, 0, 0, ctypes.byref(message))
        _x11.XSync(display, 0)


def pixels(name: str, window: int) -> NDArray[np.uint8]:
    """What a window shows: red, green and blue [H, W, 3]."""
    with _connection(name) as display:
        root = ctypes.c_ulong()
        x, y = ctypes.c_int(), ctypes.c_int()
        width, height, border, depth = (ctypes.c_uint() for _ in range(4))
        answers = (root, x, y, width, height, border, depth)
        assert _x11.XGetGeometry(display, window, *map(ctypes.byref, answers))
        area = (0, 0, width.value, height.value)
        image = _x11.XGetImage(display, window, *area, ctypes.c_ulong(-1).value, Z_PIXMAP)
        assert image, "the window has no pixels to read"
        try:
            found = image.contents
            assert found.bits_per_pixel == 32
            data = ctypes.string_at(found.data, found.bytes_per_line * found.height)
            rows = np.frombuffer(data, np.uint8).reshape(found.height, -1, 4)  # B, G, R, unused
            return rows[:, : found.width, 2::-1].copy()
        finally:
            _x11.XDestroyImage(image)
