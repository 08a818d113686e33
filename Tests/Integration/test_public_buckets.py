"""Buckets that everybody may read: under a name of the node's, and under domains of their owners (spec r2, section 5)."""

import json
import os
import ssl
import tempfile
import unittest

from harness import Node, edge, product
from projects import Project
from rest import Rest
from tls_clients import connect, context, exchange

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*", "files.example.com/api/*"]
r2 = [{ binding = "R2", resource = "bucket" }]
kv = [{ binding = "KV", resource = "texts" }]

[workers.hello]
product = "HelloWorker"
domains = ["hello.example.com"]
"""


class PublicBuckets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.project = cls.enterClassContext(Project(SHAPE))
        cls.node = cls.enterClassContext(cls.project.dev())
        cls.rest = Rest(cls.node, "t")

    def make(self, name):
        self.rest.result("POST", "r2/buckets", {"name": name})
        return f"r2/buckets/{name}"

    def put(self, path, key, body, **headers):
        answer = self.rest.ask("PUT", f"{path}/objects/{key}", body, **headers)
        self.assertEqual(answer.status, 200, answer.text)

    def get(self, host, path, method="GET", **headers):
        return self.node.request(
            method, path, host=host, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def open(self, path):
        answer = self.rest.result("PUT", path + "/domains/managed", {"enabled": True})
        self.assertEqual((answer["enabled"], answer["domain"]), (True, f"pub-{answer['bucketId']}.r2.localhost"))
        return answer["domain"]

    def test_what_a_get_says(self):
        path = self.make("reads")
        host = self.open(path)
        self.put(path, "dir/a%20b%2Bc.txt", b"0123456789", Content_Type="text/plain", Cache_Control="max-age=60",
                 Content_Disposition="inline", Content_Language="de")
        found = self.get(host, "/dir/a%20b+c.txt?whatever")
        self.assertEqual((found.status, found.body), (200, b"0123456789"))
        etag = found.header("etag")
        self.assertEqual(
            [found.header(name) for name in ("content-type", "cache-control", "content-disposition", "content-language",
                                             "accept-ranges", "content-length", "access-control-allow-origin")],
            ["text/plain", "max-age=60", "inline", "de", "bytes", "10", None])
        seen = self.get(host, "/dir/a%20b+c.txt", "HEAD")
        self.assertEqual((seen.status, seen.header("content-length"), seen.header("etag"), seen.body), (200, "10", etag, b""))
        modified = found.header("last-modified")
        path = "/dir/a%20b+c.txt"
        for status, headers in [
                (304, {"If_None_Match": etag}), (304, {"If_None_Match": f"W/{etag}, \"x\""}), (200, {"If_None_Match": '"x"'}),
                (304, {"If_Modified_Since": modified}), (200, {"If_Modified_Since": "Thu, 01 Jan 2015 00:00:00 GMT"}),
                (200, {"If_None_Match": '"x"', "If_Modified_Since": modified}),
                (412, {"If_Match": '"x"'}), (200, {"If_Match": etag}), (200, {"If_Unmodified_Since": modified}),
                (412, {"If_Unmodified_Since": "Thu, 01 Jan 2015 00:00:00 GMT"}),
                # What is no condition is none.
                (200, {"If_Match": "unquoted"}), (200, {"If_Modified_Since": "yesterday"})]:
            for method in ("GET", "HEAD"):
                answer = self.get(host, path, method, **headers)
                self.assertEqual(answer.status, status, (method, headers))
                if status == 304:
                    self.assertEqual((answer.header("etag"), answer.header("cache-control"), answer.body), (etag, "max-age=60", b""))
        for text, part, body in [("bytes=2-4", "2-4", b"234"), ("bytes=8-", "8-9", b"89"), ("bytes=-3", "7-9", b"789"),
                                 ("bytes=5-100", "5-9", b"56789")]:
            answer = self.get(host, path, Range=text)
            self.assertEqual((answer.status, answer.header("content-range"), answer.body), (206, f"bytes {part}/10", body))
        for text in ("bytes=4-2", "bytes=0-1,3-4", "lines=1-2"):
            self.assertEqual(self.get(host, path, Range=text).body, b"0123456789", text)
        answer = self.get(host, path, Range="bytes=10-")
        self.assertEqual((answer.status, answer.header("content-range")), (416, "bytes */10"))
        for validator, status in ((etag, 206), (modified, 206), ('"x"', 200), ("Thu, 01 Jan 2015 00:00:00 GMT", 200)):
            self.assertEqual(self.get(host, path, Range="bytes=0-1", If_Range=validator).status, status, validator)

    def test_large_objects_come_from_files(self):
        path = self.make("large")
        host = self.open(path)
        body = bytes(range(256)) * 4096
        self.put(path, "large", body)
        self.assertEqual(self.get(host, "/large").body, body)
        self.assertEqual(self.get(host, "/large", Range="bytes=1000-1999").body, body[1000:2000])

    def test_nothing_else_is_there(self):
        path = self.make("nothing")
        host = self.open(path)
        self.put(path, "dir/x", b"x")
        for missing in ("/", "/missing", "/dir", "/dir/", "/?list-type=2", "/%ff", "/" + "k" * 1025):
            answer = self.get(host, missing)
            self.assertEqual((answer.status, answer.header("content-type")), (404, "text/html; charset=utf-8"), missing)
            self.assertIn("Object not found", answer.text)
            self.assertEqual(self.get(host, missing, "HEAD").body, b"")
        for method in ("PUT", "POST", "DELETE", "PATCH"):
            answer = self.node.request(method, "/dir/x", body=b"y", host=host)
            self.assertEqual((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"))
        self.assertEqual(self.get(host, "/dir/x").body, b"x")
        # The node's own paths stay its own.
        self.assertIn("h=pub-", self.get(host, "/cdn-cgi/trace").text)

    def test_rules_for_pages_of_other_origins(self):
        path = self.make("origins")
        host = self.open(path)
        self.put(path, "x", b"x")
        self.rest.result("PUT", path + "/cors", {"rules": [{
            "allowed": {"methods": ["GET"], "origins": ["https://a.example"], "headers": ["range"]},
            "exposeHeaders": ["ETag"], "maxAgeSeconds": 60}]})
        answer = self.get(host, "/x", Origin="https://a.example")
        self.assertEqual([answer.header(name) for name in ("access-control-allow-origin", "access-control-expose-headers", "vary")],
                         ["https://a.example", "ETag", "Origin"])
        self.assertIsNone(self.get(host, "/x", Origin="https://b.example").header("access-control-allow-origin"))
        asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "Range"}
        answer = self.get(host, "/x", "OPTIONS", Origin="https://a.example", **asked)
        self.assertEqual(
            [answer.status] + [answer.header("access-control-" + name) for name in ("allow-methods", "allow-headers", "max-age")],
            [204, "GET", "range", "60"])
        self.assertEqual(self.get(host, "/x", "OPTIONS", Origin="https://b.example", **asked).status, 403)
        # Also where an answer is an error, so that scripts see it.
        self.assertEqual(
            self.get(host, "/missing", Origin="https://a.example").header("access-control-allow-origin"), "https://a.example")

    def test_the_nodes_own_name_comes_and_goes(self):
        path = self.make("comes")
        before = self.rest.result("GET", path + "/domains/managed")
        self.assertEqual(before["enabled"], False)
        self.put(path, "x", b"x")
        self.assertEqual(self.get(before["domain"], "/x").status, 404)
        self.assertEqual(self.open(path), before["domain"])
        self.assertEqual(self.rest.result("GET", path + "/domains/managed")["enabled"], True)
        self.assertEqual(self.get(before["domain"].upper(), "/x").body, b"x")
        self.rest.result("PUT", path + "/domains/managed", {"enabled": False})
        self.assertEqual(self.get(before["domain"], "/x").status, 404)
        # A bucket that is made anew under the name of a public one isn't public.
        self.open(path)
        self.rest.result("DELETE", path + "/objects/x")
        self.rest.result("DELETE", path)
        self.make("comes")
        self.put(path, "x", b"new")
        self.assertEqual(self.get(before["domain"], "/x").status, 404)
        self.assertEqual(self.rest.result("GET", path + "/domains/managed")["enabled"], False)

    def test_domains_of_their_owners(self):
        path = self.make("owned")
        self.put(path, "x", b"x")
        zone = "023e105f4ecef8ad9ca31a8372d0c353"
        made = self.rest.result("POST", path + "/domains/custom", {"domain": "Files.Example.com", "enabled": True, "zoneId": zone})
        self.assertEqual((made["domain"], made["enabled"], made["minTLS"]), ("files.example.com", True, "1.0"))
        self.assertEqual(self.get("files.example.com", "/x").body, b"x")
        shown = self.rest.result("GET", path + "/domains/custom/files.example.com")
        self.assertEqual((shown["status"], shown["zoneName"]), ({"ownership": "active", "ssl": "active"}, "example.com"))
        self.assertEqual(self.rest.result("GET", path + "/domains/custom"), {"domains": [shown]})
        self.assertIn("example.com", [zone["name"] for zone in self.rest.result("GET", "/zones")])
        # A worker that asks for the tenant's own host reaches it, too.
        fetched = self.get("localhost", "/fetch?url=http%3A%2F%2Ffiles.example.com%2Fx&redirect=manual")
        self.assertEqual((fetched.status, fetched.body), (200, b"x"), fetched.text)
        self.assertEqual(self.get("localhost", "/fetch?url=http%3A%2F%2Ffiles.example.com%2Fmissing").status, 404)
        # A worker's route stands before the bucket.
        self.assertEqual(self.get("files.example.com", "/api/missing").header("content-type"), "text/plain; charset=utf-8")
        other = self.make("other")
        for refused, status, body in [
                (other, 409, {"domain": "files.example.com"}), (other, 409, {"domain": "hello.example.com"}),
                (other, 400, {"domain": "*.example.com"}), (other, 400, {"domain": "a.example.com/x"}),
                (other, 400, {"domain": "localhost"}), (other, 400, {"domain": "pub-x.r2.localhost"}),
                (other, 400, {"domain": "b.example.com", "minTLS": "2.0"}), (other, 400, {})]:
            self.assertEqual(self.rest.ask("POST", refused + "/domains/custom", body).status, status, body)
        self.assertEqual(self.rest.result("GET", other + "/domains/custom"), {"domains": []})
        self.assertEqual(self.rest.ask("GET", other + "/domains/custom/files.example.com").status, 404)
        # Nor can a worker have the bucket's.
        self.assertEqual(
            self.rest.ask("PUT", "workers/domains", {"hostname": "files.example.com", "service": "hello"}).status, 409)
        changed = self.rest.result("PUT", path + "/domains/custom/files.example.com", {"enabled": False})
        self.assertEqual((changed["enabled"], changed["minTLS"]), (False, "1.0"))
        self.assertEqual(self.get("files.example.com", "/x").status, 404)
        self.rest.result("PUT", path + "/domains/custom/files.example.com", {"enabled": True, "minTLS": "1.2"})
        self.assertEqual(self.get("files.example.com", "/x").body, b"x")
        self.assertEqual(
            self.rest.result("DELETE", path + "/domains/custom/files.example.com"), {"domain": "files.example.com"})
        self.assertEqual(self.rest.ask("DELETE", path + "/domains/custom/files.example.com").status, 404)
        self.assertEqual(self.get("files.example.com", "/x").status, 404)

    def test_the_commands_are_wranglers(self):
        def done(*words):
            result = edge("r2", "bucket", *words, "--state", self.node.state, "--tenant", "t")
            self.assertEqual(result.returncode, 0, result.stderr)
            return result.stdout

        path = self.make("commands")
        self.put(path, "x", b"x")
        self.assertIn("not public", done("dev-url", "get", "commands"))
        host = done("dev-url", "enable", "commands", "--yes").split()[-1]
        self.assertEqual(self.get(host, "/x").body, b"x")
        self.assertIn("not public", done("dev-url", "disable", "commands", "--force"))
        self.assertEqual(self.get(host, "/x").status, 404)
        done("domain", "add", "commands", "--domain", "c.example.com", "--zone-id", "0" * 32, "--min-tls", "1.2", "-y")
        self.assertEqual(self.get("c.example.com", "/x").body, b"x")
        self.assertRegex(done("domain", "list", "commands"), r"c\.example\.com +yes +1\.2 +example\.com")
        self.assertIn("1.3", done("domain", "update", "commands", "--domain", "c.example.com", "--min-tls", "1.3"))
        shown = json.loads(done("domain", "get", "commands", "--domain", "c.example.com", "--json"))
        self.assertEqual((shown["domain"], shown["minTLS"]), ("c.example.com", "1.3"))
        done("domain", "remove", "commands", "--domain", "c.example.com", "--yes")
        self.assertEqual(json.loads(done("domain", "list", "commands", "--json")), [])


class Restarts(unittest.TestCase):
    def test_what_is_public_stays_so(self):
        with Project(SHAPE) as project:
            with project.dev() as node:
                rest = Rest(node, "t")
                rest.ask("PUT", "r2/buckets/bucket/objects/x", b"x")
                rest.result("POST", "r2/buckets/bucket/domains/custom", {"domain": "files.example.com", "enabled": True})
                host = rest.result("PUT", "r2/buckets/bucket/domains/managed", {"enabled": True})["domain"]
                node.kill()
            with project.dev() as node:
                for name in (host, "files.example.com"):
                    self.assertEqual(node.request("GET", "/x", host=name).body, b"x")


    def test_an_archive_brings_no_domain_that_others_have_by_now(self):
        with tempfile.TemporaryDirectory() as folder, Project(SHAPE) as project, project.dev() as node:
            mine, acme = Rest(node, "t"), Rest(node, "acme")
            mine.result("POST", "/accounts", {"name": "acme"})
            acme.result("POST", "r2/buckets", {"name": "bucket"})
            acme.ask("PUT", "r2/buckets/bucket/objects/x", b"acme's")
            for name in ("a.example.com", "b.example.com"):
                acme.result("POST", "r2/buckets/bucket/domains/custom", {"domain": name})

            def state(*words):
                done = edge("state", *words, "--tenant", "acme", "--state", node.state)
                self.assertEqual(done.returncode, 0, done.stderr)

            archive = os.path.join(folder, "archive.tar")
            state("export", "--out", archive)
            acme.result("DELETE", "r2/buckets/bucket/domains/custom/a.example.com")
            mine.result("POST", "r2/buckets/bucket/domains/custom", {"domain": "a.example.com"})
            mine.ask("PUT", "r2/buckets/bucket/objects/x", b"mine")
            state("import", archive, "--yes")
            self.assertEqual([item["domain"] for item in acme.result("GET", "r2/buckets/bucket/domains/custom")["domains"]],
                             ["b.example.com"])
            for name, body in (("a.example.com", b"mine"), ("b.example.com", b"acme's")):
                self.assertEqual(node.request("GET", "/x", host=name).body, body)


class Secure(unittest.TestCase):
    def test_the_oldest_tls_that_clients_may_speak(self):
        with Node("run", product("HelloWorker"), "--https") as node:
            rest = Rest(node)
            rest.result("POST", "r2/buckets", {"name": "bucket"})
            rest.ask("PUT", "r2/buckets/bucket/objects/x", b"x")
            host = rest.result("PUT", "r2/buckets/bucket/domains/managed", {"enabled": True})["domain"]
            with connect(node.port, host) as connection:
                self.assertEqual(exchange(connection, "/x", host)[1], b"x")
        # There, the worker's route for all hosts would stand before a domain of its owner.
        with Project(SHAPE) as project, project.dev("--https") as node:
            rest = Rest(node, "t")
            rest.ask("PUT", "r2/buckets/bucket/objects/x", b"x")
            domain = {"domain": "files.example.com", "enabled": True}
            suites = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"]
            for change, older, newer in [({}, 200, 200), ({"minTLS": "1.3"}, 403, 200),
                                         ({"minTLS": "1.2", "ciphers": ["AES128-SHA"]}, 403, 200), ({"ciphers": suites}, 200, 200)]:
                if not change:
                    rest.result("POST", "r2/buckets/bucket/domains/custom", domain)
                else:
                    rest.result("PUT", "r2/buckets/bucket/domains/custom/files.example.com", change)
                for version, status in ((ssl.TLSVersion.TLSv1_2, older), (ssl.TLSVersion.TLSv1_3, newer)):
                    made = context(version)
                    if version == ssl.TLSVersion.TLSv1_2:
                        made.set_ciphers(":".join(suites))
                    with connect(node.port, "files.example.com", made) as connection:
                        head, _ = exchange(connection, "/x", "files.example.com")
                        self.assertIn(f" {status} ", head.splitlines()[0], (change, version))


if __name__ == "__main__":
    unittest.main()
