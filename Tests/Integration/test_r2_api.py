"""The REST API of R2 as it is on the wire (spec r2, section 5)."""

import hashlib
import http.client
import json
import os
import unittest

from harness import Node, product

ROOT = "/client/v4/accounts/local/r2/buckets"


class R2API(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        cls.token = cls.node.operator_token()

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

    def answer(self, method, path, body=None, **headers):
        response, text = self.send(method, path, body, **headers)
        answer = json.loads(text)
        self.assertEqual((response.status, answer["success"], answer["errors"]), (200, True, []), text)
        return answer

    def result(self, method, path, body=None, **headers):
        return self.answer(method, path, body, **headers)["result"]

    def refused(self, status, code, method, path, body=None, **headers):
        response, text = self.send(method, path, body, **headers)
        answer = json.loads(text)
        self.assertEqual((response.status, answer["success"], answer["errors"][0]["code"]), (status, False, code), text)
        return answer["errors"][0]["message"]

    def make(self):
        name = hashlib.sha256(self.id().encode()).hexdigest()[:16]
        self.result("POST", "", {"name": name})
        return f"/{name}/objects/"

    def test_ranges_and_conditions(self):
        path = self.make() + "dir/o"
        etag = '"' + self.result("PUT", path, b"0123456789", Content_Type="text/plain", Cache_Control="max-age=5")["etag"] + '"'
        response, body = self.send("GET", path)
        self.assertEqual((response.status, body), (200, b"0123456789"))
        self.assertEqual((response.headers["content-type"], response.headers["cache-control"], response.headers["etag"]),
                         ("text/plain", "max-age=5", etag))
        self.assertEqual((response.headers["content-length"], response.headers["accept-ranges"]), ("10", "bytes"))
        for text, part, found in [("bytes=2-4", "2-4", b"234"), ("bytes=8-", "8-9", b"89"), ("bytes=-3", "7-9", b"789"),
                                  ("bytes=5-100", "5-9", b"56789"), ("bytes=0-9223372036854775807", "0-9", b"0123456789")]:
            response, body = self.send("GET", path, Range=text)
            self.assertEqual((response.status, response.headers["content-range"], body), (206, f"bytes {part}/10", found))
        for text in ["bytes=4-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=-"]:
            response, body = self.send("GET", path, Range=text)
            self.assertEqual((response.status, body), (200, b"0123456789"), text)
        for text in ["bytes=10-", "bytes=-0"]:
            self.refused(416, 10039, "GET", path, Range=text)
        since = response.headers["last-modified"]
        for headers, status in [({"If_None_Match": etag}, 304), ({"If_None_Match": '"other"'}, 200),
                                ({"If_Modified_Since": since}, 304), ({"If_Match": etag}, 200), ({"If_None_Match": "*"}, 304)]:
            response, body = self.send("GET", path, **headers)
            self.assertEqual((response.status, response.headers["etag"]), (status, etag), headers)
        self.refused(412, 10031, "GET", path, If_Match='"other"')
        self.refused(400, 10029, "GET", path, If_Match="unquoted")
        self.refused(412, 10031, "PUT", path, b"new", If_None_Match="*")
        self.assertEqual(self.send("GET", path)[1], b"0123456789")
        response, body = self.send("HEAD", path)
        self.assertEqual((response.status, response.headers["content-length"], body), (200, "10", b""))

    def test_keys_may_have_slashes_in_either_form(self):
        objects = self.make()
        self.result("PUT", objects + "a/b%2Fc", b"1")
        self.result("PUT", objects + "..", b"2")
        self.result("PUT", objects + "a/../%2E%2E/x", b"3")
        self.assertEqual(self.send("GET", objects + "a%2Fb/c")[1], b"1")
        self.assertEqual([item["key"] for item in self.result("GET", objects)], ["..", "a/../../x", "a/b/c"])
        self.refused(404, 10007, "GET", objects + "x")
        self.refused(400, 10020, "PUT", objects + "k" * 1025, b"")
        self.refused(400, 10020, "PUT", objects + "%FF", b"")
        self.assertEqual(self.result("DELETE", objects + "never"), {"key": "never"})

    def test_a_body_whose_length_nobody_knew(self):
        path = self.make() + "chunked"
        pieces = [os.urandom(100_000) for _ in range(30)]
        stored = self.result("PUT", path, iter(pieces), Transfer_Encoding="chunked")
        whole = b"".join(pieces)
        self.assertEqual((stored["size"], stored["etag"]), (str(len(whole)), hashlib.md5(whole).hexdigest()))
        self.assertTrue(self.send("GET", path)[1] == whole)
        self.assertEqual(self.result("PUT", path, iter([]), Transfer_Encoding="chunked")["size"], "0")
        response, body = self.send("GET", path)
        self.assertEqual((response.headers["content-length"], body), ("0", b""))

    def test_lists_fold_and_page(self):
        objects = self.make()
        for key in ["a/1", "a/2", "b", "c/x"]:
            self.result("PUT", objects + key, b"1")
        answer = self.answer("GET", objects[:-1] + "?delimiter=%2F")
        self.assertEqual([item["key"] for item in answer["result"]], ["b"])
        self.assertEqual(answer["result_info"]["delimited"], ["a/", "c/"])
        self.assertEqual(answer["result_info"]["is_truncated"], "false")
        keys, cursor = [], ""
        for _ in range(4):
            answer = self.answer("GET", f"{objects[:-1]}?per_page=1&cursor={cursor}")
            keys += [item["key"] for item in answer["result"]]
            cursor = answer["result_info"]["cursor"]
        self.assertEqual((keys, cursor, answer["result_info"]["is_truncated"]), (["a/1", "a/2", "b", "c/x"], "", "false"))
        self.assertEqual([item["key"] for item in self.result("GET", objects[:-1] + "?prefix=a/&start_after=a/1")], ["a/2"])
        for limit in ["0", "1001", "x"]:
            self.refused(400, 10022, "GET", f"{objects[:-1]}?per_page={limit}")

    def test_an_upload_takes_no_memory_of_its_size(self):
        path = self.make() + "large"
        self.result("PUT", path, b"warm up" * 100_000)
        before = self.resident()
        pieces = (b"x" * (1 << 20) for _ in range(200))
        self.assertEqual(self.result("PUT", path, pieces, Content_Length=str(200 << 20))["size"], str(200 << 20))
        self.assertLess(self.resident() - before, 64 << 20)
        response, body = self.send("GET", path)
        self.assertEqual((response.status, len(body)), (200, 200 << 20))

    def resident(self):
        with open(f"/proc/{self.node.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

    def test_bad_requests_have_the_products_numbers(self):
        bucket = self.make().removesuffix("/objects/")
        self.refused(400, 10040, "POST", "", "{")
        self.refused(400, 10040, "POST", "", {})
        self.refused(400, 10062, "POST", "", {"name": "other", "storageClass": "Cold"})
        self.refused(400, 10029, "POST", "", {"name": "other", "locationHint": "moon"})
        self.refused(400, 10029, "GET", bucket, cf_r2_jurisdiction="mars")
        self.refused(400, 10062, "PATCH", bucket, cf_r2_storage_class="Cold")
        self.refused(400, 10029, "PATCH", bucket)
        self.refused(400, 10062, "PUT", bucket + "/objects/k", b"1", cf_r2_storage_class="Cold")
        self.refused(400, 10029, "GET", bucket + "/objects?cursor=x")
        self.refused(404, 10006, "GET", "/missing/objects/k")
        self.refused(400, 10040, "PUT", bucket + "/cors", {"rules": [{"allowed": {"methods": ["PATCH"], "origins": ["*"]}}]})
        self.refused(400, 10029, "PUT", bucket + "/cors", {"rules": [{"allowed": {"methods": ["GET"], "origins": ["a/b"]}}]})
        self.refused(405, 7001, "POST", bucket)
        self.assertEqual(self.result("GET", bucket + "/objects"), [])


if __name__ == "__main__":
    unittest.main()
