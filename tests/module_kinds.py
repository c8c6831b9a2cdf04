"""Small instances of other people's networks, by kind: what each is given, and what works how.

The README's table of module kinds is `table()`, which tests/test_module_kinds.py holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.resnet import BasicBlock

CLASSES, EXAMPLES, WORDS, LENGTH = 4, 4, 13, 6


@dataclass(frozen=True)
class Kind:
    """A module, an example of its inputs, and what of it works.

    `vmap` is the reason why a vmapped step refuses it, and `compiled` why the compiler cannot take
    the step; both are empty where they work. In a loop over members every kind works.
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]
    vmap: str = ""
    compiled: str = ""


def images(side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(EXAMPLES, 3, side, side, generator=generator, dtype=torch.float64)


def sequences() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(EXAMPLES, LENGTH, 5, generator=generator, dtype=torch.float64)


def words() -> dict[str, Tensor]:
    """Texts of several lengths, with the mask that says so."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, WORDS, (EXAMPLES, LENGTH), generator=generator)
    lengths = torch.tensor([6, 4, 5, 3])[:, None]
    return {"input_ids": ids, "attention_mask": (torch.arange(LENGTH) < lengths).long()}


class Recurrent(nn.Module):
    """Two recurrent layers, dropout between them, and a classifier of the last output."""

    def __init__(self, layer: type[nn.LSTM] | type[nn.GRU]):
        super().__init__()
        self.recurrent = layer(5, 6, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class Branching(nn.Module):
    """Control flow that depends on the numbers, and `.item()`."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(30, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x.flatten(1))
        return self.head(hidden.relu() if hidden.sum().item() > 0 else hidden.tanh())


class Counting(nn.Module):
    """A buffer that is re-assigned in the forward pass."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(30, CLASSES)
        self.register_buffer("mean", torch.zeros(30, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.head(x - self.mean)


def _resnet() -> nn.Module:
    return torchvision.models.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)


def _mobilenet() -> nn.Module:
    blocks = [
        InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1.0),
        InvertedResidualConfig(16, 5, 32, 24, True, "HS", 2, 1, 1.0),
    ]
    return torchvision.models.MobileNetV3(blocks, last_channel=32, num_classes=CLASSES)


def _efficientnet() -> nn.Module:
    blocks = [MBConvConfig(1, 3, 1, 8, 8, 1, 1, 1), MBConvConfig(4, 3, 2, 8, 8, 2, 1, 1)]
    return torchvision.models.EfficientNet(
        blocks, dropout=0.2, stochastic_depth_prob=0.3, num_classes=CLASSES, last_channel=16
    )


def _convnext() -> nn.Module:
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)]
    return torchvision.models.ConvNeXt(blocks, stochastic_depth_prob=0.3, num_classes=CLASSES)


def _swin() -> nn.Module:
    return torchvision.models.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=8,
        depths=[2, 1],
        num_heads=[2, 2],
        window_size=[4, 4],
        stochastic_depth_prob=0.3,
        num_classes=CLASSES,
    )


def _vit() -> nn.Module:
    net = torchvision.models.VisionTransformer(
        image_size=32,
        patch_size=16,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=8,
        attention_dropout=0.2,
        num_classes=CLASSES,
    )
    nn.init.normal_(net.get_parameter("heads.head.weight"))  # zeros, as it comes
    return net


def _timm_vit() -> nn.Module:
    import timm

    return timm.models.VisionTransformer(
        img_size=32,
        patch_size=16,
        embed_dim=8,
        depth=2,
        num_heads=2,
        num_classes=CLASSES,
        drop_path_rate=0.3,
    )


def _hugging_face_vit() -> nn.Module:
    from transformers.models.vit.configuration_vit import ViTConfig
    from transformers.models.vit.modeling_vit import ViTForImageClassification

    config = ViTConfig(
        image_size=32,
        patch_size=16,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.2,
    )
    config.num_labels = CLASSES
    return ViTForImageClassification(config)


def bert() -> nn.Module:
    """A small BERT that classifies texts, with its dropouts, as it comes."""
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertForSequenceClassification

    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=LENGTH,
        output_hidden_states=True,
    )
    config.num_labels = CLASSES
    return BertForSequenceClassification(config)


def gpt2() -> nn.Module:
    """A small GPT-2, its embedding tied to its classifier, as it comes."""
    from transformers.models.gpt2.configuration_gpt2 import GPT2Config
    from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=WORDS,
        n_positions=LENGTH,
        n_embd=8,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def _spectral() -> nn.Module:
    first = nn.utils.parametrizations.spectral_norm(nn.Linear(30, 6))
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(6, CLASSES))


def _cumulative() -> nn.Module:
    norm = nn.BatchNorm1d(30, momentum=None)
    return nn.Sequential(nn.Flatten(), norm, nn.Linear(30, CLASSES))


NUMBERS = "it asks for a tensor's numbers"

KINDS: dict[str, Kind] = {
    "torchvision ResNet": Kind(_resnet, images),
    "torchvision MobileNetV3, squeeze and excitation": Kind(_mobilenet, images),
    "torchvision EfficientNet, stochastic depth": Kind(_efficientnet, images),
    "torchvision ConvNeXt, stochastic depth": Kind(_convnext, images),
    "torchvision Swin, stochastic depth": Kind(_swin, images),
    "torchvision ViT, attention dropout": Kind(_vit, images),
    "timm ViT, drop path": Kind(_timm_vit, images),
    "Hugging Face ViT, dropouts": Kind(_hugging_face_vit, images),
    "Hugging Face BERT, mask and dropouts": Kind(bert, words),
    "Hugging Face GPT-2, tied weights": Kind(gpt2, words),
    "LSTM, dropout between layers": Kind(partial(Recurrent, nn.LSTM), sequences),
    "GRU, dropout between layers": Kind(partial(Recurrent, nn.GRU), sequences),
    "spectral norm": Kind(_spectral, sequences, vmap="it writes through `out=`"),
    "BatchNorm with momentum=None": Kind(_cumulative, sequences, vmap=NUMBERS, compiled=NUMBERS),
    "a buffer re-assigned in forward": Kind(Counting, sequences),
    "`.item()` and branches on numbers": Kind(Branching, sequences, vmap=NUMBERS, compiled=NUMBERS),
}


def table() -> str:
    """A row a kind: whether it is trained in a loop, vmapped, and compiled."""
    rows = ["| module | loop | vmap | compiled |", "|---|---|---|---|"]
    for name, kind in KINDS.items():
        cells = [f"no: {reason}" if reason else "yes" for reason in (kind.vmap, kind.compiled)]
        rows.append(f"| {name} | yes | {' | '.join(cells)} |")
    return "\n".join(rows)
