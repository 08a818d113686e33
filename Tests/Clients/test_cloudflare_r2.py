"""R2 through the official `cloudflare` SDK: probe 27 of spec r2, and what else the SDK knows of section 5."""

import os
import unittest

import cloudflare

import s3_keys
from harness import Node, product, wait_until


class R2(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node(
            "run", product("StoreWorker"), "--kv", "KV", "--r2", "R2=bound", "--consume", "changes", "--s3", "127.0.0.1:0"))
        cls.client = cloudflare.Cloudflare(api_token=cls.node.operator_token(), base_url=cls.node.control + "/client/v4")
        cls.account = {"account_id": next(iter(cls.client.accounts.list())).id}
        cls.buckets = cls.client.r2.buckets

    def refused(self, error, code, call, *arguments, **keywords):
        with self.assertRaises(error) as caught:
            call(*arguments, **keywords)
        self.assertEqual(caught.exception.errors[0].code, code, caught.exception)
        return caught.exception.errors[0].message

    def make(self, name, **options):
        made = self.buckets.create(name=name, **options, **self.account)
        self.addCleanup(self.empty, name, options.get("jurisdiction"))
        return made

    def empty(self, name, jurisdiction):
        for key in [item.key for item in self.buckets.objects.list(name, **self.account)]:
            self.buckets.objects.delete(key, bucket_name=name, **self.account)
        self.buckets.delete(name, **self.account)

    def test_probe_27_buckets_and_objects(self):
        made = self.make("probe-27", location_hint="weur")
        self.assertEqual((made.name, made.location, made.storage_class, made.jurisdiction),
                         ("probe-27", "weur", "Standard", "default"))
        self.assertRegex(made.creation_date, r"^\d{4}-\d\d-\d\dT")
        self.assertEqual(self.buckets.get("probe-27", **self.account), made)
        self.assertIn("probe-27", [bucket.name for bucket in self.buckets.list(**self.account).buckets])
        self.refused(cloudflare.ConflictError, 10004, self.buckets.create, name="probe-27", **self.account)
        self.refused(cloudflare.BadRequestError, 10005, self.buckets.create, name="No", **self.account)
        self.refused(cloudflare.NotFoundError, 10006, self.buckets.get, "missing", **self.account)
        stored = self.buckets.objects.upload("a/b", b"x", bucket_name="probe-27", **self.account)
        self.assertEqual((stored.key, stored.size, stored.etag), ("a/b", "1", "9dd4e461268c8034f5c8564e155c67a6"))
        self.refused(cloudflare.ConflictError, 10008, self.buckets.delete, "probe-27", **self.account)
        self.assertEqual(self.buckets.objects.get("a/b", bucket_name="probe-27", **self.account).read(), b"x")
        [listed] = self.buckets.objects.list("probe-27", **self.account)
        self.assertEqual((listed.key, listed.size, listed.etag, listed.http_metadata.content_type),
                         ("a/b", 1, stored.etag, "application/octet-stream"))
        self.assertEqual(self.buckets.objects.delete("a/b", bucket_name="probe-27", **self.account).key, "a/b")
        self.refused(cloudflare.NotFoundError, 10007, self.buckets.objects.get, "a/b", bucket_name="probe-27", **self.account)

    def test_keys_may_be_anything(self):
        self.make("any-keys")
        keys = ["dir/ü +?#%.txt", "a//b", "trailing/", "%2F", " ", "€" * 341]
        for key in keys:
            self.buckets.objects.upload(key, key.encode(), bucket_name="any-keys", **self.account)
        listed = [item.key for item in self.buckets.objects.list("any-keys", per_page=2, **self.account)]
        self.assertEqual(listed, sorted(keys, key=str.encode))
        for key in keys:
            self.assertEqual(
                self.buckets.objects.get(key, bucket_name="any-keys", **self.account).read(), key.encode())

    def test_a_large_object_passes_through(self):
        self.make("large")
        content = os.urandom(1 << 20) * 64
        self.assertEqual(
            self.buckets.objects.upload("o", content, bucket_name="large", **self.account).size, str(len(content)))
        self.assertTrue(self.buckets.objects.get("o", bucket_name="large", **self.account).read() == content)

    def test_buckets_are_listed_in_pages(self):
        for number in range(5):
            self.make(f"paged-{number}")
        found, cursor = [], None
        while cursor != "":
            raw = self.client.get(
                f"/accounts/{self.account['account_id']}/r2/buckets", cast_to=object,
                options={"params": {"name_contains": "paged-", "per_page": 2, **({"cursor": cursor} if cursor else {})}})
            found += [bucket["name"] for bucket in raw["result"]["buckets"]]
            cursor = raw["result_info"]["cursor"]
        self.assertEqual(found, [f"paged-{number}" for number in range(5)])
        down = self.buckets.list(name_contains="paged-", direction="desc", start_after="paged-3", **self.account)
        self.assertEqual([bucket.name for bucket in down.buckets], ["paged-2", "paged-1", "paged-0"])

    def test_a_jurisdiction_is_a_place_of_its_own(self):
        self.assertEqual(
            self.buckets.create(name="abroad", cf_r2_jurisdiction="eu", **self.account).jurisdiction, "eu")
        self.refused(cloudflare.NotFoundError, 10006, self.buckets.get, "abroad", **self.account)
        self.assertNotIn("abroad", [bucket.name for bucket in self.buckets.list(**self.account).buckets])
        listed = self.buckets.list(cf_r2_jurisdiction="eu", **self.account).buckets
        self.assertEqual([bucket.name for bucket in listed], ["abroad"])
        self.buckets.delete("abroad", cf_r2_jurisdiction="eu", **self.account)

    def test_a_storage_class_is_what_new_objects_have(self):
        self.make("classes", storage_class="InfrequentAccess")
        stored = self.buckets.objects.upload("rare", b"1", bucket_name="classes", **self.account)
        self.assertEqual(stored.storage_class, "InfrequentAccess")
        changed = self.buckets.edit("classes", storage_class="Standard", **self.account)
        self.assertEqual(changed.storage_class, "Standard")
        stored = self.buckets.objects.upload("often", b"2", bucket_name="classes", **self.account)
        self.assertEqual(stored.storage_class, "Standard")

    def test_metrics_tell_the_classes_apart(self):
        self.make("metrics")
        bucket = {"bucket_name": "metrics", **self.account}
        before = self.buckets.metrics.list(**self.account)
        self.buckets.objects.upload("a", b"12345", **bucket)
        self.buckets.objects.upload("b", b"123", cf_r2_storage_class="InfrequentAccess", **bucket)
        after = self.buckets.metrics.list(**self.account)
        for part, size in [("standard", 5), ("infrequent_access", 3)]:
            old, new = getattr(before, part).published, getattr(after, part).published
            self.assertEqual((new.objects - old.objects, new.payload_size - old.payload_size), (1, size))

    def test_a_bucket_is_public_under_domains(self):
        self.make("public")
        bucket = {"bucket_name": "public", **self.account}
        self.buckets.objects.upload("a/b", b"x", **bucket)
        domains = self.buckets.domains
        managed = domains.managed.list(**bucket)
        self.assertEqual((managed.enabled, managed.domain), (False, f"pub-{managed.bucket_id}.r2.localhost"))
        self.assertEqual(domains.managed.update(enabled=True, **bucket).domain, managed.domain)
        self.assertEqual(self.node.get("/a/b", host=managed.domain).body, b"x")
        self.assertEqual(domains.managed.update(enabled=False, **bucket).enabled, False)
        # Without it, the host is as any other that the worker for all hosts has.
        self.assertNotEqual(self.node.get("/a/b", host=managed.domain).body, b"x")
        made = domains.custom.create(domain="a.example.com", enabled=True, zone_id="0" * 32, min_tls="1.2", **bucket)
        self.assertEqual((made.domain, made.enabled, made.min_tls), ("a.example.com", True, "1.2"))
        [listed] = domains.custom.list(**bucket).domains
        shown = domains.custom.get("a.example.com", **bucket)
        self.assertEqual((shown.domain, shown.status.ownership, shown.zone_name), (listed.domain, "active", "example.com"))
        self.refused(cloudflare.ConflictError, 10073, self.other_bucket().create, domain="a.example.com", enabled=True,
                     zone_id="0" * 32, bucket_name="public-too", **self.account)
        self.assertEqual(domains.custom.update("a.example.com", enabled=False, **bucket).enabled, False)
        self.assertEqual(domains.custom.get("a.example.com", **bucket).status.ownership, "deactivated")
        self.assertEqual(domains.custom.delete("a.example.com", **bucket).domain, "a.example.com")
        with self.assertRaises(cloudflare.NotFoundError):
            domains.custom.get("a.example.com", **bucket)

    def other_bucket(self):
        self.make("public-too")
        return self.buckets.domains.custom

    def test_probe_23_of_the_control_plane_one_token_for_rest_and_s3(self):
        self.make("probe-23")
        token, pair = s3_keys.make_token(self.node)
        s3 = s3_keys.client(self.node, pair)
        s3.put_object(Bucket="probe-23", Key="by/boto3", Body=b"bytes")
        mine = cloudflare.Cloudflare(api_token=token, base_url=self.node.control + "/client/v4")
        found = mine.r2.buckets.objects.get("by/boto3", bucket_name="probe-23", **self.account)
        self.assertEqual(found.read(), b"bytes")
        mine.r2.buckets.objects.upload("by/sdk", b"others", bucket_name="probe-23", **self.account)
        self.assertEqual(s3.get_object(Bucket="probe-23", Key="by/sdk")["Body"].read(), b"others")

    def test_cors_lifecycle_and_locks(self):
        self.make("rules")
        bucket = {"bucket_name": "rules", **self.account}
        self.refused(cloudflare.NotFoundError, 10059, self.buckets.cors.get, **bucket)
        rules = [{"allowed": {"methods": ["GET"], "origins": ["https://a.test"], "headers": ["x-a"]}, "id": "one",
                  "expose_headers": ["etag"], "max_age_seconds": 60}]
        self.buckets.cors.update(rules=rules, **bucket)
        [rule] = self.buckets.cors.get(**bucket).rules
        self.assertEqual((rule.allowed.origins, rule.expose_headers, rule.max_age_seconds), (["https://a.test"], ["etag"], 60))
        self.buckets.cors.delete(**bucket)
        self.refused(cloudflare.NotFoundError, 10059, self.buckets.cors.get, **bucket)
        [rule] = self.buckets.lifecycle.get(**bucket).rules
        self.assertEqual(rule.abort_multipart_uploads_transition.condition.max_age, 604800)
        self.buckets.lifecycle.update(**bucket, rules=[{
            "id": "old", "enabled": True, "conditions": {"prefix": "tmp/"},
            "delete_objects_transition": {"condition": {"type": "Age", "max_age": 86400}}}])
        [rule] = self.buckets.lifecycle.get(**bucket).rules
        self.assertEqual((rule.id, rule.delete_objects_transition.condition.max_age), ("old", 86400))
        self.buckets.objects.upload("kept", b"1", **bucket)
        self.buckets.locks.update(**bucket, rules=[{"id": "all", "enabled": True, "condition": {"type": "Indefinite"}}])
        [rule] = self.buckets.locks.get(**bucket).rules
        self.assertEqual(rule.condition.type, "Indefinite")
        self.refused(cloudflare.PermissionDeniedError, 10069, self.buckets.objects.delete, "kept", **bucket)
        self.buckets.locks.update(**bucket, rules=[])

    def test_probe_28_changes_go_to_a_queue(self):
        events = self.buckets.event_notifications
        bucket = {"bucket_name": "bound", **self.account}
        events.update("changes", **bucket, rules=[{"actions": ["PutObject", "DeleteObject"], "prefix": "img/"}])
        found = events.get("changes", **bucket)
        self.assertRegex(found.queue_id, "^[0-9a-f]{32}$")
        self.assertEqual((found.queue_name, found.rules[0].prefix), ("changes", "img/"))
        # The queue's id is as good as its name.
        self.assertEqual(events.get(found.queue_id, **bucket), found)
        self.assertEqual(events.list(**bucket).queues[0].queue_id, found.queue_id)
        self.buckets.objects.upload("img/1", b"value", **bucket)
        self.buckets.objects.upload("x", b"value", **bucket)
        self.buckets.objects.delete("img/1", **bucket)
        names = lambda: self.node.get("/kv-list?prefix=seen/changes/").json()["names"]
        wait_until(lambda: len(names()) == 2, 30, "two messages")
        events.delete(found.queue_id, **bucket)
        self.assertEqual(events.list(**bucket).queues, [])


if __name__ == "__main__":
    unittest.main()
