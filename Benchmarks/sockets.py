"""WebSockets through an isolate beside deno's own and node's `ws`, and what an idle one holds.

Mixed into `Bench` of bench.py. The client speaks raw frames from one thread: one message is under way on each connection, so a
message costs the server one wake-up, or less when many have come by then.
"""

import selectors
import socket
import statistics
import time

HANDSHAKE = ("GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
DENO = """Deno.serve({port: PORT, hostname: '127.0.0.1', onListen() {}}, (request) => {
    const {socket, response} = Deno.upgradeWebSocket(request);
    socket.onmessage = (event) => socket.send(event.data);
    return response;
});"""


NODE_WS = """const {WebSocketServer} = require('ws');
new WebSocketServer({port: PORT, host: '127.0.0.1', perMessageDeflate: false}).on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, {binary: isBinary}));
});"""


def open_socket(port, path, client=1):
    line = socket.create_connection(("127.0.0.1", port), 30, (f"127.0.0.{client}", 0))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(HANDSHAKE.format(path).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = line.recv(1)
        if not piece:
            raise RuntimeError(f"no WebSocket: {head!r}")
        head += piece
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(f"no WebSocket: {head!r}")
    return line


def resident(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as status:
            total += next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
    return total


class SocketRows:
    def echo_round(self, server, path, connections, size):
        """(messages/s, CPU µs per message)"""
        mask = b"\x01\x02\x03\x04"
        payload = (mask * (size // 4 + 1))[:size]
        head = bytes([0x82, 0x80 | size]) if size < 126 else bytes([0x82, 0x80 | 126]) + size.to_bytes(2, "big")
        message = head + mask + payload
        expected = size + (2 if size < 126 else 4)
        lines = [open_socket(server.port, path) for _ in range(connections)]
        selector = selectors.DefaultSelector()
        missing = {}
        for line in lines:
            line.setblocking(False)
            selector.register(line, selectors.EVENT_READ)
            missing[line] = expected
        before, start, count = self.cpu_seconds(server.pids), time.monotonic(), 0
        for line in lines:
            line.send(message)
        while time.monotonic() - start < self.options.seconds:
            for key, _ in selector.select(1):
                line = key.fileobj
                got = len(line.recv(65536))
                if not got:
                    raise RuntimeError(f"{server.name} closed a WebSocket")
                missing[line] -= got
                if missing[line] == 0:
                    missing[line] = expected
                    count += 1
                    line.send(message)
        elapsed = time.monotonic() - start
        used = self.cpu_seconds(server.pids) - before
        for line in lines:
            line.close()
        return count / elapsed, used * 1e6 / max(1, count)

    def websockets(self):
        edge = self.edge("HelloWorker", "--isolates", "1")
        peers = [(peer, aim) for peer, aim in ((self.deno(DENO), "<= 1.0"), (self.node_ws(NODE_WS), "<= 0.75")) if peer]
        for connections, size in ((64, 64), (64, 4096)):
            rounds = []
            for number in range(self.options.rounds + 1):
                figures = [self.echo_round(edge, "/ws/echo", connections, size)]
                figures += [self.echo_round(peer, "/", connections, size) for peer, _ in peers]
                if number:  # The first round warms up.
                    rounds.append(figures)
            mine = [statistics.median(r[0][i] for r in rounds) for i in range(2)]
            title = f"WebSocket echo through an isolate, {size} bytes, {connections} connections"
            for place, (peer, aim) in enumerate(peers, 1):
                theirs = [statistics.median(r[place][i] for r in rounds) for i in range(2)]
                self.row(title, f"{statistics.median(r[0][1] / r[place][1] for r in rounds):.2f} x {peer.name} CPU",
                         f"{aim} x {peer.name}",
                         f"{mine[1]:.1f} vs {theirs[1]:.1f} us CPU; {mine[0]:,.0f} vs {theirs[0]:,.0f} messages/s")
            if not peers:
                self.row(title, f"{mine[1]:.1f} us CPU", "", f"{mine[0]:,.0f} messages/s")
        self.idle_sockets(edge)

    def idle_sockets(self, edge, count=10_000):
        warm = [open_socket(edge.port, "/ws/echo") for _ in range(100)]
        isolates = self.node.isolate_pids()
        before = resident(edge.pids), resident(isolates)
        # One address may have only a part of all connections.
        lines = [open_socket(edge.port, "/ws/echo", 1 + number % 8) for number in range(count)]
        time.sleep(3)
        after = resident(edge.pids), resident(isolates)
        node, isolate = ((after[index] - before[index]) / count / 1024 for index in range(2))
        self.row(f"memory of each of {count:,} idle WebSockets", f"{node:.1f} KiB in the node", "<= 4 KiB",
                 f"and {isolate:.1f} KiB in the isolate, with the handler that waits")
        for line in lines + warm:
            line.close()
