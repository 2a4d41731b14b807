"""What terminals with graphics make of what is written to them."""

from __future__ import annotations

import base64
import re
import zlib

import numpy as np

SIXEL = re.compile(
    r'"(?P<raster>[\d;]+)|#(?P<register>\d+)(?:;2;(?P<red>\d+);(?P<green>\d+);(?P<blue>\d+))?'
    r"|!(?P<times>\d+)(?P<repeated>[?-~])|(?P<one>[?-~])|(?P<move>[$-])"
)


def sixel_picture(data):
    """The picture of a device control string, [H, W, 3]; pixels that nobody set are magenta.

    Fails where it is none, or writes outside of what it declares, or with a colour that was not
    chosen: as in xterm, defining it does not choose it.
    """
    head, _, rest = data.partition("q")
    assert re.fullmatch(r"\x1bP[\d;]*", head), data[:40]
    assert rest.endswith("\x1b\\")
    rest = rest[:-2]
    picture, colours, position = None, {}, 0
    x = band = 0
    register = -1
    while position < len(rest):
        found = SIXEL.match(rest, position)
        assert found, rest[position : position + 20]
        position = found.end()
        if found["raster"]:
            one, other, width, height = map(int, found["raster"].split(";"))
            assert one == other
            bands = -(-height // 6)
            picture = np.full((6 * bands, width, 3), (255, 0, 255), np.uint8)
        elif found["register"]:
            number = int(found["register"])
            assert number < 256
            if found["red"]:
                shares = (int(found[name]) for name in ("red", "green", "blue"))
                colours[number] = [round(share * 2.55) for share in shares]
            else:
                register = number
        elif found["move"]:
            x, band = 0, band + (found["move"] == "-")
        else:
            times = int(found["times"] or 1)
            bits = ord(found["repeated"] or found["one"]) - 63
            assert x + times <= width
            for row in range(6):
                if bits >> row & 1:
                    assert 6 * band + row < height
                    picture[6 * band + row, x : x + times] = colours[register]
            x += times
    return picture[:height]


class KittyScreen:
    """The pictures that a terminal with Kitty's protocol keeps."""

    def __init__(self):
        self.placed = {}
        """By number: the cells they lie on (x, y, columns, rows), and their pixels."""
        self.count = 0
        """Of all pictures so far."""
        self._keys, self._payload = None, ""

    def take(self, data, position):
        """A command with the cursor there; what the terminal answers."""
        assert data.startswith("\x1b_G")
        assert data.endswith("\x1b\\")
        control, _, payload = data[3:-2].partition(";")
        keys = dict(pair.split("=") for pair in control.split(","))
        if keys.get("a") == "q":
            return f"\x1b_Gi={keys['i']};OK\x1b\\"
        assert keys["q"] == "2", "it would answer into the keys"
        if keys.get("a") == "d":
            assert keys["d"] == "I"
            self.placed.pop(int(keys["i"]), None)
            return ""
        if self._keys is None:
            assert (keys["a"], keys["f"], keys["o"], keys["C"]) == ("T", "24", "z", "1")
            self._keys, self._payload = keys, ""
        assert len(payload) <= 4096
        self._payload += payload
        if keys["m"] == "0":
            keys, self._keys = self._keys, None
            pixels = np.frombuffer(zlib.decompress(base64.b64decode(self._payload)), np.uint8)
            pixels = pixels.reshape(int(keys["v"]), int(keys["s"]), 3)
            self.placed.pop(int(keys["i"]), None)
            self.count += 1
            self.placed[int(keys["i"])] = (*position, int(keys["c"]), int(keys["r"])), pixels
        else:
            assert len(payload) % 4 == 0
        return ""
