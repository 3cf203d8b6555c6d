"""Wrong answers, one typical mistake each, as changes of the reference

Of each, `answers.py` keeps what it computes on the visible and hidden inputs, so that the
same mistake in a student's own code is recognised by its numbers; and each is a submission of
the tests. Rows: phrase of course.toml, what is in the reference, what stands there instead."""

UPSCALE = [
    (
        "up_short",
        "size = kernel_size, 2, padding, output_padding",
        "size = kernel_size, 2, padding, 0",
    ),
    ("up_stride", "size = kernel_size, 2,", "size = kernel_size, 1,"),
    ("up_no_norm", "self.relu(self.bn(self.conv(x)))", "self.relu(self.conv(x))"),
    ("up_no_relu", "self.relu(self.bn(self.conv(x)))", "self.bn(self.conv(x))"),
    ("up_order", "self.relu(self.bn(self.conv(x)))", "self.bn(self.relu(self.conv(x)))"),
    ("up_bias", "*size, bias=False)", "*size)"),
    ("up_accepts", "if padding < 0 or grows != 2:", "if padding < 0:"),
]

RESNET = [
    (
        "res_no_shortcut",
        "self.relu(self.bn2(self.conv2(x)) + shortcut)",
        "self.relu(self.bn2(self.conv2(x)))",
    ),
    (
        "res_relu_first",
        "self.relu(self.bn2(self.conv2(x)) + shortcut)",
        "self.relu(self.bn2(self.conv2(x))) + shortcut",
    ),
    (
        "res_no_relu",
        "x = self.relu(self.bn1(self.conv1(x)))\n        return",
        "x = self.bn1(self.conv1(x))\n        return",
    ),
    ("res_no_norm", "self.relu(self.bn2(self.conv2(x)) +", "self.relu(self.conv2(x) +"),
    (
        "res_is_18",
        "super().__init__((3, 4, 6, 3), stages",
        "super().__init__((2, 2, 2, 2), stages",
    ),
    ("res_no_pool", "x = self.maxpool(self.relu(", "x = (self.relu("),
    ("res_no_stride", "width, 1 if i == 0 else 2)", "width, 1 if i < 2 else 2)"),
    (
        "res_names",
        'setattr(self, f"layer{i+1}", nn.Sequential(first, *rest))',
        'setattr(self, f"stage{i+1}", nn.Sequential(first, *rest))',
        'getattr(self, f"layer{i+1}")',
        'getattr(self, f"stage{i+1}")',
    ),
    ("res_bias", "3, padding=1, bias=False)", "3, padding=1)"),
]

HEAD = [
    ("head_no_sigmoid", "heat if logits else heat.sigmoid()", "heat"),
    ("head_softmax", "heat.sigmoid()", "heat.softmax(1)"),
    (
        "head_sigmoid_all",
        "self.offset(x), self.size(x)], 1)",
        "self.offset(x).sigmoid(), self.size(x).sigmoid()], 1)",
    ),
    ("head_no_bias", "bias, -math.log((1 - prior)/prior))", "bias, 0)"),
    ("head_bias_sign", "bias, -math.log(", "bias, math.log("),
    ("head_prior", "-math.log((1 - prior)/prior)", "-math.log((1 - .1)/.1)"),
    ("head_swapped", "self.offset(x), self.size(x)]", "self.size(x), self.offset(x)]"),
    (
        "head_last",
        "[heat if logits else heat.sigmoid(), self.offset(x), self.size(x)]",
        "[self.offset(x), self.size(x), heat if logits else heat.sigmoid()]",
    ),
    ("head_no_relu", "first, nn.ReLU(inplace=True),", "first, nn.Identity(),"),
    ("head_no_padding", "hidden, 3, padding=1)", "hidden, 3)"),
    ("head_logits", "heat if logits else heat.sigmoid()", "heat.sigmoid()"),
    ("head_accepts", "if not 0 < prior < 1:", "if False:"),
]

