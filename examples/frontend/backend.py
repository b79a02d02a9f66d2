#!/usr/bin/env python3
"""The team's own backend: serves the page, and gets it a token.

It knows one secret, its API key for Keyreeve, with which it may make tokens for two connections.
It knows no key of the map service or of the SMS service.
"""

import argparse
import json
import pathlib
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = pathlib.Path(__file__).resolve().parent
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
}
PATIENCE_S = 10


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    # Filled in by `main`.
    origin = keyreeve = api_key = ""

    def do_GET(self):
        if self.headers.get("Host") != self.origin.removeprefix("http://"):
            # Another site whose name was made to point here.
            self.answer(421, b"this is another host\n", "text/plain")
        elif self.path == "/session":
            self.session()
        elif self.path in FILES:
            name, kind = FILES[self.path]
            self.answer(200, (HERE / name).read_bytes(), kind)
        else:
            self.answer(404, b"there is nothing here\n", "text/plain")

    def session(self):
        """A token for this page, good for ten minutes.

        A real backend looks at its own session first, and gives a token to who is signed in.
        """
        if self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            self.say(403, {"error": "only the page itself gets a token"})
            return
        wanted = {"connections": ["maps", "sms"], "expires_in": "10m", "origin": self.origin}
        request = urllib.request.Request(
            f"{self.keyreeve}/api/v1/client-tokens",
            data=json.dumps(wanted).encode(),
            headers={
                "Authorization": f"Bearer {self.api_key}",
                "Content-Type": "application/json",
            },
        )
        # Never by way of a proxy that the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE_S) as answer:
                made = json.load(answer)
        except urllib.error.HTTPError as error:
            # What Keyreeve says is for the team, not for whoever looks at the page.
            print(f"Keyreeve answered {error.code}: {error.read().decode()}", flush=True)
            self.say(502, {"error": f"Keyreeve made no token: it answered {error.code}"})
            return
        except (OSError, ValueError) as error:
            print(f"Keyreeve: {error}", flush=True)
            self.say(502, {"error": "Keyreeve does not answer"})
            return
        self.say(200, {
            "keyreeve": self.keyreeve,
            "token": made["token"],
            "expires_at": made["expires_at"],
        })

    def say(self, status, body):
        self.answer(status, json.dumps(body).encode(), "application/json")

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
            f"connect-src 'self' {self.keyreeve}; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet: what matters is in the developer tools."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 is a free one")
    parser.add_argument("--keyreeve", required=True, help="where Keyreeve serves")
    parser.add_argument("--key-file", required=True, type=pathlib.Path,
                        help="file with the API key for Keyreeve")
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", arguments.port), Backend)
    Backend.origin = f"http://127.0.0.1:{server.server_port}"
    Backend.keyreeve = arguments.keyreeve.rstrip("/")
    Backend.api_key = arguments.key_file.read_text().strip()
    print(f"page {Backend.origin}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
