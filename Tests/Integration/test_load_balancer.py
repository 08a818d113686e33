"""Three nodes of one environment behind HAProxy and behind nginx, with the configurations of environments/load-balancer: each
node is stopped and started again while clients ask, and none of them notices."""

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from harness import ROOT, Node, product, wait_until
from projects import Project

CONFIGURATIONS = os.path.join(ROOT, "environments", "load-balancer")
SHAPE = """format = 1
tenant = "shop"
compatibility_date = "2026-08-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
"""
ENVIRONMENT = """format = 1
domain = "shop.test"
listen = ["127.0.0.1:0"]
trusted_proxies = ["127.0.0.0/8"]
[defaults]
isolates = { min = 1, max = 2 }
"""
HOST = "shop.test"


def free_ports(count):
    """Ports that nobody listens on, all different; who wants them must take them soon."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Nodes:
    """Three nodes with one project and a state each. A context manager."""

    def __init__(self, project, *arguments):
        self.project = project
        self.arguments = arguments
        self.ports = free_ports(3)
        self.states = [project.path(f"state-{number}") for number in range(3)]
        self.nodes = []

    def make(self, number):
        return Node("serve", "--environment", "staging", "--project", self.project.directory, "--products",
                    os.path.dirname(product("edge")), "--listen", f"127.0.0.1:{self.ports[number]}", "--drain-delay", "4s",
                    *self.arguments, state=self.states[number], cwd=self.project.directory, deadline=90)

    def restart(self, number):
        """As an operator does: SIGTERM, the end, the start."""
        code = self.nodes[number].stop(90)
        assert code == 0, f"{code}: {self.nodes[number].log_text()}"
        self.nodes[number] = self.make(number).start()

    def __enter__(self):
        try:
            for number in range(3):
                self.nodes.append(self.make(number).start())
            return self
        except Exception:
            self.__exit__()
            raise

    def __exit__(self, *_):
        for node in self.nodes:
            node.__exit__(None, None, None)


class Balancer:
    """A balancer in front of nodes, in a process of its own. A context manager."""

    def __init__(self, command, port, environment=None):
        self.command, self.port, self.environment = command, port, environment

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, env=self.environment)
        try:
            wait_until(self.is_listening, 30, self.log_text)
        except BaseException:
            self.__exit__()
            raise
        return self

    def is_listening(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except OSError:
            assert self.process.poll() is None, self.log_text()
            return False

    def log_text(self):
        with open(self.log.name) as log:
            return log.read()

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def haproxy(nodes, passes_tls=False):
    """- Parameter passes_tls: The port is the one where TLS goes through to the nodes."""
    plain, port = free_ports(2)
    environment = dict(os.environ, EDGE_BIND=f"127.0.0.1:{plain if passes_tls else port}")
    if passes_tls:
        environment["EDGE_PASSTHROUGH_BIND"] = f"127.0.0.1:{port}"
    for number, node_port in enumerate(nodes.ports):
        environment[f"EDGE_NODE_{number + 1}"] = f"127.0.0.1:{node_port}"
        environment[f"EDGE_NODE_{number + 1}_TLS"] = f"127.0.0.1:{node_port}"
    return Balancer(["haproxy", "-db", "-f", os.path.join(CONFIGURATIONS, "haproxy.cfg")], port, environment)


def nginx(nodes, directory):
    port = free_ports(1)[0]
    values = {"EDGE_RUN": directory, "EDGE_BIND": f"127.0.0.1:{port}"}
    for number, node_port in enumerate(nodes.ports):
        values[f"EDGE_NODE_{number + 1}"] = f"127.0.0.1:{node_port}"
    with open(os.path.join(CONFIGURATIONS, "nginx.conf")) as template:
        text = template.read()
    for name, value in values.items():  # As envsubst does with these names: nginx has variables of its own.
        text = text.replace("${%s}" % name, value)
    path = os.path.join(directory, "nginx.conf")
    with open(path, "w") as file:
        file.write(text)
    os.chmod(directory, 0o755)
    return Balancer(["nginx", "-c", path, "-e", "stderr", "-g", "daemon off;"], port)


class Load:
    """Clients that check every answer, each in a thread. A context manager; `failures` is what they met."""

    def __init__(self, port, host=HOST):
        self.port, self.host = port, host
        self.failures = []
        self.counts = {}
        self.ends = threading.Event()
        kinds = [self.get, self.get, self.post, self.post, self.fresh, self.fresh_post, self.stream]
        self.threads = [threading.Thread(target=self.run, args=(kind, seed)) for seed, kind in enumerate(kinds)]

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, connection, method, path, body=None):
        connection.request(method, path, body=body, headers={"Host": self.host})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def run(self, kind, seed):
        name = kind.__name__
        kept = self.connection()
        count = 0
        while not self.ends.is_set():
            count += 1
            try:
                error = kind(kept, f"{seed}-{count}")
            except Exception as caught:
                error = repr(caught)
                kept.close()
                kept = self.connection()
            if error:
                self.failures.append((name, count, time.strftime("%X"), error))
            self.counts[name] = self.counts.get(name, 0) + 1
            time.sleep(0.01)
        kept.close()

    def expect(self, got, wanted):
        return None if got == wanted else (got[0], got[1][:300])

    def get(self, kept, _):
        return self.expect(self.ask(kept, "GET", "/hello"), (200, b"hello"))

    def post(self, kept, mark):
        body = (mark * 5000).encode()
        return self.expect(self.ask(kept, "POST", "/echo", body), (200, body))

    def fresh(self, _, mark):
        connection = self.connection()
        try:
            return self.expect(self.ask(connection, "GET", "/json"), (200, b'{"hello":"world"}'))
        finally:
            connection.close()

    def fresh_post(self, _, mark):
        connection = self.connection()
        try:
            return self.expect(self.ask(connection, "POST", "/length", mark.encode()), (200, str(len(mark)).encode()))
        finally:
            connection.close()

    def stream(self, kept, _):
        wanted = b"".join(b"data: %d\n\n" % number for number in range(1, 11))
        return self.expect(self.ask(kept, "GET", "/ticks/10/100"), (200, wanted))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for thread in self.threads:
            thread.join(90)


class SecureLoad(Load):
    """The same over TLS, which the nodes speak."""

    def connection(self):
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=60, context=ssl._create_unverified_context())


class Balanced(unittest.TestCase):
    seconds = 80

    def setUp(self):
        self.project = Project(SHAPE, {"staging": ENVIRONMENT})
        self.addCleanup(self.project.__exit__)

    def roll(self, nodes, balancer):
        with Load(balancer.port) as load:
            for number in range(3):
                before = dict(load.counts)
                nodes.restart(number)
                # All three serve again before the next one goes, as an operator waits for it.
                wait_until(lambda: nodes.nodes[number].get("/__edge/health/ready").status == 200, 30, "readiness")
                wait_until(lambda: nodes.nodes[number].status()["requests"] > 30, 60, f"requests at node {number}")
                wait_until(lambda: all(load.counts.get(kind, 0) > before.get(kind, 0) for kind in load.counts), 60, "load")
        self.assertEqual(load.failures, [], f"{load.counts}\n{balancer.log_text()[-3000:]}")
        self.assertEqual(set(load.counts), {"get", "post", "fresh", "fresh_post", "stream"})

    @unittest.skipUnless(shutil.which("haproxy"), "no haproxy")
    def test_a_rolling_restart_behind_haproxy_fails_no_request(self):
        with Nodes(self.project) as nodes, haproxy(nodes) as balancer:
            self.roll(nodes, balancer)

    @unittest.skipUnless(shutil.which("haproxy"), "no haproxy")
    def test_tls_goes_through_haproxy_while_nodes_restart(self):
        with Nodes(self.project, "--https") as nodes, haproxy(nodes, passes_tls=True) as balancer:
            with SecureLoad(balancer.port) as load:
                wait_until(lambda: len(load.counts) == 5, 60, "load")
                for number in range(2):
                    before = dict(load.counts)
                    nodes.restart(number)
                    wait_until(lambda: nodes.nodes[number].get("/__edge/health/ready").status == 200, 30, "readiness")
                    wait_until(lambda: nodes.nodes[number].status()["requests"] > 10, 60, f"requests at node {number}")
                    wait_until(lambda: all(load.counts[kind] > before[kind] for kind in before), 60, "load")
            self.assertEqual(load.failures, [], f"{load.counts}\n{balancer.log_text()[-3000:]}")

    @unittest.skipUnless(shutil.which("nginx"), "no nginx")
    def test_a_rolling_restart_behind_nginx_fails_no_request(self):
        with tempfile.TemporaryDirectory(prefix="edge-nginx-") as directory:
            with Nodes(self.project) as nodes, nginx(nodes, directory) as balancer:
                self.roll(nodes, balancer)

    @unittest.skipUnless(shutil.which("haproxy"), "no haproxy")
    def test_haproxy_tells_the_nodes_of_the_client_and_keeps_their_own_pages(self):
        with Nodes(self.project) as nodes, haproxy(nodes) as balancer:
            self.check_forwarding(balancer)

    @unittest.skipUnless(shutil.which("nginx"), "no nginx")
    def test_nginx_tells_the_nodes_of_the_client_and_keeps_their_own_pages(self):
        with tempfile.TemporaryDirectory(prefix="edge-nginx-") as directory:
            with Nodes(self.project) as nodes, nginx(nodes, directory) as balancer:
                self.check_forwarding(balancer)

    def check_forwarding(self, balancer):
        connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=60)

        def headers():
            connection.request("GET", "/headers", headers={
                "Host": HOST, "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "CF-Connecting-IP": "6.6.6.6"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        wait_until(lambda: headers()[0] == 200, 30, headers)
        text = headers()[1]
        self.assertNotIn("6.6.6.6", text)
        self.assertIn("cf-connecting-ip: 127.0.0.1\n", text)
        self.assertIn("x-forwarded-proto: http\n", text)
        connection.request("GET", "/__edge/health/ready", headers={"Host": HOST})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 404)
        answer.read()
        connection.close()


if __name__ == "__main__":
    unittest.main()