LOSS = [
    ("loss_n", ".sum(1, keepdim=True) + 1)", ".sum(1, keepdim=True).clamp(min=1))"),
    (
        "loss_padding",
        "((objects[..., 5] == 1).sum(1, keepdim=True) + 1)",
        "(objects.shape[1] + 1)",
    ),
    ("loss_log0", ".clamp_min(tiny)", ""),
    (
        "loss_clamp",
        "log_p, log_q = F.logsigmoid(z), F.logsigmoid(-z)",
        "p = z.sigmoid().clamp(1e-4, 1 - 1e-4)\n    log_p, log_q = p.log(), (1 - p).log()",
    ),
    ("loss_beta", "(1 - y)**beta*p**alpha", "p**alpha"),
    ("loss_alpha", "q**alpha*", ""),
    ("loss_label", "torch.where(y == 1,", "torch.where(y > 0,"),
    (
        "loss_lambdas",
        "[1, self.l_offset_lambda, self.l_size_lambda]",
        "[1, self.l_size_lambda, self.l_offset_lambda]",
    ),
    ("loss_no_lambda", "[1, self.l_offset_lambda, self.l_size_lambda]", "[1, 1, 1]"),
    ("loss_2n", "diff.abs(), 0).sum((1, 2, 3))", "diff.abs(), 0).sum((1, 2, 3))/2"),
    ("loss_l2", "diff.abs()", "diff.square()"),
    ("loss_product", "torch.where(centre, diff.abs(), 0)", "(diff.abs()*centre)"),
    ("loss_everywhere", "torch.where(centre, diff.abs(), 0)", "diff.abs()"),
    ("loss_r", "objects[..., :4]/self.r_scale", "objects[..., :4]"),
    ("loss_r4", "objects[..., :4]/self.r_scale", "objects[..., :4]/4"),
    (
        "loss_ignore",
        "if ignore is not None: negative = negative.masked_fill(ignore[:, None], 0)",
        "",
    ),
    (
        "loss_ignore_all",
        "if ignore is not None: negative = negative.masked_fill(ignore[:, None], 0)\n",
        "if ignore is not None:\n"
        "        negative = negative.masked_fill(ignore[:, None], 0)\n"
        "        y = y.masked_fill(ignore[:, None], 0)\n",
    ),
    ("loss_batch", "negative).sum((1, 2, 3))", "negative).sum().expand(len(y))"),
    (
        "loss_detached",
        "p, q = log_p.exp(), log_q.exp()",
        "p, q = log_p.exp().detach(), log_q.exp().detach()",
    ),
    (
        "loss_stopped",
        "return -torch.where(y == 1, q**alpha*log_p, negative).sum((1, 2, 3))",
        "return -torch.where(y == 1, q**alpha*log_p, negative).sum((1, 2, 3)).detach()",
    ),
    (
        "loss_input",
        "scaled = torch.cat([objects[..., :4]/self.r_scale, objects[..., 4:]], -1)",
        "objects[..., :4] /= self.r_scale\n        scaled = objects",
    ),
]

