"""boto3 against the S3 API of a real node (spec r2, sections 3 and 6)."""

import base64
import hashlib
import io
import os
import subprocess
import unittest
import urllib.error
import urllib.request
import zlib

import botocore.exceptions
import cloudflare
from boto3.s3.transfer import TransferConfig

import s3_keys
import urllib3
from harness import Node, product

MIB = 1 << 20


def crc64_entry(value):
    for _ in range(8):
        value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
    return value


CRC64_TABLE = [crc64_entry(value) for value in range(256)]

# The node's own certificate is known to nobody here.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def start(case, *options):
    node = case.enterClassContext(Node("run", product("HelloWorker"), "--s3", "127.0.0.1:0", *options))
    return node, s3_keys.client(node)


class Case(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.node, cls.s3 = start(cls, *cls.options)
        cls.s3.create_bucket(Bucket="photos")

    def refused(self, code, status, call, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        answer = caught.exception.response
        self.assertEqual((answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]), (code, status))
        return answer

    def put(self, key, body=b"value", **arguments):
        return self.s3.put_object(Bucket="photos", Key=key, Body=body, **arguments)

    def read(self, key, **arguments):
        return self.s3.get_object(Bucket="photos", Key=key, **arguments)["Body"].read()


class Buckets(Case):
    def test_a_bucket_lives(self):
        self.s3.create_bucket(Bucket="lives")
        self.refused("BucketAlreadyOwnedByYou", 409, self.s3.create_bucket, Bucket="lives")
        names = [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]
        self.assertLessEqual({"lives", "photos"}, set(names))
        self.assertEqual(names, sorted(names))
        self.assertEqual(self.s3.head_bucket(Bucket="lives")["BucketRegion"], "auto")
        self.s3.put_object(Bucket="lives", Key="k", Body=b"v")
        self.refused("BucketNotEmpty", 409, self.s3.delete_bucket, Bucket="lives")
        self.s3.delete_object(Bucket="lives", Key="k")
        self.s3.delete_bucket(Bucket="lives")
        self.refused("404", 404, self.s3.head_bucket, Bucket="lives")
        self.refused("NoSuchBucket", 404, self.s3.list_objects_v2, Bucket="lives")

    def test_names_are_checked(self):
        # boto3 itself lets upper case through.
        self.refused("InvalidBucketName", 400, self.s3.create_bucket, Bucket="Photos")

    def test_its_creation_has_a_date(self):
        created = {bucket["Name"]: bucket["CreationDate"] for bucket in self.s3.list_buckets()["Buckets"]}["photos"]
        self.assertGreater(created.year, 2020)

    def test_buckets_are_listed_in_pages(self):
        for index in range(5):
            self.s3.create_bucket(Bucket=f"page-{index}")
        pages = list(self.s3.get_paginator("list_buckets").paginate(
            Prefix="page-", PaginationConfig={"PageSize": 2}))
        self.assertEqual([len(page["Buckets"]) for page in pages], [2, 2, 1])

    def test_probe_26_what_is_constant_and_what_is_missing(self):
        self.put("tagged")
        self.refused("NotImplemented", 501, self.s3.get_object_tagging, Bucket="photos", Key="tagged")
        self.assertNotIn("Status", self.s3.get_bucket_versioning(Bucket="photos"))
        self.assertEqual(self.s3.get_bucket_location(Bucket="photos")["LocationConstraint"], "auto")
        rule = self.s3.get_bucket_encryption(Bucket="photos")["ServerSideEncryptionConfiguration"]["Rules"][0]
        self.assertEqual(
            (rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], rule["BucketKeyEnabled"]), ("AES256", True))
        self.assertEqual(self.s3.get_bucket_acl(Bucket="photos")["Grants"][0]["Permission"], "FULL_CONTROL")
        self.refused("NoSuchTagSet", 404, self.s3.get_bucket_tagging, Bucket="photos")
        self.refused(
            "ObjectLockConfigurationNotFoundError", 404, self.s3.get_object_lock_configuration, Bucket="photos")
        self.refused("ReplicationConfigurationNotFoundError", 404, self.s3.get_bucket_replication, Bucket="photos")
        for call in [self.s3.get_bucket_policy, self.s3.get_bucket_website, self.s3.get_bucket_logging,
                     self.s3.list_object_versions, self.s3.get_bucket_notification_configuration,
                     self.s3.get_bucket_accelerate_configuration, self.s3.get_bucket_request_payment,
                     self.s3.get_public_access_block, self.s3.get_bucket_ownership_controls, self.s3.delete_bucket_policy]:
            self.refused("NotImplemented", 501, call, Bucket="photos")
        for call, more in [
                (self.s3.get_object_attributes, {"ObjectAttributes": ["ETag"]}), (self.s3.get_object_acl, {}),
                (self.s3.put_object_acl, {"ACL": "private"}), (self.s3.get_object_torrent, {}),
                (self.s3.get_object_retention, {}), (self.s3.get_object_legal_hold, {}), (self.s3.delete_object_tagging, {}),
                (self.s3.put_object_tagging, {"Tagging": {"TagSet": []}}),
                (self.s3.restore_object, {"RestoreRequest": {"Days": 1}})]:
            answer = self.refused("NotImplemented", 501, call, Bucket="photos", Key="tagged", **more)
            name = "".join(part.title() for part in call.__name__.split("_"))
            self.assertEqual(answer["Error"]["Message"], f"{name} not implemented")
        answer = self.refused(
            "NotImplemented", 501, self.s3.put_object, Bucket="photos", Key="k", Body=b"", Tagging="a=b")
        self.assertEqual(answer["Error"]["Message"], "Header 'x-amz-tagging' with value 'a=b' not implemented")

    def test_lifecycle_rules_come_back(self):
        rules = self.s3.get_bucket_lifecycle_configuration(Bucket="photos")["Rules"]
        self.assertEqual(rules[0]["AbortIncompleteMultipartUpload"], {"DaysAfterInitiation": 7})
        wanted = [
            {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}},
            {"ID": "cold", "Status": "Disabled", "Filter": {"Prefix": ""},
             "Transitions": [{"Days": 10, "StorageClass": "STANDARD_IA"}]},
        ]
        self.s3.put_bucket_lifecycle_configuration(Bucket="photos", LifecycleConfiguration={"Rules": wanted})
        self.assertEqual(self.s3.get_bucket_lifecycle_configuration(Bucket="photos")["Rules"], wanted)
        self.refused(
            "NotImplemented", 501, self.s3.put_bucket_lifecycle_configuration, Bucket="photos",
            LifecycleConfiguration={"Rules": [{
                "ID": "x", "Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 1}}]})
        self.s3.delete_bucket_lifecycle(Bucket="photos")
        self.refused("NoSuchLifecycleConfiguration", 404, self.s3.get_bucket_lifecycle_configuration, Bucket="photos")

    def test_cors_rules_hold(self):
        self.s3.create_bucket(Bucket="pages")
        self.refused("NoSuchCORSConfiguration", 404, self.s3.get_bucket_cors, Bucket="pages")
        rules = [{
            "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["x-amz-*"],
            "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60,
        }]
        self.s3.put_bucket_cors(Bucket="pages", CORSConfiguration={"CORSRules": rules})
        self.assertEqual(self.s3.get_bucket_cors(Bucket="pages")["CORSRules"], rules)
        self.s3.put_object(Bucket="pages", Key="k", Body=b"v")

        def send(method, headers, url=self.node.s3 + "/pages/k"):
            request = urllib.request.Request(url, method=method, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, answer.headers
            except urllib.error.HTTPError as error:
                return error.code, error.headers

        asked = {"Origin": "https://a.example.com", "Access-Control-Request-Method": "PUT"}
        status, headers = send("OPTIONS", {**asked, "Access-Control-Request-Headers": "X-Amz-Date"})
        self.assertEqual(
            (status, headers["Access-Control-Allow-Origin"], headers["Access-Control-Max-Age"]),
            (204, "https://a.example.com", "60"))
        self.assertEqual(send("OPTIONS", {**asked, "Origin": "https://example.org"})[0], 403)
        self.assertEqual(send("OPTIONS", {**asked, "Access-Control-Request-Method": "DELETE"})[0], 403)
        self.assertEqual(send("OPTIONS", {**asked, "Access-Control-Request-Headers": "X-Other"})[0], 403)
        url = self.s3.generate_presigned_url("get_object", Params={"Bucket": "pages", "Key": "k"})
        status, headers = send("GET", {"Origin": "https://a.example.com"}, url)
        self.assertEqual(
            (status, headers["Access-Control-Allow-Origin"], headers["Access-Control-Expose-Headers"], headers["Vary"]),
            (200, "https://a.example.com", "ETag", "Origin"))
        self.assertIsNone(send("GET", {"Origin": "https://example.org"}, url)[1]["Access-Control-Allow-Origin"])
        # A page has to be able to read what went wrong.
        self.assertEqual(
            send("GET", {"Origin": "https://a.example.com"})[1]["Access-Control-Allow-Origin"], "https://a.example.com")
        self.s3.delete_bucket_cors(Bucket="pages")
        self.assertEqual(send("OPTIONS", asked)[0], 403)


class Objects(Case):
    seconds = 25

    def test_probe_15_a_key_of_all_sorts(self):
        key = "dir/ü +?#%.txt"
        self.put(key, Metadata={"Foo": "bar"}, ContentType="text/plain", CacheControl="no-cache")
        got = self.s3.get_object(Bucket="photos", Key=key)
        self.assertEqual(
            (got["Body"].read(), got["Metadata"], got["ContentType"], got["CacheControl"]),
            (b"value", {"foo": "bar"}, "text/plain", "no-cache"))
        head = self.s3.head_object(Bucket="photos", Key=key)
        self.assertEqual((head["ContentLength"], head["ETag"], head["Metadata"]), (5, got["ETag"], {"foo": "bar"}))
        listed = self.s3.list_objects_v2(Bucket="photos", Prefix="dir/")["Contents"]
        self.assertEqual([item["Key"] for item in listed], [key])
        self.s3.delete_object(Bucket="photos", Key=key)
        self.refused("NoSuchKey", 404, self.s3.get_object, Bucket="photos", Key=key)
        self.refused("404", 404, self.s3.head_object, Bucket="photos", Key=key)
        self.s3.delete_object(Bucket="photos", Key=key)

    def test_probe_16_bodies_are_asked_for_at_once(self):
        # A second each, for a client that waits in vain for 100 Continue, would be twenty.
        body = os.urandom(MIB)
        sent = []
        self.s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request.headers))
        for index in range(20):
            self.put(f"expect/{index}", body)
        self.assertTrue(all(headers.get("Expect") in (b"100-continue", "100-continue") for headers in sent))
        self.assertEqual(self.read("expect/19"), body)

    def test_probe_18_parts_are_put_together(self):
        data = os.urandom(20 * MIB)
        self.s3.upload_fileobj(io.BytesIO(data), "photos", "parts")
        head = self.s3.head_object(Bucket="photos", Key="parts")
        self.assertTrue(head["ETag"].endswith('-3"'), head["ETag"])
        target = io.BytesIO()
        self.s3.download_fileobj("photos", "parts", target)
        self.assertEqual(target.getvalue(), data)
        ranged = self.s3.get_object(Bucket="photos", Key="parts", Range="bytes=8388600-8388620")
        self.assertEqual(
            (ranged["ResponseMetadata"]["HTTPStatusCode"], ranged["ContentRange"], ranged["Body"].read()),
            (206, f"bytes 8388600-8388620/{len(data)}", data[8388600:8388621]))
        part = self.s3.get_object(Bucket="photos", Key="parts", PartNumber=3)
        self.assertEqual((part["PartsCount"], part["Body"].read()), (3, data[16 * MIB:]))
        self.assertEqual(self.s3.head_object(Bucket="photos", Key="parts", PartNumber=1)["ContentLength"], 8 * MIB)
        self.refused("InvalidPartNumber", 416, self.s3.get_object, Bucket="photos", Key="parts", PartNumber=4)

    def test_100_mib_go_up_and_down(self):
        piece = os.urandom(MIB)
        data = piece * 100
        config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
        self.s3.upload_fileobj(io.BytesIO(data), "photos", "large", Config=config)
        target = io.BytesIO()
        self.s3.download_fileobj("photos", "large", target, Config=config)
        self.assertEqual(hashlib.sha256(target.getvalue()).digest(), hashlib.sha256(data).digest())
        whole = self.s3.get_object(Bucket="photos", Key="large")["Body"]
        digest = hashlib.sha256()
        for chunk in whole.iter_chunks(MIB):
            digest.update(chunk)
        self.assertEqual(digest.digest(), hashlib.sha256(data).digest())

    def test_probe_19_urls_that_are_given_away(self):
        parameters = {"Bucket": "photos", "Key": "given/a b.txt"}
        put = self.s3.generate_presigned_url("put_object", Params=parameters, ExpiresIn=60)
        get = self.s3.generate_presigned_url(
            "get_object", Params={**parameters, "ResponseContentType": "text/x-mine",
                                  "ResponseContentDisposition": 'attachment; filename="x"'}, ExpiresIn=60)

        def curl(*arguments):
            return subprocess.run(
                ["curl", "--silent", "--show-error", "--include", *arguments], capture_output=True, timeout=60, check=True
            ).stdout.decode()

        self.assertIn("HTTP/1.1 200", curl("--request", "PUT", "--data-binary", "hello", put))
        got = curl(get)
        self.assertIn("content-type: text/x-mine", got)
        self.assertIn('content-disposition: attachment; filename="x"', got)
        self.assertTrue(got.endswith("hello"), got)
        self.assertIn("SignatureDoesNotMatch", curl(get.replace("a%20b", "a%20c")))
        self.assertIn("HeadersNotSigned", curl("--request", "PUT", "--header", "x-amz-copy-source: /photos/parts", put))

    def test_probe_20_wrong_keys_are_told_apart(self):
        key, secret = s3_keys.operator_pair(self.node)
        liar = s3_keys.client(self.node, (key, secret[:-1] + ("0" if secret[-1] != "0" else "1")))
        answer = self.refused("SignatureDoesNotMatch", 403, liar.list_buckets)
        self.assertTrue(answer["Error"]["CanonicalRequest"].startswith("GET\n/\n"))
        self.refused("Unauthorized", 401, s3_keys.client(self.node, ("0" * 32, secret)).list_buckets)

    def test_probe_21_many_are_deleted(self):
        for index in range(3):
            self.put(f"many/{index}")
        keys = [f"many/{index}" for index in range(4)]
        answer = self.s3.delete_objects(Bucket="photos", Delete={"Objects": [{"Key": key} for key in keys]})
        self.assertEqual((sorted(item["Key"] for item in answer["Deleted"]), answer.get("Errors")), (keys, None))
        self.assertEqual(self.s3.list_objects_v2(Bucket="photos", Prefix="many/")["KeyCount"], 0)
        quiet = self.s3.delete_objects(Bucket="photos", Delete={"Objects": [{"Key": "many/0"}], "Quiet": True})
        self.assertNotIn("Deleted", quiet)
        self.refused(
            "MalformedXML", 400, self.s3.delete_objects, Bucket="photos",
            Delete={"Objects": [{"Key": f"k{index}"} for index in range(1001)]})

    def test_probe_22_copies(self):
        self.put("copy/a+b c", b"copied", Metadata={"a": "1"}, ContentType="text/plain")
        source = {"Bucket": "photos", "Key": "copy/a+b c"}
        self.s3.copy_object(Bucket="photos", Key="copy/kept", CopySource=source)
        kept = self.s3.get_object(Bucket="photos", Key="copy/kept")
        self.assertEqual((kept["Metadata"], kept["ContentType"], kept["Body"].read()), ({"a": "1"}, "text/plain", b"copied"))
        self.s3.copy_object(
            Bucket="photos", Key="copy/new", CopySource="photos/copy/a+b c", MetadataDirective="REPLACE",
            Metadata={"b": "2"})
        self.assertEqual(self.s3.head_object(Bucket="photos", Key="copy/new")["Metadata"], {"b": "2"})
        self.refused(
            "NoSuchKey", 404, self.s3.copy_object, Bucket="photos", Key="copy/x",
            CopySource={"Bucket": "photos", "Key": "copy/none"})
        self.refused(
            "PreconditionFailed", 412, self.s3.copy_object, Bucket="photos", Key="copy/x", CopySource=source,
            CopySourceIfMatch='"nope"')
        self.refused(
            "InvalidArgument", 400, self.s3.copy_object, Bucket="photos", Key="copy/x", CopySource=source,
            MetadataDirective="FORGET")

    def test_probe_23_pages(self):
        self.s3.create_bucket(Bucket="pages-2500")
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(
                lambda index: self.s3.put_object(Bucket="pages-2500", Key=f"d{index % 5}/{index:04}", Body=b""), range(2500)))
        for operation in ["list_objects_v2", "list_objects"]:
            pages = list(self.s3.get_paginator(operation).paginate(Bucket="pages-2500"))
            keys = [item["Key"] for page in pages for item in page["Contents"]]
            self.assertEqual((len(pages), len(keys), keys), (3, 2500, sorted(keys)))
            pages = self.s3.get_paginator(operation).paginate(
                Bucket="pages-2500", Delimiter="/", PaginationConfig={"PageSize": 2})
            prefixes = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
            self.assertEqual(prefixes, [f"d{index}/" for index in range(5)])
        after = self.s3.list_objects_v2(Bucket="pages-2500", StartAfter="d4/2489", MaxKeys=5)
        self.assertEqual(([item["Key"] for item in after["Contents"]], after["StartAfter"]), (["d4/2494", "d4/2499"], "d4/2489"))
        self.assertEqual(self.s3.list_objects_v2(Bucket="pages-2500", MaxKeys=0)["KeyCount"], 0)
        self.refused("InvalidMaxKeys", 400, self.s3.list_objects_v2, Bucket="pages-2500", MaxKeys=-1)

    def test_probe_24_conditions(self):
        etag = self.put("condition")["ETag"]
        self.refused(
            "PreconditionFailed", 412, self.s3.put_object, Bucket="photos", Key="condition", Body=b"x", IfNoneMatch="*")
        self.refused(
            "PreconditionFailed", 412, self.s3.put_object, Bucket="photos", Key="condition", Body=b"x", IfMatch='"other"')
        self.assertEqual(self.read("condition", IfMatch=etag), b"value")
        self.refused("PreconditionFailed", 412, self.s3.get_object, Bucket="photos", Key="condition", IfMatch='"other"')
        self.refused("304", 304, self.s3.get_object, Bucket="photos", Key="condition", IfNoneMatch=etag)
        self.refused("304", 304, self.s3.head_object, Bucket="photos", Key="condition", IfNoneMatch=etag)
        modified = self.s3.head_object(Bucket="photos", Key="condition")["LastModified"]
        self.assertEqual(self.read("condition", IfUnmodifiedSince=modified), b"value")
        self.refused("304", 304, self.s3.get_object, Bucket="photos", Key="condition", IfModifiedSince=modified)
        self.put("condition", b"newer", IfMatch=etag)
        self.assertEqual(self.read("condition"), b"newer")

    def test_ranges(self):
        self.put("range", b"0123456789")
        for asked, got, said in [("bytes=3-", b"3456789", "3-9"), ("bytes=-3", b"789", "7-9"), ("bytes=8-100", b"89", "8-9")]:
            answer = self.s3.get_object(Bucket="photos", Key="range", Range=asked)
            self.assertEqual((answer["Body"].read(), answer["ContentRange"]), (got, f"bytes {said}/10"))
        head = self.s3.head_object(Bucket="photos", Key="range", Range="bytes=0-3")
        self.assertEqual((head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]), (4, 206))
        for asked, code, status in [("bytes=10-", "InvalidRange", 416), ("bytes=-0", "InvalidRange", 416),
                                    ("bytes=5-2", "InvalidArgument", 400), ("bytes=a-b", "InvalidArgument", 400),
                                    ("bytes=0-1,3-4", "InvalidArgument", 400)]:
            self.refused(code, status, self.s3.get_object, Bucket="photos", Key="range", Range=asked)
        self.put("empty", b"")
        self.assertEqual(self.read("empty"), b"")
        self.refused("InvalidRange", 416, self.s3.get_object, Bucket="photos", Key="empty", Range="bytes=0-")

    def test_checksums(self):
        data = os.urandom(100_000)
        sums = {"CRC32": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode(),
                "SHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
                "SHA1": base64.b64encode(hashlib.sha1(data).digest()).decode()}
        for name, value in sums.items():
            answer = self.put("summed", data, ChecksumAlgorithm=name)
            self.assertEqual(answer["Checksum" + name], value)
            head = self.s3.head_object(Bucket="photos", Key="summed", ChecksumMode="ENABLED")
            self.assertEqual((head["Checksum" + name], head["ChecksumType"]), (value, "FULL_OBJECT"))
            self.assertNotIn("Checksum" + name, self.s3.head_object(Bucket="photos", Key="summed"))
        wrong = base64.b64encode(bytes(32)).decode()
        self.refused("BadDigest", 400, self.put, key="summed", body=b"x", ChecksumSHA256=wrong)
        self.refused("BadDigest", 400, self.put, key="summed", body=b"x", ContentMD5=base64.b64encode(bytes(16)).decode())
        self.refused("InvalidDigest", 400, self.put, key="summed", body=b"x", ContentMD5="short")
        self.assertEqual(self.read("summed"), data)

    def test_keys_of_the_customer(self):
        key, other = os.urandom(32), os.urandom(32)
        data = os.urandom(200_000)
        mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
        answer = self.put("sealed", data, **mine)
        self.assertEqual(answer["SSECustomerKeyMD5"], base64.b64encode(hashlib.md5(key).digest()).decode())
        self.assertEqual(self.read("sealed", **mine), data)
        self.assertEqual(self.s3.head_object(Bucket="photos", Key="sealed", **mine)["ContentLength"], len(data))
        self.refused("InvalidRequest", 400, self.s3.get_object, Bucket="photos", Key="sealed")
        self.refused(
            "AccessDenied", 403, self.s3.get_object, Bucket="photos", Key="sealed", SSECustomerAlgorithm="AES256",
            SSECustomerKey=other)

    def test_metadata_in_words_of_rfc_2047(self):
        encoded = "=?UTF-8?B?" + base64.b64encode("grün".encode()).decode() + "?="
        self.put("words", Metadata={"colour": encoded, "plain": "x"})
        head = self.s3.head_object(Bucket="photos", Key="words")
        self.assertEqual((head["Metadata"], head["MissingMeta"]), ({"plain": "x"}, 1))

    def test_storage_classes(self):
        self.put("cold", StorageClass="STANDARD_IA")
        self.assertEqual(self.s3.head_object(Bucket="photos", Key="cold")["StorageClass"], "STANDARD_IA")
        self.refused("InvalidStorageClass", 400, self.put, key="cold", StorageClass="GLACIER")

    def test_keys_have_a_limit(self):
        self.put("k" * 1024)
        self.refused("KeyTooLongError", 400, self.put, key="k" * 1025)


class Uploads(Case):
    def begin(self, key, **arguments):
        return self.s3.create_multipart_upload(Bucket="photos", Key=key, **arguments)["UploadId"]

    def part(self, key, upload, number, body):
        return {"PartNumber": number, "ETag": self.s3.upload_part(
            Bucket="photos", Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]}

    def complete(self, key, upload, parts, **arguments):
        return self.s3.complete_multipart_upload(
            Bucket="photos", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **arguments)

    def test_an_upload_in_parts_lives(self):
        upload = self.begin("parts", Metadata={"a": "b"})
        parts = [self.part("parts", upload, number, os.urandom(5 * MIB)) for number in (2, 1)]
        self.assertEqual(
            [item["UploadId"] for item in self.s3.list_multipart_uploads(Bucket="photos", Prefix="parts")["Uploads"]],
            [upload])
        listed = self.s3.list_parts(Bucket="photos", Key="parts", UploadId=upload, MaxParts=1)
        self.assertEqual(
            (listed["Parts"][0]["PartNumber"], listed["IsTruncated"], listed["NextPartNumberMarker"]), (1, True, 1))
        pages = self.s3.get_paginator("list_parts").paginate(
            Bucket="photos", Key="parts", UploadId=upload, PaginationConfig={"PageSize": 1})
        self.assertEqual([part["PartNumber"] for page in pages for part in page["Parts"]], [1, 2])
        done = self.complete("parts", upload, sorted(parts, key=lambda part: part["PartNumber"]))
        self.assertEqual((done["Bucket"], done["Key"], done["ETag"][-3:]), ("photos", "parts", '-2"'))
        self.assertEqual(self.s3.head_object(Bucket="photos", Key="parts")["Metadata"], {"a": "b"})
        self.refused("NoSuchUpload", 404, self.s3.list_parts, Bucket="photos", Key="parts", UploadId=upload)
        self.refused("NoSuchUpload", 404, self.complete, key="parts", upload=upload, parts=parts)

    def test_wrong_parts_are_refused(self):
        upload = self.begin("wrong")
        part = self.part("wrong", upload, 1, b"small")
        other = self.part("wrong", upload, 2, b"small")
        self.refused("EntityTooSmall", 400, self.complete, key="wrong", upload=upload, parts=[part, other])
        self.refused(
            "InvalidPart", 400, self.complete, key="wrong", upload=upload, parts=[{"PartNumber": 1, "ETag": '"0"'}])
        self.refused("MalformedXML", 400, self.complete, key="wrong", upload=upload, parts=[])
        self.refused("InvalidArgument", 400, self.part, key="wrong", upload=upload, number=10_001, body=b"")
        self.refused("NoSuchUpload", 404, self.part, key="wrong", upload="0" * 32, number=1, body=b"")
        self.s3.abort_multipart_upload(Bucket="photos", Key="wrong", UploadId=upload)
        self.refused("NoSuchUpload", 404, self.part, key="wrong", upload=upload, number=1, body=b"")

    def test_parts_are_copied(self):
        data = os.urandom(12 * MIB)
        self.s3.upload_fileobj(io.BytesIO(data), "photos", "whole")
        upload = self.begin("copied")
        source = {"Bucket": "photos", "Key": "whole"}
        parts = []
        for number, (start, end) in enumerate([(0, 6 * MIB), (6 * MIB, 12 * MIB)], 1):
            answer = self.s3.upload_part_copy(
                Bucket="photos", Key="copied", UploadId=upload, PartNumber=number, CopySource=source,
                CopySourceRange=f"bytes={start}-{end - 1}")
            parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        self.refused(
            "InvalidRange", 416, self.s3.upload_part_copy, Bucket="photos", Key="copied", UploadId=upload, PartNumber=3,
            CopySource=source, CopySourceRange=f"bytes=0-{len(data)}")
        self.complete("copied", upload, parts)
        self.assertEqual(self.read("copied"), data)

    def test_a_completion_has_a_condition(self):
        self.put("taken")
        upload = self.begin("taken")
        parts = [self.part("taken", upload, 1, b"one")]
        self.refused("PreconditionFailed", 412, self.complete, key="taken", upload=upload, parts=parts, IfNoneMatch="*")
        self.assertEqual(self.read("taken"), b"value")

    def test_checksums_of_parts(self):
        upload = self.begin("summed", ChecksumAlgorithm="SHA256")
        pieces = [os.urandom(5 * MIB), b"end"]
        parts = []
        for number, piece in enumerate(pieces, 1):
            answer = self.s3.upload_part(
                Bucket="photos", Key="summed", UploadId=upload, PartNumber=number, Body=piece, ChecksumAlgorithm="SHA256")
            parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
        done = self.complete("summed", upload, parts)
        combined = hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).digest()
        self.assertEqual(done["ChecksumSHA256"], base64.b64encode(combined).decode() + "-2")
        head = self.s3.head_object(Bucket="photos", Key="summed", ChecksumMode="ENABLED")
        self.assertEqual((head["ChecksumSHA256"], head["ChecksumType"]), (done["ChecksumSHA256"], "COMPOSITE"))

    def completed(self, key, algorithm, digest, **sent):
        """Completes two parts, with the checksums that `sent` makes of them and their combination."""
        pieces = [os.urandom(5 * MIB), b"end"]
        upload = self.begin(key, ChecksumAlgorithm=algorithm)
        parts = []
        for number, piece in enumerate(pieces, 1):
            answer = self.s3.upload_part(
                Bucket="photos", Key=key, UploadId=upload, PartNumber=number, Body=piece, ChecksumAlgorithm=algorithm)
            self.assertEqual(answer["Checksum" + algorithm], base64.b64encode(digest(piece)).decode())
            parts.append({"PartNumber": number, "ETag": answer["ETag"], "Checksum" + algorithm: answer["Checksum" + algorithm]})
        listed = self.s3.list_parts(Bucket="photos", Key=key, UploadId=upload)
        self.assertEqual([part["Checksum" + algorithm] for part in listed["Parts"]],
                         [part["Checksum" + algorithm] for part in parts])
        self.assertEqual(listed["ChecksumAlgorithm"], algorithm)
        return pieces, upload, parts, digest(b"".join(digest(piece) for piece in pieces))

    def test_a_composite_checksum_is_compared(self):
        for algorithm, digest in (("SHA256", lambda data: hashlib.sha256(data).digest()),
                                  ("SHA1", lambda data: hashlib.sha1(data).digest()),
                                  ("CRC32", lambda data: zlib.crc32(data).to_bytes(4, "big"))):
            with self.subTest(algorithm):
                key, name = "composite-" + algorithm.lower(), "Checksum" + algorithm
                pieces, upload, parts, combined = self.completed(key, algorithm, digest)
                text = base64.b64encode(combined).decode()
                wrong = base64.b64encode(bytes(len(combined))).decode()
                refused = lambda code, **more: self.refused(  # noqa: E731
                    code, 400, self.complete, **{"key": key, "upload": upload, "parts": parts, **more})
                message = refused("BadDigest", **{name: wrong})["Error"]["Message"]
                self.assertEqual(message, f"The {algorithm.lower()} you specified did not match the calculated checksum.")
                refused("BadDigest", **{name: text + "-3"})
                refused("InvalidRequest", **{name: "short"})
                refused("InvalidRequest", ChecksumType="FULL_OBJECT")
                refused("InvalidPart", parts=[{**parts[0], name: wrong}, parts[1]])
                other = "ChecksumCRC32C" if algorithm != "CRC32C" else "ChecksumCRC32"
                refused("InvalidRequest", parts=[
                    {"PartNumber": 1, "ETag": parts[0]["ETag"], other: base64.b64encode(bytes(4)).decode()}, parts[1]])
                refused("InvalidRequest", MpuObjectSize=5 * MIB)
                done = self.complete(key, upload, parts, ChecksumType="COMPOSITE", MpuObjectSize=5 * MIB + 3, **{name: text + "-2"})
                self.assertEqual((done[name], done["ChecksumType"]), (text + "-2", "COMPOSITE"))
                self.assertEqual(self.read(key), b"".join(pieces))

    def test_a_checksum_of_the_full_object_is_compared(self):
        def digest(data):
            value = 0xFFFFFFFFFFFFFFFF
            for byte in data:
                value = CRC64_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
            return (value ^ 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")

        data = os.urandom(1000) * 5250 + b"end"
        pieces = [data[:5 * MIB], data[5 * MIB:]]
        upload = self.begin("full", ChecksumAlgorithm="CRC64NVME")
        parts = []
        for number, piece in enumerate(pieces, 1):
            answer = self.s3.upload_part(
                Bucket="photos", Key="full", UploadId=upload, PartNumber=number, Body=piece,
                ChecksumCRC64NVME=base64.b64encode(digest(piece)).decode())
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        text = base64.b64encode(digest(data)).decode()
        wrong = base64.b64encode(bytes(8)).decode()
        self.refused("BadDigest", 400, self.complete, key="full", upload=upload, parts=parts, ChecksumCRC64NVME=wrong)
        answer = self.refused(
            "InvalidRequest", 400, self.complete, key="full", upload=upload, parts=parts, ChecksumType="COMPOSITE")
        self.assertIn("using the FULL_OBJECT checksum mode", answer["Error"]["Message"])
        done = self.complete("full", upload, parts, ChecksumType="FULL_OBJECT", ChecksumCRC64NVME=text)
        self.assertEqual((done["ChecksumCRC64NVME"], done["ChecksumType"]), (text, "FULL_OBJECT"))
        self.refused("NotImplemented", 501, self.begin, key="full", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")

    def test_acknowledged_parts_survive_kill_9(self):
        data = os.urandom(5 * MIB)
        upload = self.begin("killed")
        parts = [self.part("killed", upload, 1, data)]
        node = self.node
        node.kill()
        # The port is another one: the state is the same.
        node.start()
        type(self).s3 = s3_keys.client(node)
        listed = self.s3.list_parts(Bucket="photos", Key="killed", UploadId=upload)["Parts"]
        self.assertEqual([(part["PartNumber"], part["ETag"]) for part in listed], [(1, parts[0]["ETag"])])
        parts.append(self.part("killed", upload, 2, b"end"))
        self.complete("killed", upload, parts)
        self.assertEqual(self.read("killed"), data + b"end")


class Scopes(Case):
    def test_probe_23_of_the_control_plane_one_token_for_both(self):
        token, pair = s3_keys.make_token(self.node)
        account = s3_keys.call(self.node, "GET", "/accounts")[0]["id"]
        s3_keys.client(self.node, pair).put_object(Bucket="photos", Key="both", Body=b"x")
        sdk = cloudflare.Cloudflare(api_token=token, base_url=self.node.control + "/client/v4")
        self.assertEqual(sdk.user.tokens.verify().status, "active")
        made = sdk.r2.temporary_credentials.create(
            account_id=account, bucket="photos", parent_access_key_id=pair[0], permission="object-read-only", ttl_seconds=60)
        temporary = s3_keys.client(
            self.node, (made.access_key_id, made.secret_access_key), session_token=made.session_token)
        self.assertEqual(temporary.get_object(Bucket="photos", Key="both")["Body"].read(), b"x")

    def test_a_reader_only_reads(self):
        self.put("read")
        reader = s3_keys.client(self.node, s3_keys.make_token(self.node, "r2:read")[1])
        self.assertEqual(reader.get_object(Bucket="photos", Key="read")["Body"].read(), b"value")
        self.assertTrue(reader.list_buckets()["Buckets"])
        self.refused("AccessDenied", 403, reader.put_object, Bucket="photos", Key="read", Body=b"x")
        self.refused("AccessDenied", 403, reader.delete_object, Bucket="photos", Key="read")
        self.refused("AccessDenied", 403, reader.create_bucket, Bucket="more")

    def test_another_product_is_no_access(self):
        other = s3_keys.client(self.node, s3_keys.make_token(self.node, "kv:edit")[1])
        self.refused("AccessDenied", 403, other.get_object, Bucket="photos", Key="read")

    def test_a_key_of_one_bucket(self):
        self.s3.create_bucket(Bucket="second")
        _, pair = s3_keys.make_token(self.node, "r2:edit", "com.cloudflare.edge.r2.bucket.local_default_photos")
        one = s3_keys.client(self.node, pair)
        one.put_object(Bucket="photos", Key="one", Body=b"1")
        self.assertEqual(one.list_objects_v2(Bucket="photos", Prefix="one")["KeyCount"], 1)
        one.head_bucket(Bucket="photos")
        self.refused("AccessDenied", 403, one.put_object, Bucket="second", Key="one", Body=b"1")
        self.refused("AccessDenied", 403, one.list_buckets)
        self.refused("AccessDenied", 403, one.delete_bucket, Bucket="photos")
        self.refused("AccessDenied", 403, one.get_bucket_cors, Bucket="photos")
        self.refused(
            "AccessDenied", 403, one.copy_object, Bucket="photos", Key="c", CopySource={"Bucket": "second", "Key": "x"})

    def test_a_revoked_token_is_no_key(self):
        _, pair = s3_keys.make_token(self.node)
        gone = s3_keys.client(self.node, pair)
        gone.list_buckets()
        s3_keys.call(self.node, "DELETE", "/user/tokens/" + pair[0])
        self.refused("Unauthorized", 401, gone.list_buckets)

    def test_temporary_credentials(self):
        token, pair = s3_keys.make_token(self.node)

        def temporary(**settings):
            made = s3_keys.call(self.node, "POST", "/accounts/local/r2/temp-access-credentials", {
                "bucket": "photos", "parentAccessKeyId": pair[0], "ttlSeconds": 60, **settings}, token)
            return s3_keys.client(
                self.node, (made["accessKeyId"], made["secretAccessKey"]), session_token=made["sessionToken"])

        self.put("temporary/a")
        reader = temporary(permission="object-read-only")
        self.assertEqual(reader.get_object(Bucket="photos", Key="temporary/a")["Body"].read(), b"value")
        self.refused("AccessDenied", 403, reader.put_object, Bucket="photos", Key="temporary/a", Body=b"x")
        self.refused("AccessDenied", 403, reader.list_buckets)
        writer = temporary(permission="object-read-write", prefixes=["temporary/"])
        writer.put_object(Bucket="photos", Key="temporary/b", Body=b"x")
        self.refused("AccessDenied", 403, writer.put_object, Bucket="photos", Key="other", Body=b"x")
        self.refused("AccessDenied", 403, writer.list_objects_v2, Bucket="photos")
        self.assertEqual(writer.list_objects_v2(Bucket="photos", Prefix="temporary/")["KeyCount"], 2)
        removed = writer.delete_objects(Bucket="photos", Delete={"Objects": [{"Key": "other"}, {"Key": "temporary/b"}]})
        self.assertEqual(
            ([item["Key"] for item in removed["Deleted"]], [item["Code"] for item in removed["Errors"]]),
            (["temporary/b"], ["AccessDenied"]))
        # They end with their parent.
        s3_keys.call(self.node, "DELETE", "/user/tokens/" + pair[0])
        self.refused("Unauthorized", 401, writer.list_objects_v2, Bucket="photos", Prefix="temporary/")

    def test_key_pairs_survive_a_start(self):
        _, pair = s3_keys.make_token(self.node)
        self.node.kill()
        self.node.start()
        type(self).s3 = s3_keys.client(self.node)
        s3_keys.client(self.node, pair).list_buckets()

    def test_the_secret_is_nowhere_in_the_clear(self):
        token, (_, secret) = s3_keys.make_token(self.node)
        for name in ["control.sqlite", "control.sqlite-wal"]:
            path = os.path.join(self.node.state, name)
            if os.path.exists(path):
                with open(path, "rb") as file:
                    content = file.read()
                for forbidden in [token.encode(), secret.encode(), bytes.fromhex(secret)]:
                    self.assertNotIn(forbidden, content)


class Hosts(Case):
    def test_the_bucket_may_stand_in_the_host(self):
        port = self.node.s3.rsplit(":", 1)[1]
        s3 = s3_keys.client(self.node, style="virtual", endpoint=f"http://s3.localhost:{port}")
        with resolving_localhost():
            s3.put_object(Bucket="photos", Key="virtual/ä", Body=b"v")
            self.assertEqual(s3.get_object(Bucket="photos", Key="virtual/ä")["Body"].read(), b"v")
            self.assertEqual([item["Key"] for item in s3.list_objects_v2(Bucket="photos", Prefix="virtual/")["Contents"]],
                             ["virtual/ä"])
            url = s3.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "virtual/ä"})
            self.assertIn("//photos.s3.localhost", url)
        self.assertEqual(self.read("virtual/ä"), b"v")

    def test_a_configured_domain(self):
        with Node("run", product("HelloWorker"), "--s3", "127.0.0.1:0", "--s3-domain", "objects.test") as node:
            port = node.s3.rsplit(":", 1)[1]
            s3 = s3_keys.client(node, style="virtual", endpoint=f"http://objects.test:{port}")
            with resolving_localhost():
                s3.create_bucket(Bucket="mine")
                s3.put_object(Bucket="mine", Key="k", Body=b"v")
            self.assertEqual(s3_keys.client(node).get_object(Bucket="mine", Key="k")["Body"].read(), b"v")


