"""The page of rooms in a real browser: Debian's Chromium, two people with a context each, a real node.

Screenshots go to $EDGE_SCREENSHOTS, or to a folder that is removed."""

import os
import shutil
import signal
import tempfile
import time
import unittest

from playwright.sync_api import sync_playwright

from realtime import BOUND, PASSWORD, platform

LIGHT = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}
DARK = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"}
PHONE = {"viewport": {"width": 390, "height": 780}, "color_scheme": "light", "has_touch": True}
# What a browser says of connections that were cut on purpose.
EXPECTED = ("WebSocket connection to", "net::ERR_INTERNET_DISCONNECTED", "net::ERR_CONNECTION_REFUSED", "status of 401")
UNNAMED = """() => [...document.querySelectorAll('button, input, select, textarea, a[href]')]
    .filter((element) => element.offsetParent !== null)
    .filter((element) => !(element.getAttribute('aria-label') || element.labels?.length || element.textContent.trim()))
    .map((element) => element.outerHTML)"""
# WCAG 2.2, 1.4.3: the ratio of luminances of a text and what it stands on, for each element with text of its own.
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const channels = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  const failures = [];
  for (const element of document.querySelectorAll('body *')) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || element.offsetParent === null || element.closest('.overlay, .skip, :disabled')) continue;
    const [dark, light] = [luminance(channels(getComputedStyle(element).color)), luminance(background(element))].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) failures.push(`${element.tagName}.${element.className} "${element.textContent.trim().slice(0, 20)}" ${ratio.toFixed(2)}`);
  }
  return failures;
}"""


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, test, name, options):
        self.test, self.name = test, name
        self.context = test.browser.new_context(**options)
        self.context.set_default_timeout(BOUND * 1000)
        self.complaints = []
        self.open()

    def open(self):
        self.page = self.context.new_page()
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.complain(message.text))
        self.page.on("pageerror", lambda error: self.complain(str(error)))

    def complain(self, text):
        if not any(known in text for known in EXPECTED):
            self.complaints.append(text)

    def go(self, path=""):
        self.page.goto(f"http://localhost:{self.test.node.port}/realtime/{path}")

    def register(self):
        self.page.click("#switch-mode")
        self.page.fill("#email", f"{self.name}@example.com")
        self.page.fill("#username", self.name)
        self.sign_in(email=False)

    def sign_in(self, email=True):
        if email:
            self.page.fill("#email", f"{self.name}@example.com")
        self.page.fill("#password", PASSWORD)
        self.page.press("#password", "Enter")

    def until(self, expression, what=None):
        """Waits for an expression in the page; the policy of the page forbids what playwright would do."""
        end = time.monotonic() + BOUND
        while not self.page.evaluate(expression):
            self.test.assertLess(time.monotonic(), end, what or expression)
            self.page.wait_for_timeout(20)

    def until_online(self):
        self.until("document.getElementById('status').dataset.state === 'online' && !document.getElementById('room').hidden")

    def until_text(self, test, what=""):
        end = time.monotonic() + BOUND
        while not test(self.text):
            self.test.assertLess(time.monotonic(), end, f"{what}: {self.text!r}")
            self.page.wait_for_timeout(20)

    def until_saved(self):
        self.until("document.getElementById('saved').textContent === 'All changes saved'")

    @property
    def text(self):
        return self.page.input_value("#text")

    def type(self, text, place=None):
        """Types with the keyboard, at a place of the text or where the cursor is."""
        self.page.focus("#text")
        if place is not None:
            self.page.evaluate(
                "([place]) => document.getElementById('text').setSelectionRange(place, place)", [place])
        self.page.keyboard.type(text)

    def say(self, text):
        self.page.fill("#message", text)
        self.page.press("#message", "Enter")

    def messages(self):
        return self.page.eval_on_selector_all("#messages .body", "(items) => items.map((item) => item.textContent)")

    def picture(self, name):
        self.page.screenshot(path=os.path.join(self.test.pictures, name + ".png"))

    def check(self):
        self.test.assertEqual(self.page.evaluate(UNNAMED), [], "controls without a name")
        self.test.assertEqual(self.page.evaluate(CONTRAST), [], "texts that are hard to read")
        self.test.assertLessEqual(*self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]"))


class Page(unittest.TestCase):
    seconds = 90

    @classmethod
    def setUpClass(cls):
        kept = os.environ.get("EDGE_SCREENSHOTS")
        cls.pictures = kept or tempfile.mkdtemp(prefix="edge-pictures-")
        if not kept:
            cls.addClassCleanup(shutil.rmtree, cls.pictures)
        project, node = platform()
        cls.node = node.start()
        cls.addClassCleanup(project.__exit__)
        cls.addClassCleanup(node.__exit__)
        playwright = sync_playwright().start()
        cls.addClassCleanup(playwright.stop)
        cls.browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        cls.addClassCleanup(cls.browser.close)

    def person(self, name, options=LIGHT):
        person = Person(self, name, options)
        self.addCleanup(person.context.close)
        return person

    def room_of_two(self, first, second, options=(LIGHT, DARK)):
        """Two people who make accounts and meet in a room that the first one made, all by hand."""
        one, two = self.person(first, options[0]), self.person(second, options[1])
        one.go()
        one.register()
        one.page.wait_for_selector("#lobby:visible")
        one.page.fill("#new-name", "Launch plan")
        one.page.press("#new-name", "Enter")
        one.until_online()
        two.go("?" + one.page.url.split("?")[1])
        two.register()
        two.until_online()
        return one, two

    def test_two_people_edit_and_talk(self):
        one, two = self.room_of_two("ada.lovelace", "grace.hopper")
        one.type("# Launch plan\n\nWe begin on Monday with the teaser.\n\nThe film follows on Wednesday.\n")
        two.until_text(lambda text: "Wednesday" in text, "what the other wrote")
        # Both at once, at different places and at the same.
        one.type("A", 0)
        two.type("B", 0)
        two.type(" of December", two.text.index("Monday") + 6)
        one.type(", cut for three formats", one.text.index("Wednesday") + 9)
        one.until_saved()
        two.until_saved()
        one.until_text(lambda text: text == two.text and "three formats" in text and "December" in text)
        self.assertEqual(one.page.inner_text("#room-name"), "Launch plan")
        # Who is there, and where.
        one.until("document.querySelectorAll('#faces span').length === 2")
        one.until("document.querySelector('#overlay .caret')?.dataset.name === 'grace.hopper'")
        two.until("document.querySelector('#overlay .caret')?.dataset.name === 'ada.lovelace'")
        place = two.text.index("Monday")
        two.page.evaluate("([from, to]) => document.getElementById('text').setSelectionRange(from, to)", [place, place + 6])
        one.until("document.querySelector('#overlay mark')?.textContent === 'Monday'")
        # The conversation.
        one.say("Shall we move the film?")
        two.until("document.querySelectorAll('#messages li').length === 1")
        two.page.type("#message", "Better")
        one.until("document.getElementById('typing').textContent === 'grace.hopper is writing…'")
        two.say("Better: the music needs another day")
        one.until("document.querySelectorAll('#messages li').length === 2")
        self.assertEqual(one.messages(), two.messages())
        one.until("document.getElementById('typing').textContent === ''")
        for person in (one, two):
            person.page.focus("#text")
        for person, name in ((one, "room-light"), (two, "room-dark")):
            person.until("document.querySelector('#overlay .caret') !== null")
            person.picture(name)
            person.check()
        # What one takes back is one's own.
        before = two.text
        two.type("mine", 0)
        one.until_text(lambda text: text.startswith("mine"))
        one.type("theirs", len(one.text))
        two.until_text(lambda text: text.endswith("theirs"))
        two.page.focus("#text")
        two.page.keyboard.press("Control+z")
        one.until_text(lambda text: text == before + "theirs", "the other's change stays")
        two.page.keyboard.press("Control+Shift+z")
        one.until_text(lambda text: text == "mine" + before + "theirs")
        for person in (one, two):
            self.assertEqual(person.complaints, [])

    def test_edits_without_a_network_are_merged(self):
        one, two = self.room_of_two("mary.jackson", "annie.easley")
        one.type("start\n")
        two.until_text(lambda text: text == "start\n")
        two.context.set_offline(True)
        two.until("document.getElementById('status-text').textContent === 'Offline' || "
                  "document.getElementById('status-text').textContent === 'Connecting…'")
        two.type("written offline\n", 6)
        two.say("said offline")
        one.type("before ", 0)
        one.until_saved()
        two.until("document.getElementById('saved').textContent === 'Kept here until you are back online'")
        two.picture("offline")
        two.check()
        self.assertEqual(two.text, "start\nwritten offline\n")
        two.context.set_offline(False)
        for person in (one, two):
            person.until_text(lambda text: text == "before start\nwritten offline\n")
            person.until_online()
        one.until("document.querySelectorAll('#messages li').length === 1")
        # A tab that is closed without a network leaves its changes to the next one.
        two.context.set_offline(True)
        two.until("document.getElementById('status').dataset.state !== 'online'")
        two.page.focus("#text")
        two.page.keyboard.press("Control+End")
        two.page.keyboard.type("and closed\n")
        two.until("Object.values({...localStorage}).some((value) => value.includes('and closed'))")
        two.page.close()
        two.context.set_offline(False)
        two.open()
        two.go("?" + one.page.url.split("?")[1])
        one.until_text(lambda text: text.endswith("and closed\n"))
        two.until_text(lambda text: text == one.text)
        # What holds the room dies; nobody has to do anything.
        one.type("x", 0)
        pids = next(worker["pids"] for worker in self.node.status()["workers"] if worker["name"] == "websocket-service")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        one.type("y", 1)
        two.page.focus("#text")
        two.page.keyboard.press("Control+End")
        two.page.keyboard.type("z")
        for person in (one, two):
            person.until_text(lambda text: text.startswith("xy") and text.endswith("z"))
            person.until_saved()
        self.assertEqual(one.text, two.text)
        for person in (one, two):
            self.assertEqual(person.complaints, [])

    def test_a_small_screen_and_the_keyboard(self):
        one, two = self.room_of_two("katherine.johnson", "dorothy.vaughan", (LIGHT, PHONE))
        one.type("A text that is long enough to go over several lines of a small screen.")
        two.until_text(lambda text: text != "")
        two.picture("phone-document")
        two.check()
        one.say("hello")
        two.until("document.getElementById('unread').textContent === '1'")
        two.page.focus("#tab-document")
        two.page.keyboard.press("ArrowRight")
        two.until("document.activeElement.id === 'tab-chat' && document.getElementById('messages').offsetParent !== null")
        self.assertEqual(two.page.get_attribute("#tab-chat", "aria-selected"), "true")
        two.picture("phone-chat")
        two.check()
        # Who owns the room decides what others may do.
        one.page.click("#faces-button")
        one.page.wait_for_selector("#people[open]")
        one.picture("people")
        one.check()
        one.page.select_option("#people-list select", "viewer")
        two.until("document.getElementById('text').readOnly && document.getElementById('message').disabled")
        one.until("document.activeElement.tagName === 'SELECT' && document.activeElement.value === 'viewer'")
        one.page.keyboard.press("Escape")
        # Without a mouse: from the top into the text, and out of it.
        one.page.evaluate("document.activeElement.blur()")
        reached = []
        for _ in range(12):
            one.page.keyboard.press("Tab")
            reached.append(one.page.evaluate("document.activeElement.id || document.activeElement.className"))
        for control in ("skip", "share", "sign-out", "text", "messages-scroll", "message"):
            self.assertIn(control, reached)

    def test_doors(self):
        one = self.person("hedy.lamarr")
        one.go()
        one.page.wait_for_selector("#sign-in-form:visible")
        one.picture("sign-in")
        one.check()
        one.sign_in()
        one.page.wait_for_selector("#sign-in-failure:visible")
        one.register()
        one.page.wait_for_selector("#lobby:visible")
        one.picture("lobby")
        one.check()
        one.go("?room=00000000-0000-7000-8000-000000000000")
        one.page.wait_for_selector("#ended:visible")
        self.assertEqual(one.page.inner_text("#ended-title"), "No such room")
        one.picture("no-room")
        one.page.click("#ended-button")
        one.page.fill("#new-name", "Secret")
        one.page.select_option("#new-access", "none")
        one.page.press("#new-name", "Enter")
        one.until_online()
        two = self.person("radia.perlman")
        two.go("?" + one.page.url.split("?")[1])
        two.register()
        two.page.wait_for_selector("#ended:visible")
        self.assertEqual(two.page.inner_text("#ended-title"), "No access")
        # All tabs have one login, and a room that was left without it can be gone back to.
        other = one.context.new_page()
        other.goto(one.page.url)
        other.wait_for_selector("#room:visible")
        other.close()
        one.page.click("#sign-out")
        one.page.wait_for_selector("#sign-in-form:visible")
        one.sign_in()
        one.until_online()

    def test_the_policy_lets_nothing_in(self):
        answer = self.node.get("/realtime/", host="localhost")
        policy = answer.header("content-security-policy")
        for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
            self.assertIn(part, policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(answer.header("x-content-type-options"), "nosniff")
        one = self.person("joan.clarke")
        one.go()
        blocked = one.page.evaluate(
            """() => new Promise((resolve) => {
              document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective));
              const script = document.createElement('img');
              script.src = 'http://127.0.0.1:9/x.png';
              document.body.append(script);
            })""")
        self.assertEqual(blocked, "img-src")