ENCODE = [
    ("enc_yx", "y, x = objects[..., :2].floor()", "x, y = objects[..., :2].floor()"),
    (
        "enc_sum",
        "torch.maximum(patch, kernel.to(patch), out=patch)",
        "patch += kernel.to(patch)",
    ),
    ("enc_round", "objects[..., :2].floor().clamp", "objects[..., :2].round().clamp"),
    (
        "enc_offset_round",
        "return (p - p.floor()).unbind(1)",
        "return (p - p.round()).unbind(1)",
    ),
    ("enc_offset_xy", "(p - p.floor()).unbind(1)", "(p - p.floor()).flip(1).unbind(1)"),
    ("enc_offset_middle", "(p - p.floor()).unbind(1)", "(p - p.floor() - .5).unbind(1)"),
    (
        "enc_wh",
        "objects[..., 2:4].flatten(0, 1).unbind(1)",
        "objects[..., 2:4].flatten(0, 1).flip(1).unbind(1)",
    ),
    (
        "enc_pixels",
        "return objects[..., 2:4].flatten(0, 1)",
        "return (4*objects[..., 2:4]).flatten(0, 1)",
    ),
    (
        "enc_log",
        "return objects[..., 2:4].flatten(0, 1)",
        "return (objects[..., 2:4] + 1e-6).log().flatten(0, 1)",
    ),
    ("enc_class", "cls.long(), y, x)), torch.stack", "cls.long()*0, y, x)), torch.stack"),
    ("enc_padding", "(confidence == 1) & (y >= 0)", "(confidence >= 0) & (y >= 0)"),
    (
        "enc_clamp",
        "real = (confidence == 1) &",
        "y, x = y.clamp(0, H - 1), x.clamp(0, W - 1)\n    real = (confidence == 1) &",
    ),
    ("enc_sigma", "((r + 1)/3,)*2", "((2*r + 1)/3,)*2"),
    ("enc_even", 'if smooth_kernel_size: odd(smooth_kernel_size, "smooth_kernel_size")', ""),
    (
        "enc_radius",
        "gaussian_radius(h, w, self.min_overlap)",
        'gaussian_radius(h, w, self.min_overlap, "original")',
    ),
    ("enc_fixed", 'if self.gaussian == "fixed":', "if True:"),
    (
        "enc_normalised",
        "return gy[:, None]*gx",
        "return gy[:, None]*gx/(gy[:, None]*gx).sum()",
    ),
    (
        "enc_order",
        "values = self.compute_objects_offsets(objects) + self.compute_objects_sizes(objects)",
        "values = self.compute_objects_sizes(objects) + self.compute_objects_offsets(objects)",
    ),
    (
        "enc_smooth",
        "r = torch.full_like(h, self.smooth_kernel_size//2).long()",
        "r = torch.full_like(h, max(1, self.smooth_kernel_size//2)).long()",
    ),
    (
        "enc_adds",
        "points[b[n], -4:, y[n], x[n]] = values[n]",
        "points[b[n], -4:, y[n], x[n]] += values[n]",
    ),
    (
        "enc_input",
        "batch, y, x = self.compute_objects_locations(objects)",
        "given[..., :2] = given[..., :2].floor()\n"
        "    batch, y, x = self.compute_objects_locations(objects)",
        "(H, W), objects = self.hw,",
        "given = objects\n    (H, W), objects = self.hw,",
    ),
]

DECODE = [
    ("dec_yx", "[cell//W + dy, cell % W + dx,", "[cell % W + dy, cell//W + dx,"),
    ("dec_divisor_h", "[cell//W + dy, cell % W + dx,", "[cell//H + dy, cell % H + dx,"),
    ("dec_divisor", "h, w, at//(H*W), value]", "h, w, at//W, value]"),
    ("dec_class_first", "h, w, at//(H*W), value]", "h, w, at % heat.shape[1], value]"),
    ("dec_float", "h, w, at//(H*W), value]", "h, w, at/(H*W), value]"),
    ("dec_no_offset", "[cell//W + dy, cell % W + dx,", "[cell//W + 0*dy, cell % W + 0*dx,"),
    ("dec_offset_xy", "dy, dx, h, w = rest", "dx, dy, h, w = rest"),
    ("dec_half", "[cell//W + dy, cell % W + dx,", "[cell//W + dy + .5, cell % W + dx + .5,"),
    ("dec_wh", "dy, dx, h, w = rest", "dy, dx, w, h = rest"),
    ("dec_size_first", "dy, dx, h, w = rest", "h, w, dy, dx = rest"),
    (
        "dec_floor",
        "max(self.min_confidence, torch.finfo(torch.float32).tiny)",
        "torch.finfo(torch.float32).tiny",
    ),
    ("dec_confidence", "at//(H*W), value], 2)", "at//(H*W), torch.ones_like(value)], 2)"),
    (
        "dec_scale",
        "h, w, at//(H*W), value], 2)",
        "h, w, at//(H*W), value], 2)*torch.tensor([4, 4, 4, 4, 1, 1])",
    ),
    (
        "dec_corner",
        "[cell//W + dy, cell % W + dx,",
        "[cell//W + dy - h/2, cell % W + dx - w/2,",
    ),
    (
        "dec_sigmoid",
        "points[:, :-4], points[:, -4:]",
        "points[:, :-4].sigmoid(), points[:, -4:]",
    ),
    (
        "dec_rows",
        "rows.where(real[..., None], 0.)",
        "rows*torch.cat([torch.ones_like(rows[..., :5]), real[..., None]], 2)",
    ),
    (
        "dec_point",
        "real = value >= max(self.min_confidence, torch.finfo(torch.float32).tiny)",
        "real = (h*w > 0) & "
        "(value >= max(self.min_confidence, torch.finfo(torch.float32).tiny))",
    ),
    (
        "dec_few",
        "F.pad(rows.where(real[..., None], 0.), (0, 0, 0, K - rows.shape[1]))",
        "rows.where(real[..., None], 0.)",
    ),
    ("dec_ascending", "descending=True", "descending=False"),
    (
        "dec_ties",
        "descending=True, stable=True)",
        "descending=True, stable=True)\n        at = heat.flatten(1).flip(1)"
        ".sort(dim=1, descending=True, stable=True)[1]\n"
        "        at = heat[0].numel() - 1 - at",
    ),
    (
        "dec_peaks",
        "H, W = points.shape[-2:]",
        "heat, (H, W) = heat*(heat == F.max_pool2d(heat, 3, 1, 1)), points.shape[-2:]",
    ),
    (
        "dec_input",
        "rows = torch.stack",
        "points[:, :-4][points[:, :-4] < self.min_confidence] = 0\n        rows = torch.stack",
    ),
]

