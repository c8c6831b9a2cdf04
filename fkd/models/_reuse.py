"""A student that ends in its teacher's classifier."""

from torch import Tensor, nn

from fkd import _check


class ReusedClassifier(nn.Module):
    """`student`'s map `layer` through a trainable `projector` into the teacher's frozen classifier.

    Gives what the student gives, with `projected`, the map that is to match the teacher's, and with
    the classifier's `logits`; the student's own classifier lies idle. The teacher's is put into
    evaluation, so that no dropout fires in it and no statistics move, and a student that is in it
    as a whole, as a pretrained one may be, out of it. Raises ValueError for what is no module, and
    when it runs for a student without the layer.

    Chen et al., "Knowledge Distillation with the Reused Teacher Classifier" (2022), section 3.2.
    """

    def __init__(
        self,
        student: nn.Module,
        projector: nn.Module,
        classifier: nn.Module,
        layer: str = "feature_map",
    ):
        super().__init__()
        _check.kind(
            "ReusedClassifier",
            nn.Module,
            student=student,
            projector=projector,
            classifier=classifier,
        )
        _check.kind("ReusedClassifier", str, layer=layer)
        if not student.training:
            student.train()
        self.student, self.projector = student, projector
        self.classifier = classifier.requires_grad_(False).eval()
        self.layer = layer

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = self.student(x)
        _check.known("ReusedClassifier", "layer", self.layer, outputs)
        projected = self.projector(outputs[self.layer])
        return {**outputs, "projected": projected, "logits": self.classifier(projected)}
