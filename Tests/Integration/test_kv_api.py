"""The REST API of KV as it is on the wire (spec kv, section 6)."""

import http.client
import json
import os
import socket
import unittest

from harness import Node, edge, product

ROOT = "/client/v4/accounts/local/storage/kv/namespaces"


class KVAPI(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            cls.token = file.read().strip()

    def send(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=60)
        self.addCleanup(connection.close)
        all_headers = {"Authorization": f"Bearer {self.token}"}
        all_headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, ROOT + path, body=body, headers=all_headers, encode_chunked=hasattr(body, "__next__"))
        response = connection.getresponse()
        return response, response.read()

    def result(self, method, path, body=None, **headers):
        response, text = self.send(method, path, body, **headers)
        answer = json.loads(text)
        self.assertEqual((response.status, answer["success"], answer["errors"]), (200, True, []), text)
        return answer["result"]

    def refused(self, status, code, method, path, body=None, **headers):
        response, text = self.send(method, path, body, **headers)
        answer = json.loads(text)
        self.assertEqual((response.status, answer["success"], answer["errors"][0]["code"]), (status, False, code), text)
        return answer["errors"][0]["message"]

    def make(self):
        namespace = self.result("POST", "", {"title": self.id()})["id"]
        self.addCleanup(self.send, "DELETE", f"/{namespace}")
        return f"/{namespace}"

    def value(self, path):
        response, body = self.send("GET", path)
        self.assertEqual(response.status, 200, body)
        return body

    def test_keys_are_one_segment_decoded_once(self):
        namespace = self.make()
        keys = {"a%2Fb": "a/b", "a%252Fb": "a%2Fb", "%00": "\0", "%0A": "\n", "%3F%23": "?#", "a+b": "a+b", "%E2%82%AC": "€"}
        for escaped, key in keys.items():
            self.result("PUT", f"{namespace}/values/{escaped}", key.encode())
            self.assertEqual(self.value(f"{namespace}/values/{escaped}").decode(), key)
        names = [item["name"] for item in self.result("GET", f"{namespace}/keys")]
        self.assertEqual(names, sorted(keys.values(), key=str.encode))
        self.refused(404, 7000, "GET", f"{namespace}/values/a/b")
        self.refused(400, 10021, "PUT", f"{namespace}/values/%FF", "x")

    def test_keys_of_dots_are_no_keys_and_no_paths(self):
        namespace = self.make()
        self.result("PUT", f"{namespace}/values/kept", "v")
        for key in ["%2E", "%2E%2E", ".", ".."]:
            for method in ["GET", "PUT", "DELETE"]:
                message = self.refused(400, 10021, method, f"{namespace}/values/{key}", "x" if method == "PUT" else None)
                self.assertIn(f'Illegal key name "{key.replace("%2E", ".")}". Please use a different name.', message)
        self.assertEqual(self.value(f"{namespace}/values/kept"), b"v")

    def test_a_value_replaces_all_of_the_one_before(self):
        path = self.make()
        boundary = "xxboundary"
        form = (f'--{boundary}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{{"a": [1.50, "é"]}}\r\n'
                f'--{boundary}\r\nContent-Disposition: form-data; name="value"\r\n\r\nfirst\r\n--{boundary}--\r\n')
        content_type = f"multipart/form-data; boundary={boundary}"
        self.result("PUT", f"{path}/values/k?expiration_ttl=300", form.encode(), Content_Type=content_type)
        self.assertEqual(self.value(f"{path}/values/k"), b"first")
        # As it was stored: 1.50 is not made 1.5.
        _, text = self.send("GET", f"{path}/metadata/k")
        self.assertIn('{"a": [1.50, "é"]}', text.decode())
        self.assertIn("expiration", self.result("GET", f"{path}/keys")[0])
        self.result("PUT", f"{path}/values/k", "second")
        self.assertIsNone(self.result("GET", f"{path}/metadata/k"))
        self.assertEqual(self.result("GET", f"{path}/keys"), [{"name": "k"}])
        # A value may be empty, and whatever its type says.
        self.result("PUT", f"{path}/values/k", "", Content_Type="application/json")
        self.assertEqual(self.value(f"{path}/values/k"), b"")
        broken = form.replace('{"a": [1.50, "é"]}', "{")
        self.assertIn("Metadata must be valid JSON.", self.refused(
            400, 10021, "PUT", f"{path}/values/k", broken.encode(), Content_Type=content_type))
        self.refused(400, 10012, "PUT", f"{path}/values/k", form[:60].encode(), Content_Type=content_type)
        self.refused(400, 10012, "PUT", f"{path}/values/k", f"--{boundary}--\r\n".encode(), Content_Type=content_type)
        self.assertEqual(self.value(f"{path}/values/k"), b"")

    def test_probe_9_metadata_up_to_its_limit(self):
        path = self.make()
        for length, status in [(1024, 200), (1025, 413)]:
            metadata = json.dumps("m" * (length - 2))
            form = (f'--b\r\nContent-Disposition: form-data; name="value"\r\n\r\nv\r\n'
                    f'--b\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{metadata}\r\n--b--\r\n')
            response, text = self.send("PUT", f"{path}/values/k", form, Content_Type="multipart/form-data; boundary=b")
            self.assertEqual(response.status, status, text)
        self.assertIn("Metadata length of 1025 exceeds limit of 1024.", text.decode())

    def test_probes_10_to_12_times(self):
        path = self.make()
        for query, text in [
            ("expiration_ttl=59", "Invalid expiration_ttl of 59. Expiration TTL must be at least 60."),
            ("expiration_ttl=0", "Invalid expiration_ttl of 0. Please specify integer greater than 0."),
            ("expiration_ttl=x", "Invalid expiration_ttl of x. Please specify integer greater than 0."),
            ("expiration=1", "Invalid expiration of 1. Please specify integer greater than the current number of seconds "
                             "since the UNIX epoch."),
        ]:
            self.assertIn(text, self.refused(400, 10034, "PUT", f"{path}/values/k?{query}", "v"))
        self.result("PUT", f"{path}/values/k?expiration_ttl=60&expiration=1", "v")
        response, _ = self.send("GET", f"{path}/values/k")
        self.assertGreater(int(response.headers["expiration"]), 60)

    def test_bad_requests_have_the_products_numbers(self):
        path = self.make()
        self.refused(400, 10012, "POST", "", "{")
        self.refused(400, 10019, "POST", "", {})
        self.refused(400, 10019, "PUT", path, {"title": 1})
        self.refused(400, 10029, "POST", f"{path}/bulk/get", {})
        self.refused(400, 10029, "POST", f"{path}/bulk/get", {"keys": []})
        self.refused(400, 10021, "POST", f"{path}/bulk/get", {"keys": ["k"] * 101})
        self.refused(400, 10021, "POST", f"{path}/bulk/get", {"keys": ["k"], "type": "stream"})
        for limit in ["9", "1001", "x"]:
            self.refused(400, 10021, "GET", f"{path}/keys?limit={limit}")
        self.refused(400, 10021, "GET", f"{path}/keys?cursor=nonsense")
        self.refused(405, 7001, "POST", f"{path}/keys")
        _, text = self.send("POST", f"{path}/keys")
        self.assertEqual(json.loads(text)["errors"][0]["error_chain"][0]["code"], 10405)
        for body in ["", "{", "{}", '[{"key":"a"}]', '[{"value":"a"}]', '[{"key":"a","value":1}]', "[1]", '[{"key":"a","value":"b"}']:
            self.refused(400, 10012, "PUT", f"{path}/bulk", body)
        self.refused(400, 10021, "PUT", f"{path}/bulk", [{"key": f"{number}", "value": ""} for number in range(10_001)])
        self.assertEqual(self.result("GET", f"{path}/keys"), [])

    def test_bulk_writes_what_is_right_and_names_the_rest(self):
        path = self.make()
        outcome = self.result("PUT", f"{path}/bulk", [
            {"key": "a", "value": "1", "expiration": None, "metadata": {"x": [1, {"y": "\u20ac\n"}]}, "unknown": {"z": []}},
            {"key": "", "value": "empty"}, {"key": "..", "value": "dots"}, {"key": "k" * 513, "value": "long"},
            {"key": "64", "value": "!", "base64": True}, {"key": "old", "value": "v", "expiration": 1},
            {"base64": True, "value": "4oKs", "key": "€"}])
        self.assertEqual(outcome["successful_key_count"], 2)
        self.assertEqual(outcome["unsuccessful_keys"], ["64", "", "..", "k" * 513, "old"])
        self.assertEqual(self.result("GET", f"{path}/keys"), [
            {"name": "a", "metadata": {"x": [1, {"y": "€\n"}]}}, {"name": "€"}])
        self.assertEqual(self.value(f"{path}/values/%E2%82%AC").decode(), "€")
        found = self.result("POST", f"{path}/bulk/get", {"keys": ["a", "a", "no"], "type": "json", "withMetadata": True})
        self.assertEqual(found, {"values": {"a": {"value": 1, "metadata": {"x": [1, {"y": "€\n"}]}}, "no": None}})
        # What older clients send.
        self.assertEqual(self.result("DELETE", f"{path}/bulk", ["a", "€"]),
                         {"successful_key_count": 2, "unsuccessful_keys": []})
        self.assertEqual(self.result("GET", f"{path}/keys"), [])

    def test_bulk_values_larger_than_any_buffer(self):
        path = self.make()
        values = {f"v{number}": chr(0x20AC + number) * 3_000_000 for number in range(8)}
        body = json.dumps([{"key": key, "value": value} for key, value in values.items()])
        self.assertGreater(len(body), 100 << 20)
        self.refused(413, 10021, "PUT", f"{path}/bulk", body)
        body = json.dumps([{"key": key, "value": value} for key, value in values.items()], ensure_ascii=False).encode()
        self.assertEqual(self.result("PUT", f"{path}/bulk", body)["successful_key_count"], 8)
        found = self.result("POST", f"{path}/bulk/get", {"keys": ["v0", "v7"]})["values"]
        self.assertTrue(found == {"v0": values["v0"], "v7": values["v7"]})
        self.assertIn("Total size of request exceeds the limit of 25MB", self.refused(
            413, 10021, "POST", f"{path}/bulk/get", {"keys": list(values)}))

    def test_a_body_in_chunks_and_one_that_breaks_off(self):
        path = self.make()
        response, text = self.send("PUT", f"{path}/values/k", iter([b"one ", b"two"]), Transfer_Encoding="chunked")
        self.assertEqual(response.status, 200, text)
        self.assertEqual(self.value(f"{path}/values/k"), b"one two")
        with socket.create_connection(("127.0.0.1", self.node.control_port), timeout=20) as connection:
            connection.sendall((f"PUT {ROOT}{path}/values/k HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}"
                                "\r\nContent-Length: 100\r\n\r\nonly a part").encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        self.assertEqual(self.value(f"{path}/values/k"), b"one two")

    def test_head_tells_what_get_would(self):
        path = self.make()
        self.result("PUT", f"{path}/values/k", b"x" * 1_000_000)
        response, body = self.send("HEAD", f"{path}/values/k")
        self.assertEqual((response.status, response.headers["content-length"], body), (200, "1000000", b""))
        response, body = self.send("GET", f"{path}/values/k")
        self.assertEqual((response.headers["content-length"], len(body)), ("1000000", 1_000_000))

    def test_a_token_for_reading_writes_nothing(self):
        path = self.make()
        made = edge("token", "create", "reader", "--allow", "kv:read@local", "--control", self.node.control,
                    "--state", self.node.state)
        self.assertEqual(made.returncode, 0, made.stderr)
        allowed, self.token = self.token, made.stdout.strip()
        try:
            self.refused(403, 10000, "PUT", f"{path}/values/k", "v")
            self.refused(403, 10000, "DELETE", path)
            self.assertEqual(self.result("GET", f"{path}/keys"), [])
        finally:
            self.token = allowed

    def test_probe_7003_an_id_that_is_none(self):
        for name in ["nope", "0" * 31, "g" * 32]:
            self.refused(404, 7003, "GET", f"/{name}/keys")
        self.refused(404, 10013, "GET", "/" + "0" * 32 + "/keys")


if __name__ == "__main__":
    unittest.main()
