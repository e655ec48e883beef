"""The line between the grader and a process that runs learners' code: JSON messages with their
length, and now and then a file descriptor.

What comes from there is data, never to be trusted: it is bounded in size, and read as JSON and
    nothing else.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["LARGEST", "REQUEST", "Channel", "Garbled"]

LARGEST = 4 * 2**20  # bytes of one message
MOST_DESCRIPTORS = 4  # that come with one message
REQUEST = "\0loopbound-report "
"""The begin of the grader's request to a kernel; the task and a nonce follow.

No cell of a notebook is such a text.
"""

_HEAD = struct.Struct("!I")


class Garbled(Exception):
    """What came is no message."""


class Channel:
    """One end of a line.

    Sending is safe from any thread; asking takes turns. ``most``: bytes that it receives, all in
    all.
    """

    def __init__(self, line: socket.socket, most: int | None = None) -> None:
        self.line = line
        self._most = most
        self._sending = threading.Lock()
        self._asking = threading.Lock()

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message, with descriptors that the other end gets copies of.

        Raises OSError where the other end is closed.
        """
        content = json.dumps(message).encode()
        with self._sending:
            if descriptors:
                # One byte of its own carries them: a stream may cut a message anywhere else.
                self.line.sendmsg(
                    [_HEAD.pack(len(content))],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))],
                )
                self.line.sendall(content)
            else:
                self.line.sendall(_HEAD.pack(len(content)) + content)

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message with its descriptors; None where the other end is closed.

        Raises ``Garbled``.
        """
        descriptors: list[int] = []
        received = None
        try:
            received = self._receive(descriptors)
            return received
        finally:
            if received is None:
                _close(descriptors)

    def _receive(self, descriptors: list[int]) -> tuple[dict[str, Any], list[int]] | None:
        head = self._exactly(_HEAD.size, descriptors)
        if head is None:
            return None
        (size,) = _HEAD.unpack(head)
        if self._most is not None:
            self._most -= size
        if size > LARGEST or (self._most or 0) < 0:
            raise Garbled(f"a message of {size} bytes")
        content = self._exactly(size, descriptors)
        if content is None:
            return None
        try:
            message = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise Garbled(type(error).__name__) from None
        if not isinstance(message, dict):
            raise Garbled("no object")
        return message, descriptors

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and wait for the answer to it. Raises EOFError where none comes."""
        with self._asking:
            self.send(message)
            answer = self.receive()
        if answer is None:
            raise EOFError("the grader is gone")
        return answer[0]

    def close(self) -> None:
        self.line.close()

    def _exactly(self, size: int, descriptors: list[int]) -> bytes | None:
        parts, missing = [], size
        while missing:
            if hasattr(self.line, "recvmsg"):
                part, extra, _, _ = self.line.recvmsg(min(missing, 1 << 16), socket.CMSG_LEN(8 * 4))
                for level, kind, data in extra:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        found = array.array("i")
                        found.frombytes(data[: len(data) - len(data) % found.itemsize])
                        descriptors.extend(found)
                if len(descriptors) > MOST_DESCRIPTORS:
                    raise Garbled("too many descriptors")
            else:
                part = self.line.recv(min(missing, 1 << 16))
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
