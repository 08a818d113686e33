"""KV through the official `cloudflare` SDK: the REST probes of spec kv, and probes 21 and 25 of spec control-plane."""

import json
import os
import time
import unittest

import cloudflare

from harness import Node, product


class KV(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("StoreWorker"), "--kv", "KV=bound"))
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            token = file.read().strip()
        cls.retries = []
        cls.client = cloudflare.Cloudflare(api_token=token, base_url=cls.node.control + "/client/v4")
        cls.account = next(iter(cls.client.accounts.list())).id
        cls.kv = cls.client.kv.namespaces

    def make(self, title=None):
        made = self.kv.create(account_id=self.account, title=title or self.id())
        self.addCleanup(self.remove, made.id)
        return made.id

    def remove(self, namespace):
        try:
            self.kv.delete(namespace, account_id=self.account)
        except cloudflare.NotFoundError:
            pass

    def ids(self, namespace):
        return {"account_id": self.account, "namespace_id": namespace}

    def refused(self, error, code, call, *arguments, **keywords):
        with self.assertRaises(error) as caught:
            call(*arguments, **keywords)
        self.assertEqual(caught.exception.errors[0].code, code, caught.exception)
        return caught.exception

    def test_probe_22_a_title_is_given_once(self):
        made = self.kv.create(account_id=self.account, title="probe 22")
        self.addCleanup(self.remove, made.id)
        self.assertRegex(made.id, "^[0-9a-f]{32}$")
        self.assertEqual((made.title, made.supports_url_encoding), ("probe 22", True))
        self.refused(cloudflare.BadRequestError, 10014, self.kv.create, account_id=self.account, title="probe 22")
        self.refused(cloudflare.BadRequestError, 10019, self.kv.create, account_id=self.account, title="")

    def test_probe_23_any_bytes_under_any_key(self):
        ids = self.ids(self.make())
        before = int(time.time())
        self.kv.values.update("a/b c", value=b"\x00\xff", metadata={"m": 1}, expiration_ttl=60, **ids)
        self.assertEqual(self.kv.values.get("a/b c", **ids).read(), b"\x00\xff")
        self.assertEqual(self.kv.metadata.get("a/b c", **ids), {"m": 1})
        [key] = self.kv.keys.list(ids["namespace_id"], account_id=self.account)
        self.assertEqual((key.name, key.metadata), ("a/b c", {"m": 1}))
        self.assertTrue(before + 60 <= key.expiration <= int(time.time()) + 60)
        answer = self.kv.values.with_raw_response.get("a/b c", **ids)
        self.assertEqual((answer.headers["content-type"], int(answer.headers["expiration"])),
                         ("application/octet-stream", key.expiration))

    def test_probe_24_what_is_not_there(self):
        ids = self.ids(self.make())
        self.refused(cloudflare.NotFoundError, 10009, self.kv.values.get, "missing", **ids)
        self.refused(cloudflare.NotFoundError, 10009, self.kv.metadata.get, "missing", **ids)
        unknown = self.ids("0" * 32)
        self.refused(cloudflare.NotFoundError, 10013, self.kv.values.get, "missing", **unknown)
        self.refused(cloudflare.NotFoundError, 10013, self.kv.get, "0" * 32, account_id=self.account)
        self.refused(cloudflare.NotFoundError, 7003, self.kv.get, "nope", account_id=self.account)

    def test_probe_25_keys_come_in_pages(self):
        namespace = self.make()
        names = [f"key-{number:02}" for number in range(25)]
        self.kv.bulk_update(namespace, account_id=self.account, body=[{"key": name, "value": "v"} for name in names])
        pages = list(self.kv.keys.list(namespace, account_id=self.account, limit=10).iter_pages())
        self.assertEqual([len(page.result) for page in pages], [10, 10, 5])
        listed = self.kv.keys.list(namespace, account_id=self.account, limit=10)
        self.assertEqual([key.name for key in listed], names)
        prefixed = self.kv.keys.list(namespace, account_id=self.account, prefix="key-1")
        self.assertEqual([key.name for key in prefixed], names[10:20])

    def test_probe_26_many_at_once(self):
        namespace = self.make()
        outcome = self.kv.bulk_update(namespace, account_id=self.account, body=[
            {"key": "x", "value": "plain"}, {"key": "b", "value": "AP8=", "base64": True, "metadata": {"n": [1]}},
            {"key": "late", "value": "v", "expiration_ttl": 59}])
        self.assertEqual((outcome.successful_key_count, outcome.unsuccessful_keys), (2, ["late"]))
        self.assertEqual(self.kv.values.get("b", **self.ids(namespace)).read(), b"\x00\xff")
        found = self.kv.bulk_get(namespace, account_id=self.account, keys=["x", "nope"])
        self.assertEqual(found.values, {"x": "plain", "nope": None})
        found = self.kv.bulk_get(namespace, account_id=self.account, keys=["b", "x", "nope"], with_metadata=True)
        self.assertEqual(found.values["b"].metadata, {"n": [1]})
        self.assertEqual((found.values["x"].value, found.values["nope"]), ("plain", None))
        gone = self.kv.bulk_delete(namespace, account_id=self.account, body=["x", "never"])
        self.assertEqual((gone.successful_key_count, gone.unsuccessful_keys), (2, []))
        self.refused(cloudflare.NotFoundError, 10009, self.kv.values.get, "x", **self.ids(namespace))

    def test_probe_27_namespaces_come_in_pages(self):
        made = {self.make(f"page {number}") for number in range(7)}
        pages = []
        for page in self.kv.list(account_id=self.account, per_page=5).iter_pages():
            pages.append(page)
            self.assertLess(len(pages), 20)
        found = [namespace.id for page in pages for namespace in page.result]
        self.assertEqual((len(found), made - set(found)), (len(set(found)), set()))
        # Past the end there is an empty page, which is where clients stop.
        answer = self.kv.with_raw_response.list(account_id=self.account, per_page=5, page=100)
        self.assertEqual(json.loads(answer.text())["result"], [])

    def test_probe_21_of_the_control_plane_45_namespaces(self):
        made = {self.make(f"many {number:02}") for number in range(45)}
        titles = [namespace.title for namespace in self.kv.list(account_id=self.account, order="title", direction="desc")
                  if namespace.id in made]
        self.assertEqual(titles, [f"many {number:02}" for number in reversed(range(45))])

    def test_probe_25_of_the_control_plane_a_duplicate_is_asked_for_once(self):
        self.make("once")
        before = self.node.status()["requests"]
        self.refused(cloudflare.BadRequestError, 10014, self.kv.create, account_id=self.account, title="once")
        # The SDK would ask twice more, after pauses, if it took that for a passing trouble.
        self.assertEqual(self.node.status()["requests"] - before, 2)

    def test_probe_28_deleting_what_is_not_there(self):
        self.kv.values.delete("missing", **self.ids(self.make()))

    def test_probes_5_and_8_limits(self):
        ids = self.ids(self.make())
        for name in ["a" * 512, "€" * 170 + "aa"]:
            self.kv.values.update(name, value=b"v", **ids)
            self.assertEqual(self.kv.values.get(name, **ids).read(), b"v")
        for name in ["a" * 513, "€" * 171]:
            error = self.refused(cloudflare.APIStatusError, 10021, self.kv.values.update, name, value=b"v", **ids)
            self.assertEqual(error.status_code, 414)
            self.assertIn("UTF-8 encoded length of 513 exceeds key length limit of 512.", error.errors[0].message)
        largest = os.urandom(1 << 20) * 25
        self.kv.values.update("large", value=largest, **ids)
        self.assertEqual(self.kv.values.get("large", **ids).read(), largest)
        error = self.refused(cloudflare.APIStatusError, 10021, self.kv.values.update, "large", value=largest + b"x", **ids)
        self.assertEqual(error.status_code, 413)
        self.assertIn("Value length of 26214401 exceeds limit of 26214400.", error.errors[0].message)
        self.assertEqual(self.kv.values.get("large", **ids).read(), largest)

    def test_a_namespace_is_renamed_and_deleted(self):
        namespace = self.make("old")
        self.kv.values.update("k", value=b"v", **self.ids(namespace))
        self.assertEqual(self.kv.update(namespace, account_id=self.account, title="new").title, "new")
        self.assertEqual(self.kv.get(namespace, account_id=self.account).title, "new")
        self.assertEqual(self.kv.values.get("k", **self.ids(namespace)).read(), b"v")
        self.kv.delete(namespace, account_id=self.account)
        self.refused(cloudflare.NotFoundError, 10013, self.kv.values.get, "k", **self.ids(namespace))

    def test_a_worker_sees_what_the_api_stores(self):
        [bound] = [namespace for namespace in self.kv.list(account_id=self.account) if namespace.title == "bound"]
        self.kv.values.update("shared", value=b"from outside", **self.ids(bound.id))
        self.assertEqual(self.node.get("/kv/shared").text, "from outside")
        self.assertEqual(self.node.request("PUT", "/kv/inner", body=b"from inside").status, 200)
        self.assertEqual(self.kv.values.get("inner", **self.ids(bound.id)).read(), b"from inside")


if __name__ == "__main__":
    unittest.main()
