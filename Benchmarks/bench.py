"""Prints the benchmark table: every row a ratio against a peer that was started in the same run.

Usage: python3 Benchmarks/bench.py [--products .build/release] [--seconds 4] [ROW...]

CPU is what the kernel booked for all server processes of the one and of the other during the same load, in
microseconds per request. Rounds alternate between the two, and the median round counts: the machine's speed
drifts. Nothing here asserts; the aims stand beside the figures.
"""

import argparse
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "Tests", "Integration"))

from cutover import CutoverRows  # noqa: E402
from secure import SecureRows  # noqa: E402
from objects_rows import ObjectRows  # noqa: E402
from sockets import SocketRows  # noqa: E402


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, seconds=20, look_every=0.05):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(look_every)
    raise RuntimeError(f"nothing listens on {port}")


def tree(pid):
    """The process and all below it."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                for child in children.read().split():
                    found += tree(int(child))
    except FileNotFoundError:
        pass
    return found


def cpu_seconds(pids):
    """What all threads of the processes, and of those below them, have used so far."""
    total = 0
    for process in {process for pid in pids for process in tree(pid)}:
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/schedstat") as stat:
                    total += int(stat.read().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


CACHED = """format = 1
tenant = "bench"
compatibility_date = "2026-08-01"
[workers.front]
product = "StoreWorker"
routes = ["{domain}/*"]
r2 = [{ binding = "R2", resource = "files" }]
cache = { enabled = true, rules = [{ path = "/r2/*", bypass = true }] }
"""


QUEUED = """format = 1
tenant = "bench"
compatibility_date = "2026-08-01"
[workers.front]
product = "StoreWorker"
routes = ["{domain}/*"]
kv = [{ binding = "KV", resource = "kv" }]
limits = { subrequests = 10000 }
isolates = { min = 1, max = 1 }
[workers.front.queues]
produce = [{ binding = "QUEUE", queue = "bench" }]
consume = [{ queue = "bench", batch = 100, timeout = "1s" }]
"""


class Server:
    """A server under load, ours or a peer's: the processes whose CPU time counts, and where to ask."""

    def __init__(self, name, pids, port):
        self.name, self.pids, self.port = name, pids, port


