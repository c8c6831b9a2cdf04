"""torchdistill's loop does the work that fkd's step does."""

import pytest
from rival_students import EXAMPLES, RATE, STEPS, assert_trained_alike, by_hand, light

from benchmarks.speed.rivals import missing, torchdistill


@pytest.mark.skipif(missing("torchdistill") is not None, reason="torchdistill is not installed")
@pytest.mark.parametrize("resident", [False, True])
def test_torchdistill_trains_as_by_hand(resident, double, images, labels, teacher, outputs):
    student, expected, start = light(), light(), light().state_dict()
    run = torchdistill.loop(
        images,
        labels,
        teacher=teacher,
        device="cpu",
        batch_size=EXAMPLES,
        resident=resident,
        student=student,
        workers=0,
        lr=RATE,
    )
    run(1)
    run(STEPS - 1)
    by_hand(expected, outputs["logits"], images, labels)
    assert_trained_alike(student.state_dict(), expected.state_dict(), start)
