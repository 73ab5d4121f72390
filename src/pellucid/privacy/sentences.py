"""The sentences of which the statement of a guarantee is made: templates in English, and what fills their places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = ["Part", "Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """English words; ``{name}`` in the template stands for a part: a number, a name of others, or more words."""

    template: str
    parts: Mapping[str, Part] = field(default_factory=dict)

    def of(self, **parts: Part) -> Words:
        """The same with its parts."""
        return Words(self.template, parts)

    def __str__(self) -> str:
        return self.template.format_map({name: _shown(part) for name, part in self.parts.items()})


Part: TypeAlias = "Words | float | str"


def _shown(part: Part) -> str:
    return f"{part:.15g}" if isinstance(part, int | float) else str(part)


ONE: Final = {"row": Words("row"), "person": Words("person")}
MANY: Final = {"row": Words("rows"), "person": Words("people")}
PROMISE: Final = Words(
    "Whatever else they know, what people who see the released result can learn about any one {unit}, beyond what they"
    " could have learned without that {unit} in the data, is bounded: ({epsilon}, {delta})-differential privacy."
)
ROW: Final = Words("The unit of privacy is a row; the schema declares that every row is another person.")
PERSON: Final = Words('The unit of privacy is a person, named by the column "{column}", who has one row.')
PERSON_OF_ROWS: Final = Words(
    'The unit of privacy is a person, named by the column "{column}", with at most {rows} rows, all of which are'
    " protected together."
)
NEIGHBOURS: Final = {
    "add-or-remove-one": Words("Two data sets are neighbours if one has one {unit} more than the other."),
    "replace-one": Words("Two data sets are neighbours if one {unit} of the one is another {unit} in the other."),
}
OTHER_NEIGHBOURS: Final = Words("Two data sets are neighbours by this relation: {adjacency}.")
STRENGTH: Final = Words(
    "Epsilon is {epsilon} at delta {delta}: with and without a {unit}, the probabilities of any outcome differ by a"
    " factor of at most e to the power of epsilon, but for delta."
)
ALSO: Final = Words("The same mechanism is also ({epsilon}, {delta})-differentially private.")
DELTA: Final = Words(
    "Delta, {delta}, is what epsilon leaves out: by so much more may the two probabilities of an outcome differ."
)
GAUSSIAN: Final = Words(
    "Everybody was in each of {count} noisy sums; nothing was sampled, and no amplification is claimed."
)
ONE_GAUSSIAN: Final = Words("Everybody was in one noisy sum; nothing was sampled, and no amplification is claimed.")
POISSON: Final = Words(
    "In each of {count} steps every {unit} was drawn on its own with chance {rate} (Poisson sampling, as it was run;"
    " shuffled batches would not have this guarantee)."
)
BANDED: Final = Words(
    "Every {unit} was put into one of {bands} groups at random, and the groups took turns: in each of {count} steps"
    " every {unit} of one group was drawn on its own with chance {rate}, and the noise of {bands} steps in a row is"
    " correlated."
)
LAPLACE: Final = Words("{count} numbers were released with Laplace noise; everybody was in each of them.")
TRUNCATED: Final = Words(
    "In each of {count} steps every {unit} was drawn with chance {rate}, and of a sample of more than {most} a random"
    " {most} were kept."
)
ROWS_DRAWN: Final = Words(
    "In each of {count} steps every row was drawn on its own, not every {unit}. A {unit} may have up to {rows} rows and"
    " is protected with all of them: how many of them a step draws is random, and the accountant weighs each number"
    " with its chance."
)
CHANCES: Final = Words(
    "Of {rows} rows of one {unit} a step draws none with chance {none}, one with chance {one}, and more than one with"
    " chance {more}."
)
MIXTURE: Final = Words(
    "In each of {count} steps a {unit} moved the noisy sum by a random number of clipping norms, at most {most}; the"
    " accountant weighs each with its chance."
)
WHOLE_PERSON: Final = Words("Who is drawn comes with all their rows, whose mean gradient is clipped as one.")
SELECTED: Final = Words(
    "The best of a random number of runs was released; how many was drawn from a {distribution} distribution before the"
    " first run, {mean} on average."
)
OFTEN_SELECTED: Final = Words(
    "{count} times the best of a random number of runs was released; how many was drawn from a {distribution}"
    " distribution before the first run, {mean} on average."
)
DISTRIBUTIONS: Final = {
    0.0: Words("logarithmic"),
    1.0: Words("geometric"),
    math.inf: Words("Poisson"),
}
BINOMIAL: Final = Words("truncated negative binomial")
IN_EACH: Final = Words("In each run: {said}")
SCORE: Final = Words(
    "The score of a run, by which the best was chosen, is a private release of its own, with Gaussian noise of {noise}"
    " times what one {unit} changes; nothing was sampled."
)
HELD: Final = Words(
    "Neither the number nor the other runs were shown to anybody: the end was not recorded before a time that was fixed"
    " beforehand, {hold} seconds after the beginning, so that how long it took tells nothing if the runs took less."
)
NOT_HELD: Final = Words(
    "The other runs were shown to nobody; but how long it took is in the log and tells about how many runs there were,"
    " which the epsilon does not count."
)
STEPS_OF: Final = Words("{count} steps of {kind}.")
NOISE: Final = Words(
    "What one {who} adds to a noisy sum was bounded to norm {clip}, and Gaussian noise of {noise} times that was added,"
    " from a cryptographic generator."
)
SEVERAL_NOISES: Final = Words(
    "What one {who} adds to a noisy sum was bounded to norm {clip}, and Gaussian noise of {least} to {most} times that"
    " was added, from a cryptographic generator."
)
ADAPTIVE: Final = Words(
    "What one {who} adds to a noisy sum was bounded to a norm that followed from noisy counts, beginning at {clip}."
    " Gaussian noise on the sum and on the count, from a cryptographic generator, is together as strong as {noise}"
    " times what one {who} adds."
)
BY: Final = {"pld": Words("privacy loss distributions"), "rdp": Words("Rényi differential privacy")}
TWO_ACCOUNTANTS: Final = Words("Composed by {by}, rounded up; {other} finds {epsilon}, as a second opinion.")
ONE_ACCOUNTANT: Final = Words("Composed by {by}, rounded up; no second accountant can compose these events.")
STOPPED: Final = Words(
    "The run was stopped early. The claim is that of the whole plan that was reserved, since who stopped may have"
    " looked."
)
TRUST: Final = Words(
    "Central model: whoever held the keys to the data and the machine it was trained on is trusted; whoever receives"
    " the result is not."
)
NOT_COVERED: Final = (
    Words(
        "Numbers measured on held-out people, such as accuracy, unless they are marked as releases of their own: no"
        " privacy guarantee covers them."
    ),
    Words(
        "What was done with the data outside of Pellucid, and data sets of the same people that it was not told about."
    ),
    Words("Groups, such as a family: for k {units} together, epsilon is up to k times as large."),
    Words(
        "What is true of people whether or not they are in the data: a model may reveal that, and is meant to, and it"
        " may be applied to a person who was never in the data."
    ),
    Words("Access to the sealed data itself, and a computer on which somebody else reads along."),
    Words("The time and memory that a training takes."),
)
