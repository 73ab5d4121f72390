"""What changes on a page about a model of more than two classes: what is explained, in which unit, and what is not."""

from __future__ import annotations

from pellucid.report.blocks import Prose
from pellucid.report.inputs import ReportInput
from pellucid.report.language import Said, say
from pellucid.report.reading import Reader

__all__ = ["Scale", "explained", "several"]


class Scale:
    """The words for the scale on which answers are explained: log-odds, or of more classes the score of one.

    The score of a class is the model's output before it becomes a probability (its logit); unlike log-odds, it says
    something beside the scores of the other classes only.
    """

    def __init__(self, reader: Reader) -> None:
        found = reader.get("class")
        self.named: str | None = None if found is None else str(found)

    def unit(self) -> Said:
        """For an axis."""
        return say("log-odds") if self.named is None else say("score of {name}", name=self.named)

    def change(self) -> Said:
        """For an axis of changes."""
        if self.named is None:
            return say("change of the log-odds")
        return say("change of the score of {name}", name=self.named)

    def changed(self) -> Said:
        """For a column of estimated changes."""
        if self.named is None:
            return say("Change of the log-odds (95 % interval)")
        return say("Change of the score (95 % interval)")


def explained(reader: Reader) -> list[Prose]:
    """Which class is explained, where there are more than two; of two it is the second."""
    named = reader.get("class")
    if named is None:
        return []
    return [
        Prose(
            say(
                'Explained is the class "{name}": its score, which is the output of the model before it becomes a '
                "probability. Where a column raises it, the other classes lose, if their scores do not rise as well.",
                name=str(named),
            )
        )
    ]


def several(report: ReportInput) -> int:
    """How many classes the model has, if they are more than two; else 0."""
    training = report.last("training")
    classes = () if training is None else Reader.of(training).texts("classes") or ()
    return len(classes) if len(classes) > 2 else 0
