"""Rooms and inboxes over a real node: the websocket-service behind the gateway, with real sockets."""

import asyncio
import collections
import json
import os
import random
import signal
import time
import unittest
import uuid

from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus, WebSocketException

from rest import Rest
from realtime import BOUND, PROTOCOL, Account, Documents, Member, call, make_room, open_socket, platform


class Rooms(unittest.TestCase):
    """One platform for all tests; each makes people and rooms of its own."""

    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.project, node = platform()
        cls.node = node.start()
        cls.owner, cls.guest = Account(cls.node), Account(cls.node)

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.project.__exit__()

    def refused(self, path, token="", **keywords):
        with self.assertRaises(InvalidStatus) as caught:
            open_socket(self.node, path, token, **keywords)
        response = caught.exception.response
        return response.status_code, json.loads(response.body)["error"]["code"]

    # MARK: The door

    def test_who_may_enter(self):
        room = make_room(self.owner, access="none")
        path = f"/api/v1/realtime/rooms/{room}"
        socket = path + "/socket"
        self.assertEqual(self.refused(socket, "nonsense"), (401, "invalid_token"))
        self.assertEqual(self.refused(socket, protocols=[PROTOCOL]), (401, "unauthorized"))
        self.assertEqual(self.refused(socket, self.guest.access), (403, "forbidden"))
        self.assertEqual(
            self.refused(socket, protocols=["other", "bearer." + self.owner.access]), (400, "unknown_protocol"))
        missing = f"/api/v1/realtime/rooms/{uuid.uuid4()}"
        self.assertEqual(self.refused(missing + "/socket", self.owner.access), (404, "not_found"))
        self.assertEqual(self.owner.call("GET", missing).status, 404)
        self.assertEqual(self.owner.call("GET", "/api/v1/realtime/rooms/nothing").status, 404)
        self.assertEqual(self.owner.call("GET", socket).status, 426)
        self.assertEqual(self.guest.call("GET", path).status, 403)
        shown = self.owner.call("GET", path).json()["room"]
        self.assertEqual((shown["id"], shown["name"], shown["access"], shown["role"]), (room, "Plan", "none", "owner"))
        with Member(self.owner, room) as member:
            self.assertEqual(member.socket.subprotocol, PROTOCOL)
            self.assertEqual(member.joined["you"]["name"], self.owner.username)
            # Headers of the gateway's own say nothing when a client sends them.
            forged = open_socket(
                self.node, socket, self.owner.access, additional_headers={"x-edge-user-id": self.guest.id, "x-edge-user-name": "x"})
            with forged:
                forged.send(json.dumps({"type": "join", "client": "a-client-of-mine"}))
                joined = json.loads(forged.recv(timeout=BOUND))
                self.assertEqual((joined["you"]["user"], joined["you"]["name"]), (self.owner.id, self.owner.username))

    def test_what_a_room_is_made_of(self):
        for body, field in (
            ({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"name": "a\nb"}, "name"),
            ({"name": "x", "access": "owner"}, "access"), ({"name": "x", "access": "all"}, "access"),
        ):
            answer = self.owner.call("POST", "/api/v1/realtime/rooms", body)
            self.assertEqual((answer.status, list(answer.json()["error"]["fields"])), (422, [field]), body)
        self.assertEqual(call(self.node, "POST", "/api/v1/realtime/rooms", {"name": "x"}).status, 401)

    # MARK: The text

    def test_two_people_edit(self):
        room = make_room(self.owner)
        with Member(self.owner, room) as one, Member(self.guest, room) as two:
            self.assertEqual(one.operation(0, ["hello"])["revision"], 1)
            told = two.expect("operation")
            self.assertEqual((told["operation"], told["revision"], told["user"]), (["hello"], 1, self.owner.id))
            # Made at the same time as something else.
            two.operation(1, [5, " world"])
            one.operation(1, [5, "!"])
            self.assertEqual(one.first("operation")["operation"], [5, " world"])
            self.assertEqual(two.first("operation")["operation"], [11, "!"])
            with Member(self.guest, room) as three:
                self.assertEqual(three.joined["text"], "hello world!")
            # The same once more changes nothing.
            self.assertEqual(one.operation(1, [5, "!"], sequence=2)["revision"], 3)
            refusal = one.ask("operation", "error", sequence=9, revision=3, operation=[12])
            self.assertEqual((refusal["code"], refusal["sequence"]), ("out_of_sequence", 9))

    def test_who_comes_back_gets_what_was_missed(self):
        room = make_room(self.owner)
        with Member(self.owner, room) as one:
            one.operation(0, ["a"])
            with Member(self.guest, room) as two:
                two.operation(1, [1, "b"])
                client = two.client
            one.operation(2, [2, "c"])
            one.operation(3, [3, "d"])
            with Member(self.guest, room, client=client, revision=1) as two:
                self.assertEqual(two.joined["acknowledged"], 1)
                self.assertNotIn("text", two.joined)
                self.assertEqual(
                    two.joined["steps"], [{"revision": 2, "acknowledges": 1}, {"revision": 4, "operation": [2, "cd"]}])
                # The connection that the client has given up ends.
                with Member(self.guest, room, client=client, revision=4):
                    self.assertEqual(two.closed()[0], 4409)

    # MARK: People

    def test_presence_cursors_and_typing(self):
        room = make_room(self.owner)
        with Member(self.owner, room) as one:
            with Member(self.guest, room) as two:
                come = one.expect("presence", lambda message: message["count"] == 2)
                self.assertIn(self.guest.username, [member["name"] for member in come["present"]])
                one.operation(0, ["hello"])
                one.send("cursor", revision=1, anchor=1, head=3)
                self.assertEqual(
                    two.expect("cursors")["cursors"], [{"member": one.id, "anchor": 1, "head": 3}])
                two.send("typing", active=True)
                self.assertEqual(one.expect("typing")["people"], [{"user": self.guest.id, "name": self.guest.username}])
                two.send("presence", state="away")
                away = one.expect("presence")
                self.assertEqual([member["state"] for member in away["present"]], ["away"])
            self.assertEqual(one.expect("presence", lambda message: "left" in message)["count"], 1)

    def test_owners_decide(self):
        room = make_room(self.owner, access="viewer")
        with Member(self.owner, room) as owner:
            with Member(self.guest, room) as guest:
                self.assertEqual(guest.ask("chat", "error", id="message-1", text="hi")["code"], "forbidden")
                owner.send("grant", user=self.guest.id, role="editor")
                self.assertEqual(guest.expect("role")["role"], "editor")
                guest.operation(0, ["x"])
                owner.send("mute", user=self.guest.id, seconds=60)
                guest.expect("muted")
                self.assertEqual(guest.ask("chat", "error", id="message-1", text="hi")["code"], "muted")
                owner.send("kick", user=self.guest.id, seconds=60)
                self.assertEqual(guest.closed()[0], 4403)
            self.assertEqual(
                self.refused(f"/api/v1/realtime/rooms/{room}/socket", self.guest.access), (403, "kicked"))

    # MARK: The conversation

    def test_chat_is_kept_in_pages(self):
        room = make_room(self.owner)
        with Member(self.owner, room) as one, Member(self.guest, room) as two:
            for number in range(1, 8):
                self.assertEqual(one.say(f"message {number}")["number"], number)
            again = one.say("twice", id="the-same-id")
            self.assertEqual(one.say("twice", id="the-same-id"), again)
            self.assertEqual(two.expect("chat", lambda message: message["message"]["number"] == 8)["message"]["text"], "twice")
            page = two.ask("history", "history", before=5, limit=3)
            self.assertEqual([message["number"] for message in page["messages"]], [2, 3, 4])
            self.assertTrue(page["hasMore"])
        answer = self.guest.call("GET", f"/api/v1/realtime/rooms/{room}/messages?limit=2").json()
        self.assertEqual([message["number"] for message in answer["messages"]], [7, 8])
        self.assertEqual(self.guest.call("GET", f"/api/v1/realtime/rooms/{room}/messages?limit=x").status, 422)

    def test_live_data(self):
        room = make_room(self.owner)
        path = f"/api/v1/realtime/rooms/{room}/topics/campaign:7"
        with Member(self.guest, room) as guest:
            self.assertEqual(guest.ask("subscribe", "subscribed", topics=["campaign:7"])["topics"], ["campaign:7"])
            self.assertEqual(self.owner.call("PUT", path, {"data": {"views": 10}}).status, 204)
            told = guest.expect("topic")
            self.assertEqual((told["topic"], told["version"], told["data"]), ("campaign:7", 1, {"views": 10}))
        with Member(self.guest, room) as guest:
            self.assertEqual(guest.ask("subscribe", "topic", topics=["campaign:7"])["data"], {"views": 10})

    def test_notifications(self):
        room = make_room(self.owner)
        with Member(self.guest, room):
            pass
        inbox = open_socket(self.node, "/api/v1/realtime/notifications/socket", self.guest.access)
        with inbox, Member(self.owner, room) as owner:
            greeting = json.loads(inbox.recv(timeout=BOUND))
            self.assertEqual(greeting["type"], "inbox")
            owner.say(f"@{self.guest.username} look at this")
            told = json.loads(inbox.recv(timeout=BOUND))
            self.assertEqual((told["type"], told["notification"]["kind"]), ("notification", "room.mentioned"))
            self.assertEqual(told["notification"]["data"]["room"], room)
            listed = self.guest.call("GET", "/api/v1/realtime/notifications").json()
            self.assertEqual(listed["notifications"][0]["id"], told["notification"]["id"])
            self.assertEqual(listed["unread"], told["unread"])
            seen = self.guest.call("POST", "/api/v1/realtime/notifications/read", {"upTo": told["notification"]["number"]})
            self.assertEqual(seen.json(), {"unread": 0})
            self.assertEqual(json.loads(inbox.recv(timeout=BOUND)), {"type": "read", "upTo": told["notification"]["number"], "unread": 0})
        self.assertEqual(self.owner.call("GET", "/api/v1/realtime/notifications").json()["notifications"], [])

    def test_messages_that_are_none(self):
        room = make_room(self.owner)
        with Member(self.owner, room) as member:
            member.socket.send("nonsense")
            self.assertEqual(member.expect("error")["code"], "malformed_message")
            member.socket.send('{"type":"ping"}')
            member.expect("pong")
            member.socket.send("x" * (256 * 1024 + 1))
            self.assertEqual(member.closed()[0], 4413)
        with Member(self.owner, room) as member:
            member.socket.send(b"bytes")
            self.assertEqual(member.closed()[0], 4400)

    def test_many_members(self):
        room = make_room(self.owner)
        path = f"ws://localhost:{self.node.port}/api/v1/realtime/rooms/{room}/socket"
        count, messages = 200, 5

        async def member(number, ready):
            async with connect_async(
                    path, subprotocols=[PROTOCOL, "bearer." + self.guest.access], open_timeout=BOUND, compression=None) as socket:
                await socket.send(json.dumps({"type": "join", "client": f"client-{number}"}))
                heard = []
                async for text in socket:
                    message = json.loads(text)
                    if message["type"] == "joined":
                        ready.release()
                    elif message["type"] == "chat":
                        heard.append(message["message"]["number"])
                        if len(heard) == messages:
                            return heard

        async def talk():
            ready = asyncio.Semaphore(0)
            members = [asyncio.create_task(member(number, ready)) for number in range(count)]
            for _ in range(count):
                await asyncio.wait_for(ready.acquire(), 2 * BOUND)
            with Member(self.owner, room) as owner:
                self.assertEqual(owner.joined["memberCount"], count + 1)
                self.assertLessEqual(len(owner.joined["members"]), 100)
                for number in range(messages):
                    await asyncio.to_thread(owner.say, f"{number}")
            return await asyncio.wait_for(asyncio.gather(*members), 2 * BOUND)

        self.assertEqual(asyncio.run(talk()), [list(range(1, messages + 1))] * count)


