"""A headless Chromium for the site's tests, driven through chromedriver's own HTTP interface (W3C WebDriver): no package needed."""
from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"     # the key under which WebDriver passes elements


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def served(folder: Path, base: str = "/"):
    "`folder` served below the path `base`, as a project site is; gives the address of its root."
    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path): return super().translate_path("/" + path.removeprefix(base) if path.startswith(base) else "/nothing/here")
        def log_message(self, *args): pass
        def send_error(self, code, message=None, explain=None):       # as a static host does: the site's own 404 page
            page = Path(folder) / "404.html"
            if code != 404 or not page.exists(): return super().send_error(code, message, explain)
            self.send_response(404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.read_bytes())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f"http://127.0.0.1:{server.server_port}{base}"
    finally: server.shutdown(); server.server_close()


class Browser:
    "One headless window. `phone`: 390×844 pixels with touch; `dark`: the reader prefers dark pages."
    def __init__(self, width=1280, height=900, phone=False, dark=False):
        self.profile, port = tempfile.TemporaryDirectory(ignore_cleanup_errors=True), free_port()
        self.process = subprocess.Popen([DRIVER, f"--port={port}", "--silent"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.root = f"http://127.0.0.1:{port}"
        options = dict(binary=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage", "--no-first-run",
                                              "--hide-scrollbars", f"--user-data-dir={self.profile.name}", f"--window-size={width},{height}"])
        if phone: options["mobileEmulation"] = dict(deviceMetrics=dict(width=390, height=844, pixelRatio=2, touch=True))
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        for _ in range(100):
            try: urllib.request.urlopen(self.root + "/status", timeout=5); break
            except OSError: time.sleep(.1)
        self.session = f"/session/{self.call('POST', '/session', capabilities=dict(alwaysMatch=wanted))['sessionId']}"
        self.call("POST", self.session + "/timeouts", script=120000, pageLoad=120000)
        if dark: self.call("POST", self.session + "/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params=dict(features=[dict(name="prefers-color-scheme", value="dark")]))

    def call(self, method, path, **body):
        request = urllib.request.Request(self.root + path, json.dumps(body).encode() if method == "POST" else None, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=150) as answer: return json.load(answer)["value"]
        except urllib.error.HTTPError as e: raise AssertionError(json.load(e)["value"]["message"].split("\n")[0]) from None

    def __enter__(self): return self
    def __exit__(self, *args):
        with contextlib.suppress(Exception): self.call("DELETE", self.session)
        self.process.terminate(); self.process.wait(10); self.profile.cleanup()

    def open(self, url): self.call("POST", self.session + "/url", url=url); return self
    def js(self, code, *args): return self.call("POST", self.session + "/execute/sync", script=code, args=list(args))
    def wait(self, code, *args, seconds=60):
        "Until the JavaScript expression `code` is true; returns its value."
        end = time.monotonic() + seconds
        while not (value := self.js(f"return {code}", *args)):
            if time.monotonic() > end: raise AssertionError(f"still not so after {seconds} s: {code}")
            time.sleep(.1)
        return value
    def find(self, css): return self.call("POST", self.session + "/element", using="css selector", value=css)[ELEMENT]
    def type(self, css, text): self.call("POST", f"{self.session}/element/{self.find(css)}/value", text=text)
    def press(self, key): self.call("POST", self.session + "/actions", actions=[dict(type="key", id="keys", actions=[dict(type="keyDown", value=key), dict(type="keyUp", value=key)])])
    def errors(self):
        "Console messages of level SEVERE since the last call: failed requests are among them."
        return [m["message"] for m in self.call("POST", self.session + "/se/log", type="browser") if m["level"] == "SEVERE"]
    def point(self, css, steps, touch=False):
        "Press on the middle of the element, move by each (dx, dy) in pixels, let go: a click, a tap or a drag."
        self.js("document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", css)
        origin = {ELEMENT: self.find(css)}
        moves = [dict(type="pointerMove", duration=40, origin="pointer", x=round(dx), y=round(dy)) for dx, dy in steps]
        todo = [dict(type="pointerMove", duration=0, origin=origin, x=0, y=0), dict(type="pointerDown", button=0), *moves, dict(type="pointerUp", button=0)]
        self.call("POST", self.session + "/actions", actions=[dict(type="pointer", id="finger" if touch else "mouse", parameters=dict(pointerType="touch" if touch else "mouse"), actions=todo)])
    def click(self, css, touch=False): self.point(css, [], touch)
    def picture(self, path=None, css=None):
        "The window, or one element, as PNG bytes; also into `path`."
        where = self.session + (f"/element/{self.find(css)}" if css else "")
        data = base64.b64decode(self.call("GET", where + "/screenshot"))
        if path: Path(path).write_bytes(data)
        return data