class Bench(SecureRows, CutoverRows, SocketRows, ObjectRows):
    def __init__(self, options):
        self.options = options
        self.work = tempfile.mkdtemp(prefix="edge-bench-")
        os.chmod(self.work, 0o755)  # nginx's workers run as somebody else and must reach the files they serve.
        self.children = []
        self.rows = []

    def close(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        shutil.rmtree(self.work, ignore_errors=True)

    cpu_seconds = staticmethod(cpu_seconds)

    def spawn(self, command, **keywords):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **keywords)
        self.children.append(child)
        return child

    # The servers

    def edge(self, worker, *arguments):
        os.environ["EDGE_PRODUCTS"] = self.options.products
        from harness import Node, product
        node = Node("run", product(worker), "--no-log-requests", "--log-level", "error", *arguments).start()
        self.children.append(node.process)
        self.node = node
        return Server("edge", [node.process.pid], node.port)

    def nginx(self):
        if getattr(self, "nginx_server", None):
            return self.nginx_server
        port = free_port()
        configuration = os.path.join(self.work, "nginx.conf")
        with open(configuration, "w") as file:
            file.write(f"""
                worker_processes auto; pid {self.work}/nginx.pid; daemon off; error_log /dev/null;
                events {{ worker_connections 8192; }}
                http {{
                    access_log off; sendfile on; keepalive_requests 1000000000; client_body_temp_path {self.work}/body;
                    proxy_temp_path {self.work}/p; fastcgi_temp_path {self.work}/f; uwsgi_temp_path {self.work}/u;
                    scgi_temp_path {self.work}/s; default_type application/octet-stream;
                    proxy_cache_path {self.work}/pages levels=1:2 keys_zone=pages:10m; proxy_cache_valid 200 1h;
                    server {{
                        listen 127.0.0.1:{port} reuseport;
                        location /hello {{ return 200 "hello"; }}
                        location /uploads/ {{
                            root {self.work}; dav_methods PUT; client_max_body_size 16m; client_body_buffer_size 2m;
                        }}
                        location /files/ {{ alias {self.work}/files/; }}
                        location /cached/ {{ proxy_pass http://127.0.0.1:{port}/files/; proxy_cache pages; }}
                    }}
                }}""")
        os.makedirs(os.path.join(self.work, "files"), exist_ok=True)
        os.makedirs(os.path.join(self.work, "uploads"), exist_ok=True)
        os.chmod(os.path.join(self.work, "uploads"), 0o777)
        child = self.spawn(["nginx", "-c", configuration, "-p", self.work])
        wait_for_port(port)
        self.nginx_server = Server("nginx", [child.pid], port)
        return self.nginx_server

    def node_js(self, code, look_every=0.05):
        port = free_port()
        script = os.path.join(self.work, f"server-{port}.js")
        with open(script, "w") as file:
            file.write(code.replace("PORT", str(port)))
        child = self.spawn(["node", script])
        wait_for_port(port, look_every=look_every)
        return Server("node", [child.pid], port)

    def haproxy(self, behind):
        """A proxy in front of a server: what a hop costs elsewhere."""
        port = free_port()
        configuration = os.path.join(self.work, "haproxy.cfg")
        with open(configuration, "w") as file:
            file.write(f"""
global
    nbthread {os.cpu_count()}
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server one 127.0.0.1:{behind.port}
""")
        child = self.spawn(["haproxy", "-db", "-f", configuration])
        wait_for_port(port)
        return Server("haproxy and nginx", [child.pid, *behind.pids], port)

    def deno(self, code):
        """Deno from PyPI, installed below the work directory; `None`, with a message, where it can't be had."""
        home = os.path.join(self.work, "deno")
        installed = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", home, "deno"], capture_output=True, text=True)
        program = os.path.join(home, "bin", "deno")
        if installed.returncode != 0 or not os.path.exists(program):
            print(f"bench: no deno row, it can't be installed from PyPI: {installed.stderr.strip()[-200:]}", file=sys.stderr)
            return None
        port = free_port()
        script = os.path.join(self.work, "server.deno.js")
        with open(script, "w") as file:
            file.write(code.replace("PORT", str(port)))
        environment = dict(os.environ, DENO_DIR=os.path.join(self.work, "deno-cache"), DENO_NO_UPDATE_CHECK="1")
        child = self.spawn([program, "run", "--allow-net", script], env=environment)
        wait_for_port(port)
        return Server("deno", [child.pid], port)

    def node_ws(self, code):
        """Node with the package `ws` from npm, installed below the work directory; `None`, with a message, without either."""
        home = os.path.join(self.work, "node-ws")
        os.makedirs(home)
        if shutil.which("node") is None or shutil.which("npm") is None:
            print("bench: no node row, node and npm aren't here", file=sys.stderr)
            return None
        try:
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "ws"], cwd=home, capture_output=True, check=True, timeout=60)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"bench: no node row, ws can't be installed from npm: {error}", file=sys.stderr)
            return None
        port = free_port()
        script = os.path.join(home, "server.js")
        with open(script, "w") as file:
            file.write(code.replace("PORT", str(port)))
        child = self.spawn(["node", script])
        wait_for_port(port)
        return Server("node ws", [child.pid], port)

    # Loads

    def wrk(self, server, path, connections, script=None):
        """One round: (requests/s, CPU µs per request, p50 µs, p99 µs, CPU µs per request with the client's)."""
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{self.options.seconds}s", "--latency",
                   "--timeout", "10s", f"http://127.0.0.1:{server.port}{path}"]
        if script:
            name = os.path.join(self.work, "load.lua")
            with open(name, "w") as file:
                file.write(script)
            command[1:1] = ["-s", name]
        before, client = cpu_seconds(server.pids), resource.getrusage(resource.RUSAGE_CHILDREN)
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = cpu_seconds(server.pids) - before
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        both = used + after.ru_utime + after.ru_stime - client.ru_utime - client.ru_stime
        requests = int(re.search(r"(\d+) requests in", output).group(1))
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
        if failed:  # An error page is another work than the one to be measured.
            raise RuntimeError(f"{server.name}{path}: {failed.group(0)}")
        if re.search(r"Socket errors: .*[1-9]", output):
            print(f"    {server.name}{path}: {output}", file=sys.stderr)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))

        def latency(percent):
            value, unit = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)", output).groups()
            return float(value) * {"us": 1, "ms": 1000, "s": 1_000_000}[unit]

        return rate, used * 1e6 / max(1, requests), latency(50), latency(99), both * 1e6 / max(1, requests)

    def compare(self, title, aim, ours, peer, path, connections, peer_path=None, script=None):
        rounds = []
        for number in range(self.options.rounds + 1):
            pair = [self.wrk(ours, path, connections, script), self.wrk(peer, peer_path or path, connections, script)]
            if number:  # The first round warms up.
                rounds.append(pair)
        mine = [statistics.median(r[0][i] for r in rounds) for i in range(5)]
        theirs = [statistics.median(r[1][i] for r in rounds) for i in range(5)]
        ratio = statistics.median(r[0][1] / r[1][1] for r in rounds)
        self.row(title, f"{ratio:.2f} x {peer.name} CPU", aim,
                 # A window that is full is opened by the receiver, and the kernel charges it for what is then sent.
                 f"{mine[1]:.1f} vs {theirs[1]:.1f} us CPU, with the client's {mine[4]:.0f} vs {theirs[4]:.0f}; {mine[0]:,.0f} vs {theirs[0]:,.0f} req/s, "
                 f"p50 {mine[2]:,.0f} vs {theirs[2]:,.0f} us, p99 {mine[3]:,.0f} vs {theirs[3]:,.0f} us")

    def row(self, title, figure, aim, detail):
        self.rows.append((title, figure, aim, detail))
        print(f"| {title} | {figure} | {aim} | {detail} |", flush=True)

    # Rows

    def hello(self):
        edge = self.edge("HelloWorker", "--isolates", "1")
        nginx = self.nginx()
        self.compare("hello through an isolate, 64 connections", "<= 1.3 x nginx", edge, nginx, "/hello", 64)
        node = self.node_js("require('http').createServer((q, s) => s.end('hello')).listen(PORT, '127.0.0.1')")
        self.compare("the same against node's http", "", edge, node, "/hello", 64)
        self.compare("the same against haproxy in front of nginx", "", edge, self.haproxy(nginx), "/hello", 64)
        deno = self.deno("Deno.serve({port: PORT, hostname: '127.0.0.1', onListen() {}}, () => new Response('hello'));")
        if deno:
            self.compare("the same against deno", "", edge, deno, "/hello", 64)

    def cache(self):
        """A page that stands in the cache in front of the worker, beside one in nginx's `proxy_cache`."""
        os.environ["EDGE_PRODUCTS"] = self.options.products
        from projects import Project
        nginx = self.nginx()
        with Project(CACHED, {"dev": "format = 1\n"}) as project:
            node = project.dev("--no-log-requests", "--log-level", "error").start()
            self.children.append(node.process)
            edge = Server("edge", [node.process.pid], node.port)
            for title, size in [("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)]:
                name, data = f"page-{size}", os.urandom(size)
                with open(os.path.join(self.work, "files", name), "wb") as file:
                    file.write(data)
                node.request("PUT", f"/r2/{name}", data)
                for server, path in ((edge, f"/r2-cached/{name}"), (nginx, f"/cached/{name}")):
                    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                    for _ in range(2):
                        connection.request("GET", path)
                        answer = connection.getresponse()
                        if answer.read() != data:
                            raise RuntimeError(f"{server.name}{path} is not what was stored")
                    connection.close()
                    if server is edge and answer.getheader("CF-Cache-Status") != "HIT":
                        raise RuntimeError(f"{path} doesn't come from the cache")
                self.compare(f"cached page of {title}, 64 connections", "<= 1.0 x nginx proxy_cache", edge, nginx,
                             f"/r2-cached/{name}", 64, peer_path=f"/cached/{name}")

    def queue(self):
        """Messages sent one by one by a handler, 64 in flight, until the last one is acknowledged by its consumer; beside a
        stream of redis that syncs each write, 64 clients that add, and a group that reads and acknowledges."""
        if not shutil.which("redis-server"):
            print("bench: no queue row, redis-server is not installed", file=sys.stderr)
            return
        os.environ["EDGE_PRODUCTS"] = self.options.products
        from projects import Project
        project = Project(QUEUED, {"dev": "format = 1\n"})
        node = project.dev("--no-log-requests", "--log-level", "error").start()
        self.children.append(node.process)
        edge = Server("edge", [node.process.pid], node.port)
        port = free_port()
        home = os.path.join(self.work, "redis")
        os.makedirs(home)
        self.spawn(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", home, "--appendonly", "yes",
                    "--appendfsync", "always", "--save", ""])
        wait_for_port(port)
        count, ours, theirs = 8_000, [], []
        connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=600)
        for number in range(self.options.rounds + 1):
            connection.request("GET", f"/bench/queue/{count}/64")
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise RuntimeError(f"/bench/queue: {answer.status} {text[:200]}")
            pair = count / (float(text.split()[0]) / 1000), self.redis_stream(port, f"s{number}", count)
            if number:  # The first round warms up.
                ours.append(pair[0])
                theirs.append(pair[1])
        connection.close()
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        self.row("durable queue messages, sent to acknowledged", f"{ratio:.2f} x redis streams", ">= 1.0",
                 f"{statistics.median(ours):,.0f}/s vs {statistics.median(theirs):,.0f}/s, 100 messages to a batch")
        node.stop()
        project.__exit__()

    @staticmethod
    def redis_stream(port, stream, count):
        """Messages per second from the first XADD to the last XACK."""
        client = socket.create_connection(("127.0.0.1", port))
        reader = client.makefile("rb")

        def value():
            line = reader.readline()
            kind, rest = line[:1], line[1:-2]
            if kind == b"-":
                raise RuntimeError(f"redis: {rest.decode()}")
            if kind == b"$":
                return None if rest == b"-1" else reader.read(int(rest) + 2)[:-2]
            if kind == b"*":
                return None if rest == b"-1" else [value() for _ in range(int(rest))]
            return rest

        def ask(*words):
            words = [word if isinstance(word, bytes) else word.encode() for word in words]
            client.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            return value()

        ask("XGROUP", "CREATE", stream, "g", "$", "MKSTREAM")
        started = time.perf_counter()
        sender = subprocess.Popen(
            ["redis-benchmark", "-p", str(port), "-c", "64", "-n", str(count), "-q", "XADD", stream, "*", "m", "m" * 100],
            stdout=subprocess.DEVNULL)
        done = 0
        while done < count:
            found = ask("XREADGROUP", "GROUP", "g", "c", "COUNT", "100", "BLOCK", "1000", "STREAMS", stream, ">")
            if not found:
                if sender.poll() is not None:
                    raise RuntimeError(f"redis gave {done} of {count} messages")
                continue
            names = [entry[0] for entry in found[0][1]]
            done += ask("XACK", stream, "g", *names) and len(names)
        elapsed = time.perf_counter() - started
        sender.wait(60)
        client.close()
        return count / elapsed

    def many(self):
        edge = self.edge("HelloWorker", "--isolates", "1", "--concurrency", "1024")
        self.compare("hello, 2,000 connections", "<= 1.5 x nginx", edge, self.nginx(), "/hello", 2000)

    def echo(self):
        edge = self.edge("HelloWorker", "--isolates", "1")
        node = self.node_js("require('http').createServer((q, s) => q.pipe(s)).listen(PORT, '127.0.0.1')")
        script = 'wrk.method = "POST"\nwrk.body = string.rep("x", 65536)\n'
        self.compare("64 KiB POST echo, streamed", "<= 1.0 x node", edge, node, "/echo", 16, script=script)

    def hop(self):
        edge = self.edge("HelloWorker", "--isolates", "1")
        with_hop, without = [], []
        for _ in range(self.options.rounds):
            with_hop.append(self.wrk(edge, "/hello", 1)[2])
            without.append(self.wrk(edge, "/__edge/health/live", 1)[2])
        added = statistics.median(a - b for a, b in zip(with_hop, without))
        self.row("latency that the isolate adds, 1 connection", f"{added:.0f} us at p50", "<= 25 us",
                 f"{statistics.median(with_hop):.0f} us with, {statistics.median(without):.0f} us without")

    def cold(self):
        """A request that finds no isolate: the last one has just been killed. What is measured holds its end being noticed,
        the spawn, the sandbox, the configuration, the worker's initializer and the answer."""
        times = []
        for _ in range(5):
            server = self.edge("HelloWorker", "--isolates", "1")
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            for _ in range(2):  # The third failure within a minute would count as a crash loop, with a pause.
                self.ask_hello(connection)
                (pid,) = self.node.isolate_pids()
                os.kill(pid, signal.SIGKILL)
                started = time.perf_counter()
                self.ask_hello(connection)
                times.append((time.perf_counter() - started) * 1000)
            connection.close()
            self.node.stop()
        process = []
        for _ in range(5):
            started = time.perf_counter()
            node = self.node_js("require('http').createServer((q, s) => s.end('hello')).listen(PORT, '127.0.0.1')", 0.001)
            connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
            self.ask_hello(connection)
            process.append((time.perf_counter() - started) * 1000)
            connection.close()
        self.row("cold start, killed isolate to first answer", f"{statistics.median(times):.1f} ms at p50", "<= 8 ms",
                 f"{min(times):.1f} to {max(times):.1f} ms in {len(times)} starts; a node process, spawn to first answer: "
                 f"{statistics.median(process):.0f} ms")

    @staticmethod
    def ask_hello(connection):
        connection.request("GET", "/hello")
        answer = connection.getresponse()
        if (answer.status, answer.read()) != (200, b"hello"):
            raise RuntimeError(f"/hello answered {answer.status}")

    def bindings(self):
        edge = self.edge("StoreWorker", "--kv", "KV=bench", "--d1", "DB=bench", "--r2", "R2=bench",
                         "--subrequests", "1000000")
        connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=300)

        def ask(method, path, body=None):
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {text[:200]}")
            return text.decode()

        ask("PUT", "/kv/bench", b"v" * 100)
        ask("POST", "/d1/exec", b"CREATE TABLE IF NOT EXISTS bench (id INTEGER PRIMARY KEY, value TEXT)\n"
            b"CREATE TABLE IF NOT EXISTS inserts (id INTEGER PRIMARY KEY, value TEXT)\n"
            b"INSERT INTO bench SELECT value, 'row ' || value FROM json_each((SELECT json_group_array(value) FROM "
            b"(WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < 999) "
            b"SELECT value FROM n)))")

        def measure(path, count, parallel):
            """(operations/s, p50 us, p99 us) of the median round; the first round warms up."""
            rounds = []
            for _ in range(6):
                total, p50, p99 = map(float, ask("GET", f"/bench/{path}/{count}/{parallel}").split())
                rounds.append((count / (total / 1000), p50, p99))
            return sorted(rounds[1:])[len(rounds[1:]) // 2]

        def binding(title, aim, path, count, parallel):
            rate, p50, p99 = measure(path, count, parallel)
            self.row(title, f"{rate:,.0f}/s" if parallel > 1 else f"p50 {p50:.0f} us", aim,
                     f"{parallel} in flight, {rate:,.0f}/s, p50 {p50:,.0f} us, p99 {p99:,.0f} us")

        binding("KV get inside a handler", ">= 100,000/s", "kv-get", 100_000, 64)
        binding("the same, one by one", "p50 <= 40 us", "kv-get", 10_000, 1)
        binding("durable KV puts inside a handler", "see the store rows", "kv-put", 10_000, 64)
        binding("D1 point select inside a handler", ">= 40,000/s", "d1-select", 50_000, 64)
        binding("the same, one by one", "", "d1-select", 5_000, 1)
        binding("durable D1 inserts inside a handler", "see the store rows", "d1-insert", 10_000, 64)
        binding("durable D1 batches of 10 inserts inside a handler", "see the store rows", "d1-batch", 5_000, 64)
        # A stored object against the same bytes from a file.
        nginx = self.nginx()
        for title, size in [("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("100 MiB", 100 << 20)]:
            data = os.urandom(1 << 20) * (size >> 20) or os.urandom(size)
            ask("PUT", f"/r2/object-{size}", data)
            with open(os.path.join(self.work, "files", f"object-{size}"), "wb") as file:
                file.write(data)
            self.compare(f"{title} answer from R2", "<= 1.0 x nginx sendfile", edge, nginx, f"/r2/object-{size}", 16,
                         peer_path=f"/files/object-{size}")

    def bulk(self):
        """10,000 pairs in one request of the REST API, beside as many in one transaction of liblmdb's own."""
        count, value = 10_000, "v" * 100
        body = json.dumps([{"key": f"session/{number:08}", "value": value} for number in range(count)]).encode()
        self.edge("HelloWorker", "--isolates", "1")
        connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=300)
        headers = {"Authorization": f"Bearer {self.node.operator_token()}"}

        def ask(method, path, body):
            connection.request(method, "/client/v4/accounts/local/storage/kv/namespaces" + path, body, headers)
            answer = connection.getresponse()
            result = json.loads(answer.read())["result"]
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status}")
            return result

        namespace = ask("POST", "", json.dumps({"title": "bench"}))["id"]
        peer = subprocess.Popen(
            [os.path.join(self.options.products, "StoreBenchmark"), self.work, "--raw-lmdb", str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.children.append(peer)
        pairs = []
        for number in range(26):
            started = time.perf_counter()
            if ask("PUT", f"/{namespace}/bulk", body)["successful_key_count"] != count:
                raise RuntimeError("a pair was refused")
            mine = count / (time.perf_counter() - started)
            peer.stdin.write("again\n")
            peer.stdin.flush()
            theirs = count / float(peer.stdout.readline())
            if number:  # The first round makes the keys; the others write them anew.
                pairs.append((mine, theirs))
        peer.stdin.close()
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        mine, theirs = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        self.row("KV bulk write over REST, 10,000 pairs of 100 bytes", f"{ratio:.2f} x raw LMDB", "",
                 f"{mine:,.0f} vs {theirs:,.0f} keys/s, each request one durable transaction, {len(body) >> 10} KiB of JSON")

    def d1_rest(self):
        """A point query over REST: token, JSON in, one transaction on SQLite, JSON out; beside an answer that nginx has ready."""
        edge = self.edge("HelloWorker")
        control = Server("edge", edge.pids, self.node.control_port)
        connection = http.client.HTTPConnection("127.0.0.1", control.port, timeout=60)
        with open(os.path.join(self.node.state, "operator-token")) as file:
            operator = file.read().strip()

        def ask(path, body):
            connection.request("POST", "/client/v4" + path, json.dumps(body), {"Authorization": f"Bearer {operator}"})
            answer = json.loads(connection.getresponse().read())
            if not answer["success"]:
                raise RuntimeError(f"{path}: {answer['errors']}")
            return answer["result"]

        # A token may ask 1200 times in five minutes: many share the load, as many users would.
        tokens = [ask("/user/tokens", {"name": "bench", "policies": [{
            "effect": "allow", "resources": {"com.cloudflare.api.account.*": "*"}, "permission_groups": [{"id": "d1:edit"}],
        }]})["value"] for _ in range(600)]
        path = "/accounts/local/d1/database/" + ask("/accounts/local/d1/database", {"name": "bench"})["uuid"] + "/query"
        ask(path, {"sql": "CREATE TABLE bench (id INTEGER PRIMARY KEY, value TEXT); INSERT INTO bench WITH RECURSIVE n(value) AS "
                          "(SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < 999) SELECT value, 'row ' || value FROM n"})
        script = f"""
            local tokens = {{ {", ".join(f'"{token}"' for token in tokens)} }}
            local count = 0
            request = function()
                count = count + 1
                return wrk.format("POST", nil, {{ ["Authorization"] = "Bearer " .. tokens[count % #tokens + 1] }},
                    '{{"sql":"SELECT value FROM bench WHERE id = ?","params":[' .. count % 1000 .. ']}}')
            end"""
        self.compare("D1 point query over REST", "none yet: measured first", control, self.nginx(), "/client/v4" + path, 16,
                     peer_path="/hello", script=script)

    def s3(self):
        """Objects over the S3 API, with presigned URLs, beside files of nginx on the same disk: read with sendfile, written
        with WebDAV's PUT, which syncs nothing."""
        self.edge("HelloWorker", "--s3", "127.0.0.1:0")
        from s3_signing import Signer, operator_pair, sha256
        nginx, node = self.nginx(), self.node
        edge = Server("edge", [node.process.pid], int(node.s3.rsplit(":", 1)[1]))
        signer = Signer(*operator_pair(node), f"127.0.0.1:{edge.port}")

        def ask(server, method, path, headers, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            if answer.status >= 300:
                raise RuntimeError(f"{server.name}{path}: {answer.status} {answer.read()}")
            answer.read()
            connection.close()

        ask(edge, "PUT", "/bench", signer.headers("PUT", "/bench", payload=sha256(b"")), b"")
        for title, size in [("64 KiB", 64 << 10), ("1 MiB", 1 << 20)]:
            names = [f"{size}-{number}" for number in range(64)]
            data = os.urandom(size)
            for name in names:
                with open(os.path.join(self.work, "files", name), "wb") as file:
                    file.write(data)
                ask(edge, "PUT", signer.presign("PUT", f"/bench/{name}", expires=3600), {}, data)
            body = os.path.join(self.work, "upload")
            with open(body, "wb") as file:
                file.write(data)

            def script(method, prefix):
                ours = ",".join(f'"{signer.presign(method, f"/bench/{name}", expires=3600)}"' for name in names)
                theirs = ",".join(f'"/{prefix}/{name}"' for name in names)
                content = f'local file = io.open("{body}", "rb"); body = file:read("*a"); file:close()' if method == "PUT" else ""
                return f"""
                    local ours, theirs, number, body = {{{ours}}}, {{{theirs}}}, 0, nil
                    {content}
                    function request()
                        number = number % {len(names)} + 1
                        local paths = wrk.port == "{edge.port}" and ours or theirs
                        return wrk.format("{method}", paths[number], nil, body)
                    end"""

            self.compare(f"{title} object over S3, GET", "<= 1.5 x nginx sendfile", edge, nginx, "/", 16,
                         script=script("GET", "files"))
            self.compare(f"{title} object over S3, PUT, durable", "see the disk", edge, nginx, "/", 16,
                         script=script("PUT", "uploads"))

    def isolates(self):
        """What seven more isolates add to one: pages that isolates share are counted once."""

        def pss(pid):
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                return int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M).group(1)) / 1024

        def all_isolates(count):
            self.edge("HelloWorker", "--isolates", str(count))
            end = time.monotonic() + 30
            while len(self.node.isolate_pids()) < count:
                if time.monotonic() > end:
                    raise RuntimeError(f"{count} isolates were asked for, {len(self.node.isolate_pids())} run")
                time.sleep(0.05)
            time.sleep(1)
            total = sum(pss(pid) for pid in self.node.isolate_pids())
            self.node.stop()
            return total

        one, eight = all_isolates(1), all_isolates(8)
        self.row("memory of each further idle isolate", f"{(eight - one) / 7:.1f} MiB PSS", "<= 4 MiB",
                 f"one isolate {one:.1f} MiB, eight {eight:.1f} MiB")

    def stores(self):
        output = subprocess.run(
            [os.path.join(self.options.products, "StoreBenchmark"), self.work], capture_output=True, text=True, check=True)
        for line in output.stdout.splitlines():
            self.row(*line.split("\t"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", default=os.path.join(ROOT, ".build", "release"))
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    options.products = os.path.abspath(options.products)
    # Two thousand connections are as many descriptors, on either side.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    print("| work | figure | aim | detail |\n|---|---|---|---|", flush=True)
    for name in options.rows or [
            "hello", "many", "echo", "hop", "cold", "secure", "secure_hello", "isolates", "cache", "queue", "stores", "bulk", "bindings",
            "d1_rest", "s3", "websockets", "objects", "broadcast", "cutover"]:
        bench = Bench(options)
        try:
            getattr(bench, name)()
        finally:
            bench.close()


if __name__ == "__main__":
    main()
