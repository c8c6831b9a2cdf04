"""Plain modules whose forward returns `{"logits": ..., and features by name}`."""

from fkd.models._reuse import ReusedClassifier
from fkd.models._tutorial import DeepNN, LightNN

__all__ = ["DeepNN", "LightNN", "ReusedClassifier"]
