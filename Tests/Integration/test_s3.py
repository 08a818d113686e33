"""The S3 API byte by byte: what is refused, in which order, with which words (spec r2, section 3)."""

import base64
import contextlib
import datetime
import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import unittest
import urllib.parse
import zlib

import certificates
from harness import Node, edge, product, wait_until
from projects import Project
from s3_signing import EMPTY, Signer, operator_pair, sha256

MIB = 1 << 20
SHAPE = """format = 1
tenant = "acme"
compatibility_date = "2026-01-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
"""
STAGING = 'format = 1\ndomain = "localhost"\nlisten = ["127.0.0.1:0"]\n'


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--s3", "127.0.0.1:0"))
        cls.host = cls.node.s3.split("//")[1]
        cls.port = int(cls.host.rsplit(":", 1)[1])
        cls.pair = operator_pair(cls.node)
        assert cls.ask("PUT", "/photos").status == 200

    @classmethod
    def signer(cls, **settings):
        return Signer(*cls.pair, cls.host, **settings)

    @classmethod
    def send(cls, method, target, headers=None, body=None):
        """Exactly these headers and, unless one says otherwise, Content-Length."""
        connection = http.client.HTTPConnection("127.0.0.1", cls.port, timeout=60)
        try:
            connection.putrequest(method, target, skip_host="host" in (headers or {}), skip_accept_encoding=True)
            names = {name.lower() for name in headers or {}}
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None and not names & {"content-length", "transfer-encoding"}:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            connection.close()

    @classmethod
    def ask(cls, method, path, query="", headers=None, body=None, signer=None, **settings):
        signer = signer or cls.signer()
        payload = settings.pop("payload", sha256(body or b""))
        signed = signer.headers(method, path, query, headers, payload, **settings)
        return cls.send(method, path + ("?" + query if query else ""), signed, body)

    def refused(self, answer, status, code, message=None):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["Content-Type"], "application/xml")
        text = answer.body.decode()
        self.assertTrue(text.startswith('<?xml version="1.0" encoding="UTF-8"?><Error><Code>'), text)
        self.assertIn(f"<Code>{code}</Code>", text)
        if message:
            self.assertIn(f"<Message>{message}</Message>", text)


