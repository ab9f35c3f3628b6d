"""Websockets of uvicorn's that also take finished frames, straight to the transport.

The framework's ``send`` costs about 30 µs a frame and waits for the slowest; a transport takes it in 6 µs and never
waits. Server frames are unmasked, so one encoding serves every socket.
"""

import logging
from asyncio.transports import BaseTransport
from collections.abc import Callable, Iterable, Mapping
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from comms import metrics

EXTENSION = "comms.wire"
INBOUND_BYTES = 16 * 1024
WAITING_BYTES = 1024 * 1024  # in our own buffer; the kernel's holds SEND_BUFFER_BYTES more
SEND_BUFFER_BYTES = 128 * 1024
GRACE_SECONDS = 5.0


def uvicorn_options() -> dict[str, Any]:
    """What ``uvicorn.Config`` needs for the live socket: this class, no compression, dead peers gone within 40 s."""
    return {
        "ws": Wire,
        "ws_max_size": INBOUND_BYTES,
        "ws_per_message_deflate": False,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
    }


class Wire(WebSocketsSansIOProtocol):
    """One websocket connection; the application finds it by ``wire_of(scope)``.

    ``last_words`` makes the frame that a peer is sent before it is closed for something that is no frame of ours, from
    the code it is closed with; without, the code is all it gets.
    """

    last_words: Callable[[int], bytes] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # At info uvicorn logs each accepted path with its query, and that is where the ticket is.
        self.logger = _quiet

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            # Left alone the kernel buffers megabytes, and a slow reader would be noticed only minutes later.
            raw.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][EXTENSION] = {"wire": self}

    @property
    def is_open(self) -> bool:
        """The handshake is done and nobody has begun to close."""
        return self.handshake_complete and not self.close_sent and not self.transport.is_closing()

    @property
    def waiting(self) -> int:
        """Bytes that the kernel has not yet taken."""
        return self.transport.get_write_buffer_size()

    def write(self, frames: bytes) -> None:
        """Whole websocket frames are on their way, or nothing if the connection is closing.

        Who has let too much wait is closed, and gets what waits.
        """
        if not self.is_open:
            return
        if self.waiting > WAITING_BYTES:
            self.shut(4409, "too slow")
        else:
            self.transport.write(frames)

    async def drained(self) -> None:
        """Little is waiting, or the connection is lost."""
        await self.writable.wait()

    def shut(self, code: int, reason: str = "") -> None:
        """The connection closes after what was written; a peer that does not take it is cut off after 5 s."""
        if not self.is_open:
            return
        metrics.CLOSED.labels(str(code)).inc()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._await_farewell()

    def _await_farewell(self) -> None:
        """The peer's answer is waited for: bytes that nobody has read make TCP throw away what we wrote last."""
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(GRACE_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if self.conn.parser_exc is None:  # or what follows is not read any more
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """What came is no frame, too large, or no UTF-8: the peer hears so, and why it is closed."""
        if self.close_sent or self.transport.is_closing():
            return
        if self.conn.close_sent is None:  # it did not even wait until it was let in
            self.transport.abort()
            return
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        farewell = b"".join(self.conn.data_to_send())
        metrics.CLOSED.labels(str(code)).inc()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        words = b"" if self.last_words is None else self.last_words(code)
        self.transport.write(words + farewell)
        self._await_farewell()
        if self.transport.can_write_eof():  # its answer would not be understood: let it see the end
            self.transport.write_eof()

    def handle_ping(self) -> None:
        if self.waiting > WAITING_BYTES:  # it asks and asks, and reads no answer
            self.transport.abort()
            return
        super().handle_ping()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:  # said here, because uvicorn would write a traceback into the journal
                self.frames = []
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def shutdown(self) -> None:
        if self.is_open:
            metrics.CLOSED.labels("1012").inc()
        super().shutdown()
        self._cut_off_later()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._cut_off_later()

    def _cut_off_later(self) -> None:
        """A peer that goes without reading what waits for it does not keep us: no connection stays half closed."""
        if self.waiting:
            self.loop.call_later(GRACE_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        # A peer that answers no ping takes no bytes either: closing politely would wait until TCP gives up.
        self.transport.abort()


def wire_of(scope: Mapping[str, Any]) -> Wire | None:
    """The connection of an ASGI scope; None when the server was started without ``uvicorn_options``."""
    extension = (scope.get("extensions") or {}).get(EXTENSION)
    return None if extension is None else extension["wire"]


_quiet = logging.getLogger("comms.sockets.protocol")
_quiet.setLevel(logging.WARNING)


def write_to_all(wires: Iterable[Wire], frames: bytes) -> list[Wire]:
    """``frames`` are on their way to every open wire, except the returned: too much is waiting on them already."""
    slow = []
    for wire in wires:
        transport = wire.transport
        if wire.close_sent or transport.is_closing():
            continue
        if transport.get_write_buffer_size() > WAITING_BYTES:
            slow.append(wire)
        else:
            transport.write(frames)
    return slow
