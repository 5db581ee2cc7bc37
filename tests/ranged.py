"""A web server of a folder that answers byte ranges, as a process of its own; used by `test_remote`.

python ranged.py FOLDER. Prints its port; `/sent` tells how many bytes of files it has sent.
"""

from __future__ import annotations

import http.server
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

FOLDER = Path(sys.argv[1])


class Handler(http.server.BaseHTTPRequestHandler):
    """Files with byte ranges, which the standard library's server does not have."""

    sent = 0

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = unquote(urlsplit(self.path).path).lstrip("/")
        if name == "sent":
            self.answer(200, str(Handler.sent).encode())
            return
        path = FOLDER / name
        if not path.is_file():
            self.answer(404, b"")
            return
        content, wanted = path.read_bytes(), self.headers.get("Range")
        if not wanted:
            self.answer(200, content)
        else:
            first, last = (int(end) if end else None for end in wanted.removeprefix("bytes=").split("-"))
            part = content[first : None if last is None else last + 1]
            self.answer(206, part, f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        if self.command == "GET":
            Handler.sent += path.stat().st_size if not wanted else len(part)

    def answer(self, status, content, which=None):
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        if which:
            self.send_header("Content-Range", which)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
