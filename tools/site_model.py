"""The text model as the site's pages run it: one ONNX file with int8 weights, which also hands
out what the network makes of a photo on the way (`map_0`, `map_1`, … and `points`)."""

from __future__ import annotations

import json
from math import ceil, floor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHANNELS = 6  # pictures of a map: the mean of its channels, then the strongest of them
RESIZES = "Conv", "ConvTranspose", "MaxPool", "AveragePool"


def int8_weights(model) -> int:
    """Store the large weights of an ONNX model as int8 with a float32 scale a channel, undone
    by a `DequantizeLinear` in front of the layer, which computes in float32 as before. Only
    where nothing is lost: the weights lie on such a grid already, as those of a packed model
    file do. Returns how many it packed."""
    import numpy as np
    from onnx import helper, numpy_helper

    packed, kept, nodes = 0, [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        for axis in (0, 1) if values.dtype == np.float32 and values.size > 2000 else ():
            rest = tuple(i for i in range(values.ndim) if i != axis)
            scale = np.abs(values).max(rest, keepdims=True) / 127
            scale = np.where(scale == 0, np.float32(1), scale)
            steps = values / scale
            if np.abs(steps - steps.round()).max() > 1e-3:
                continue
            name, parts = tensor.name, dict(int8=steps.round().astype(np.int8))
            parts |= dict(scale=scale.ravel(), zero=np.zeros(scale.size, np.int8))
            kept += [numpy_helper.from_array(v, f"{name}.{k}") for k, v in parts.items()]
            inputs = [f"{name}.{k}" for k in parts]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
            packed += 1
            break
        else:
            kept.append(tensor)
    for part, new in (
        (model.graph.initializer, kept),
        (model.graph.node, [*nodes, *model.graph.node]),
    ):
        new = list(new)
        del part[:]
        part.extend(new)
    return packed


# ---------------------------------------------------------------- the maps on the way


def options(node) -> tuple[int, int, int, int]:
    "Kernel, stride, padding and dilation of a layer, along the height."
    a = {x.name: list(x.ints)[0] for x in node.attribute if x.ints}
    return (a.get("kernel_shape", 1), a.get("strides", 1), a.get("pads", 0)) + (
        a.get("dilations", 1),
    )


def fields(graph) -> dict[str, tuple[float, float, float]]:
    """Tensor → (s, a, b): its cell i lies `s` pixels below cell i - 1 and is computed from the
    rows s·i + a to s·i + b of the picture, its receptive field."""
    at = {"images": (1, 0, 0)}
    for node in graph.node:
        known = [at[i] for i in node.input if i in at]
        if not known:
            continue
        s, a, b = known[0][0], min(k[1] for k in known), max(k[2] for k in known)
        k, step, pad, dilation = options(node)
        reach = dilation * (k - 1)
        if node.op_type == "ConvTranspose":  # the row o is made from ⌈(o+pad-reach)/step⌉ on
            s = s / step
            first = [ceil((o + pad - reach) / step) * step - o for o in range(step)]
            last = [floor((o + pad) / step) * step - o for o in range(step)]
            a, b = a + s * min(first), b + s * max(last)
        elif node.op_type in RESIZES:
            s, a, b = s * step, a - pad * s, b + (reach - pad) * s
        at |= dict.fromkeys(node.output, (s, a, b))
    return at


def stages(graph) -> list[str]:
    """The maps worth looking at: what each change of resolution reads, and what the head
    does."""
    found = []
    for node in graph.node:
        changes = node.op_type in RESIZES and options(node)[1] != 1
        if (changes or node.name.startswith("/net/head/")) and node.input[0] not in found:
            found.append(node.input[0])
        if node.name.startswith("/net/head/"):
            break
    return [name for name in found if name != "images"]


def hand_out(model, widths: dict[str, int]) -> list[dict]:
    """Give `model` the outputs `map_0`, … (`CHANNELS` pictures of each stage) and `points`;
    returns what there is to say about each. `widths`: channels of a tensor."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph, told, at = model.graph, [], fields(model.graph)
    last = next(n.input[0] for n in graph.node if "heat" in n.output)
    new, most = [helper.make_node("Identity", [last], ["points"])], 0
    for n, name in enumerate(stages(graph)):
        k, out = min(CHANNELS - 1, widths[name]), f"map_{n}"
        graph.initializer.append(numpy_helper.from_array(np.array([k]), f"{out}.k"))
        new += [
            helper.make_node("ReduceMean", [name], [f"{out}.mean"], axes=[1], keepdims=1),
            helper.make_node("ReduceL2", [name], [f"{out}.l2"], axes=[0, 2, 3], keepdims=0),
            helper.make_node("TopK", [f"{out}.l2", f"{out}.k"], [f"{out}.top", f"{out}.best"]),
            helper.make_node("Gather", [name, f"{out}.best"], [f"{out}.strong"], axis=1),
            helper.make_node("Concat", [f"{out}.mean", f"{out}.strong"], [out], axis=1),
        ]
        stride, a, b = at[name]
        told.append(dict(output=out, stride=stride, channels=widths[name], field=[a, b]))
        told[-1]["up"], most = stride < most, max(most, stride)
    graph.node.extend(new)
    for name in ["points", *(t["output"] for t in told)]:
        shape = ["batch", None, None, None]
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return told


def channels(model) -> dict[str, int]:
    "Channels of every tensor of a model that has any."
    import onnx

    whole = onnx.shape_inference.infer_shapes(model)
    dims = {v.name: v.type.tensor_type.shape.dim for v in whole.graph.value_info}
    return {name: d[1].dim_value for name, d in dims.items() if len(d) == 4}


# ---------------------------------------------------------------- the file


def network():
    """The built-in text model, or where there is none yet an untrained one that says so; and
    what to say of it."""
    import torch
    from centernet_nb.network import CenterNet, load_model

    if (ROOT / "centernet_nb" / "models" / "text.safetensors").exists():
        return load_model("text"), {}
    torch.manual_seed(0)
    small = dict(depth=18, stages=3)
    net = CenterNet(False, head_kwargs=dict(c_classes=1), backbone_kwargs=small).eval()
    return net, dict(names=["text"], size=256, untrained=True)


def write_model(path: Path, size: int = 512) -> dict:
    "`network` as ONNX; returns its labels, which lie beside it as JSON."
    import onnx
    import torch
    from centernet_nb.deploy import export_onnx

    torch.set_num_threads(1)
    net, labels = network()
    net.points_to_objects.objects_per_image, net.points_to_objects.min_confidence = 100, 0.05
    path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(net, path, **labels)
    model = onnx.load(str(path))
    stride, *field = fields(model.graph)["heat"]
    labels["maps"] = hand_out(model, channels(model))
    int8_weights(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    known = {**getattr(net, "labels", {}), **labels}
    kinds = str, int, float, bool, list
    labels = {"size": size} | {k: v for k, v in known.items() if isinstance(v, kinds)}
    labels |= dict(stride=stride, field=field, bytes=path.stat().st_size)
    path.with_suffix(".json").write_text(json.dumps(labels), encoding="utf-8")
    return labels
