"""Other people's networks, which draw as their authors wrote: each member is the student alone."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from fkd.model import Key, Model, Tensors, functional, outputs_like

MEMBERS = 3


class Inverted(nn.Module):
    """As torchvision's efficientnet: a residual block with stochastic depth."""

    def __init__(self, mode: str):
        super().__init__()
        self.block = torchvision.ops.Conv2dNormActivation(3, 3, activation_layer=nn.SiLU)
        self.depth = torchvision.ops.StochasticDepth(0.4, mode)

    def forward(self, x):
        return x + self.depth(self.block(x))


def _efficientnet() -> nn.Module:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2, inplace=True), nn.Linear(3, 4))
    return nn.Sequential(Inverted("row"), Inverted("batch"), *head)


def _torchvision_vit() -> nn.Module:
    net = torchvision.models.VisionTransformer(
        image_size=8,
        patch_size=4,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=8,
        dropout=0.1,
        attention_dropout=0.3,
        num_classes=4,
    )
    nn.init.normal_(net.get_parameter("heads.head.weight"))  # zeros, as it comes
    return net


def _timm_vit() -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.models.VisionTransformer(
        img_size=8,
        patch_size=4,
        embed_dim=8,
        depth=2,
        num_heads=2,
        num_classes=4,
        drop_path_rate=0.5,
        attn_drop_rate=0.3,
        proj_drop_rate=0.1,
    )


class Encoder(nn.Module):
    def __init__(self, batch_first: bool):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            8, 2, dim_feedforward=8, dropout=0.3, batch_first=batch_first
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        words = x.flatten(2).unflatten(2, (-1, 8)).flatten(1, 2)
        return self.head(self.layer(words).mean(1))


