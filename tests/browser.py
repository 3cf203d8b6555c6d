"""A headless Chromium for the site's tests, driven by selenium through the system's own
chromedriver"""

import contextlib
import functools
import http.server
import shutil
import threading
from pathlib import Path

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
DRIVER = shutil.which("chromedriver")
SWITCHES = (
    "--headless=new --no-sandbox --disable-gpu --disable-background-networking "
    "--disable-dev-shm-usage --no-first-run --hide-scrollbars"
)


@contextlib.contextmanager
def served(folder, base="/"):
    """`folder` served below the path `base`, as a project site is; gives the address of its
    root"""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            inside = path.startswith(base)
            return super().translate_path(
                "/" + path.removeprefix(base) if inside else "/no/where"
            )

        def log_message(self, *args): ...

        def send_error(self, code, message=None, explain=None):
            "As a static host does: the site's own 404 page"
            page = Path(folder) / "404.html"
            if code != 404 or not page.exists():
                return super().send_error(code, message, explain)
            self.send_response(404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.read_bytes())

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{base}"
    finally:
        server.shutdown()
        server.server_close()


class Browser:
    """One headless window. `phone`: 390×844 pixels with touch; `dark`: the reader prefers dark
    pages"""

    def __init__(self, width=1280, height=900, phone=False, dark=False):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for switch in [*SWITCHES.split(), f"--window-size={width},{height}"]:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if phone:
            screen = dict(width=390, height=844, pixelRatio=2, touch=True)
            options.add_experimental_option("mobileEmulation", dict(deviceMetrics=screen))
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        self.driver.set_script_timeout(120)
        self.driver.set_page_load_timeout(120)
        if dark:
            self.cdp(
                "Emulation.setEmulatedMedia",
                features=[dict(name="prefers-color-scheme", value="dark")],
            )

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.driver.quit()

    def cdp(self, command, **kwargs):
        return self.driver.execute_cdp_cmd(command, kwargs)

    def open(self, url):
        self.driver.get(url)
        return self

    def js(self, code, *args):
        return self.driver.execute_script(code, *args)

    def wait(self, code, *args, seconds=60):
        "Until the JavaScript expression `code` is true; returns its value"
        from selenium.webdriver.support.wait import WebDriverWait

        until = WebDriverWait(self.driver, seconds, 0.1).until
        return until(
            lambda d: d.execute_script(f"return {code}", *args), f"still not so: {code}"
        )

    def find(self, css):
        return self.driver.find_element("css selector", css)

    def type(self, css, text):
        self.find(css).send_keys(text)

    def press(self, key):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def errors(self):
        "Console messages of level SEVERE since the last call: failed requests are among them"
        return [m["message"] for m in self.driver.get_log("browser") if m["level"] == "SEVERE"]

    def point(self, css, steps, touch=False):
        """Press on the middle of the element, move by each (dx, dy) in pixels, let go: click,
        tap, drag"""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        middle = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
        self.js(middle, element := self.find(css))
        pointer = PointerInput("touch" if touch else "mouse", "pointer")
        actions = ActionBuilder(self.driver, mouse=pointer, duration=40)
        actions.pointer_action.move_to(element).pointer_down()
        for dx, dy in steps:
            actions.pointer_action.move_by(round(dx), round(dy))
        actions.pointer_action.pointer_up()
        actions.perform()

    def click(self, css, touch=False):
        self.point(css, [], touch)

    def picture(self, path=None, css=None):
        "The window, or one element, as PNG bytes; also into `path`"
        data = self.find(css).screenshot_as_png if css else self.driver.get_screenshot_as_png()
        if path:
            Path(path).write_bytes(data)
        return data
