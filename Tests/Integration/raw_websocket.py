"""A WebSocket client that does what it is told, mistakes included: raw sockets, RFC 6455 by hand."""

import base64
import hashlib
import os
import socket
import struct
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    def __init__(self, status, head, body):
        super().__init__(f"{status}")
        self.status, self.head, self.body = status, head, body


class RawWebSocket:
    def __init__(self, url, protocol="trace-v1", headers=(), timeout=20, receive_buffer=None, behind=b"",
                 host=None, tls=None, version="13", key=None):
        """`behind`: bytes that go out in one piece with the request. `tls`: an SSLContext."""
        parts = urlsplit(url)
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((parts.hostname, parts.port))
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        key = key or base64.b64encode(os.urandom(16)).decode()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {target} HTTP/1.1", f"Host: {host or parts.netloc}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Version: {version}", f"Sec-WebSocket-Key: {key}"]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        lines += headers
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode() + behind)
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError(f"closed in the head: {self.buffer!r}")
            self.buffer += piece
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        status = int(self.head.split(" ", 2)[1])
        if status != 101:
            self.socket.close()
            raise Refused(status, self.head, self.buffer)
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        assert f"Sec-WebSocket-Accept: {accept}" in self.head, self.head

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    @staticmethod
    def frame(opcode, payload=b"", final=True, masked=True, reserved=0):
        head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
        bit = 0x80 if masked else 0
        if len(payload) < 126:
            head += bytes([bit | len(payload)])
        elif len(payload) < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
        if not masked:
            return head + payload
        mask = os.urandom(4)
        return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))

    def send(self, opcode, payload=b"", **keywords):
        self.socket.sendall(self.frame(opcode, payload, **keywords))

    def _take(self, count):
        while len(self.buffer) < count:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            self.buffer += piece
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive(self, compressed=False):
        """One frame: its opcode and payload. The server's are whole and unmasked."""
        first, payload = self.receive_frame()
        assert first & 0xF0 == (0xC0 if compressed else 0x80), first
        return first & 0x0F, payload

    def receive_message(self):
        """As above, of frames that may be parts of one message."""
        first, payload = self.receive_frame()
        opcode = first & 0x0F
        while not first & 0x80:
            first, piece = self.receive_frame()
            payload += piece
        return opcode, payload

    def receive_frame(self):
        """Its first byte and its payload."""
        first, second = self._take(2)
        assert second & 0x80 == 0, (first, second)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack(">H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self._take(8))[0]
        return first, self._take(length)

    def close_code(self):
        """Reads up to the Close frame; its code and reason."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return (struct.unpack(">H", payload[:2])[0], payload[2:].decode()) if payload else (None, "")

    def is_ended(self):
        """Reads to the end of the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True