class Functions(nn.Module):
    """Dropout without a layer, a random mask, and noise."""

    def __init__(self):
        super().__init__()
        self.linear, self.head = nn.Linear(192, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = F.dropout(self.linear(x.flatten(1)), 0.3, self.training)
        if self.training:
            x = x * (torch.rand(len(x), 1) < 0.7) + 0.1 * torch.randn_like(x)
        return self.head(F.rrelu(x, training=self.training))


BUILDS: dict[str, Callable[[], nn.Module]] = {
    "stochastic depth": _efficientnet,
    "torchvision's ViT": _torchvision_vit,
    "an encoder layer": lambda: Encoder(batch_first=True),
    "an encoder layer, batch second": lambda: Encoder(batch_first=False),
    "timm's ViT": _timm_vit,
    "functions": Functions,
}


class Students(NamedTuple):
    model: Model
    alone: list[tuple[Tensors, Tensors]]
    together: tuple[Tensors, Tensors]


@cache
def _students(name: str) -> Students:
    model = functional(lambda: BUILDS[name]().double())
    alone = [model.init(seed) for seed in range(MEMBERS)]
    return Students(model, alone, tree_map(lambda *leaves: torch.stack(leaves), *alone))


def _images(examples: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(examples, 3, 8, 8, generator=generator, dtype=torch.float64)


def _gradient(model: Model) -> Callable[..., Any]:
    def loss(params: Tensors, buffers: Tensors, x: Tensor, seed: Tensor, step: Tensor) -> Any:
        key = Key(seed, step)
        outputs, buffers = model.apply(params, buffers, x, train=True, key=key)
        return outputs["logits"].square().sum(), buffers

    return torch.func.grad_and_value(loss, has_aux=True)


def _logits(student: Students, key: Key | None, x: Tensor, *, train: bool = True) -> Tensor:
    return student.model.apply(*student.alone[0], x, train=train, key=key)[0]["logits"]


@pytest.mark.parametrize("name", BUILDS)
def test_a_member_is_the_student_alone(name):
    student, x = _students(name), _images()
    gradient, step = _gradient(student.model), torch.tensor(7)
    seeds = torch.arange(MEMBERS) + 10
    vmapped = torch.func.vmap(gradient, in_dims=(0, 0, None, 0, None))
    together = vmapped(*student.together, x, seeds, step)
    for k, member in enumerate(student.alone):
        alone = gradient(*member, x, seeds[k], step)
        mine = tree_map(lambda leaf, k=k: leaf[k], together)
        torch.testing.assert_close(mine, alone, rtol=0, atol=1e-10)
    assert any(value.abs().max() > 1e-3 for value in together[0].values())


@pytest.mark.parametrize("name", BUILDS)
def test_numbers_are_the_keys_alone(name):
    student, x = _students(name), _images()
    outputs = _logits(student, Key(torch.tensor(1), torch.tensor(2)), x)
    assert torch.equal(outputs, _logits(student, Key(torch.tensor(1), torch.tensor(2)), x))
    for seed, step in [(2, 2), (1, 3)]:
        other = _logits(student, Key(torch.tensor(seed), torch.tensor(step)), x)
        assert not torch.equal(outputs, other)


@pytest.mark.parametrize("name", ["torchvision's ViT", "an encoder layer", "timm's ViT"])
def test_the_parts_of_a_batch_are_the_whole(name):
    student, x = _students(name), _images(6)
    seed, step = torch.tensor(1), torch.tensor(2)
    whole = _logits(student, Key(seed, step), x)
    for first, part in [(0, x[:2]), (2, x[2:])]:
        outputs = _logits(student, Key(seed, step, torch.tensor(first)), part)
        torch.testing.assert_close(outputs, whole[first : first + len(part)], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", BUILDS)
def test_evaluation_is_the_module_itself_and_needs_no_key(name):
    student, x = _students(name), _images()
    module = BUILDS[name]().double().eval()
    params, buffers = student.alone[0]
    module.load_state_dict(params | buffers)
    with torch.no_grad():
        expected = module(x)  # by torch's fast path, where there is one
    outputs = _logits(student, None, x, train=False)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-10)

    def logits(params: Tensors, buffers: Tensors) -> Tensor:
        return student.model.apply(params, buffers, x, train=False)[0]["logits"]

    # torch's fused attention on a CPU knows no vmap, and would run, and warn, a member at a time.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        members = torch.func.vmap(logits)(*student.together)
    torch.testing.assert_close(members[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", BUILDS)
def test_nothing_is_refused_at_the_door(name, train):
    like = outputs_like(_students(name).model, _images(), train=train)["logits"]
    assert (like.shape, like.dtype) == ((4, 4), torch.float64)


@pytest.mark.parametrize("name", BUILDS)
def test_a_model_that_drops_needs_a_key(name):
    with pytest.raises(ValueError, match=r"no key; pass key=Key\(seed, step\)"):
        _logits(_students(name), None, _images())


@pytest.mark.plain
@pytest.mark.parametrize(
    "name, backend",
    [("functions", "inductor"), ("torchvision's ViT", "aot_eager"), ("timm's ViT", "aot_eager")],
)
def test_what_is_compiled_whole_and_once_is_what_is_not(name, backend):
    torch._dynamo.reset()
    student, x = _students(name), _images()
    vmapped = torch.func.vmap(_gradient(student.model), in_dims=(0, 0, None, 0, None))
    compiled = torch.compile(vmapped, fullgraph=True, backend=backend)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in (torch.tensor(0), torch.tensor(1)):
            arguments = (*student.together, x, torch.arange(MEMBERS), step)
            expected = vmapped(*arguments)
            torch.testing.assert_close(compiled(*arguments), expected, rtol=0, atol=1e-6)


NEVER = 1e-12  # a dropout that is written out and drops nothing, to rounding


class Attention(nn.Module):
    def __init__(self, p: float, **options: Any):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=p, **options)

    def forward(self, inputs):
        query, key, value, padding, mask, more = inputs
        return self.attention(query, key, value, padding, attn_mask=mask, **more)[0]


BATCH, LENGTH, SOURCE = 3, 4, 5
PADDING = torch.tensor([[False] * SOURCE, [False] * 3 + [True] * 2, [False] * 4 + [True]])
HIDDEN = torch.zeros(BATCH, SOURCE).double().masked_fill(PADDING, -torch.inf)
CAUSAL = torch.ones(LENGTH, SOURCE, dtype=torch.bool).triu(1)
BIAS = torch.randn(BATCH * 2, LENGTH, SOURCE, generator=torch.Generator().manual_seed(1)).double()
ATTENTIONS: dict[str, tuple[dict[str, Any], Tensor | None, Tensor | None, dict[str, Any]]] = {
    "plain": ({}, None, None, {}),
    "no weights": ({"bias": False}, None, None, {"need_weights": False}),
    "batch first": ({"batch_first": True}, PADDING, None, {}),
    "padding and a causal mask": ({}, PADDING, CAUSAL, {}),
    "a causal hint": ({}, None, CAUSAL, {"is_causal": True, "need_weights": False}),
    "a bias for each head": ({}, HIDDEN, BIAS, {"average_attn_weights": False}),
    "more keys": ({"add_bias_kv": True, "add_zero_attn": True}, HIDDEN, BIAS, {}),
    "other widths": ({"kdim": 6, "vdim": 7}, None, None, {}),
}


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("unbatched", [False, True])
def test_attention_written_out_is_torchs(name, unbatched):
    options, padding, mask, more = ATTENTIONS[name]
    generator = torch.Generator().manual_seed(0)
    widths = 8, options.get("kdim", 8), options.get("vdim", 8)
    lengths = LENGTH, SOURCE, SOURCE
    sides = [
        torch.randn(length, BATCH, width, generator=generator).double()
        for length, width in zip(lengths, widths, strict=True)
    ]
    if unbatched:
        sides = [side[:, 1] for side in sides]
        padding = None if padding is None else padding[1]
        mask = BIAS[2:4] if mask is BIAS else mask
    elif options.get("batch_first"):
        sides = [side.transpose(0, 1) for side in sides]
    inputs = ((*sides, padding, mask, more),)
    expected, outputs = (
        functional(lambda p=p: Attention(p, **options).double()) for p in (0.0, NEVER)
    )
    params, buffers = expected.init(0)
    key = Key(torch.tensor(0), torch.tensor(0))
    torch.testing.assert_close(
        outputs.apply(params, buffers, inputs, train=True, key=key)[0]["logits"],
        expected.apply(params, buffers, inputs, train=True)[0]["logits"],
        rtol=0,
        atol=1e-9,
    )


def test_self_attention_projects_at_once_and_returns_the_weights_it_dropped():
    layer = nn.MultiheadAttention(8, 2, dropout=0.5).double()

    class Weights(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = layer

        def forward(self, x):
            outputs, weights = self.attention(x, x, x, average_attn_weights=False)
            return {"outputs": outputs, "weights": weights}

    model = functional(Weights)
    x = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0)).double()
    key = Key(torch.tensor(0), torch.tensor(0))
    dropped, _ = model.apply(*model.init(0), x, train=True, key=key)
    kept, _ = model.apply(*model.init(0), x, train=False)
    where = dropped["weights"] != 0
    assert 0.3 < where.double().mean() < 0.7
    torch.testing.assert_close(dropped["weights"], torch.where(where, 2 * kept["weights"], 0.0))


SCORES: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "a mask that hides all from one": {"attn_mask": ~CAUSAL & (torch.arange(LENGTH) != 1)[:, None]},
    "a bias": {"attn_mask": BIAS[:LENGTH].reshape(1, LENGTH, LENGTH, SOURCE)[:, :1]},
    "a scale": {"scale": 0.3},
    "fewer keys than heads": {"enable_gqa": True},
}


@pytest.mark.parametrize("name", SCORES)
def test_scaled_dot_products_written_out_are_torchs_with_their_gradient(name):
    options, generator = SCORES[name], torch.Generator().manual_seed(0)
    heads = 2 if options.get("enable_gqa") else 4
    shapes = (2, 4, LENGTH, 6), (2, heads, SOURCE, 6), (2, heads, SOURCE, 6)
    sides = tuple(torch.randn(shape, generator=generator).double() for shape in shapes)

    class Product(nn.Module):
        def __init__(self, p: float):
            super().__init__()
            self.p = p

        def forward(self, query, key, value):
            return F.scaled_dot_product_attention(query, key, value, dropout_p=self.p, **options)

    def loss(sides: tuple[Tensor, ...], p: float) -> tuple[Tensor, Tensor]:
        key = Key(torch.tensor(0), torch.tensor(0))
        outputs, _ = functional(lambda: Product(p)).apply({}, {}, sides, train=True, key=key)
        return outputs["logits"].square().sum(), outputs["logits"]

    expected = torch.func.grad(loss, has_aux=True)(sides, 0.0)
    outputs = torch.func.grad(loss, has_aux=True)(sides, NEVER)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-9)