class Signatures(Case):
    def test_what_is_wrong_is_said_in_order(self):
        signer = self.signer()
        good = signer.headers("GET", "/")
        authorization = good["authorization"]

        def sent(**changes):
            headers = {**good}
            for name, value in changes.items():
                name = name.replace("_", "-")
                if value is None:
                    del headers[name]
                else:
                    headers[name] = value
            return self.send("GET", "/", headers)

        self.assertEqual(sent().status, 200)
        self.refused(sent(authorization=None), 400, "InvalidArgument", "Authorization")
        self.refused(sent(x_amz_content_sha256=None), 400, "InvalidRequest", "Missing x-amz-content-sha256")
        self.refused(sent(x_amz_date=None), 400, "InvalidArgument", "No date provided in x-amz-date nor date header")
        self.refused(
            sent(x_amz_date="yesterday"), 400, "InvalidArgument",
            "Date provided in &apos;x-amz-date&apos; header (yesterday) didn&apos;t parse successfully")
        self.refused(
            sent(authorization=authorization.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")), 400, "InvalidRequest",
            "Please use AWS4-HMAC-SHA256")
        self.refused(
            sent(authorization=authorization.replace("/auto/s3/aws4_request", "")), 400, "InvalidArgument",
            "Credential sigv4 header should have at least 5 slash-separated parts, not 2")
        self.refused(
            sent(authorization=authorization.replace("/s3/", "/sqs/")), 400, "InvalidArgument",
            "Credential service should be s3, not sqs")
        self.refused(
            sent(authorization=authorization.replace(signer.time[:8], "20200101")), 400, "InvalidArgument",
            f"Credential signed date 20200101 does not match {signer.time[:8]} from &apos;x-amz-date&apos; header")

    def test_probe_20_clocks_apart(self):
        for seconds in [1200, -1200]:
            self.refused(
                self.ask("GET", "/", signer=self.signer(offset_seconds=seconds)), 403, "RequestTimeTooSkewed",
                "The difference between the request time and the server&apos;s time is too large.")
        self.assertEqual(self.ask("GET", "/", signer=self.signer(offset_seconds=600)).status, 200)

    def test_probe_20_signatures_that_are_wrong(self):
        key, secret = self.pair
        answer = self.ask("GET", "/photos", signer=Signer(key, "0" * 64, self.host))
        self.refused(answer, 403, "SignatureDoesNotMatch")
        for name in ["StringToSign", "StringToSignBytes", "CanonicalRequest", "CanonicalRequestBytes", "SignatureProvided"]:
            self.assertIn(f"<{name}>".encode(), answer.body)
        self.refused(self.ask("GET", "/", signer=Signer("0" * 32, secret, self.host)), 401, "Unauthorized", "Unauthorized")
        # Without its host a signature would be good for any node.
        self.refused(self.ask("GET", "/", without=("host",)), 401, "Unauthorized")
        # What nobody signed, nobody has asked for.
        answer = self.ask("PUT", "/photos/k", headers={"x-amz-copy-source": "/photos/other"}, without=("x-amz-copy-source",))
        self.refused(answer, 403, "AccessDenied")
        self.assertIn(b"<HeadersNotSigned>x-amz-copy-source</HeadersNotSigned>", answer.body)

    def test_paths_are_signed_as_they_are_sent(self):
        for path in ["/photos/a//b", "/photos/./x", "/photos/../x", "/photos/a%2Fb", "/photos/%7Etilde", "/photos//"]:
            decoded = "/".join(path.split("/"))
            canonical = decoded.replace("%7E", "~")
            signed = self.signer().headers("PUT", canonical, payload=sha256(b"v"))
            self.assertEqual(self.send("PUT", path, signed, b"v").status, 200, path)
        listed = self.ask("GET", "/photos", "list-type=2").body.decode()
        for key in ["a//b", "./x", "../x", "~tilde", "/"]:
            self.assertIn(f"<Key>{key}</Key>", listed)

    def test_the_body_is_what_was_signed(self):
        self.ask("PUT", "/photos/kept", body=b"old")
        self.refused(
            self.ask("PUT", "/photos/kept", body=b"new", payload=sha256(b"other")), 400, "XAmzContentSHA256Mismatch",
            "The provided &apos;x-amz-content-sha256&apos; header does not match what was computed.")
        large = b"x" * (2 * MIB)
        self.refused(
            self.ask("PUT", "/photos/kept", body=large, payload=sha256(b"other")), 400, "XAmzContentSHA256Mismatch")
        self.assertEqual(self.ask("GET", "/photos/kept").body, b"old")
        self.assertEqual(self.ask("PUT", "/photos/kept", body=b"any", payload="UNSIGNED-PAYLOAD").status, 200)
        self.refused(self.ask("GET", "/photos/kept", payload=sha256(b"x")), 400, "XAmzContentSHA256Mismatch")

    def test_probe_19_urls(self):
        self.ask("PUT", "/photos/url", body=b"v")
        self.assertEqual(self.send("GET", self.signer().presign("GET", "/photos/url"), {"host": self.host}).body, b"v")
        late = self.signer(offset_seconds=-120).presign("GET", "/photos/url", expires=60)
        self.refused(self.send("GET", late, {"host": self.host}), 403, "ExpiredRequest", "Request has expired")
        early = self.signer(offset_seconds=1200).presign("GET", "/photos/url")
        self.refused(self.send("GET", early, {"host": self.host}), 403, "RequestTimeTooSkewed")
        for expires in [0, 604801]:
            url = self.signer().presign("GET", "/photos/url", expires=expires)
            self.refused(self.send("GET", url, {"host": self.host}), 400, "InvalidArgument")
        url = self.signer().presign("GET", "/photos/url", expires="soon")
        self.refused(
            self.send("GET", url, {"host": self.host}), 400, "InvalidArgument", "X-Amz-Expires should be a number")
        url = re.sub("X-Amz-Date=[^&]*&", "", self.signer().presign("GET", "/photos/url"))
        self.refused(
            self.send("GET", url, {"host": self.host}), 400, "InvalidArgument",
            "Required search parameter X-Amz-Date missing")
        url = self.signer().presign("GET", "/photos/url")
        self.refused(self.send("GET", url.replace("url?", "other?"), {"host": self.host}), 403, "SignatureDoesNotMatch")
        self.refused(self.send("DELETE", url, {"host": self.host}), 403, "SignatureDoesNotMatch")
        self.assertEqual(
            self.send("PUT", self.signer().presign("PUT", "/photos/put"), {"host": self.host}, b"put").status, 200)
        self.assertEqual(self.send("DELETE", self.signer().presign("DELETE", "/photos/put"), {"host": self.host}).status, 204)


class Chunks(Case):
    SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

    def put(self, pieces, payload, trailer=None, spoil=None, headers=None, change=lambda body: body, length=None):
        signer = self.signer()
        wanted = {"content-encoding": "aws-chunked",
                  "x-amz-decoded-content-length": str(sum(map(len, pieces)) if length is None else length), **(headers or {})}
        if trailer:
            wanted["x-amz-trailer"] = trailer.split(":")[0]
        signed = signer.headers("PUT", "/photos/chunks", headers=wanted, payload=payload)
        return self.send("PUT", "/photos/chunks", signed, change(signer.chunked(pieces, trailer, spoil)))

    def test_signed_chunks(self):
        pieces = [b"a" * 65536, b"b" * 65536, b"c" * 100]
        self.assertEqual(self.put(pieces, self.SIGNED).status, 200)
        got = self.ask("GET", "/photos/chunks")
        self.assertEqual((got.body, got.headers["Content-Encoding"]), (b"".join(pieces), None))
        self.assertEqual(self.put([b"x"], self.SIGNED, headers={"content-encoding": "gzip, aws-chunked"}).status, 200)
        self.assertEqual(self.ask("HEAD", "/photos/chunks").headers["Content-Encoding"], "gzip")

    def test_wrong_chunks_store_nothing(self):
        self.assertEqual(self.put([b"old"], self.SIGNED).status, 200)
        pieces = [b"a" * 65536, b"b" * 65536]
        for number in range(3):
            self.refused(self.put(pieces, self.SIGNED, spoil=number), 403, "SignatureDoesNotMatch")
        self.refused(
            self.put(pieces, self.SIGNED, change=lambda body: body.replace(b"b" * 8, b"c" * 8, 1)), 403,
            "SignatureDoesNotMatch")
        self.refused(self.put(pieces, self.SIGNED, change=lambda body: body[:-100]), 400, "IncompleteBody")
        self.refused(self.put(pieces, self.SIGNED, length=5), 400, "IncompleteBody")
        self.refused(self.put(pieces, self.SIGNED, length=1 << 20), 400, "IncompleteBody")
        self.refused(self.put([b"x"], self.SIGNED, change=lambda body: b"zz" + body), 400, "InvalidChunk")
        self.assertEqual(self.ask("GET", "/photos/chunks").body, b"old")

    def test_signed_trailers(self):
        crc = base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()
        answer = self.put([b"hello"], self.SIGNED + "-TRAILER", trailer="x-amz-checksum-crc32:" + crc)
        self.assertEqual((answer.status, answer.headers["x-amz-checksum-crc32"]), (200, crc))
        self.refused(
            self.put([b"hello"], self.SIGNED + "-TRAILER", trailer="x-amz-checksum-crc32:AAAAAA=="), 400, "BadDigest")
        self.refused(
            self.put([b"hello"], self.SIGNED + "-TRAILER", trailer="x-amz-checksum-crc32:" + crc, spoil="trailer"), 403,
            "SignatureDoesNotMatch")

    def test_unsigned_trailers(self):
        crc = base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big"))
        headers = {"content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32"}
        payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

        def put(end):
            return self.ask("PUT", "/photos/chunks", headers=headers, payload=payload, body=b"5\r\nhello\r\n0\r\n" + end)

        self.assertEqual(put(b"x-amz-checksum-crc32:" + crc + b"\r\n\r\n").status, 200)
        self.refused(put(b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"), 400, "BadDigest")
        self.refused(put(b"x-amz-checksum-crc32:AAAA\r\n\r\n"), 400, "InvalidRequest")
        self.refused(put(b"\r\n"), 400, "MalformedTrailerError")


class Requests(Case):
    def test_probe_16_the_body_is_asked_for_when_the_head_is_right(self):
        headers = self.signer().headers("PUT", "/photos/expect", payload=sha256(b"hello"))
        signed = {**headers, "content-length": "5", "expect": "100-continue"}

        def head(headers):
            return ("PUT /photos/expect HTTP/1.1\r\n"
                    + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode()

        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(head(signed))
            self.assertEqual(connection.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(b"hello")
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200 "))
        wrong = {**signed, "authorization": headers["authorization"][:-1] + ("0" if headers["authorization"][-1] != "0" else "1")}
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(head(wrong))
            received = b""
            while b"</Error>" not in received:
                piece = connection.recv(65536)
                self.assertTrue(piece, received)
                received += piece
            self.assertTrue(received.startswith(b"HTTP/1.1 403 "), received)

    def test_routes_that_are_none(self):
        self.refused(self.ask("POST", "/"), 404, "RouteNotFound", "No route matches this url.")
        self.refused(self.ask("PATCH", "/photos/k"), 404, "RouteNotFound")
        self.refused(
            self.ask("PUT", "/photos", "acme="), 400, "InvalidArgument",
            "Unsupported search param(s) &quot;acme&quot; on a PUT bucket route")
        self.refused(self.ask("PUT", "/photos", "policy="), 501, "NotImplemented", "PutBucketPolicy not implemented")
        self.refused(
            self.ask("GET", "/photos", "list-type=2&page=3"), 501, "NotImplemented",
            "ListObjectsV2 search parameter page not implemented")
        self.refused(self.ask("GET", "/photos", "continuation-token=x"), 400, "InvalidArgument")
        self.refused(self.ask("GET", "/none"), 404, "NoSuchBucket", "The specified bucket does not exist.")
        self.refused(
            self.ask("GET", "/photos/k", headers={"x-amz-expected-bucket-owner": "me"}), 501, "NotImplemented",
            "Header &apos;x-amz-expected-bucket-owner&apos; with value &apos;me&apos; not implemented")
        self.refused(self.ask("GET", "/photos/%FF"), 400, "InvalidURI")

    def test_documents_are_bounded(self):
        bomb = (b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
                b"<Delete><Object><Key>&b;</Key></Object></Delete>")
        for body in [bomb, b"", b"<Delete>", b"<Other/>", b"<Delete/>", b"<a>" * 100 + b"</a>" * 100,
                     b"<Delete><Object></Object></Delete>"]:
            self.refused(self.ask("POST", "/photos", "delete=", body=body), 400, "MalformedXML")
        self.refused(
            self.ask("POST", "/photos", "delete=", body=b"<Delete>" + b" " * (5 * MIB)), 400, "MaxMessageLengthExceeded")

    def test_documents_are_what_was_promised(self):
        body = b"<Delete><Object><Key>none</Key></Object></Delete>"
        right = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        for name, value in [("x-amz-checksum-crc32", right), ("content-md5", md5)]:
            self.assertEqual(self.ask("POST", "/photos", "delete=", headers={name: value}, body=body).status, 200)
            wrong = base64.b64encode(bytes(len(base64.b64decode(value)))).decode()
            self.refused(
                self.ask("POST", "/photos", "delete=", headers={name: wrong}, body=body), 400, "BadDigest")

    def test_an_upload_without_checksums_promises_none(self):
        begun = self.ask("POST", "/photos/plain", "uploads=")
        self.assertEqual(begun.status, 200)
        query = "uploadId=" + re.search("<UploadId>([^<]+)<", begun.body.decode())[1]
        part = self.ask("PUT", "/photos/plain", "partNumber=1&" + query, body=b"value")
        body = ("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + part.headers["ETag"]
                + "</ETag></Part></CompleteMultipartUpload>").encode()

        def complete(**headers):
            return self.ask("POST", "/photos/plain", query, {name.replace("_", "-"): text for name, text in headers.items()}, body)

        self.refused(complete(x_amz_checksum_crc32="AAAAAA=="), 400, "InvalidRequest",
                     "Checksum Type mismatch occurred, expected checksum Type: null, actual checksum Type: crc32")
        self.refused(complete(x_amz_checksum_crc32="AAAAAA==-0"), 400, "InvalidRequest")
        self.refused(complete(x_amz_checksum_crc32="AAAAAA==", x_amz_checksum_sha1="A" * 27 + "="), 400, "InvalidRequest")
        self.refused(complete(x_amz_checksum_type="SOME"), 400, "InvalidRequest")
        self.refused(complete(x_amz_mp_object_size="-1"), 400, "InvalidRequest")
        self.refused(complete(x_amz_mp_object_size="6"), 400, "InvalidRequest",
                     "The provided &apos;x-amz-mp-object-size&apos; header value 6 does not match what was computed: 5")
        done = complete(x_amz_mp_object_size="5")
        self.assertEqual(done.status, 200, done.body)
        self.assertNotIn(b"Checksum", done.body)

    def test_a_token_of_one_bucket_from_the_command_line(self):
        made = edge("token", "create", "one", "--allow", "r2:edit@local/photos", "--control", self.node.control, "--state",
                    self.node.state)
        self.assertEqual(made.returncode, 0, made.stderr)
        token = made.stdout.strip()
        verified = self.node.request(
            "GET", "/client/v4/user/tokens/verify", port=self.node.control_port,
            headers={"Authorization": "Bearer " + token}).json()
        signer = Signer(verified["result"]["id"], sha256(token.encode()), self.host)
        self.assertEqual(self.ask("PUT", "/photos/one", body=b"1", signer=signer).status, 200)
        self.ask("PUT", "/second")
        self.refused(self.ask("PUT", "/second/one", body=b"1", signer=signer), 403, "AccessDenied", "Access Denied")

    def test_signatures_are_not_logged(self):
        url = self.signer().presign("GET", "/photos/logged")
        self.send("GET", url, {"host": self.host})
        self.node.wait_for_log("/photos/logged")
        self.assertNotIn("X-Amz-Signature", self.node.log_text())

    def test_lists_have_a_form(self):
        self.ask("PUT", "/list")
        for key in ["a%20%26b", "c", "d/e"]:
            self.ask("PUT", "/list/" + key, body=b"x")
        text = self.ask("GET", "/list", "delimiter=%2F&encoding-type=url&list-type=2").body.decode()
        self.assertIn('<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">', text)
        self.assertIn("<Key>a%20%26b</Key>", text)
        self.assertIn("<ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag>", text)
        self.assertIn("<KeyCount>3</KeyCount>", text)
        self.assertIn("<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>", text)
        self.assertIn("<Key>a &amp;b</Key>", self.ask("GET", "/list").body.decode())
        first = self.ask("GET", "/list", "delimiter=%2F&max-keys=2").body.decode()
        self.assertIn("<NextMarker>c</NextMarker>", first)
        rest = self.ask("GET", "/list", "delimiter=%2F&marker=c&max-keys=1").body.decode()
        self.assertIn("<Prefix>d/</Prefix></CommonPrefixes>", rest)
        self.assertNotIn("<NextMarker>", rest)
        for text in ["-1", "", "x"]:
            self.refused(self.ask("GET", "/list", "max-keys=" + text), 400, "InvalidMaxKeys")

    def test_lengths_are_needed(self):
        headers = self.signer().headers("PUT", "/photos/k", payload="UNSIGNED-PAYLOAD")
        chunked = {**headers, "transfer-encoding": "chunked"}
        self.refused(self.send("PUT", "/photos/k", chunked, b"1\r\nx\r\n0\r\n\r\n"), 411, "MissingContentLength")

    def test_heads_have_a_length_and_no_body(self):
        self.ask("PUT", "/photos/head", body=b"0123456789")
        answer = self.ask("HEAD", "/photos/head")
        self.assertEqual((answer.headers["Content-Length"], answer.body), ("10", b""))
        self.assertEqual(self.ask("HEAD", "/photos/missing").status, 404)

    def test_an_upload_holds_a_window(self):
        def resident():
            with open(f"/proc/{self.node.process.pid}/status") as status:
                return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) << 10

        self.ask("PUT", "/photos/warm", body=b"x" * (8 * MIB))
        before = resident()
        body = b"y" * (256 * MIB)
        self.assertEqual(self.ask("PUT", "/photos/large", body=body, payload="UNSIGNED-PAYLOAD").status, 200)
        got = self.ask("GET", "/photos/large")
        self.assertEqual(hashlib.sha256(got.body).digest(), hashlib.sha256(body).digest())
        self.assertLess(resident() - before, 32 * MIB)

    def test_clients_that_leave_leave_nothing(self):
        def files():
            return sum(len(names) for folder, _, names in os.walk(os.path.join(self.node.state, "local", "r2")))

        self.ask("PUT", "/photos/before", body=b"x" * MIB)
        before = files()
        headers = self.signer().headers("PUT", "/photos/left", payload="UNSIGNED-PAYLOAD")
        head = "PUT /photos/left HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in {**headers, "content-length": str(100 * MIB)}.items()) + "\r\n"
        # More than the store takes at once: what they hold must come back.
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
                connection.sendall(head.encode() + b"y" * 200_000)
        wait_until(lambda: files() == before, 20, lambda: f"{before} files, not {files()}")
        self.assertEqual(self.ask("PUT", "/photos/after", body=b"z" * MIB).status, 200)
        self.refused(self.ask("GET", "/photos/left"), 404, "NoSuchKey")

    def test_random_requests_never_end_the_node(self):
        """Requests that are signed and make no sense, and signed ones that were damaged afterwards."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        self.ask("PUT", "/fuzzed")
        self.ask("PUT", "/fuzzed/fuzz", body=b"x" * 1000)
        names = ["list-type", "max-keys", "prefix", "delimiter", "marker", "continuation-token", "start-after", "uploads",
                 "uploadId", "partNumber", "encoding-type", "delete", "cors", "lifecycle", "part-number-marker", "max-parts",
                 "key-marker", "upload-id-marker", "max-uploads", "response-content-type", "fetch-owner", "max-buckets"]
        values = ["", "0", "1", "2", "-1", "10001", "99999999999999999999", "x", "url", "%00", "%0D%0Ax", "a%2Fb", "%FF", "0" * 32]
        headers = {
            "range": ["bytes=0-", "bytes=-1", "bytes=9-1", "bytes=0-999999999999999999", "bytes=99999999999999999999-", "x"],
            "if-match": ['"', "*", "a,b", 'W/"x"'], "if-modified-since": ["x", "Thu, 01 Jan 1970 00:00:00 GMT"],
            "content-md5": ["", "x"], "x-amz-checksum-crc32": ["", "AAAAAA==", "x"], "x-amz-storage-class": ["", "COLD"],
            "x-amz-copy-source": ["", "/", "fuzzed", "fuzzed/fuzz", "/none/x", "%", "fuzzed/fuzz?versionId=1"],
            "x-amz-copy-source-range": ["bytes=0-1", "bytes=1-", "bytes=0-999999999999999999", "x"],
            "x-amz-decoded-content-length": ["-1", "9223372036854775807", "x"], "x-amz-metadata-directive": ["", "REPLACE"],
            "x-amz-server-side-encryption-customer-algorithm": ["AES256", "x"],
            "x-amz-server-side-encryption-customer-key": ["", "AAAA"], "x-amz-meta-a": ["=?UTF-8?B??=", "=?UTF-8?Q?=F?="],
            "x-amz-trailer": ["x-amz-checksum-crc32", "x"], "cf-max-keys": ["0", "x"], "x-amz-checksum-algorithm": ["", "CRC64"],
        }
        bodies = [b"", b"<", b"<Delete><Object><Key>fuzz-none</Key></Object></Delete>", b"<CompleteMultipartUpload/>", b"\xff" * 99,
                  b"<CORSConfiguration><CORSRule/></CORSConfiguration>", b"ffffffffffffffff\r\n", b"1;chunk-signature=0\r\nx\r\n",
                  b"<LifecycleConfiguration><Rule><Status>Enabled</Status></Rule></LifecycleConfiguration>"]
        payloads = ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", Chunks.SIGNED, Chunks.SIGNED + "-TRAILER"]
        for _ in range(600):
            method = chance.choice(["GET", "PUT", "POST", "DELETE", "HEAD"])
            path = chance.choice(["/", "/fuzzed", "/fuzzed/fuzz", "/fuzz-none", "/fuzzed/", "/fuzzed/%2E%2E"])
            chosen = chance.sample(names, chance.randrange(3))
            query = "&".join(sorted(f"{name}={chance.choice(values)}" for name in chosen))
            some = {name: chance.choice(headers[name]) for name in chance.sample(sorted(headers), chance.randrange(3))}
            body = chance.choice(bodies) if method in ("PUT", "POST") else b""
            payload = chance.choice(payloads) if chance.random() < 0.4 else sha256(body)
            signed = self.signer().headers(method, path.replace("%2E", "."), query, some, payload)
            if chance.random() < 0.2:
                name = chance.choice(sorted(set(signed) - {"host"}))
                signed[name] = signed[name][: chance.randrange(len(signed[name]) + 1)]
            answer = self.send(method, path + ("?" + query if query else ""), signed, body)
            self.assertLess(answer.status, 502, (seed, method, path, query, some, payload))
            self.assertNotEqual(answer.status, 500, (seed, method, path, query, some, payload, answer.body))
        self.assertIsNone(self.node.process.poll(), seed)

    def test_what_reads_may_ask_for(self):
        self.ask("PUT", "/photos/ten", body=b"0123456789")

        def get(method="GET", query="", **headers):
            return self.ask(method, "/photos/ten", query, {name.replace("_", "-"): text for name, text in headers.items()})

        form = "range must be in format &apos;bytes=start-end&apos;, &apos;bytes=start-&apos; or &apos;bytes=-suffix&apos;.&apos;"
        for text in ["bytes=a-b", "bytes=-", "lines=0-1", "bytes=0-1,3-4"]:
            self.refused(get(range=text), 400, "InvalidArgument", form)
        self.refused(get(range="bytes=5-2"), 400, "InvalidArgument", "range must be positive.")
        for text in ["bytes=10-", "bytes=-0"]:
            self.refused(get(range=text), 416, "InvalidRange", "The requested range is not satisfiable")
        for text, span, body in [("bytes=3-", "3-9", b"3456789"), ("bytes=-3", "7-9", b"789"), ("bytes=8-100", "8-9", b"89")]:
            whole, head = get(range=text), get("HEAD", range=text)
            self.assertEqual((whole.status, whole.headers["Content-Range"], whole.body), (206, f"bytes {span}/10", body))
            self.assertEqual((head.status, head.headers["Content-Range"], head.headers["Content-Length"]),
                             (206, f"bytes {span}/10", str(len(body))))
        for number in ["0", "10001", "x"]:
            self.refused(get(query="partNumber=" + number), 400, "InvalidArgument",
                         "Part number must be an integer between 1 and 10000, inclusive.")
        first = get(query="partNumber=1")
        self.assertEqual((first.status, first.headers["x-amz-mp-parts-count"]), (206, None), first.headers)
        etag = get().headers["ETag"]
        later, earlier = "Fri, 01 Jan 2100 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"
        for condition, status in [
                ({"if_match": etag}, 200), ({"if_match": '"x"'}, 412), ({"if_none_match": etag}, 304),
                ({"if_none_match": '"x"'}, 200), ({"if_modified_since": later}, 304), ({"if_modified_since": earlier}, 200),
                ({"if_unmodified_since": earlier}, 412), ({"if_unmodified_since": later}, 200),
                ({"if_match": etag, "if_unmodified_since": earlier}, 200),
                ({"if_none_match": '"x"', "if_modified_since": later}, 200)]:
            self.assertEqual((get(**condition).status, get("HEAD", **condition).status), (status, status), condition)
        self.assertEqual(get().headers["Content-Type"], "application/octet-stream")
        wanted = {"content-type": "text/x", "content-language": "de", "expires": earlier, "cache-control": "no-store",
                  "content-disposition": "inline", "content-encoding": "identity"}
        query = urllib.parse.urlencode({"response-" + name: wanted[name] for name in sorted(wanted)}, quote_via=urllib.parse.quote)
        answer = get(query=query)
        self.assertEqual({name: answer.headers[name] for name in wanted}, wanted)

    def test_what_writes_may_not_say(self):
        for name, value in [("x-amz-tagging", "a=b"), ("x-amz-grant-read", "id=1"), ("x-amz-object-lock-mode", "GOVERNANCE"),
                            ("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", "k")]:
            self.refused(self.ask("PUT", "/photos/k", body=b"v", headers={name: value}), 501, "NotImplemented",
                         f"Header &apos;{name}&apos; with value &apos;{value}&apos; not implemented")
        self.assertEqual(self.ask("PUT", "/photos/k", body=b"v", headers={
            "x-amz-acl": "public-read", "x-amz-server-side-encryption": "AES256"}).status, 200)
        self.refused(self.ask("PUT", "/photos/c", headers={
            "x-amz-copy-source": "/photos/k", "x-amz-metadata-directive": "ADD"}), 400, "InvalidArgument", "metadata directive ADD.")
        for source in ["photos", "/photos", "/", "photos/"]:
            self.refused(self.ask("PUT", "/photos/c", headers={"x-amz-copy-source": source}), 400, "InvalidArgument",
                         "copy source bucket name")
        for condition in ["if-match", "if-unmodified-since"]:
            value = '"x"' if condition == "if-match" else "Sat, 01 Jan 2000 00:00:00 GMT"
            self.refused(self.ask("PUT", "/photos/c", headers={
                "x-amz-copy-source": "/photos/k", "x-amz-copy-source-" + condition: value}), 412, "PreconditionFailed")
        self.assertEqual(self.ask("HEAD", "/photos/c").status, 404)
        self.refused(self.ask("PUT", "/photos"), 409, "BucketAlreadyOwnedByYou")
        self.assertEqual(self.ask("HEAD", "/photos").headers["x-amz-bucket-region"], "auto")
        self.refused(self.ask("DELETE", "/photos"), 409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
        self.refused(self.ask("GET", "/photos", "cors="), 404, "NoSuchCORSConfiguration")
        self.assertEqual(self.send("OPTIONS", "/photos/k", {
            "host": self.host, "origin": "http://a.test", "access-control-request-method": "GET"}).status, 403)
        too_many = "".join(f"<Object><Key>{number}</Key></Object>" for number in range(1001))
        self.refused(self.ask("POST", "/photos", "delete=", body=f"<Delete>{too_many}</Delete>".encode()), 400, "MalformedXML")
        quiet = self.ask("POST", "/photos", "delete=", body=b"<Delete><Quiet>true</Quiet><Object><Key>k</Key></Object></Delete>")
        self.assertEqual((quiet.status, b"Deleted" in quiet.body, b"Error" in quiet.body), (200, False, False), quiet.body)

    def test_lists_of_none_and_of_more_than_may_be(self):
        self.ask("PUT", "/counted")
        self.ask("PUT", "/counted/a", body=b"")
        none = self.ask("GET", "/counted", "list-type=2&max-keys=0").body.decode()
        self.assertIn("<KeyCount>0</KeyCount>", none)
        self.assertIn("<IsTruncated>false</IsTruncated>", none)
        self.assertIn("<MaxKeys>1000</MaxKeys>", self.ask("GET", "/counted", "list-type=2&max-keys=5000").body.decode())
        self.assertIn("<StartAfter>a</StartAfter>", self.ask("GET", "/counted", "list-type=2&start-after=a").body.decode())
        self.refused(self.ask("GET", "/counted", "continuation-token=%21&list-type=2"), 400, "InvalidArgument")
        self.refused(self.ask("GET", "/counted", "encoding-type=hex"), 400, "InvalidArgument")

    def test_r2_has_some_of_its_own(self):
        self.refused(self.ask("PUT", "/made/k", body=b"v"), 404, "NoSuchBucket")
        self.assertEqual(
            self.ask("PUT", "/made/k", body=b"v", headers={"cf-create-bucket-if-missing": "true"}).status, 200)
        self.ask("PUT", "/made/k", body=b"v", headers={"x-amz-meta-a": "1", "x-amz-meta-b": "2"})
        copied = self.ask("PUT", "/made/k", headers={
            "x-amz-copy-source": "/made/k", "x-amz-metadata-directive": "MERGE", "x-amz-meta-b": "3"})
        self.assertEqual(copied.status, 200, copied.body)
        head = self.ask("HEAD", "/made/k")
        self.assertEqual((head.headers["x-amz-meta-a"], head.headers["x-amz-meta-b"]), ("1", "3"))
        self.refused(
            self.ask("PUT", "/made/k", headers={
                "x-amz-copy-source": "/made/k", "cf-copy-destination-if-none-match": "*"}), 412, "PreconditionFailed")
        listed = self.ask("GET", "/", headers={"cf-prefix": "ma"}).body.decode()
        self.assertIn("<Name>made</Name>", listed)
        self.assertNotIn("<Name>photos</Name>", listed)

    def test_an_account_may_stand_in_the_host(self):
        with open(self.node.state + "/operator-token") as file:
            token = file.read().strip()
        accounts = self.node.request(
            "GET", "/client/v4/accounts", port=self.node.control_port, headers={"Authorization": "Bearer " + token}).json()
        account = accounts["result"][0]["id"]
        for host, path in [(f"{account}.s3.localhost", "/photos"), (f"photos.{account}.s3.localhost", "/"),
                           ("photos.s3.localhost", "/")]:
            signer = Signer(*self.pair, host)
            self.assertEqual(self.ask("HEAD", path, signer=signer).status, 200, host)
        self.refused(self.ask("GET", "/photos", signer=Signer(*self.pair, "0" * 32 + ".s3.localhost")), 403, "AccessDenied")


class Forms(Case):
    def post(self, fields, content=b"content", conditions=None, minutes=5, spoil=False, name="x.txt"):
        signer = self.signer()
        expiration = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        base = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{signer.key}/{signer.scope}",
                "x-amz-date": signer.time}
        document = {
            "expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": [{name: value} for name, value in base.items()] + [{"bucket": "photos"}]
            + (conditions if conditions is not None else [["starts-with", "$key", "form/"]])}
        policy = base64.b64encode(json.dumps(document).encode()).decode()
        signature = signer.sign(policy)
        if spoil:
            signature = "0" * 64
        form = {**fields, **base, "policy": policy, "x-amz-signature": signature}
        body = b""
        for field, value in form.items():
            body += f'--frontier\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        body += (f'--frontier\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                 "Content-Type: text/plain\r\n\r\n").encode() + content + b"\r\n--frontier--\r\n"
        return self.send(
            "POST", "/photos", {"host": self.host, "content-type": "multipart/form-data; boundary=frontier"}, body)

    def test_a_form_stores_its_file(self):
        answer = self.post({"key": "form/${filename}"})
        self.assertEqual(answer.status, 204, answer.body)
        self.assertEqual(self.ask("GET", "/photos/form/x.txt").body, b"content")
        large = b"z" * (3 * MIB)
        self.assertEqual(self.post({"key": "form/large"}, large).status, 204)
        self.assertEqual(self.ask("GET", "/photos/form/large").body, large)

    def test_fields_say_what_it_is(self):
        conditions = [["starts-with", "$key", "form/"], {"Content-Type": "text/css"}, ["starts-with", "$x-amz-meta-a", ""],
                      {"success_action_status": "201"}]
        answer = self.post(
            {"key": "form/typed", "Content-Type": "text/css", "x-amz-meta-a": "b", "success_action_status": "201"},
            conditions=conditions)
        self.assertEqual(answer.status, 201, answer.body)
        self.assertIn(b"<PostResponse", answer.body)
        self.assertIn(b"<Key>form/typed</Key>", answer.body)
        head = self.ask("HEAD", "/photos/form/typed")
        self.assertEqual((head.headers["Content-Type"], head.headers["x-amz-meta-a"]), ("text/css", "b"))
        answer = self.post(
            {"key": "form/there", "success_action_redirect": "https://example.com/done?x=1"},
            conditions=[["starts-with", "$key", ""], ["starts-with", "$success_action_redirect", "https://example.com/"]])
        self.assertEqual(answer.status, 303)
        self.assertTrue(
            answer.headers["Location"].startswith("https://example.com/done?x=1&bucket=photos&key=form%2Fthere&etag=%22"))

    def test_policies_hold(self):
        self.refused(self.post({"key": "other/x"}), 403, "AccessDenied")
        self.refused(
            self.post({"key": "form/x"}, minutes=-1), 403, "AccessDenied", "Invalid according to Policy: Policy expired.")
        self.refused(
            self.post({"key": "form/x", "Content-Type": "text/html"}), 403, "AccessDenied",
            "Invalid according to Policy: Extra input fields: content-type")
        self.refused(self.post({"key": "form/x"}, spoil=True), 403, "SignatureDoesNotMatch")
        bounds = [["starts-with", "$key", "form/"], ["content-length-range", 5, 10]]
        self.refused(self.post({"key": "form/x"}, b"1234", bounds), 400, "EntityTooSmall")
        self.refused(self.post({"key": "form/x"}, b"12345678901", bounds), 400, "EntityTooLarge")
        self.refused(self.post({"key": "form/x"}, b"1" * MIB, bounds), 400, "EntityTooLarge")
        self.refused(self.ask("GET", "/photos/form/x"), 404, "NoSuchKey")
        self.assertEqual(self.post({"key": "form/x"}, b"12345", bounds).status, 204)

    def test_what_is_no_form(self):
        headers = {"host": self.host, "content-type": "multipart/form-data; boundary=frontier"}
        self.refused(self.send("POST", "/photos", headers, b"no form"), 400, "MalformedPOSTRequest")
        body = b'--frontier\r\nContent-Disposition: form-data; name="key"\r\n\r\nx\r\n--frontier--\r\n'
        self.refused(self.send("POST", "/photos", headers, body), 400, "InvalidArgument")
        body = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--frontier--\r\n'
        self.refused(self.send("POST", "/photos", headers, body), 403, "AccessDenied")


class Configured(unittest.TestCase):
    """Where an environment's file puts it."""

    def serve(self, s3, tls=""):
        project = self.enterContext(Project(SHAPE, products=["HelloWorker"]))
        project.write("environments/staging.toml", STAGING + s3 + tls)
        if tls:
            os.makedirs(project.path("tls"))
            certificates.make(project.path("tls"), "a", ["localhost", "objects.test"])
        return self.enterContext(Node(
            "serve", "--environment", "staging", "--products", project.path(".build/debug"), "--key-file",
            project.path("key"), cwd=project.directory, state=project.path("state")))

    def ask(self, node, method, path, host=None, headers=None, payload=EMPTY, body=None):
        address = node.s3.split("//")[1]
        signer = Signer(*operator_pair(node), host or address)
        port = int(address.rsplit(":", 1)[1])
        if node.s3.startswith("https:"):
            connection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=60, context=ssl._create_unverified_context())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=signer.headers(method, path, "", headers, payload))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def test_listeners_domain_and_strictness(self):
        node = self.serve('s3 = { listen = ["127.0.0.1:0"], domain = "objects.test", strict = true }\n')
        self.assertEqual(self.ask(node, "PUT", "/", host="mine.objects.test")[0], 200)
        self.assertEqual(self.ask(node, "HEAD", "/mine")[0], 200)
        for payload in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"]:
            status, body = self.ask(node, "PUT", "/mine/k", payload=payload, body=b"")
            self.assertEqual(status, 501)
            self.assertIn(f"<Message>{payload} not implemented</Message>".encode(), body)

    def test_https_and_certificates_that_are_renewed(self):
        node = self.serve(
            's3 = { listen = ["127.0.0.1:0"], tls = true }\n', '[tls]\ncertificate = "tls/a.pem"\nkey = "tls/a.key"\n')
        self.assertTrue(node.s3.startswith("https://"))
        self.assertEqual(self.ask(node, "GET", "/")[0], 200)

        def presented():
            port = int(node.s3.rsplit(":", 1)[1])
            return ssl.get_server_certificate(("127.0.0.1", port))

        first = presented()
        certificates.make(os.path.join(node.cwd, "tls"), "a", ["localhost"])
        node.process.send_signal(signal.SIGHUP)
        node.wait_for_log("the configuration was read again")
        self.assertNotEqual(presented(), first)
        self.assertEqual(self.ask(node, "GET", "/")[0], 200)

    def test_http_2_with_and_without_tls(self):
        """curl signs by itself; 1 MiB and a bit is more than a stream's window."""
        data = os.urandom(MIB + 1234)
        for options, flags in ((["--https"], ["--http2", "--cacert"]), ([], ["--http2-prior-knowledge"])):
            with Node("run", product("HelloWorker"), "--s3", "127.0.0.1:0", *options) as node:
                pair = operator_pair(node)
                if "--cacert" in flags:
                    flags = [*flags, os.path.join(node.state, "localhost.pem")]

                def curl(method, path, *more, input=None):
                    done = subprocess.run(
                        ["curl", "--silent", "--show-error", *flags, "--request", method, "--aws-sigv4", "aws:amz:auto:s3",
                         "--user", ":".join(pair), "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--output", "-",
                         "--write-out", "%{stderr}%{http_code} %{http_version}", *more, node.s3 + path],
                        input=input, capture_output=True, timeout=60)
                    return done.stderr.decode(), done.stdout

                self.assertEqual(curl("PUT", "/photos")[0], "200 2")
                self.assertEqual(curl("PUT", "/photos/a%20b", "--data-binary", "@-", input=data)[0], "200 2")
                self.assertEqual(curl("GET", "/photos/a%20b"), ("200 2", data))
                self.assertEqual(curl("GET", "/photos/a%20b", "--header", "range: bytes=5-9"), ("206 2", data[5:10]))
                said, body = curl("GET", "/photos/none")
                self.assertEqual(said, "404 2")
                self.assertIn(b"<Code>NoSuchKey</Code>", body)
                self.assertEqual(curl("DELETE", "/photos/a%20b")[0], "204 2")

    def test_nowhere_unless_asked_for(self):
        with Node("run", product("HelloWorker")) as node:
            self.assertIsNone(node.s3)

    def test_dev_has_it(self):
        project = self.enterContext(Project(SHAPE, products=["HelloWorker"]))
        with Node("dev", "--no-build", cwd=project.directory, state=project.path("state")) as node:
            self.assertTrue(node.s3.startswith("http://127.0.0.1:"))
            self.assertIn(f"S3 API at {node.s3}", node.log_text())
            self.assertEqual(self.ask(node, "GET", "/")[0], 200)


if __name__ == "__main__":
    unittest.main()