class Secure(Case):
    options = ("--https",)

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--s3", "127.0.0.1:0", "--https"))
        cls.s3 = s3_keys.client(cls.node, verify=False)
        cls.s3.create_bucket(Bucket="photos")

    def test_its_certificate_is_verified(self):
        trusting = s3_keys.client(self.node, verify=os.path.join(self.node.state, "localhost.pem"))
        data = os.urandom(20 * MIB)
        trusting.upload_fileobj(io.BytesIO(data), "photos", "verified")
        self.assertEqual(trusting.get_object(Bucket="photos", Key="verified")["Body"].read(), data)
        with self.assertRaises(botocore.exceptions.SSLError):
            s3_keys.client(self.node).list_buckets()

    def test_probe_17_bodies_with_a_trailer(self):
        self.assertTrue(self.node.s3.startswith("https:"))
        sent = []
        self.s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request.headers))
        self.put("trailer", b"hello")
        self.assertIn("x-amz-trailer", {name.lower() for name in sent[0].keys()})
        got = self.s3.get_object(Bucket="photos", Key="trailer")
        self.assertEqual((got["Body"].read(), got.get("ContentEncoding")), (b"hello", None))
        head = self.s3.head_object(Bucket="photos", Key="trailer", ChecksumMode="ENABLED")
        self.assertEqual(head["ChecksumCRC32"], base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode())

    def test_probe_17_a_trailer_that_is_wrong(self):
        def flip(request, **_):
            request.body = io.BytesIO(swap(request.body.read()))

        self.s3.meta.events.register("before-send.s3.PutObject", flip, unique_id="flip")
        try:
            self.refused("BadDigest", 400, self.put, key="flipped", body=b"hello")
        finally:
            self.s3.meta.events.unregister("before-send.s3.PutObject", unique_id="flip")
        self.refused("404", 404, self.s3.head_object, Bucket="photos", Key="flipped")

    def test_a_body_of_unknown_length(self):
        class Stream(io.RawIOBase):
            def __init__(self, count):
                self.left = count

            def readable(self):
                return True

            def readinto(self, buffer):
                count = min(len(buffer), self.left)
                buffer[:count] = b"s" * count
                self.left -= count
                return count

        for count in [0, 10, 3 * MIB]:
            self.s3.put_object(Bucket="photos", Key="stream", Body=Stream(count))
            self.assertEqual(self.read("stream"), b"s" * count)


def swap(body):
    name, value = body.split(b"x-amz-checksum-crc32:")
    return name + b"x-amz-checksum-crc32:" + base64.b64encode(bytes(4)) + value[8:]


class resolving_localhost:
    """Every name means this machine, as long as this lasts."""

    def __enter__(self):
        import socket
        self.plain = socket.getaddrinfo
        socket.getaddrinfo = lambda host, *rest, **more: self.plain("127.0.0.1", *rest, **more)

    def __exit__(self, *_):
        import socket
        socket.getaddrinfo = self.plain


if __name__ == "__main__":
    unittest.main()
