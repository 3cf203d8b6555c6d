"A web server on 127.0.0.1 that does what a test tells it, and writes down what it was asked"

import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send(200)

    def do_GET(self):
        s, name = self.server, os.path.basename(urlsplit(self.path).path)
        with s.lock:
            s.asked[name] += 1
            s.busy += 1
            s.most = max(s.most, s.busy)
            steps = s.plan.get(name, s.plan.get("*", []))
            step = steps.pop(0) if steps else None
        try:
            self.answer(s.files.get(name), step)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with s.lock:
                s.busy -= 1

    def send(self, status, body=b"", **headers):
        "Status, headers (`_` for `-`; without a length if it is None) and body"
        self.send_response(status)
        for k, v in {"Content_Length": len(body), **headers}.items():
            if v is not None:
                self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = True

    def answer(self, body, step):
        "A step is a status, or a function of handler and body; without one the file is sent"
        if callable(step):
            step(self, body)
        elif isinstance(step, int):
            self.send(step)
        else:
            self.send(*((404,) if body is None else (200, body)))


class Server(ThreadingHTTPServer):
    "`files`: name → bytes; `plan`: name (or '*') → steps, one a request, then it behaves"

    daemon_threads = True

    def __init__(self, files, **plan):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.plan = files, {k: list(v) for k, v in plan.items()}
        self.asked, self.busy, self.most, self.lock = Counter(), 0, 0, threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, name=""):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def __exit__(self, *_):
        self.shutdown(), self.server_close()