class Editing:
    """Some clients with the browser's document, that edit as long as they are told to and come back after each loss."""

    def __init__(self, accounts, room, seed):
        self.accounts, self.room = accounts, room
        self.random = random.Random(seed)
        self.documents = Documents()
        self.tokens = []
        self.isEditing = True
        self.answers = {}
        self.losses = 0
        for peer in range(len(accounts)):
            self.ask("open", peer, client=f"client-{peer}-{uuid.uuid4().hex[:8]}")

    def ask(self, what, peer, **fields):
        answer = self.documents.ask(what, peer, **fields)
        self.answers[peer] = answer
        return answer["result"]

    def edit(self, peer):
        text = self.answers[peer]["text"]
        token = f"<{peer}.{len(self.tokens)}>"
        places = [0] + [place + 1 for place, character in enumerate(text) if character == ">"]
        place = self.random.choice(places)
        self.tokens.append(token)
        self.ask("edit", peer, operation=[*([place] if place else []), token, *([len(text) - place] if len(text) > place else [])])

    def isSettled(self):
        return all(not answer["hasUnsaved"] for answer in self.answers.values()) and len(
            {answer["text"] for answer in self.answers.values()}) == 1

    async def client(self, peer):
        account = self.accounts[peer]
        while self.isEditing or not self.isSettled():
            try:
                async with connect_async(
                        f"ws://localhost:{account.node.port}/api/v1/realtime/rooms/{self.room}/socket",
                        subprotocols=[PROTOCOL, "bearer." + account.access], open_timeout=10, close_timeout=1) as socket:
                    await self.converse(peer, socket)
            except (OSError, WebSocketException, TimeoutError):
                self.losses += 1
                self.ask("disconnect", peer)
                await asyncio.sleep(0.1)

    async def converse(self, peer, socket):
        await socket.send(json.dumps(self.ask("join", peer)))
        while self.isEditing or not self.isSettled():
            try:
                message = json.loads(await asyncio.wait_for(socket.recv(), 0.03))
            except TimeoutError:
                if self.isEditing:
                    self.edit(peer)
            else:
                if message["type"] == "error":
                    assert message["code"] in ("rate_limited", "unknown_revision"), message
                    return
                result = self.ask("receive", peer, message=message)
                if result and result.get("fits") is False:
                    return
            if operation := self.ask("take", peer):
                await socket.send(json.dumps(operation))


