"""The detector to take apart: its maps against the network, its page against the package, by
mouse, finger and keyboard, and how long a move takes"""

import gzip
import json
import re
from pathlib import Path
import numpy as np
import pytest
import site_model
import torch
from PIL import Image
from test_site import ENTER, needs_browser
from torch import nn
from centernet_nb.deploy import OnnxDetector, fit
from centernet_nb.network import load_model

FOLDER = Path(__file__).resolve().parent.parent / "nbs" / "site" / "apart"
ROOT = "document.querySelector('[data-apart]')"
LARGE = "[data-apart] .cnb-large .cnb-board"
LEFT, UP, RIGHT, DOWN = "\ue012", "\ue013", "\ue014", "\ue015"


@pytest.fixture(scope="module")
def about():
    return json.loads((FOLDER / "maps.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def maps(about):
    "Name → [channels, h, w], as the page reads them."
    data, found = gzip.decompress((FOLDER / "maps.bin").read_bytes()), {}
    for name, p in about["parts"].items():
        steps = np.frombuffer(data, f"<{p['kind']}", int(np.prod(p["shape"])), p["at"])
        low, high = np.array(p["scale"]).T[:, :, None, None]
        most = np.iinfo(p["kind"]).max
        found[name] = low + steps.reshape(p["shape"]) / most * (high - low)
    return found


@pytest.fixture(scope="module")
def seen():
    "The network, and what it makes of the stored photo."
    net, photo = load_model("text"), Image.open(FOLDER / "photo.jpg")
    x = torch.from_numpy(fit(photo, max(photo.size))[0])
    with torch.no_grad():
        return net, x, net(x)


# ---------------------------------------------------------------- its maps


def test_stored_maps_are_those_of_the_network(about, maps, seen):
    "`python tools/take_apart.py` was run since the model file changed."
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) < 1e6
    points = seen[2][0].numpy()
    assert maps["points"].shape == points.shape
    assert np.abs(maps["points"][:-4] - points[:-4]).max() < 1e-3, "the heat is another one"
    assert np.abs(maps["points"][-4:] - points[-4:]).max() < 0.02
    assert about["stride"] == seen[0].scale_objects.scale
    for k in range(len(about["born"])):
        assert maps[f"heat_{k}"].shape == points[:-4].shape
        assert maps[f"rest_{k}"].shape == points[-4:].shape


def test_stages_are_maps_that_flow_through_the_network(about, maps, seen):
    "The mean of every stored stage is the mean of a map that some layer reads."
    net, x, _ = seen
    read = []
    hooks = [
        m.register_forward_pre_hook(lambda m, i: read.append(i[0].clone()))
        for m in net.modules()
        if not list(m.children())
    ]
    with torch.no_grad():
        net(x)
    for h in hooks:
        h.remove()
    assert len(about["maps"]) > 4
    for told in about["maps"]:
        ours = maps[told["output"]]
        same = [
            r
            for r in read
            if r.dim() == 4
            and r.shape[1:] == (told["channels"], *ours.shape[1:])
            and np.abs(r[0].mean(0).numpy() - ours[0]).max() < np.ptp(ours[0]) / 200 + 1e-3
        ]
        assert same, told
        assert x.shape[2] == told["stride"] * ours.shape[1]


class Smooth(nn.Module):
    "A network whose every layer only averages, so that a gradient reaches all it can see."

    def __init__(self, net):
        super().__init__()
        self.net = net.double().eval()
        for m in list(net.modules()):
            for name, child in m.named_children():
                if isinstance(child, nn.MaxPool2d):
                    k, s, p = child.kernel_size, child.stride, child.padding
                    setattr(m, name, nn.AvgPool2d(k, s, p))
                if isinstance(child, nn.BatchNorm2d):
                    setattr(m, name, nn.Identity())
        for p in net.parameters():
            nn.init.constant_(p, 0.0 if p.dim() == 1 else 1 / p[0].numel())

    def rows(self, i, x):
        "First and last row of the picture that changes the row `i` of the maps."
        x = x.clone().requires_grad_()
        self.net.head(self.net.backbone(x), logits=True)[0, :, i].sum().backward()
        (rows,) = x.grad.abs().sum((0, 1, 3)).nonzero(as_tuple=True)
        return rows[0].item(), rows[-1].item()


def test_receptive_field_is_what_the_gradient_reaches(about):
    net, stride = Smooth(load_model("text")), int(about["stride"])
    x = torch.ones(1, 3, 768, 32, dtype=torch.float64)
    cells = range(384 // stride, 384 // stride + 32 // stride)
    reach = [(i * stride, *net.rows(i, x)) for i in cells]
    first, last = min(a - at for at, a, _ in reach), max(b - at for at, _, b in reach)
    assert [first, last] == about["field"]


# ---------------------------------------------------------------- its page


def opened(b, address):
    "The figure on a page, scrolled to and ready."
    b.open(address)
    b.js(f"{ROOT}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    b.wait(f"{ROOT}.cnb && {ROOT}.dataset.state === 'done'", seconds=120)
    return b


def state(b):
    return b.js(f"const s = {ROOT}.cnb.state; return {{...s}}")


@needs_browser
def test_maps_come_when_they_are_seen(phone, home):
    phone.open(home + "index.html")
    loaded = "performance.getEntriesByType('resource').some((e) => e.name.includes('apart/'))"
    assert not phone.js(f"return {loaded}")
    phone.js(f"{ROOT}.scrollIntoView()")
    phone.wait(f"{loaded} && {ROOT}.dataset.state === 'done'", seconds=120)
    assert phone.js("return document.documentElement.scrollWidth - innerWidth") <= 0


@needs_browser
def test_page_finds_what_the_package_finds(desktop, home, seen, about):
    net, _, points = seen
    opened(desktop, home + "nms.html")
    for threshold, window in ((0.3, 3), (0.1, 3), (0.3, 1), (0.2, 7)):
        desktop.js(
            f"""const [a, b] = [...{ROOT}.querySelectorAll('input[type=range]')].slice(1, 3);
            [[a, arguments[0]], [b, arguments[1]]].forEach(([e, v]) => {{
              e.value = v; e.dispatchEvent(new Event('input')); }})""",
            threshold,
            window,
        )
        net.nms.kernel_size, net.points_to_objects.min_confidence = window, threshold
        theirs = net.decode(points)[0]
        theirs = theirs[theirs[:, 5] > 0].numpy()
        ours = np.array(state(desktop)["rows"])
        assert len(ours) == len(theirs) == int(desktop.js(f"return {ROOT}.dataset.count"))
        np.testing.assert_allclose(ours[:, :4], theirs[:, :4], atol=0.1)
    net.nms.kernel_size, net.points_to_objects.min_confidence = 3, 0.1
    assert not desktop.errors()


@needs_browser
def test_a_cell_becomes_a_box_by_the_formula(desktop, home, seen):
    opened(desktop, home + "nms.html")
    desktop.point(LARGE, [])
    chosen, points, R = (
        state(desktop)["chosen"],
        seen[2][0].numpy(),
        seen[0].scale_objects.scale,
    )
    i, j = divmod(chosen, points.shape[2])
    h, w = (R * n / 2 for n in points.shape[1:])
    assert abs(i * R - h) <= 2 * R and abs(j * R - w) <= 2 * R, "not the middle"
    text = desktop.js(f"return {ROOT}.querySelector('.cnb-formula').textContent")
    dy, dx, bh, bw = points[-4:, i, j]
    said = [float(v) for v in re.findall(r"= (-?[\d.]+)", text)]
    wanted = [R * (i + dy), R * (j + dx), R * bh, R * bw]
    assert f"Cell ({i}, {j})" in text and f"heat {points[0, i, j]:.3f}"[:-1] in text
    np.testing.assert_allclose(said[:4], wanted, atol=0.11)
    lit = desktop.js(
        f"""return [...{ROOT}.querySelectorAll('.cnb-tile, .cnb-large')].map((t) => {{
          const c = t.querySelector('.cnb-cell'), n = (k) => +c.getAttribute(k);
          return [n('x'), n('y'), n('x') + n('width'), n('y') + n('height')]; }})"""
    )
    y, x = state(desktop)["point"]
    assert len(lit) > 10 and all(a <= x < c and b <= y < d for a, b, c, d in lit)


@needs_browser
def test_a_training_gives_birth_to_the_heat(desktop, home, maps, about):
    opened(desktop, home + "nms.html")
    counts = []
    for k in range(len(about["born"]) + 1):
        desktop.js(
            f"const e = {ROOT}.querySelector('input[type=range]'); e.value = {k}; "
            "e.dispatchEvent(new Event('input'))"
        )
        counts.append(state(desktop)["rows"])
        heat = desktop.js(f"return Math.max(...{ROOT}.cnb.view.born[{k}].heat)")
        wanted = maps[f"heat_{k}" if k < len(about["born"]) else "points"]
        assert heat == pytest.approx(
            wanted[0 if k == len(about["born"]) else ...].max(), abs=1e-3
        )
    assert not counts[0] and counts[-1], "nothing at the start, words at the end"


@needs_browser
def test_keyboard_moves_the_point_and_chooses(desktop, home, about):
    opened(desktop, home + "nms.html")
    desktop.js(f"document.querySelector('{LARGE}').focus(); {ROOT}.cnb.point(100, 200)")
    before, R = state(desktop), about["stride"]
    for key in (RIGHT, RIGHT, DOWN, LEFT, UP, DOWN):
        desktop.press(key)
    y, x = state(desktop)["point"]
    assert (y - before["point"][0], x - before["point"][1]) == (R, R)
    assert state(desktop)["chosen"] == before["chosen"]
    desktop.press(ENTER)
    assert state(desktop)["chosen"] != before["chosen"]
    desktop.js(f"{ROOT}.querySelector('.cnb-tile').focus()")
    desktop.press(ENTER)
    assert state(desktop)["shown"] == "photo"
    assert desktop.js(f"return {ROOT}.querySelectorAll('[aria-pressed=true]').length") == 1


@needs_browser
def test_a_finger_points_without_being_cut_off(phone, home):
    opened(phone, home + "index.html")
    phone.js("window.cut = 0; addEventListener('pointercancel', () => { cut++; }, true)")
    phone.point(LARGE, [(3, 4)] * 10, touch=True)
    y, x = state(phone)["point"]
    wide, high = phone.js(f"const v = {ROOT}.cnb.view; return [v.width, v.height]")
    assert phone.js("return cut") == 0 and y > high / 2 + 10 and x > wide / 2 + 10
    assert not phone.errors()


PACE = """return (async () => {
  const long = [], look = new PerformanceObserver((l) => long.push(...l.getEntries().map((e) => e.duration)));
  look.observe({ type: 'longtask' });
  const root = document.querySelector('[data-apart]'), frame = () => new Promise((next) => requestAnimationFrame(next));
  root.scrollIntoView({ block: 'center', behavior: 'instant' });
  while (root.dataset.state !== 'done') await frame();
  const box = root.querySelector('.cnb-large .cnb-board'), r = box.getBoundingClientRect(), times = [];
  for (let i = 0; i < 100; i++) {
    const where = { bubbles: true, clientX: r.left + r.width * (i * 37 % 100) / 100, clientY: r.top + r.height * (i * 61 % 100) / 100 };
    const begin = performance.now();
    box.dispatchEvent(new PointerEvent('pointermove', where));
    times.push(performance.now() - begin);
    await frame();
  }
  for (const e of root.querySelectorAll('input[type=range]')) for (const v of [e.min, e.max, e.value]) {
    e.value = v; e.dispatchEvent(new Event('input')); await frame();
  }
  await new Promise((next) => setTimeout(next, 300));
  return [times.sort((a, b) => a - b)[50], Math.max(0, ...long)];
})()"""  # noqa: E501


@needs_browser
def test_a_move_is_quick_and_no_task_is_long(desktop, home):
    "By the Performance API; of three tries the best, since others may use this machine."
    tries = []
    for _ in range(3):
        desktop.open(home + "nms.html")
        desktop.js("return new Promise((next) => setTimeout(next, 1500))")
        tries.append(desktop.js(PACE))
        if tries[-1][0] <= 8 and tries[-1][1] <= 50:
            break
    print(
        f"median script time a move {tries[-1][0]:.2f} ms, longest task {tries[-1][1]:.0f} ms"
    )
    assert min(t[0] for t in tries) <= 8 and min(t[1] for t in tries) <= 50, tries


@needs_browser
def test_own_photo_is_taken_apart_in_the_page(desktop, home, site):
    opened(desktop, home + "nms.html")
    desktop.js(
        f"fetch('site/apart/photo.jpg').then((r) => r.blob()).then((b) => {ROOT}.cnb.own(b))"
    )
    desktop.wait(
        f"{ROOT}.dataset.state !== 'busy' && {ROOT}.cnb.view.born.length === 1", seconds=150
    )
    desktop.wait(f"{ROOT}.dataset.state === 'done'")
    photo = Image.open(FOLDER / "photo.jpg")
    size = desktop.js(f"const v = {ROOT}.cnb.view; return Math.max(v.width, v.height)")
    x, _ = fit(photo, size)
    detector = OnnxDetector(site / "site" / "text.onnx", threads=1)
    names = [m["output"] for m in detector_maps(site)]
    points, *stages = detector.session.run(["points", *names], {"images": x})
    ours = desktop.js(f"const v = {ROOT}.cnb.view; return [...v.born[0].heat]")
    np.testing.assert_allclose(ours, points[0, 0].ravel(), atol=0.02)
    for k, stage in enumerate(stages):
        shape = desktop.js(
            f"const m = {ROOT}.cnb.view.maps[{k}]; return [m.planes.length, m.h, m.w]"
        )
        assert shape == list(stage.shape[1:])
    assert "not sent" in desktop.js(f"return {ROOT}.textContent")
    desktop.js(f"{ROOT}.cnb.own(new Blob(['Dear Sir']))")
    desktop.wait(f"{ROOT}.dataset.state === 'failed'")
    assert "not a picture" in desktop.js(f"return {ROOT}.textContent")


def detector_maps(site):
    return json.loads((site / "site" / "text.json").read_text(encoding="utf-8"))["maps"]


def test_fields_of_a_small_graph():
    "Two convolutions and an upscaling, by hand: 3 by stride 2, 3 by 1, then doubled by 4."
    onnx = pytest.importorskip("onnx")
    import io

    net = nn.Sequential(
        nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 1, 1), nn.ConvTranspose2d(2, 2, 4, 2, 1)
    )
    file = io.BytesIO()
    how = dict(input_names=["images"], output_names=["out"], dynamo=False)
    torch.onnx.export(net, (torch.zeros(1, 3, 8, 8),), file, **how)
    at = site_model.fields(onnx.load_from_string(file.getvalue()).graph)
    (s, a, b) = at["out"]
    # row 2i is made from the rows i - 1 and i of the second: pixels 2(i-1) - 3 to 2i + 3
    assert (s, a, b) == (1, -5, 4)
