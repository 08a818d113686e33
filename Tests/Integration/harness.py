"""What all integration tests share: a real `edge` on free ports with a state directory of its own.

Run one suite:  python3 Tests/Integration/run.py test_http
Products are taken from $EDGE_PRODUCTS, else .build/debug.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRODUCTS = os.environ.get("EDGE_PRODUCTS", os.path.join(ROOT, ".build", "debug"))
# How a process ends that has a bug: traps, aborts, bad accesses.
CRASHES = {-signal.SIGILL, -signal.SIGTRAP, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGSEGV, -signal.SIGSYS}
READY = re.compile(r"ready (https?://\S+) control (https?://\S+)")


def product(name):
    return os.path.join(PRODUCTS, name)


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def header(self, name):
        return self.headers.get(name)


class Node:
    """One `edge` process. A context manager: it is killed at the end whatever happens."""

    def __init__(self, *arguments, state=None, cwd=None, env=None, deadline=60, session=False):
        self.arguments = list(arguments)
        self.owns_state = state is None
        self.state = state or tempfile.mkdtemp(prefix="edge-test-")
        self.cwd = cwd or ROOT
        self.env = env
        self.deadline = deadline
        self.session = session
        self.process = None

    def start(self):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)
        command = [product("edge"), *self.arguments, "--listen", "127.0.0.1:0", "--state", self.state]
        if "--control" not in self.arguments:
            command += ["--control", "127.0.0.1:0"]
        if "serve" in self.arguments[:1] and "--drain-delay" not in self.arguments:
            command += ["--drain-delay", "0s"]  # There are no load balancers that would have to notice.
        self.process = subprocess.Popen(
            command, cwd=self.cwd, env=self.env, stdout=subprocess.PIPE, stderr=self.log, text=True,
            start_new_session=self.session)
        line = ""
        started = time.monotonic()
        while time.monotonic() - started < self.deadline:
            line = self.process.stdout.readline()
            if READY.match(line) or not line:
                break
        match = READY.match(line)
        if not match:
            code = self.process.wait(10)
            raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{self.log_text()}")
        self.url, self.control = match.groups()
        # Where the S3 API is, when it was asked for.
        self.s3 = line.split(" s3 ", 1)[1].strip() if " s3 " in line else None
        self.port = int(self.url.rsplit(":", 1)[1])
        self.control_port = int(self.control.rsplit(":", 1)[1])
        return self

    def log_text(self):
        with open(self.log.name) as log:
            return log.read()

    def wait_for_log(self, text, seconds=20):
        wait_until(lambda: text in self.log_text(), seconds,
                   lambda: f"{text!r} in the log:\n{self.log_text()[-3000:]}")

    def request(self, method, path, body=None, headers=None, host=None, timeout=60, port=None):
        if port is None and self.url.startswith("https:"):
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=timeout, context=ssl._create_unverified_context())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            headers = dict(headers or {})
            if host:
                headers["Host"] = host
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **keywords):
        return self.request("GET", path, **keywords)

    def operator_token(self):
        with open(os.path.join(self.state, "operator-token")) as file:
            return file.read().strip()

    def status(self):
        return self.request("GET", "/status", port=self.control_port).json()

    def raw(self, data, timeout=10, half_close=False):
        """Sends bytes, returns all that comes back until the peer closes or nothing more comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            try:
                while piece := connection.recv(65536):
                    received += piece
            except TimeoutError:
                pass
            except ConnectionResetError:
                pass
            return received

    def connect(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def isolate_pids(self):
        return [pid for worker in self.status()["workers"] for pid in worker["pids"]]

    def kill(self):
        """kill -9"""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process and self.process.stdout:
            self.process.stdout.close()

    def stop(self, seconds=40):
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process and (code := self.process.poll()) is not None and code in CRASHES:
            print(f"\nthe node ended by signal {-code}:\n{self.log_text()[-6000:]}")
        self.kill()
        if self.owns_state:
            shutil.rmtree(self.state, ignore_errors=True)
        if getattr(self, "log", None):
            self.log.close()
            os.unlink(self.log.name)


def wait_until(condition, seconds=20, what="the condition"):
    """Waits for a condition; the time is a bound for a broken program, never a measure of a working one.

    `what` may be a function, for what is known only in the end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"never came: {what() if callable(what) else what}")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def edge(*arguments, cwd=None, input=None, env=None, timeout=120):
    """Runs a command of `edge` to its end."""
    return subprocess.run(
        [product("edge"), *arguments], cwd=cwd or ROOT, input=input, env=env, capture_output=True, text=True,
        timeout=timeout)
