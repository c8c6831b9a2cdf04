"""Plain modules whose forward returns `{"logits": ..., and features by name}`, and any by name."""

from fkd.models._class_map import class_map
from fkd.models._cohort import cohort
from fkd.models._features import features
from fkd.models._named import MODELS, named
from fkd.models._resnet import ResNet
from fkd.models._reuse import ReusedClassifier
from fkd.models._tutorial import DeepNN, LightNN
from fkd.models._vgg import VGG
from fkd.models._wrn import WideResNet

__all__ = [
    "MODELS",
    "VGG",
    "DeepNN",
    "LightNN",
    "ResNet",
    "ReusedClassifier",
    "WideResNet",
    "class_map",
    "cohort",
    "features",
    "named",
]
