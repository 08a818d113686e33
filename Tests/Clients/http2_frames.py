"""A client of HTTP/2 that sends any frames, right or wrong, and says which came back."""

import socket

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 1, 2, 3, 7, 8, 11


class Client:
    """A connection with its preface sent. A context manager."""

    def __init__(self, port, settings=None, timeout=60, receive_buffer=None, connection=None, acknowledges=True):
        self.acknowledges = acknowledges
        if connection is None:
            connection = socket.socket()
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(timeout)
            connection.connect(("127.0.0.1", port))
        self.socket = connection
        self.encoder, self.decoder = Encoder(), Decoder()
        self.buffer, self.block = b"", b""
        self.heads = {}
        self.ended = False
        self.socket.sendall(PREFACE + SettingsFrame(0, settings=settings or {}).serialize())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # MARK: Sending

    def send(self, *frames):
        """Sends frames, or bytes; false when the node has closed."""
        try:
            self.socket.sendall(b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames))
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def head(self, stream, fields=(), path="/hello", method="GET", end=True, whole=True):
        """A HEADERS frame: pseudo fields as usual, then `fields`. A list is taken for all there is."""
        if not isinstance(fields, list):
            fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path), *fields]
        frame = HeadersFrame(stream, self.encoder.encode(fields))
        if end:
            frame.flags.add("END_STREAM")
        if whole:
            frame.flags.add("END_HEADERS")
        return frame

    @staticmethod
    def data(stream, payload=b"", end=False):
        frame = DataFrame(stream, payload)
        if end:
            frame.flags.add("END_STREAM")
        return frame

    # MARK: Receiving

    def frame(self):
        """The next frame; `None` at the end of the connection."""
        while True:
            if len(self.buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) >= 9 + length:
                    frame.parse_body(memoryview(self.buffer[9:9 + length]))
                    self.buffer = self.buffer[9 + length:]
                    self.decode(frame)
                    if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags and self.acknowledges:
                        self.send(SettingsFrame(0, flags=["ACK"]))
                    return frame
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                self.ended = True
                return None
            self.buffer += piece

    def decode(self, frame):
        """Each head, whether or not somebody wants it: the table must see them all."""
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            self.block += frame.data
            if "END_HEADERS" in frame.flags:
                frame.fields = self.decoder.decode(self.block)
                self.block = b""
                if dict(frame.fields).get(":status", "100") != "100":
                    self.heads[frame.stream_id] = dict(frame.fields)

    def frames(self):
        while (frame := self.frame()) is not None:
            yield frame

    def ended_with(self):
        """Reads to the end of the connection: the code of its last GOAWAY, `None` when there was none."""
        code = None
        for frame in self.frames():
            if isinstance(frame, GoAwayFrame):
                code = frame.error_code
        return code

    def answers(self, *streams):
        """What came for each stream: (fields, body), or the code of a reset. Gives windows back."""
        heads, bodies, done = self.heads, {stream: b"" for stream in streams}, {}
        while len(done) < len(streams):
            frame = self.frame()
            if frame is None:
                raise AssertionError(f"the connection ended; there are {heads}, {done}")
            if isinstance(frame, GoAwayFrame) and frame.error_code:
                raise AssertionError(f"GOAWAY {frame.error_code}; there are {heads}, {done}")
            if frame.stream_id not in streams:
                continue
            if isinstance(frame, DataFrame):
                bodies[frame.stream_id] += frame.data
                if frame.data:
                    self.send(WindowUpdateFrame(0, len(frame.data)), WindowUpdateFrame(frame.stream_id, len(frame.data)))
            if isinstance(frame, RstStreamFrame) and frame.stream_id not in done:
                done[frame.stream_id] = frame.error_code
            if "END_STREAM" in frame.flags and isinstance(frame, (HeadersFrame, DataFrame)):
                done[frame.stream_id] = (heads[frame.stream_id], bodies[frame.stream_id])
        return [done[stream] for stream in streams]

    def answer(self, stream):
        return self.answers(stream)[0]

    def ping(self):
        """Waits until the node has read all that was sent before."""
        self.send(PingFrame(0, b"edge-h2!"))
        for frame in self.frames():
            if isinstance(frame, PingFrame) and "ACK" in frame.flags:
                return True
        return False
