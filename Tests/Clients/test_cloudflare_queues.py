"""Queues, zones and cache purges with nothing but the official `cloudflare` SDK (spec queues, section 9; control-plane, 11)."""

import base64
import os
import unittest

import cloudflare

from harness import Node, product, wait_until


class SDK(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node(
            "run", product("StoreWorker"), "--kv", "KV", "--worker", "shop.example.com=" + product("Notes"),
            "--no-log-requests"))
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            token = file.read().strip()
        cls.client = cloudflare.Cloudflare(api_token=token, base_url=cls.node.control + "/client/v4")
        [account] = cls.client.accounts.list()
        cls.account = {"account_id": account.id}

    def code(self, error, call, *arguments, **keywords):
        with self.assertRaises(error) as caught:
            call(*arguments, **self.account, **keywords)
        return caught.exception.errors[0].code

    def make(self, name, **settings):
        queue = self.client.queues.create(queue_name=name, **self.account)
        self.client.queues.consumers.create(queue.queue_id, type="http_pull", settings=settings, **self.account)
        return queue.queue_id

    def pull(self, queue, **body):
        return self.client.queues.messages.pull(queue, **self.account, **body).messages

    def backlog(self, queue):
        return self.client.queues.get_metrics(queue, **self.account).backlog_count

    def test_probe_23_names_and_ids(self):
        queues = self.client.queues
        made = queues.create(queue_name="named", **self.account)
        self.assertRegex(made.queue_id, "^[0-9a-f]{32}$")
        self.assertEqual(queues.get(made.queue_id, **self.account).queue_name, "named")
        self.assertEqual(self.code(cloudflare.ConflictError, queues.create, queue_name="named"), 11009)
        self.assertEqual(self.code(cloudflare.BadRequestError, queues.create, queue_name="A_b"), 11003)
        self.assertEqual(self.code(cloudflare.NotFoundError, queues.get, "0" * 32), 11000)
        changed = queues.update(made.queue_id, queue_name="renamed", settings={"delivery_delay": 4}, **self.account)
        self.assertEqual((changed.queue_id, changed.queue_name), (made.queue_id, "renamed"))
        changed = queues.edit(made.queue_id, settings={"delivery_paused": True}, **self.account)
        self.assertEqual((changed.settings.delivery_delay, changed.settings.delivery_paused), (4, True))
        self.assertIn("renamed", [queue.queue_name for queue in queues.list(**self.account)])
        self.assertTrue(queues.delete(made.queue_id, **self.account).success)
        self.assertEqual(self.code(cloudflare.NotFoundError, queues.delete, made.queue_id), 11000)

    def test_probe_24_create_push_pull_ack(self):
        queue = self.make("jobs")
        messages = self.client.queues.messages
        sent = messages.push(queue, body={"a": 1}, content_type="json", **self.account)
        self.assertEqual(sent.metadata.metrics.backlog_count, 1)
        [message] = self.pull(queue)
        self.assertEqual(base64.b64decode(message.body), b'{"a":1}')
        self.assertEqual((message.metadata["CF-Content-Type"], message.attempts), ("json", 1))
        settled = messages.ack(queue, acks=[{"lease_id": message.lease_id}], **self.account)
        self.assertEqual(settled.ack_count, 1)
        self.assertEqual(self.backlog(queue), 0)
        messages.push(queue, body="plain", content_type="text", **self.account)
        self.assertEqual([message.body for message in self.pull(queue)], ["plain"])

    def test_probe_25_a_message_comes_again_after_its_visibility_timeout(self):
        queue = self.make("again")
        self.client.queues.messages.push(queue, body="x", content_type="text", **self.account)
        [first] = self.pull(queue, visibility_timeout_ms=500)
        found = []
        wait_until(lambda: found.extend(self.pull(queue)) or found, what="the message")
        self.assertEqual((found[0].id, found[0].attempts), (first.id, 2))
        self.assertNotEqual(found[0].lease_id, first.lease_id)
        settled = self.client.queues.messages.ack(
            queue, acks=[{"lease_id": first.lease_id}, {"lease_id": found[0].lease_id}], **self.account)
        self.assertGreaterEqual(settled.ack_count, 1)
        self.assertEqual(self.backlog(queue), 0)

    def test_probe_26_retries_and_unknown_leases(self):
        queue = self.make("retried")
        self.client.queues.messages.push(queue, body="x", content_type="text", **self.account)
        [message] = self.pull(queue)
        settled = self.client.queues.messages.ack(
            queue, retries=[{"lease_id": message.lease_id, "delay_seconds": 3600}], acks=[{"lease_id": "nonsense"}],
            **self.account)
        self.assertEqual((settled.ack_count, settled.retry_count), (0, 1))
        self.assertIn("nonsense", settled.warnings)
        self.assertEqual(self.pull(queue), [])

    def test_probe_27_bulk_push_and_purge(self):
        queue = self.make("bulk")
        sent = self.client.queues.messages.bulk_push(
            queue, messages=[{"body": str(number), "content_type": "text"} for number in range(100)], **self.account)
        self.assertEqual(sent.metadata.metrics.backlog_count, 100)
        self.assertEqual(self.backlog(queue), 100)
        self.client.queues.purge.start(queue, delete_messages_permanently=True, **self.account)
        self.assertEqual(self.backlog(queue), 0)
        status = self.client.queues.purge.status(queue, **self.account)
        self.assertTrue(status.started_at and status.completed)

    def test_probe_28_one_consumer_and_no_queue_for_its_own_dead_letters(self):
        queue = self.make("consumed", batch_size=7)
        consumers = self.client.queues.consumers
        self.assertEqual(self.code(cloudflare.BadRequestError, consumers.create, queue, type="http_pull"), 11004)
        [consumer] = consumers.list(queue, **self.account)
        self.assertEqual((consumer.type, consumer.settings.batch_size), ("http_pull", 7))
        self.assertEqual(
            consumers.get(consumer.consumer_id, queue_id=queue, **self.account).consumer_id, consumer.consumer_id)
        self.code(
            cloudflare.BadRequestError, consumers.update, consumer.consumer_id, queue_id=queue, type="http_pull",
            dead_letter_queue="consumed")
        changed = consumers.update(
            consumer.consumer_id, queue_id=queue, type="worker", script_name="store-worker", dead_letter_queue="letters",
            settings={"batch_size": 3}, **self.account)
        self.assertEqual((changed.type, changed.settings.batch_size), ("worker", 3))
        self.assertTrue(consumers.delete(consumer.consumer_id, queue_id=queue, **self.account).success)
        self.assertEqual(
            self.code(cloudflare.BadRequestError, consumers.create, queue, type="worker", script_name="shopexamplecom"),
            11001)

    def test_zones_and_their_purges(self):
        [zone] = self.client.zones.list(name="example.com")
        self.assertEqual((zone.name, zone.status, zone.account.id), ("example.com", "active", self.account["account_id"]))
        self.assertEqual(self.client.zones.get(zone_id=zone.id).name, "example.com")
        self.assertEqual(list(self.client.zones.list(name="nowhere.example")), [])
        self.assertEqual(self.client.cache.purge(zone_id=zone.id, purge_everything=True).id, zone.id)
        self.assertEqual(self.client.cache.purge(zone_id=zone.id, files=["http://shop.example.com/a.css"]).id, zone.id)
        with self.assertRaises(cloudflare.BadRequestError) as caught:
            self.client.cache.purge(zone_id=zone.id, files=["no URL"])
        self.assertEqual(caught.exception.errors[0].code, 1016)
        with self.assertRaises(cloudflare.PermissionDeniedError):
            self.client.cache.purge(zone_id="0" * 32, purge_everything=True)
