"""Durable objects, from a client's side (spec: durable-objects, acceptance probes)."""

import concurrent.futures
import os
import signal
import struct
import time
import unittest
import urllib.parse

from harness import wait_until
from objects import Failed, Objects
from raw_websocket import TEXT, RawWebSocket


def quoted(text):
    return urllib.parse.quote(text)


class DurableObjects(unittest.TestCase):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.objects = cls.enterClassContext(Objects())

    def probe(self, name, path, **keywords):
        return self.objects.probe(name, path, **keywords)

    def failure(self, call, *arguments, **keywords):
        with self.assertRaises(Failed) as caught:
            call(*arguments, **keywords)
        return caught.exception.failure

    # MARK: Ids

    def test_probe_1_ids_of_names_are_the_same_and_others_never(self):
        first, second = self.objects.json("/ids/PROBES/a"), self.objects.json("/ids/PROBES/a")
        self.assertRegex(first["first"], "^[0-9a-f]{64}$")
        self.assertEqual({first["first"], first["second"]}, {second["first"]})
        self.assertEqual(len({first["unique"], first["unique2"], second["unique"]}), 3)
        self.assertEqual(first["uniqueName"], "nil")
        self.assertEqual(self.probe("a", "id"), first["first"])
        self.assertEqual(self.probe("a", "name"), "a")
        # A name that was seen once stays visible.
        self.assertEqual(self.objects.get(f"/id/PROBES/{first['first']}/name"), "a")

    def test_probe_2_ids_of_others_are_refused(self):
        self.assertEqual(
            self.failure(self.objects.get, "/parse/PROBES/zz")["message"], "Invalid Durable Object ID: must be 64 hex digits")
        identity = self.objects.json("/ids/ACCOUNTS/a")["first"]
        self.assertEqual(
            self.failure(self.objects.get, f"/parse/PROBES/{identity}")["message"],
            "Durable Object ID is not valid for this namespace.")
        own = self.objects.json("/ids/PROBES/a")["first"]
        self.assertEqual(self.objects.get(f"/parse/PROBES/{own.upper()}"), own)

    def test_probe_3_jurisdictions_have_ids_of_their_own(self):
        ids = self.objects.json("/ids/PROBES/a")
        self.assertNotEqual(ids["europe"], ids["first"])
        self.assertEqual(
            ids["plainInEurope"], "get called on jurisdictional subnamespace with an ID from a different jurisdiction")
        self.assertEqual(ids["europeInAll"], "nothing")
        self.assertEqual(self.objects.get(f"/id/PROBES/{ids['europe']}/id"), ids["europe"])

    # MARK: Calls

    def test_probe_4_calls_of_one_stub_come_in_order(self):
        self.assertEqual(self.objects.json("/order/PROBES/order/100"), list(range(100)))

    def test_probe_5_a_counter_loses_nothing(self):
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            values = list(pool.map(lambda _: int(self.probe("gate", "increment?sync")), range(200)))
        self.assertEqual(sorted(values), list(range(1, 201)))
        self.assertEqual(self.probe("gate", "value"), "200")

    def test_probe_25_a_broken_stub_stays_broken(self):
        answer = self.objects.json("/broken/PROBES/broken")
        self.assertEqual([f["message"] for f in answer["failures"]], ["reason 0"] * 3)
        self.assertEqual({f["reset"] for f in answer["failures"]}, {True})
        self.assertEqual(answer["works"], 1)

    def test_errors_keep_their_names_and_reset_nothing(self):
        before = self.probe("errors", "constructed")
        failure = self.failure(self.probe, "errors", "throw")
        self.assertEqual((failure["name"], failure["message"], failure["remote"]), ("Oops", "as asked", True))
        self.assertEqual(self.probe("errors", "constructed"), before)

    def test_a_constructor_that_throws_is_tried_again(self):
        self.failure(self.probe, "constructor", "throw-in-constructor")
        self.assertEqual(self.failure(self.probe, "constructor", "constructed")["message"], "the constructor failed")

    # MARK: Gates

    def test_probe_6_no_byte_leaves_before_the_disk_has_it(self):
        self.probe("slow-disk", "delay?ms=500")
        try:
            started = time.monotonic()
            self.assertEqual(self.probe("slow-disk", "put?v=1"), "put")
            self.assertGreaterEqual(time.monotonic() - started, 0.5)
        finally:
            self.probe("slow-disk", "delay?ms=0")
        # What is unconfirmed waits for nothing: its answer comes while the disk is busy for an hour.
        self.probe("unconfirmed-disk", "constructed")
        self.probe("unconfirmed-disk", "delay?ms=3600000")
        self.assertEqual(self.probe("unconfirmed-disk", "put?v=1&unconfirmed"), "put")
        os.kill(int(self.probe("unconfirmed-disk", "pid")), signal.SIGKILL)

    def test_probe_8_a_disk_that_fails_takes_the_answer_back(self):
        before = int(self.probe("failing-disk", "constructed"))
        failure = self.failure(self.probe, "failing-disk", "fail-sync")
        self.assertIn("could not be written", failure["message"])
        self.assertTrue(failure["reset"])
        wait_until(lambda: int(self.probe("failing-disk", "constructed")) == before + 1)

    def test_probe_9_a_section_that_throws_resets_and_a_transaction_does_not(self):
        before = int(self.probe("section", "constructed"))
        self.assertEqual(self.failure(self.probe, "section", "transaction")["message"], "in the transaction")
        self.assertEqual(self.probe("section", "transaction-value"), "0")
        self.assertEqual(int(self.probe("section", "constructed")), before)
        self.assertEqual(self.failure(self.probe, "section", "block?throw")["message"], "in the section")
        self.assertEqual(int(self.probe("section", "constructed")), before + 1)

    # MARK: Storage

    def test_probe_11_statements_and_what_is_forbidden(self):
        def sql(query, bind=None):
            return self.probe("sql", f"sql?q={quoted(query)}" + (f"&bind={bind}" if bind is not None else ""))

        sql("CREATE TABLE IF NOT EXISTS t (a)")
        self.assertIn("7", sql("INSERT INTO t VALUES (1); SELECT ?", 7))
        self.assertIn("1", sql("SELECT count(*) FROM t"))
        self.assertIn(
            "state.storage.transaction()",
            self.failure(self.probe, "sql", f"sql?q={quoted('BEGIN')}")["message"])
        self.assertIn(
            "not authorized", self.failure(self.probe, "sql", f"sql?q={quoted('CREATE TABLE _CF_x(a)')}")["message"])

    def test_probe_12_one_row_is_one_row(self):
        for query, message in (
            ("SELECT 1 WHERE 0", "Expected exactly one result from SQL query, but got no results."),
            ("SELECT 1 UNION ALL SELECT 2", "Expected exactly one result from SQL query, but got multiple results."),
        ):
            self.assertEqual(self.failure(self.probe, "one", f"one?q={quoted(query)}")["message"], message)

    def test_probe_13_what_is_too_large_is_not_stored(self):
        self.assertIn("too big", self.failure(self.probe, "large", "large?n=2000001")["message"])
        self.assertIn("128", self.failure(self.probe, "large", "many")["message"])

    def test_classes_with_keys_and_values_only(self):
        for path in ("sql", "kv"):
            message = self.failure(self.objects.plain, "a", path)["message"]
            self.assertTrue(message.startswith("This Durable Object is not backed by SQLite storage"), message)
        self.assertIn("131072", self.failure(self.objects.plain, "a", "large")["message"])
        self.assertIn("2048", self.failure(self.objects.plain, "a", "key")["message"])
        self.assertEqual(self.objects.plain("a", "put"), "1")
        self.assertIn("alarm() handler", self.failure(self.objects.plain, "a", "alarm")["message"])

    # MARK: Alarms

    def test_probe_14_an_alarm_fires_once(self):
        due = int(self.probe("alarm", "set-alarm?in=100"))
        wait_until(lambda: self.objects.json("/name/PROBES/alarm/alarms"))
        wait_until(lambda: self.probe("alarm", "alarm") == "nil")
        runs = self.objects.json("/name/PROBES/alarm/alarms")
        self.assertEqual(len(runs), 1)
        count, is_retry, scheduled, now, inside = runs[0].split()
        self.assertEqual((count, is_retry, int(scheduled), inside), ("0", "false", due, "nil"))
        self.assertGreaterEqual(int(now), due)

    def test_probe_15_an_alarm_that_fails_is_tried_again(self):
        due = int(self.probe("alarm-once", "set-alarm?in=1&plan=throw-once"))
        runs = []

        def has_run_twice():
            runs[:] = self.objects.json("/name/PROBES/alarm-once/alarms")
            return len(runs) == 2

        wait_until(has_run_twice, 60)
        first, second = (run.split() for run in runs)
        self.assertEqual((second[0], second[1], int(second[2])), ("1", "true", due))
        self.assertGreaterEqual(int(second[3]) - int(first[3]), 2000)
        wait_until(lambda: self.probe("alarm-once", "alarm") == "nil")

    def test_an_alarm_that_sets_itself_again_runs_again(self):
        self.probe("alarm-again", "set-alarm?in=1&plan=again")
        wait_until(lambda: len(self.objects.json("/name/PROBES/alarm-again/alarms")) == 2, 30)
        wait_until(lambda: self.probe("alarm-again", "alarm") == "nil")

    def test_an_alarm_that_is_abandoned_is_gone(self):
        self.probe("alarm-gone", "set-alarm?in=500&plan=abandon")

        def has_run():
            try:
                return self.objects.json("/name/PROBES/alarm-gone/alarms")
            except Failed as failed:
                # What the object is asked in that moment fails with it.
                self.assertEqual(failed.message, "no more")
                return False

        wait_until(has_run, 30)
        wait_until(lambda: self.probe("alarm-gone", "alarm") == "nil")

    def test_probe_17_an_alarm_of_a_failing_transaction_is_as_before(self):
        at = int(time.time() * 1000) + 500_000
        self.probe("alarm-transaction", f"set-alarm?at={at}")
        self.assertEqual(self.probe("alarm-transaction", "alarm-in-failing-transaction"), str(at))
        self.probe("alarm-transaction", "delete-alarm")
        self.assertEqual(self.probe("alarm-transaction", "alarm"), "nil")

    # MARK: WebSockets

    def socket(self, name, query=""):
        return RawWebSocket(
            self.objects.node.url + f"/name/PROBES/{name}/socket{query}", host="objects.localhost", protocol=None, timeout=60)

    def test_probe_18_limits_of_sockets(self):
        tags, tag, accepted, attachment, request, response, twice = self.objects.json("/name/PROBES/limits/limits")
        self.assertEqual(tags, "a Hibernatable WebSocket cannot have more than 10 tags")
        self.assertTrue(tag.endswith("is longer than the max tag length (256 characters)."))
        self.assertEqual(accepted, "nothing")
        self.assertTrue(attachment.startswith("A WebSocket 'attachment' cannot be larger than 16384 bytes."))
        self.assertEqual(request, "Request cannot be larger than 2048 bytes. A request of size 2049 was provided.")
        self.assertEqual(response, "Response cannot be larger than 2048 bytes. A response of size 2049 was provided.")
        self.assertEqual(twice, "Cannot call `acceptWebSocket()` if the WebSocket was already accepted via `accept()`")

    def test_sockets_of_an_object_have_tags_and_attachments(self):
        with self.socket("tags", "?tag=a&tag=b&attachment=first&hello=hi") as first:
            self.assertEqual(first.receive(), (TEXT, b"hi"))
            with self.socket("tags", "?tag=b") as second:
                self.assertEqual(self.objects.json("/name/PROBES/tags/sockets"), ["b:nil", "a,b:first"])
                self.assertEqual(self.objects.json("/name/PROBES/tags/sockets?tag=a"), ["a,b:first"])
                self.probe("tags", "broadcast?text=all&tag=b")
                self.assertEqual(first.receive(), (TEXT, b"all"))
                self.assertEqual(second.receive(), (TEXT, b"all"))
                second.send(TEXT, b"echo")
                self.assertEqual(second.receive(), (TEXT, b"echo"))

    def test_probe_22_a_message_that_is_too_large_ends_the_connection(self):
        with self.socket("too-large") as client:
            # Its length is enough: nobody waits for the rest.
            client.socket.sendall(bytes([0x82, 0xFF]) + struct.pack(">Q", 33_554_433) + bytes(4) + bytes(1024))
            self.assertEqual(client.close_code()[0], 1009)

    # MARK: Death

    def test_the_end_of_the_isolate_is_a_lost_connection(self):
        self.probe("death", "put?v=kept")
        failure = self.failure(self.probe, "death", "exit")
        self.assertEqual((failure["message"], failure["retryable"]), ("Network connection lost.", True))
        self.assertEqual(self.objects.calmly("/name/PROBES/death/get"), "kept")


class Patience(unittest.TestCase):
    seconds = 45

    def test_probe_10_a_section_that_takes_too_long_resets(self):
        with Objects() as objects:
            with self.assertRaises(Failed) as caught:
                objects.probe("patience", "block?ms=31000", timeout=90)
            failure = caught.exception.failure
            self.assertEqual(
                failure["message"],
                "A call to blockConcurrencyWhile() in a Durable Object waited for too long. The call was canceled and the Durable "
                "Object was reset.")
            self.assertTrue(failure["overloaded"])
            self.assertEqual(objects.probe("patience", "constructed"), "2")
