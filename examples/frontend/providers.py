#!/usr/bin/env python3
"""Two outside services, made up: a map service and one that sends SMS.

Both demand their key, as real ones do, and answer 401 without it. Both are careless on purpose and
repeat what they were sent, key included, as real ones do now and then: Keyreeve takes it out.
What they did is at `/desk`, which stands for the page on which a provider shows its customer what
was used; it needs no key here.

The keys come from the environment: MAPS_KEY, SMS_ACCOUNT and SMS_TOKEN.
"""

import argparse
import base64
import binascii
import hmac
import json
import os
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import island

LONGEST_BODY = 10_000
LONGEST_TEXT = 480


class Desk:
    """What the services did so far."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {"tiles": 0, "geocodes": 0, "refused": 0}
        self.messages = []

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def keep(self, message):
        with self.lock:
            self.messages.append(message)

    def shown(self):
        with self.lock:
            return {**self.counts, "messages": list(self.messages)}


class Provider(BaseHTTPRequestHandler):
    """What both have in common."""

    protocol_version = "HTTP/1.1"
    # Closes connections that somebody forgot.
    timeout = 60
    desk = Desk()

    def answer(self, status, body, kind="application/json", headers=()):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, why):
        self.desk.count("refused")
        self.answer(401, {"error": why})

    def log_message(self, *_):
        """Requests hold the key, so they are not logged."""


class Maps(Provider):
    """Tiles and addresses: `?key=` is the credential."""

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/desk":
            self.answer(200, self.desk.shown())
        elif not hmac.compare_digest(query.get("key", "").encode(), os.environb[b"MAPS_KEY"]):
            self.refuse("the parameter key is missing or wrong")
        elif match := re.fullmatch(r"/v1/tiles/(\d{1,2})/(\d{1,8})/(\d{1,8})\.svg", url.path):
            self.tile([int(part) for part in match.groups()], query.get("style", "light"))
        elif url.path == "/v1/geocode":
            self.desk.count("geocodes")
            results = island.find(query.get("q", "")[:200])
            self.answer(200, {"results": results, "you_asked": self.path})
        else:
            self.answer(404, {"error": "there is nothing here"})

    def tile(self, address, style):
        drawn = island.tile(*address, style) if style in island.PALETTES else None
        if drawn is None:
            self.answer(404, {"error": "there is no such tile"})
            return
        self.desk.count("tiles")
        headers = [("Cache-Control", "private, max-age=300"), ("X-You-Asked", self.path)]
        self.answer(200, drawn, "image/svg+xml", headers)


class Sms(Provider):
    """Messages: account and token as HTTP Basic are the credential."""

    def do_GET(self):
        if self.path == "/desk":
            self.answer(200, self.desk.shown())
        else:
            self.answer(404, {"error": "there is nothing here"})

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            self.close_connection = True
            self.answer(413, {"error": "the body has no length, or is too long"})
            return
        body = self.rfile.read(int(length))
        if not self.is_customer():
            self.refuse("account or token is missing or wrong")
        elif self.path != "/v1/messages":
            self.answer(404, {"error": "there is nothing here"})
        else:
            self.send_sms(body)

    def is_customer(self):
        scheme, _, shown = self.headers.get("Authorization", "").partition(" ")
        wanted = os.environb[b"SMS_ACCOUNT"] + b":" + os.environb[b"SMS_TOKEN"]
        try:
            shown = base64.b64decode(shown, validate=True)
        except binascii.Error:
            return False
        return scheme.casefold() == "basic" and hmac.compare_digest(shown, wanted)

    def send_sms(self, body):
        try:
            asked = json.loads(body)
            to, text = asked["to"], asked["text"]
            understood = isinstance(to, str) and isinstance(text, str)
        except (ValueError, KeyError, TypeError):
            understood = False
        if not understood:
            self.answer(400, {"error": "wanted is JSON with to and text"})
        elif not re.fullmatch(r"\+[1-9]\d{6,14}", to):
            self.answer(422, {"error": "to must be a number such as +447700900123"})
        elif not 0 < len(text) <= LONGEST_TEXT:
            self.answer(422, {"error": f"text must have 1 to {LONGEST_TEXT} characters"})
        else:
            message = {"id": f"msg_{secrets.token_hex(6)}", "to": to, "text": text}
            self.desk.keep(message)
            careless = {"you_sent": {"authorization": self.headers["Authorization"]}}
            self.answer(201, {"id": message["id"], "status": "accepted", **careless})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # A page asks for many tiles at once.
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps-port", type=int, default=0, help="0 is a free one")
    parser.add_argument("--sms-port", type=int, default=0, help="0 is a free one")
    arguments = parser.parse_args()
    maps = Server(("127.0.0.1", arguments.maps_port), Maps)
    sms = Server(("127.0.0.1", arguments.sms_port), Sms)
    threading.Thread(target=maps.serve_forever, daemon=True).start()
    print(f"maps http://127.0.0.1:{maps.server_port}", flush=True)
    print(f"sms http://127.0.0.1:{sms.server_port}", flush=True)
    sms.serve_forever()


if __name__ == "__main__":
    main()