SUPPRESS = [
    (
        "nms_all",
        "heat, rest, k = points[:, :-4], points[:, -4:], self.kernel_size",
        "heat, rest, k = points, points[:, :0], self.kernel_size",
    ),
    (
        "nms_strict",
        "torch.where(first == here, heat, 0)",
        "torch.where((F.unfold(F.pad(heat, (k//2,)*4).flatten(0, 1)[:, None], k)"
        ".view(*heat.shape[:2], k*k, -1)"
        " >= heat.flatten(2)[:, :, None]).sum(2).view(heat.shape) == 1, heat, 0)",
    ),
    (
        "nms_plateau",
        "torch.where(first == here, heat, 0)",
        "torch.where(heat == F.max_pool2d(heat, k, 1, k//2), heat, 0)",
    ),
    (
        "nms_last",
        "torch.where(first == here, heat, 0)",
        "torch.where(F.max_pool2d(heat.flip((2, 3)), k, 1, k//2, return_indices=True)[1]"
        ".flip((2, 3))"
        " == here.flip((0, 1)), heat, 0)",
    ),
    ("nms_ones", "torch.where(first == here, heat, 0)", "torch.where(first == here, 1., 0)"),
    (
        "nms_bool",
        "torch.where(first == here, heat, 0)",
        "torch.where(first == here, 0., heat)",
    ),
    ("nms_maximum", "torch.where(first == here, heat, 0)", "F.max_pool2d(heat, k, 1, k//2)"),
    (
        "nms_classes",
        "torch.where(first == here, heat, 0)",
        "torch.where((first == here) & (heat == heat.amax(1, keepdim=True)), heat, 0)",
    ),
    ("nms_window", "points[:, -4:], self.kernel_size", "points[:, -4:], 3"),
    ("nms_even", "self.kernel_size = odd(kernel_size)", "self.kernel_size = kernel_size"),
    (
        "nms_half",
        "k, 1, k//2, return_indices=True)",
        "2*k - 1, 1, k - 1, return_indices=True)",
    ),
    (
        "nms_input",
        "return torch.cat([torch.where(first == here, heat, 0), rest], 1)",
        "points[:, :-4] = torch.where(first == here, heat, 0)\n        return points",
    ),
    (
        "nms_no_rest",
        "torch.where(first == here, heat, 0), rest]",
        "torch.where(first == here, heat, 0), rest*0]",
    ),
]

WRONG = {
    "UpscaleTwiceLayer": UPSCALE,
    "HeadlessResnet34": RESNET,
    "CenterNetHead": HEAD,
    "CenterNetLoss": LOSS,
    "ObjectsToPoints": ENCODE,
    "PointsToObjects": DECODE,
    "PointsNonMaxSuppression": SUPPRESS,
}


def changed(source, pairs):
    "`source` with each old text replaced, wherever it stands; all must be found"
    for old, new in zip(pairs[::2], pairs[1::2]):
        assert old in source, f"not in the reference any more: {old!r}"
        source = source.replace(old, new)
    return source