class Faults(unittest.TestCase):
    seconds = 60

    def test_nothing_acknowledged_is_lost_when_isolate_and_node_are_killed(self):
        project, node = platform()
        with project:
            try:
                self.kill_under_edits(node.start())
            finally:
                node.__exit__()

    def isolates(self, node):
        return next(worker["pids"] for worker in node.status()["workers"] if worker["name"] == "websocket-service")

    def kill_under_edits(self, node):
        accounts = [Account(node) for _ in range(4)]
        room = make_room(accounts[0])
        seed = int(os.environ.get("EDGE_SEED", time.time_ns() % 1_000_000))
        editing = Editing(accounts, room, seed)
        print(f"seed {seed}")

        async def progress(count):
            before = len(editing.tokens)
            end = time.monotonic() + BOUND
            while len(editing.tokens) < before + count:
                assert time.monotonic() < end, "nobody edits"
                await asyncio.sleep(0.02)

        async def run():
            clients = [asyncio.create_task(editing.client(peer)) for peer in range(len(accounts))]
            for _ in range(3):
                await progress(25)
                for pid in await asyncio.to_thread(self.isolates, node):
                    os.kill(pid, signal.SIGKILL)
            await progress(25)
            node.kill()
            await asyncio.to_thread(node.start)
            await progress(25)
            editing.isEditing = False
            await asyncio.wait_for(asyncio.gather(*clients), 2 * BOUND)

        try:
            asyncio.run(run())
        finally:
            editing.documents.close()
        text = editing.answers[0]["text"]
        counts = collections.Counter({token: text.count(token) for token in editing.tokens})
        self.assertEqual({token: count for token, count in counts.items() if count != 1}, {}, f"seed {seed}")
        self.assertEqual(len(text), sum(map(len, editing.tokens)))
        self.assertGreaterEqual(editing.losses, len(accounts), "the node's death ends all connections")
        with Member(accounts[0], room) as member:
            self.assertEqual(member.joined["text"], text)

    def test_a_room_sleeps_and_wakes(self):
        project, node = platform("--set", 'durable_objects.hibernate_after="100ms"')
        with project:
            try:
                node.start()
                owner, guest = Account(node), Account(node)
                room = make_room(owner)
                with Member(owner, room) as one, Member(guest, room) as two:
                    one.operation(0, ["hello"])
                    one.send("cursor", revision=1, anchor=2, head=2)
                    two.expect("cursors")
                    api, path = self.object(node, room)
                    self.sleep(api, path)
                    # Answered without waking it.
                    one.socket.send('{"type":"ping"}')
                    one.expect("pong")
                    self.assertEqual(api.result("GET", path)["state"], "absent")
                    one.operation(1, [5, "!"])
                    self.assertEqual(two.expect("operation")["operation"], [5, "!"])
                    self.sleep(api, path)
                    with Member(guest, room) as three:
                        self.assertEqual(three.joined["memberCount"], 3)
                        cursors = [member["cursor"] for member in three.joined["members"] if "cursor" in member]
                        self.assertEqual(cursors, [{"anchor": 2, "head": 2}])
            finally:
                node.__exit__()

    def object(self, node, room):
        """The path at which the node tells of the room's object."""
        api = Rest(node, account="must-be-viral")
        namespaces = api.result("GET", "workers/durable_objects/namespaces")
        namespace = next(item["id"] for item in namespaces if item["class"] == "CollaborationRoom")
        own = f"edge/durable_objects/namespaces/{namespace}"
        return api, f"{own}/objects/" + api.result("GET", f"{own}/id?name={room}")["id"]

    def sleep(self, api, path):
        """Waits until the object has left memory; the API may be asked only so often."""
        end = time.monotonic() + BOUND
        while api.result("GET", path)["state"] != "absent":
            self.assertLess(time.monotonic(), end, "the room never sleeps")
            time.sleep(0.2)
