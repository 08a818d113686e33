"""TLS and HTTP/2 beside nginx's, with one certificate: handshakes, requests on connections that stay open, many streams.

Mixed into `Bench` of bench.py; each row is what a second of CPU time does here by what it does there. Rows of a file do the same
work on both sides; in those of hello an isolate answers here, while nginx returns a text of its configuration.
"""

import os
import re
import statistics
import subprocess


FILE = "file.txt"
PAGES = """format = 1
tenant = "bench"
compatibility_date = "2026-08-01"
[workers.pages]
routes = ["{domain}/*"]
assets = { directory = "pages" }
"""


class SecureRows:
    def nginx_with_tls(self, certificate, key, port):
        configuration = os.path.join(self.work, "nginx-tls.conf")
        with open(configuration, "w") as file:
            file.write(f"""
                worker_processes auto; pid {self.work}/nginx-tls.pid; daemon off; error_log /dev/null;
                events {{ worker_connections 8192; }}
                http {{
                    access_log off; keepalive_requests 1000000000; client_body_temp_path {self.work}/body;
                    proxy_temp_path {self.work}/p; fastcgi_temp_path {self.work}/f; uwsgi_temp_path {self.work}/u;
                    scgi_temp_path {self.work}/s; default_type text/plain;
                    server {{
                        listen 127.0.0.1:{port} ssl http2 reuseport;
                        ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
                        ssl_session_cache off;
                        location /hello {{ return 200 "hello"; }}
                        location /file.txt {{ root {self.work}/pages; }}
                    }}
                }}""")
        return self.spawn(["nginx", "-c", configuration, "-p", self.work])

    def wrk_secure(self, server, path):
        output = self.load(["wrk", "-t", "1", "-c", "64", "-d", f"{self.options.seconds}s", "--timeout", "10s",
                            f"https://127.0.0.1:{server.port}{path}"])
        if re.search(r"Non-2xx", output):
            raise RuntimeError(f"{server.name}: {output}")
        return int(re.search(r"(\d+) requests in", output).group(1))

    def h2load(self, server, path):
        output = self.load(["h2load", "-c", "64", "-m", "16", "-D", str(self.options.seconds), f"https://127.0.0.1:{server.port}{path}"])
        total, failed = re.search(r"(\d+) succeeded, (\d+) failed", output).groups()
        if int(failed) or "Application protocol: h2" not in output:
            raise RuntimeError(f"{server.name}: {output}")
        return int(total)

    def handshakes(self, server, path):
        """New sessions, each with one request, by two clients at once."""
        command = ["openssl", "s_time", "-new", "-www", path, "-time", str(self.options.seconds), "-connect",
                   f"127.0.0.1:{server.port}"]
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
        return sum(int(re.search(r"(\d+) connections in \d+ real", client.communicate()[0]).group(1)) for client in clients)

    @staticmethod
    def load(command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def secure(self):
        """The layer itself: a file of 1 KiB, served by both."""
        os.environ["EDGE_PRODUCTS"] = self.options.products
        from projects import Project
        os.makedirs(os.path.join(self.work, "pages"), exist_ok=True)
        with Project(PAGES, {"dev": "format = 1\n"}) as project:
            text = os.urandom(512).hex()
            for folder in (self.work, project.directory):
                os.makedirs(os.path.join(folder, "pages"), exist_ok=True)
                with open(os.path.join(folder, "pages", FILE), "w") as file:
                    file.write(text)
            self.node = project.dev("--https", "--no-log-requests", "--log-level", "error").start()
            self.children.append(self.node.process)
            self.secure_rows("file of 1 KiB", "/" + FILE)

    def secure_hello(self):
        """With an isolate behind it."""
        # A thousand streams at once wait for no place.
        self.edge("HelloWorker", "--isolates", "1", "--https", "--concurrency", "1024")
        self.secure_rows("hello", "/hello")

    def secure_rows(self, what, path):
        from bench import Server, cpu_seconds, free_port, wait_for_port
        edge = Server("edge", [self.node.process.pid], self.node.port)
        port = free_port()
        child = self.nginx_with_tls(*(os.path.join(self.node.state, name) for name in ("localhost.pem", "localhost.key")), port)
        wait_for_port(port)
        nginx = Server("nginx", [child.pid], port)

        def measure(server, work):
            before = cpu_seconds(server.pids)
            count = work(server, path)
            return count / (cpu_seconds(server.pids) - before), count / self.options.seconds

        for title, work in ((f"TLS handshakes with one request ({what})", self.handshakes),
                            (f"{what} over TLS, 64 connections", self.wrk_secure),
                            (f"{what} over HTTP/2, 64 connections of 16 streams", self.h2load)):
            rounds = []
            for number in range(self.options.rounds + 1):
                pair = measure(edge, work), measure(nginx, work)
                if number:  # The first round warms up.
                    rounds.append(pair)
            mine = [statistics.median(pair[0][index] for pair in rounds) for index in range(2)]
            theirs = [statistics.median(pair[1][index] for pair in rounds) for index in range(2)]
            ratio = statistics.median(pair[0][0] / pair[1][0] for pair in rounds)
            self.row(title, f"{ratio:.2f} x nginx", ">= 0.9 x nginx per CPU second",
                     f"{mine[0]:,.0f} vs {theirs[0]:,.0f} per CPU second; {mine[1]:,.0f} vs {theirs[1]:,.0f} per second")
