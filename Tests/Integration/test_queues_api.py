"""Queues over the REST API (spec queues, sections 4 to 6)."""

import base64
import unittest

from harness import Node, product, wait_until
from rest import Rest


class QueuesAPI(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node(
            "run", product("StoreWorker"), "--kv", "KV", "--queue", "QUEUE=bound", "--service",
            "PLAIN=" + product("Notes"), "--no-log-requests"))
        cls.rest = Rest(cls.node)

    def make(self, name, settings=None):
        return self.rest.result("POST", "queues", {"queue_name": name, **({"settings": settings} if settings else {})})

    def pulled(self, name, **settings):
        queue = self.make(name)
        self.rest.result("POST", f"queues/{queue['queue_id']}/consumers", {"type": "http_pull", "settings": settings})
        return "queues/" + queue["queue_id"]

    def pull(self, path, **body):
        return self.rest.result("POST", path + "/messages/pull", body)["messages"]

    def backlog(self, path):
        return self.rest.result("GET", path + "/metrics")["backlog_count"]

    # MARK: Queues

    def test_probe_23_names_and_ids(self):
        made = self.make("named", {"delivery_delay": 3})
        self.assertRegex(made["queue_id"], "^[0-9a-f]{32}$")
        self.assertEqual(made["settings"], {
            "delivery_delay": 3, "delivery_paused": False, "message_retention_period": 345600})
        self.assertEqual((made["producers"], made["producers_total_count"]), ([], 0))
        self.assertEqual((made["consumers"], made["consumers_total_count"]), ([], 0))
        self.assertEqual(self.rest.result("GET", "queues/" + made["queue_id"]), made)
        self.assertEqual(self.rest.result("GET", "queues/" + made["queue_id"].upper()), made)
        taken = self.rest.ask("POST", "queues", {"queue_name": "named"})
        self.assertEqual((taken.status, taken.json()["errors"][0]["code"]), (409, 11009))
        self.assertEqual(taken.header("x-should-retry"), "false")
        self.assertEqual(self.rest.failure("POST", "queues", {"queue_name": "A_b"}), (400, 11003))
        self.assertEqual(self.rest.failure("GET", "queues/" + "0" * 32), (404, 11000))
        self.assertEqual(self.rest.failure("GET", "queues/named"), (404, 7003))
        self.assertEqual(self.rest.failure("POST", "queues", {}), (400, 10026))
        for settings in ({"delivery_delay": -1}, {"delivery_delay": 86401}, {"message_retention_period": 59}):
            self.assertEqual(self.rest.failure("POST", "queues", {"queue_name": "n", "settings": settings}), (400, 100128))
        deleted = self.rest.ask("DELETE", "queues/" + made["queue_id"])
        self.assertEqual(deleted.json(), {"success": True, "errors": [], "messages": []})
        self.assertEqual(self.rest.failure("DELETE", "queues/" + made["queue_id"]), (404, 11000))

    def test_lists_are_whole_unless_a_page_is_asked_for(self):
        for number in range(23):
            self.make(f"page-{number:02}")
        every = self.rest.ask("GET", "queues").json()
        names = [queue["queue_name"] for queue in every["result"]]
        self.assertEqual(every["result_info"]["total_count"], len(names))
        self.assertTrue({f"page-{number:02}" for number in range(23)} <= set(names))
        paged, page = [], 1
        while (answer := self.rest.ask("GET", f"queues?page={page}&per_page=10").json())["result"]:
            self.assertEqual(answer["result_info"]["count"], len(answer["result"]))
            paged += [queue["queue_name"] for queue in answer["result"]]
            page += 1
        self.assertEqual(paged, names)
        chosen = self.rest.result("GET", "queues?name=page-03&name=page-01&name=none")
        self.assertEqual([queue["queue_name"] for queue in chosen], ["page-01", "page-03"])

    def test_a_put_replaces_settings_and_a_patch_changes_some(self):
        path = "queues/" + self.make("changed", {"delivery_delay": 5, "message_retention_period": 60})["queue_id"]

        def change(method, body):
            return self.rest.result(method, path, body)["settings"]

        self.assertEqual(change("PATCH", {"settings": {"delivery_paused": True}}), {
            "delivery_delay": 5, "delivery_paused": True, "message_retention_period": 60})
        self.assertEqual(change("PATCH", {}), change("PUT", {}))
        self.assertEqual(change("PUT", {"settings": {"delivery_delay": 7}}), {
            "delivery_delay": 7, "delivery_paused": False, "message_retention_period": 345600})
        self.assertEqual(self.rest.failure("PATCH", path, {"settings": {"message_retention_period": 59}}), (400, 100128))
        self.assertEqual(self.rest.failure("PATCH", path, {"settings": {"delivery_paused": "yes"}}), (400, 10026))
        self.assertEqual(self.rest.failure("PATCH", path, "{"), (400, 6007))

    def test_a_queue_that_is_renamed_keeps_its_id_messages_and_dead_letters(self):
        dead = self.make("letters")
        path = self.pulled("old-name", max_retries=0)
        self.rest.result("PUT", f"{path}/consumers/{self.rest.result('GET', path)['consumers'][0]['consumer_id']}", {
            "type": "http_pull", "dead_letter_queue": "letters", "settings": {"max_retries": 0}})
        self.rest.result("POST", path + "/messages", {"body": "kept"})
        [leased] = self.pull(path)
        self.rest.result("POST", path + "/messages", {"body": "later"})
        renamed = self.rest.result("PUT", path, {"queue_name": "new-name"})
        self.assertEqual((renamed["queue_name"], "queues/" + renamed["queue_id"]), ("new-name", path))
        self.assertEqual(renamed["consumers"][0]["queue_name"], "new-name")
        moved = self.rest.result("PATCH", "queues/" + dead["queue_id"], {"queue_name": "moved"})
        self.assertEqual(moved["queue_name"], "moved")
        self.assertEqual(self.rest.result("GET", path)["consumers"][0]["dead_letter_queue"], "moved")
        # Another queue may have the old name; leases know theirs.
        self.make("old-name")
        settled = self.rest.result("POST", path + "/messages/ack", {"retries": [{"lease_id": leased["lease_id"]}]})
        self.assertEqual(settled["warnings"], {})
        self.assertEqual(self.backlog("queues/" + dead["queue_id"]), 1)
        self.assertEqual([message["body"] for message in self.pull(path)], ["later"])
        self.assertEqual(self.rest.failure("PATCH", path, {"queue_name": "old-name"}), (409, 11009))
        self.assertEqual(self.rest.failure("PATCH", path, {"queue_name": "Not_A_Name"}), (400, 11003))
        # A release calls its queues by name.
        [bound] = self.rest.result("GET", "queues?name=bound")
        self.assertEqual(bound["producers"], [{"type": "worker", "script": "store-worker"}])
        self.assertEqual(self.rest.failure("PATCH", "queues/" + bound["queue_id"], {"queue_name": "free"}), (400, 100128))

    # MARK: Consumers

    def test_probe_28_one_consumer_with_settings_of_its_kind(self):
        path = "queues/" + self.make("consumed")["queue_id"]
        made = self.rest.result("POST", path + "/consumers", {
            "type": "worker", "script_name": "store-worker", "dead_letter_queue": "consumed-dead",
            "settings": {"batch_size": 7, "max_wait_time_ms": 1500, "max_concurrency": 2, "retry_delay": 9}})
        self.assertRegex(made["consumer_id"], "^[0-9a-f]{32}$")
        self.assertEqual(
            [made[key] for key in ("type", "script_name", "script", "service", "environment", "dead_letter_queue")],
            ["worker"] + ["store-worker"] * 3 + ["production", "consumed-dead"])
        self.assertEqual(made["settings"], {
            "batch_size": 7, "max_retries": 3, "max_wait_time_ms": 1500, "max_concurrency": 2, "retry_delay": 9})
        self.assertEqual(self.rest.result("GET", path + "/consumers"), [made])
        self.assertEqual(self.rest.result("GET", f"{path}/consumers/{made['consumer_id']}"), made)
        self.assertEqual(self.rest.failure("POST", path + "/consumers", {"type": "http_pull"}), (400, 11004))
        self.assertEqual(self.rest.failure("GET", f"{path}/consumers/{'0' * 32}")[0], 404)
        changed = self.rest.result("PUT", f"{path}/consumers/{made['consumer_id']}", {
            "type": "http_pull", "settings": {"visibility_timeout_ms": 9000}})
        self.assertEqual((changed["consumer_id"], changed["type"]), (made["consumer_id"], "http_pull"))
        self.assertEqual(changed["settings"], {
            "batch_size": 5, "max_retries": 3, "visibility_timeout_ms": 9000, "retry_delay": 0})
        self.assertIsNone(changed["dead_letter_queue"])
        deleted = self.rest.ask("DELETE", f"{path}/consumers/{made['consumer_id']}")
        self.assertEqual(deleted.json(), {"success": True, "errors": [], "messages": []})
        self.assertEqual(self.rest.failure("DELETE", f"{path}/consumers/{made['consumer_id']}")[0], 404)
        self.assertEqual(self.rest.result("GET", path + "/consumers"), [])

    def test_consumers_that_could_not_consume_are_refused(self):
        path = "queues/" + self.make("refusing")["queue_id"] + "/consumers"
        for body, status, code in [
            ({"type": "worker", "script_name": "service-plain"}, 400, 11001),
            ({"type": "worker", "script_name": "nobody"}, 404, 10007),
            ({"type": "worker"}, 400, 10026), ({}, 400, 10026), ({"type": "carrier-pigeon"}, 400, 10026),
            ({"type": "http_pull", "dead_letter_queue": "refusing"}, 400, 100127),
            ({"type": "http_pull", "settings": {"batch_size": 101}}, 400, 100127),
            ({"type": "http_pull", "settings": {"max_retries": -1}}, 400, 100127),
            ({"type": "http_pull", "settings": {"visibility_timeout_ms": 43_200_001}}, 400, 100127),
            ({"type": "worker", "script_name": "store-worker", "settings": {"max_wait_time_ms": 60_001}}, 400, 100127),
            ({"type": "worker", "script_name": "store-worker", "settings": {"max_concurrency": 251}}, 400, 100127),
            ({"type": "http_pull", "dead_letter_queue": "No_Name"}, 400, 11003),
        ]:
            self.assertEqual(self.rest.failure("POST", path, body), (status, code), body)
        self.assertIn("queue handler is missing", self.rest.ask(
            "POST", path, {"type": "worker", "script_name": "service-plain"}).text)
        self.assertEqual(self.rest.result("GET", path), [])

    def test_probe_22_what_waited_is_delivered_to_a_worker_that_comes(self):
        path = "queues/" + self.make("waiting")["queue_id"]
        for number in range(10):
            self.rest.result("POST", path + "/messages", {"body": f"w{number}"})
        self.assertEqual(self.backlog(path), 10)
        self.rest.result("POST", path + "/consumers", {
            "type": "worker", "script_name": "store-worker", "settings": {"max_wait_time_ms": 0}})
        wait_until(lambda: self.backlog(path) == 0, what="delivery")
        self.assertEqual([self.node.get(f"/kv/seen/waiting/w{number}").text for number in range(10)], ["1"] * 10)

    def test_a_batch_on_its_way_is_settled_after_its_queue_was_renamed(self):
        path = "queues/" + self.make("moving")["queue_id"]
        self.rest.result("POST", path + "/consumers", {
            "type": "worker", "script_name": "store-worker", "settings": {"max_wait_time_ms": 0, "batch_size": 1}})
        # The worker takes a second for each.
        self.rest.result("POST", path + "/messages/batch", {"messages": [{"body": f"slow-{name}"} for name in "abc"]})
        self.rest.result("PATCH", path, {"queue_name": "moved-on"})
        # Another of the old name has a first message, too.
        other = "queues/" + self.make("moving")["queue_id"]
        self.rest.result("POST", other + "/messages", {"body": "stays"})
        wait_until(lambda: self.backlog(path) == 0, 30, "the end of all batches")
        self.assertEqual(self.backlog(other), 1)
        counts = [[self.node.get(f"/kv/seen/{queue}/slow-{name}").text for queue in ("moving", "moved-on")] for name in "abc"]
        # Each once, under the name that the queue had when its batch began.
        self.assertEqual([sorted(count for count in pair if count == "1") for pair in counts], [["1"]] * 3, counts)

    # MARK: Messages

    def test_probe_24_bodies_arrive_as_they_were_sent(self):
        path = self.pulled("bodies")
        # Members keep their order, numbers all their digits; spaces between tokens go.
        text = '{ "body" : {"b":1, "a" : [ 12345678901234567890.00, "x \\" y" ]} , "content_type":"json"}'
        self.rest.result("POST", path + "/messages", text)
        for body in ["text é€😀", "", 7, None, {"a": 1}]:
            self.rest.result("POST", path + "/messages", {"body": body})
        self.rest.result("POST", path + "/messages", {"body": "quoted", "content_type": "json"})
        messages = self.pull(path, batch_size=10)
        found = [(message["metadata"]["CF-Content-Type"], message["body"]) for message in messages]
        self.assertEqual(found, [
            ("json", base64.b64encode(body.encode()).decode()) if kind == "json" else ("text", body) for kind, body in [
                ("json", '{"b":1,"a":[12345678901234567890.00,"x \\" y"]}'), ("text", "text é€😀"), ("text", ""),
                ("json", "7"), ("json", "null"), ("json", '{"a":1}'), ("json", '"quoted"')]])
        self.assertEqual({message["attempts"] for message in messages}, {1})
        self.assertEqual({message["metadata"]["CF-sourceMessageSource"] for message in messages}, {"api"})
        for message in messages:
            self.assertRegex(message["id"], "^[0-9a-f]{32}$")
            self.assertGreater(message["timestamp_ms"], 1_500_000_000_000)
        for body, code in [
            ({"body": 1, "content_type": "text"}, 10026), ({"content_type": "text"}, 10026),
            ({"body": "x", "content_type": "v8"}, 10026), ({"body": "x", "delay_seconds": 86401}, 10202),
            ({"body": "x", "delay_seconds": 0.5}, 10026),
        ]:
            self.assertEqual(self.rest.failure("POST", path + "/messages", body), (400, code), body)

    def test_probes_5_and_6_sizes_and_counts(self):
        path = self.pulled("sizes")
        self.rest.result("POST", path + "/messages", {"body": "x" * 128_000})
        self.assertEqual(self.rest.failure("POST", path + "/messages", {"body": "x" * 128_001}), (413, 10204))
        # What is escaped counts as what it means.
        self.rest.result("POST", path + "/messages", '{"body":"' + "\\u0041" * 128_000 + '"}')
        batch = path + "/messages/batch"
        self.assertEqual(self.rest.failure("POST", batch, {"messages": [{"body": "x"}] * 101}), (413, 10206))
        self.assertEqual(self.rest.failure("POST", batch, {"messages": []}), (400, 10206))
        self.assertEqual(self.rest.failure("POST", batch, {"messages": [{"body": "x" * 100_000}] * 3}), (413, 10205))
        self.assertEqual(self.rest.failure("POST", batch, {"messages": [{"body": "x"}, {"body": "x" * 128_001}]}), (413, 10204))
        self.assertEqual(self.rest.failure("POST", batch, "x" * (3 << 20))[0], 413)
        self.assertEqual(self.backlog(path), 2)
        metrics = self.rest.result("POST", batch, {"messages": [{"body": "x"}] * 100})["metadata"]["metrics"]
        self.assertEqual((metrics["backlog_count"], metrics["backlog_bytes"]), (102, 256_100))

    def test_probe_18_delays_of_messages_batches_and_queues(self):
        path = self.pulled("delays")
        self.rest.result("PATCH", path, {"settings": {"delivery_delay": 3600}})
        self.rest.result("POST", path + "/messages", {"body": "queue's"})
        self.rest.result("POST", path + "/messages/batch", {
            "messages": [{"body": "own", "delay_seconds": 0}, {"body": "batch's"}], "delay_seconds": 1800})
        self.assertEqual([message["body"] for message in self.pull(path)], ["own"])
        self.assertEqual(self.backlog(path), 3)

    def test_probes_25_and_26_leases(self):
        path = self.pulled("leases")
        self.rest.result("POST", path + "/messages/batch", {"messages": [{"body": "a"}, {"body": "b"}]})
        [first] = self.pull(path, batch_size=1, visibility_timeout_ms=0)
        again = {}

        def comes_again():
            again.update({message["body"]: message for message in self.pull(path)})
            return "a" in again

        wait_until(comes_again, what="the message after its visibility timeout")
        self.assertEqual((again["a"]["id"], again["a"]["attempts"]), (first["id"], 2))
        self.assertNotEqual(again["a"]["lease_id"], first["lease_id"])
        settled = self.rest.result("POST", path + "/messages/ack", {
            "acks": [{"lease_id": first["lease_id"]}, {"lease_id": again["a"]["lease_id"]}, {"lease_id": "none"}],
            "retries": [{"lease_id": again["a"]["lease_id"]}]})
        self.assertEqual((settled["ackCount"], settled["retryCount"]), (1, 0))
        self.assertEqual(set(settled["warnings"]), {first["lease_id"], "none"})
        settled = self.rest.result("POST", path + "/messages/ack", {
            "retries": [{"lease_id": again["b"]["lease_id"], "delay_seconds": 3600}]})
        self.assertEqual((settled["ackCount"], settled["retryCount"], settled["warnings"]), (0, 1, {}))
        self.assertEqual((self.pull(path), self.backlog(path)), ([], 1))
        for body, code in [
            ({"acks": [{}]}, 10026), ({"acks": "x"}, 10026), ({"retries": [{"lease_id": "x", "delay_seconds": -1}]}, 10202)]:
            self.assertEqual(self.rest.failure("POST", path + "/messages/ack", body), (400, code))

    def test_pulls_that_nobody_can_make(self):
        path = "queues/" + self.make("unpulled")["queue_id"] + "/messages/pull"
        self.assertEqual(self.rest.failure("POST", path, {}), (400, 10026))
        path = self.pulled("pulled") + "/messages/pull"
        for body in ({"batch_size": 0}, {"batch_size": 101}, {"visibility_timeout_ms": 43_200_001}, {"batch_size": "1"}):
            self.assertEqual(self.rest.failure("POST", path, body), (400, 10026), body)
        self.assertEqual(self.rest.result("POST", path), {
            "message_backlog_count": 0, "messages": [],
            "metadata": {"metrics": {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}}})
        self.assertEqual(self.rest.failure("POST", f"queues/{'0' * 32}/messages/pull", {}), (404, 10104))
        self.assertEqual(self.rest.failure("POST", f"queues/{'0' * 32}/messages", {"body": "x"}), (404, 10104))

    def test_probe_21_a_paused_queue_takes_and_gives_nothing(self):
        path = self.pulled("paused")
        self.rest.result("PATCH", path, {"settings": {"delivery_paused": True}})
        self.rest.result("POST", path + "/messages", {"body": "x"})
        answer = self.rest.ask("POST", path + "/messages/pull", {})
        self.assertEqual((answer.status, answer.json()["errors"][0]["message"]), (409, "queue_delivery_paused"))
        self.rest.result("PATCH", path, {"settings": {"delivery_paused": False}})
        self.assertEqual([message["body"] for message in self.pull(path)], ["x"])

    def test_peeks_and_chosen_purges(self):
        path = self.pulled("peeked")
        self.rest.result("POST", path + "/messages/batch", {"messages": [{"body": name} for name in "abc"]})
        peeked = self.rest.result("POST", path + "/messages/peek", {"batch_size": 2})["messages"]
        self.assertEqual([(message["body"], message["attempts"]) for message in peeked], [("a", 0), ("b", 0)])
        self.assertNotIn("lease_id", peeked[0])
        gone = self.rest.result("POST", path + "/messages/purge", {"refs": [peeked[1]["ref"], "none"]})
        self.assertEqual((gone["deleted_count"], list(gone["warnings"])), (1, ["none"]))
        self.assertEqual([message["body"] for message in self.pull(path)], ["a", "c"])

    def test_probe_27_a_purge_leaves_nothing(self):
        path = self.pulled("purged")
        self.assertEqual(self.rest.result("GET", path + "/purge"), {"started_at": None, "completed": None})
        self.rest.result("POST", path + "/messages/batch", {"messages": [{"body": "x", "delay_seconds": 9}, {"body": "y"}]})
        [leased] = self.pull(path)
        self.assertEqual(self.rest.failure("POST", path + "/purge", {}), (400, 10026))
        self.assertEqual(self.rest.failure("POST", path + "/purge", {"delete_messages_permanently": False}), (400, 10026))
        self.assertEqual(self.backlog(path), 2)
        answer = self.rest.result("POST", path + "/purge", {"delete_messages_permanently": True})
        self.assertEqual((answer["queue_name"], answer["complete"]), ("purged", True))
        self.assertEqual(self.rest.result("GET", path + "/purge"), {"started_at": answer["started_at"], "completed": True})
        self.assertEqual(self.backlog(path), 0)
        settled = self.rest.result("POST", path + "/messages/ack", {"acks": [{"lease_id": leased["lease_id"]}]})
        self.assertEqual((settled["ackCount"], list(settled["warnings"])), (0, [leased["lease_id"]]))

    def test_tokens_and_the_audit_log(self):
        def token(level):
            made = self.rest.result("POST", "/user/tokens", {
                "name": level, "policies": [{
                    "effect": "allow", "resources": {"com.cloudflare.api.account.*": "*"},
                    "permission_groups": [{"id": f"queues:{level}"}]}]})
            return made["value"]

        path, reader, writer = self.pulled("audited"), token("read"), token("edit")
        self.assertEqual(self.rest.ask("GET", path, token=reader).status, 200)
        for method, place, body in [
            ("POST", path + "/messages", {"body": "x"}), ("POST", path + "/messages/pull", {}), ("DELETE", path, None)]:
            self.assertEqual(self.rest.failure(method, place, body, token=reader), (403, 10000))
        self.assertEqual(self.rest.ask("POST", path + "/messages", {"body": "x"}, token=writer).status, 200)
        self.assertEqual(self.rest.ask("POST", path + "/messages/pull", {}, token=writer).status, 200)
        actions = [entry["action"]["type"] for entry in self.rest.result("GET", "audit_logs?per_page=1000")
                   if path in entry["resource"]["id"]]
        self.assertIn("queues.messages.push", actions)
        # Consumers poll.
        self.assertNotIn("queues.messages.pull", actions)


class Durability(unittest.TestCase):
    def test_what_was_answered_survives_kill_9(self):
        with Node("run", product("StoreWorker"), "--kv", "KV", "--no-log-requests") as node:
            rest = Rest(node)
            path = "queues/" + rest.result("POST", "queues", {"queue_name": "first"})["queue_id"]
            rest.result("POST", path + "/consumers", {"type": "http_pull"})
            rest.result("POST", path + "/messages/batch", {"messages": [{"body": str(number)} for number in range(50)]})
            before = rest.result("PATCH", path, {"queue_name": "second", "settings": {"message_retention_period": 999}})
            node.kill()
            node.start()
            rest = Rest(node)
            self.assertEqual(rest.result("GET", path), before)
            self.assertEqual(rest.result("GET", "queues?name=first"), [])
            pulled = rest.result("POST", path + "/messages/pull", {"batch_size": 100})["messages"]
            self.assertEqual([message["body"] for message in pulled], [str(number) for number in range(50)])


if __name__ == "__main__":
    unittest.main()
