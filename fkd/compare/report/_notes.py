"""What each figure of a report is and where it comes from: a footnote each."""

from collections.abc import Iterable

NOTES = {
    "accuracy": "The share of the test examples whose class the student names, after the last "
    "epoch: the mean over seeds ± their deviation (n − 1). No epoch is chosen on the test set.",
    "own": "The 95 % interval of this mean by itself: Student's t over seeds; – where all have one "
    "figure, and so are too few to tell. Student, “The probable error of a mean” (1908).",
    "alone": "The 95 % interval of this mean by itself over the seeds that there are: Student's t.",
    "paired": "The mean over seeds of a student's figure less that of the baseline's student with "
    "the same seed, which began with the same weights. Above zero it is higher.",
    "joint": "The interval that holds for all methods at once at 95 %: Student's t with 5 % shared "
    "among them, Bonferroni's bound. Dunn, “Multiple comparisons among means” (1961).",
    "p": "Of Student's paired t-test (1908) of this method by itself, two-sided.",
    "adjusted": "Adjusted for all methods: max-t, stepped down, over flips of the signs of whole "
    "seeds. Westfall and Young, “Resampling-based multiple testing” (1993), algorithm 2.8; Romano "
    "and Wolf, “Exact and approximate stepdown methods for multiple hypothesis testing” (2005).",
    "holm": "The same by Holm's rule, from each method's own p. Holm, “A simple sequentially "
    "rejective multiple test procedure” (1979).",
    "images": "The 95 % interval of the difference on other test examples like these: seeds and "
    "examples as crossed random effects. Searle, Casella and McCulloch, “Variance components” "
    "(1992), section 4.3; Owen, “The pigeonhole bootstrap” (2007). The intervals beside it are on "
    "these examples.",
    "average": "The mean test accuracy of the running averages of the students' weights.",
    "best": "★ stands for what cannot be told from the best at 95 %: no other method is surely "
    "above it. Hsu, “Constrained simultaneous confidence intervals for multiple comparisons with "
    "the best” (1984).",
    "seconds": "The training seconds of all students of a method together, with compilation, where "
    "steps are compiled, and without tests.",
    "teacher_agreement": "The share of the test examples where student and teacher name the same "
    "class. Stanton et al., “Does knowledge distillation really work?” (2021), equation 3.",
    "calibration_error": "The expected calibration error: |accuracy − confidence| over 15 bins of "
    "confidence, in points; lower is better. Guo et al., “On calibration of modern neural "
    "networks” (2017), section 2.",
    "test_loss": "The mean cross-entropy on the test labels, in nats; lower is better.",
    "epochs": "Each seed's own best epoch on the test set, told for what a choice there would add: "
    "no conclusion rests on it.",
    "chosen": "The setting with the most validation examples right over all seeds.",
    "optimism": "How much further validation lies above test at the choice than over all settings, "
    "in points; the interval is that of a choice by each seed alone. Cawley and Talbot, “On "
    "over-fitting in model selection” (2010), section 5.",
    "worth": "Test accuracy at a seed's own choice less the mean over all settings, in points.",
    "variance": "The deviation, in points, that this source gives the mean difference; – where no "
    "variance was seen. Searle, Casella and McCulloch (1992), section 4.3.",
    "component": "The deviation that the levels of this source bring, and its 95 % interval, of a "
    "random effects model without interactions, which are in the rest; 0.00 where the variance is "
    "estimated at or below zero, as that of a source without effect is half of the time. Searle, "
    "Casella and McCulloch (1992), sections 4.3 and 4.4; Williams, “A confidence interval for "
    "variance components” (1962).",
    "width": "√(1 + n V / U) of n seeds, with V the variance of what they share and U that of all "
    "else that a seed changes; the bounds are those of V's interval.",
    "these": "The 95 % interval for these teachers: Student's t of the seeds' means over them; – "
    "where these are all the same, and so too few to tell.",
    "like": "The 95 % interval for teachers of whom these are draws, as the seeds are of seeds: "
    "both as crossed random effects. Searle, Casella and McCulloch (1992), section 4.3.",
    "rank": "The mean of a method's ranks over the runs by mean test accuracy, 1 the best. Demšar, "
    "“Statistical comparisons of classifiers over multiple data sets” (2006), section 3.2.2.",
}
# In a run in two stages these are others.
TWO_STAGES = {
    "own": "After a pilot it is Stein's, with the pilot's variance: “A two-sample test for a "
    "linear hypothesis whose power is independent of the variance” (1945).",
    "joint": "After a pilot of Stein's intervals, each at 1 − 5 % / (number of methods).",
    "p": "After a pilot with the pilot's variance and degrees of freedom.",
    "adjusted": "After a pilot it is Holm's, for flips of signs need a number of seeds that does "
    "not hang on the seeds.",
    "best": "After a pilot by Stein's one-sided bounds.",
}


def told(used: Iterable[str], two_stages: bool) -> dict[str, str]:
    """The footnotes of these names, in the order of first use."""
    return {
        name: f"{NOTES[name]} {TWO_STAGES[name]}"
        if two_stages and name in TWO_STAGES
        else NOTES[name]
        for name in dict.fromkeys(used)
    }
