"""The figures as people read them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FigureWords:
    """How one figure is shown.

    Attributes:
        key: its name in the JSON answer.
        name: for people.
        is_share: whether it is shown as a percentage.
        meaning: in a few words.
        is_leading: whether it stands at the top of the page.
    """

    key: str
    name: str
    is_share: bool
    meaning: str
    is_leading: bool = False

    def say(self, value: float) -> str:
        """A value of it."""
        return f"{100 * value:.2f}%" if self.is_share else f"{value:.4f}"


FIGURES = (
    FigureWords("top1", "Accuracy", True, "the first guess is right (top-1)", is_leading=True),
    FigureWords("top5", "Top-5", True, "the true class is among the first five guesses"),
    FigureWords("balanced_accuracy", "Balanced accuracy", True, "mean of the classes' accuracies", is_leading=True),
    FigureWords("precision_macro", "Precision, macro", True, "mean over the classes"),
    FigureWords("f1_macro", "F1, macro", True, "mean over the classes of the harmonic mean of precision and recall",
                is_leading=True),
    FigureWords("f1_weighted", "F1, weighted", True, "the same, weighted by each class's images"),
    FigureWords("mcc", "Matthews correlation", False, "between true classes and guesses, 0 for chance"),
    FigureWords("roc_auc_macro", "ROC-AUC, macro", False, "each class against the rest"),
    FigureWords("average_precision_macro", "Average precision", False, "each class against the rest, mean"),
    FigureWords("log_loss", "Loss", False, "cross-entropy per image, in nats", is_leading=True),
    FigureWords("brier", "Brier score", False, "squared error of the probabilities, 0 to 2"),
    FigureWords("ece", "Calibration error", True, "confidence against accuracy, 15 bins (ECE)", is_leading=True),
    FigureWords("classwise_ece", "Calibration error, class-wise", True, "of each class's probability, mean"),
)  # fmt: skip
