#!/usr/bin/env python3
"""Uses the page of `examples/frontend` in a real Chromium, and tells what the browser got to see.

    drive.py CHROMIUM PAGE PROFILE [--shot FILE] [--size 1280x800] [--dark]

Chromium is driven by the DevTools protocol over a pipe. What is printed is one JSON document: the
page's document and text, every request and answer with headers and bodies, what the browser stored,
and what the console said. The page's memory goes to PROFILE/heap.
"""

import argparse
import base64
import collections
import json
import os
import pathlib
import select
import subprocess
import sys
import time

PATIENCE_S = 120
FLAGS = [
    "--headless=new",
    # The page is our own, and containers have no room for the sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    # Nothing but this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
]


class Chromium:
    """A browser that is told what to do over the descriptors 3 and 4."""

    def __init__(self, program, profile, flags=()):
        self.deadline = time.monotonic() + PATIENCE_S
        self.rest, self.last, self.answers, self.events = b"", 0, {}, []
        read_there, self.writer = os.pipe()
        self.reader, write_there = os.pipe()

        def arrange():
            # By way of numbers that are in nobody's way.
            spare = [os.dup2(read_there, 103), os.dup2(write_there, 104)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=arrange,
        )
        os.close(read_there)
        os.close(write_there)

    def take(self):
        """Reads one message, and puts it where it belongs."""
        while b"\0" not in self.rest:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.reader], [], [], left)[0]:
                raise TimeoutError("the browser took too long")
            piece = os.read(self.reader, 1 << 20)
            if not piece:
                raise EOFError("the browser has ended")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(message)
        if "id" in message:
            self.answers[message["id"]] = message
        else:
            self.events.append(message)

    def call(self, method, session=None, **parameters):
        self.last += 1
        number = self.last
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.writer, data):]
        while number not in self.answers:
            self.take()
        answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def end(self):
        """Asks it to end. Whoever started this ends it otherwise, with all that it started."""
        try:
            self.call("Browser.close")
        except (RuntimeError, EOFError, TimeoutError, OSError):
            pass
        os.close(self.writer)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Page:
    def __init__(self, browser):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Network.enable", maxTotalBufferSize=1 << 28, maxResourceBufferSize=1 << 26)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def value(self, expression):
        """What JavaScript makes of it; promises are waited for."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                         awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def until(self, what, expression):
        while not self.value(expression):
            if time.monotonic() > self.browser.deadline:
                raise TimeoutError(f"{what} took too long; the page says:\n"
                                   + str(self.value("document.body.innerText")))
            time.sleep(0.1)

    def fill(self, selector, text):
        self.value(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def click(self, selector):
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def network(self):
        """Every exchange: all that the protocol told of it, and the answer's body."""
        exchanges = collections.defaultdict(list)
        for event in list(self.browser.events):
            if event.get("sessionId") == self.session and event["method"].startswith("Network."):
                about = event["params"].get("requestId")
                if about:
                    exchanges[about].append({event["method"]: event["params"]})
        told = []
        for about, events in exchanges.items():
            bodies = {}
            for name, method in (("request", "Network.getRequestPostData"),
                                 ("answer", "Network.getResponseBody")):
                try:
                    bodies[name] = decoded(self.call(method, requestId=about))
                except RuntimeError:
                    # There is none.
                    bodies[name] = None
            told.append({"events": events, "bodies": bodies})
        return told

    def console(self):
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.browser.events if event["method"] in kinds]

    def save_memory(self, file):
        before = len(self.browser.events)
        self.call("HeapProfiler.takeHeapSnapshot", reportProgress=False)
        with open(file, "w", encoding="utf-8") as out:
            for event in self.browser.events[before:]:
                if event["method"] == "HeapProfiler.addHeapSnapshotChunk":
                    out.write(event["params"]["chunk"])
        del self.browser.events[before:]


def decoded(answer):
    if "postData" in answer:
        return answer["postData"]
    if answer["base64Encoded"]:
        return base64.b64decode(answer["body"]).decode("utf-8", "backslashreplace")
    return answer["body"]


STORED = """(async () => ({
    local: { ...localStorage },
    session: { ...sessionStorage },
    cookie: document.cookie,
    databases: (await indexedDB.databases()).map(({ name }) => name),
    caches: await caches.keys(),
    workers: (await navigator.serviceWorker.getRegistrations()).length,
    name: window.name,
}))()"""
TILES = "[...document.querySelectorAll('.layer img')].filter((it) => it.naturalWidth > 0).length"


def use(page, address):
    """What somebody at the desk does: look, zoom, find an address, send a message."""
    page.call("Page.navigate", url=address)
    page.until("the map", "document.querySelector('#map')?.dataset.state === 'ready'")
    first = page.value(TILES)
    page.click("[data-zoom='1']")
    page.until("zooming", "document.querySelector('#map').dataset.state === 'ready'"
                          f" && document.querySelectorAll('.layer').length === 1 && {TILES} > 0")
    page.fill("#address", "120 Float Street")
    page.click("#where [type=submit]")
    page.until("the address", "document.querySelector('#found').dataset.state !== undefined")
    page.until("its map", "document.querySelector('#map').dataset.state === 'ready'")
    page.fill("#number", "+447700900123")
    page.fill("#text", "Your parcel waits at Port Null.")
    page.click("#tell [type=submit]")
    page.until("the SMS", "document.querySelector('#receipt').dataset.state !== undefined")
    return {"first": first, "last": page.value(TILES)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chromium")
    parser.add_argument("page")
    parser.add_argument("profile", type=pathlib.Path)
    parser.add_argument("--shot", type=pathlib.Path)
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--dark", action="store_true")
    arguments = parser.parse_args()
    browser = Chromium(arguments.chromium, arguments.profile / "chromium")
    try:
        page = Page(browser)
        width, height = map(int, arguments.size.split("x"))
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        if arguments.dark:
            dark = {"name": "prefers-color-scheme", "value": "dark"}
            page.call("Emulation.setEmulatedMedia", features=[dark])
        tiles = use(page, arguments.page)
        if arguments.shot:
            shot = page.call("Page.captureScreenshot")
            arguments.shot.write_bytes(base64.b64decode(shot["data"]))
        told = {
            "tiles": tiles,
            "found": page.value("document.querySelector('#found').textContent"),
            "receipt": page.value("document.querySelector('#receipt').textContent"),
            "text": page.value("document.body.innerText"),
            "document": page.value("document.documentElement.outerHTML"),
            "network": page.network(),
            "stored": page.value(STORED),
            "cookies": browser.call("Storage.getCookies")["cookies"],
            "console": page.console(),
        }
        page.save_memory(arguments.profile / "heap")
    finally:
        browser.end()
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
