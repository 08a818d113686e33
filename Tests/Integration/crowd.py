"""Many WebSockets in the hands of one thread, from several addresses: one has ports for some 28,000 only."""

import base64
import resource
import selectors
import socket
import time

from raw_websocket import CLOSE, PING, PONG, TEXT, RawWebSocket

ADDRESSES = 16
BATCH = 200


def allow_descriptors(count):
    """Raises this process' limit for as many connections; nodes that it starts later inherit what is allowed at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # A node keeps an eighth for itself.
    if hard - max(512, hard // 8) < count:
        raise AssertionError(f"{count} connections need a higher limit of open files than {hard} (ulimit -Hn)")


class Crowd:
    """A context manager: all are closed at its end."""

    def __init__(self, port, host, paths):
        self.port, self.host = port, host
        self.lines, self.buffers = [], []
        self.selector = selectors.DefaultSelector()
        paths = list(paths)
        try:
            for start in range(0, len(paths), BATCH):
                self._open(paths[start:start + BATCH])
                self.idle()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __len__(self):
        return len(self.lines)

    def close(self):
        self.selector.close()
        for line in self.lines:
            line.close()

    def _open(self, paths):
        key = base64.b64encode(bytes(16)).decode()
        fresh = []
        for path in paths:
            address = f"127.0.0.{1 + (len(self.lines) + len(fresh)) % ADDRESSES}"
            fresh.append(socket.create_connection(("127.0.0.1", self.port), 120, (address, 0)))
            fresh[-1].sendall((
                f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        for line in fresh:
            self.lines.append(line)
            self.buffers.append(b"")
            head = b""
            while b"\r\n\r\n" not in head:
                piece = line.recv(4096)
                if not piece:
                    raise AssertionError(f"closed in the head: {head!r}")
                head += piece
            head, self.buffers[-1] = head.split(b"\r\n\r\n", 1)
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise AssertionError(f"no WebSocket: {head!r} {self.buffers[-1]!r}")
            self.selector.register(line, selectors.EVENT_READ, len(self.lines) - 1)

    def send(self, text):
        frame = RawWebSocket.frame(TEXT, text.encode())
        for line in self.lines:
            line.sendall(frame)

    def idle(self):
        """Answers pings; anything else would be a mistake."""
        heard = {}
        while events := self.selector.select(0):
            for key, _ in events:
                self._take(key, lambda index, text: heard.setdefault(index, text))
        if heard:
            raise AssertionError(f"nobody asked for {heard}")

    def receive(self, each=1, patience=120):
        """The next messages of every socket, by socket, and when each of them came."""
        heard, times = [[] for _ in self.lines], []

        def hear(index, text):
            heard[index].append(text)
            times.append(time.monotonic())

        while len(times) < each * len(self.lines):
            events = self.selector.select(patience)
            if not events:
                raise AssertionError(f"{each * len(self.lines) - len(times)} messages don't come")
            for key, _ in events:
                self._take(key, hear)
        return heard, times

    def _take(self, key, hear):
        index = key.data
        piece = key.fileobj.recv(65536)
        if not piece:
            raise AssertionError(f"socket {index} has ended")
        buffer = self.buffers[index] + piece
        while len(buffer) >= 2 and len(buffer) >= 2 + buffer[1]:
            opcode, length = buffer[0] & 0x0F, buffer[1]
            if length > 125:
                raise AssertionError("this client reads short messages")
            payload, buffer = buffer[2:2 + length], buffer[2 + length:]
            if opcode == PING:
                key.fileobj.sendall(RawWebSocket.frame(PONG, payload))
            elif opcode == CLOSE:
                raise AssertionError(f"socket {index} was closed: {payload!r}")
            else:
                hear(index, payload.decode())
        self.buffers[index] = buffer
