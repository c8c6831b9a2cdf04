"""How networks are trained, in names and numbers; and the recipes of the field by one word."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any

from fkd import _check, heads, methods, optim, schedules
from fkd.compare._counted import counted
from fkd.methods import Method
from fkd.optim import Optimizer
from fkd.schedules import Schedule

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": optim.adam,
    "adamw": optim.adamw,
    "lamb": optim.lamb,
    "sgd": optim.sgd,
}
TITLES = {"adam": "Adam", "adamw": "AdamW", "lamb": "LAMB", "sgd": "SGD"}
SCHEDULES = ("constant", "cosine", "steps")
MOST_EMA = 1 - 2**-24  # in float32, above it comes 1, by which an average never moves
# After these shares of the epochs the rate falls, each time to a tenth.
MILESTONES = (0.625, 0.75, 0.875)


@dataclass(frozen=True)
class Training:
    """An optimizer and its rate's schedule, as JSON can hold them.

    A number that is None is the optimizer's own default. `milestones` are the shares of the epochs
    after which the rate of `steps` falls to a tenth; the rate of every schedule may first rise over
    `warmup_epochs`. `clip_norm` bounds the gradient's norm, of each student by itself, and `ema` is
    the decay of a running average of the weights, which is tested beside them.

    Raises ValueError, which begins with the field's name, for what makes no sense.

    >>> Training("sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, schedule="steps").title({})
    'SGD 0.05, momentum 0.9, decay 0.0005, steps at 0.625, 0.75, 0.875'
    """

    optimizer: str = "adam"
    lr: float | None = None
    momentum: float | None = None
    nesterov: bool = False
    weight_decay: float | None = None
    clip_norm: float | None = None
    ema: float | None = None
    schedule: str = "constant"
    milestones: tuple[float, ...] = MILESTONES
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        _check.known("optimizer", "optimizer", self.optimizer, OPTIMIZERS)
        _check.known("schedule", "schedule", self.schedule, SCHEDULES)
        if self.lr is not None:
            _check.positive("lr", lr=self.lr)
        if self.weight_decay is not None:
            _check.not_negative("weight_decay", weight_decay=self.weight_decay)
        if self.clip_norm is not None:
            _check.positive("clip_norm", clip_norm=self.clip_norm)
        if self.ema is not None and not 0 <= self.ema <= MOST_EMA:
            raise ValueError(f"ema: it is a decay in [0, 1), such as 0.999, but it is {self.ema}")
        if self.ema is not None:
            _check.scalar("ema", ema=self.ema)
        _check.not_negative("warmup_epochs", warmup_epochs=self.warmup_epochs)
        if self.momentum is not None:
            _check.not_negative("momentum", momentum=self.momentum)
        for name, value in (("momentum", self.momentum), ("nesterov", self.nesterov)):
            if value and self.optimizer != "sgd":
                raise ValueError(
                    f"{name}: it is a number of sgd, but the optimizer is {self.optimizer}; leave "
                    "it out or choose sgd"
                )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: it needs momentum; give one above zero, such as 0.9")
        rising = list(self.milestones) == sorted(set(self.milestones))
        if not self.milestones or not rising or not all(0 < share < 1 for share in self.milestones):
            raise ValueError(
                "milestones: they are shares of the epochs between 0 and 1, both excluded, each "
                f"above the one before, but they are {list(self.milestones)}"
            )

    def build(self) -> Optimizer:
        """The optimizer."""
        options: dict[str, Any] = {
            "lr": self.lr,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
        }
        options = {name: value for name, value in options.items() if value is not None}
        if self.nesterov:
            options["nesterov"] = True
        optimizer = OPTIMIZERS[self.optimizer](**options)
        if self.clip_norm is not None:
            optimizer = optim.chain(optim.clip_by_norm(self.clip_norm), optimizer)
        return optimizer if self.ema is None else optim.averaged(optimizer, self.ema)

    def schedules(self, epochs: int, steps_per_epoch: int) -> dict[str, Schedule]:
        """What multiplies the rate in a run of so many epochs; nothing where it is constant.

        Raises ValueError for a run that is too short for the warm-up or for a milestone.
        """
        if self.warmup_epochs >= epochs:
            raise ValueError(
                f"warmup_epochs: the rate rises over {counted(self.warmup_epochs, 'epoch')}, but "
                f"there {'is' if epochs == 1 else 'are'} {epochs}; give fewer"
            )
        total, warmup = epochs * steps_per_epoch, self.warmup_epochs * steps_per_epoch
        if self.schedule == "cosine":
            return {"lr": schedules.warmup_cosine(total, warmup)}
        factors: list[Schedule] = []
        if warmup:
            factors.append(schedules.linear_warmup(warmup))
        if self.schedule == "steps":
            factors.append(self._steps(epochs, steps_per_epoch))
        return {"lr": reduce(schedules.times, factors)} if factors else {}

    def _steps(self, epochs: int, steps_per_epoch: int) -> Schedule:
        falls = [round(share * epochs) for share in self.milestones]
        if falls[0] < 1 or len(set(falls)) < len(falls) or falls[-1] >= epochs:
            raise ValueError(
                f"milestones: of {counted(epochs, 'epoch')} the rate would fall after {falls}, "
                "which is no epoch of its own for each; train longer or give fewer milestones"
            )
        return schedules.piecewise([fall * steps_per_epoch for fall in falls])

    def title(self, numbers: Mapping[str, float]) -> str:
        """The training in words, with `numbers` in place of the optimizer's own by name."""
        hyper = self.build().hyper | dict(numbers)
        parts = [f"{TITLES[self.optimizer]} {hyper['lr']:g}"]
        if hyper.get("momentum"):
            parts.append(f"momentum {hyper['momentum']:g}" + ", Nesterov" * self.nesterov)
        if hyper.get("weight_decay"):
            parts.append(f"decay {hyper['weight_decay']:g}")
        if self.clip_norm is not None:
            parts.append(f"norms clipped at {hyper['max_norm']:g}")
        if self.ema is not None:
            parts.append(f"averaged by {hyper['ema_decay']:g}")
        if self.schedule == "steps":
            parts.append("steps at " + ", ".join(f"{share:g}" for share in self.milestones))
        elif self.schedule == "cosine":
            parts.append("cosine")
        if self.warmup_epochs:
            parts.append(f"warm-up {counted(self.warmup_epochs, 'epoch')}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Preset:
    """A recipe of the field: values of options by name, and methods with its own numbers.

    Each of `methods` makes one for a run of so many epochs.
    """

    options: Mapping[str, Any]
    methods: Mapping[str, Callable[[int], Method]] = field(default_factory=dict)


def _kd(epochs: int) -> Method:
    return methods.kd(weight=0.9, temperature=4.0, ce=0.1)


def _dkd(epochs: int) -> Method:
    return methods.dkd(warmup=round(20 / 240 * epochs))  # as long as it is in 240 epochs


def _hint(epochs: int) -> Method:
    """A 1x1 convolution, BatchNorm and ReLU behind the second stage, where the tutorial has a 3x3
    convolution behind the last."""
    method = methods.hint(weight=100.0, ce=1.0, layer="f2")
    return method | {"hint": replace(method["hint"], head=heads.rectified_connector)}


def _each_stage(name: str, epochs: int) -> Method:
    """The method's term for each of three stages, of the weight that it has for one."""
    whole = methods.METHODS[name]
    terms = {f"{name}-{layer}": whole(layer=layer)[name] for layer in ("f1", "f2", "f3")}
    return terms | methods.ce()


RECIPES: dict[str, Preset] = {
    # CIFAR-100's, of the table that began with Tian, Krishnan and Isola, "Contrastive
    # Representation Distillation" (2020), and that later papers took over: 240 epochs.
    "crd": Preset(
        {
            "epochs": 240,
            "batch_size": 64,
            "optimizer": "sgd",
            "lr": 0.05,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "schedule": "steps",
            "milestones": (150 / 240, 180 / 240, 210 / 240),
            "augment": ("crop", "flip"),
            "mean": (0.5071, 0.4867, 0.4408),
            "std": (0.2675, 0.2565, 0.2761),
        },
        {
            "kd": _kd,
            "dkd": _dkd,
            "hint": _hint,
            **{name: partial(_each_stage, name) for name in ("at", "nst", "vid")},
        },
    ),
    # ImageNet's, for ResNet-34 and ResNet-18: 100 epochs.
    "imagenet": Preset(
        {
            "epochs": 100,
            "batch_size": 256,
            "optimizer": "sgd",
            "lr": 0.1,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "schedule": "steps",
            "milestones": (0.3, 0.6, 0.9),
            "augment": ("resized-crop", "flip"),
            "image_size": 224,
        },
    ),
    # Function matching's, of Beyer et al., "Knowledge Distillation: A Good Teacher is Patient and
    # Consistent" (2022), by the authors' configuration for ImageNet in big_vision: 1,200 epochs, a
    # warm-up of 5,000 steps, which are 16 of these, and a decay of 0.0003 that is not multiplied by
    # the rate of 0.03. There weights alone decay, here all parameters. What is shown to teacher and
    # student is one crop and one mixture.
    "funmatch": Preset(
        {
            "epochs": 1200,
            "batch_size": 4096,
            "optimizer": "adamw",
            "lr": 0.03,
            "weight_decay": 0.01,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "warmup_epochs": 16,
            "augment": ("resized-crop", "flip", "uniform-mixup"),
            "image_size": 224,
        },
    ),
}
