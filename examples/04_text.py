"""Text: an embedding and a transformer, trained privately on tokens in a table.

The official names of 11,166 characters, which Python brings along; the target is whether a character is a letter ("is
the word LETTER in it" is right for 83 %: syllables and ideographs are letters too). What to look at: a vocabulary that
is read off private texts gives words away, so words become numbers by a public hash, in twelve fixed columns of which
0 means that there is no further word. The schema encodes an integer column in a line to [-1, 1], and the module turns
that back into token ids. Positions have an embedding of their own, so that every parameter is some layer's: a bare
parameter of the outer module would be right too, and slow, since the whole module would run again for it.

Claim: at epsilon 3 the whole interval of its accuracy on held-out names lies above that one word's 83 %.
"""

import tempfile
import unicodedata
import zlib
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import pellucid as plc
from pellucid.train.doctor import diagnose, render

BUCKETS = 1024  # token ids: 0 for no word, and 1,023 that words are hashed to
WORDS = 12
TOKENS = [f"t{place:02}" for place in range(WORDS)]
SCHEMA = """
[dataset]
target = "letter"
units = 11000
purposes = ["sorting names"]
[dataset.budget]
epsilon = 3.0
delta = 1e-5
[columns.letter]
type = "boolean"
sensitivity = "personal"
"""
TOKEN = """
[columns.{}]
type = "integer"
bounds = [0, 1023]
sensitivity = "personal"
"""


def tokens(name: str) -> list[int]:
    """Ids of the first twelve words, and 0 where there are fewer."""
    words = [1 + zlib.crc32(word.encode()) % (BUCKETS - 1) for word in name.split()]
    return (words + [0] * WORDS)[:WORDS]


def names() -> pd.DataFrame:
    """A row for each named character from the space to the last before the ideographs."""
    named = [(code, unicodedata.name(chr(code), "")) for code in range(0x20, 0x3000)]
    frame = pd.DataFrame([tokens(name) for _, name in named if name], columns=TOKENS)
    return frame.assign(letter=[unicodedata.category(chr(code)).startswith("L") for code, name in named if name])


class Reader(nn.Module):
    """Rows of twelve numbers in [-1, 1], as the schema encodes them, to two logits."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(BUCKETS, width)
        self.places = nn.Embedding(WORDS, width)
        self.encoder = nn.TransformerEncoderLayer(width, 2, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # the inverse of the encoding; clamped, since the probes before a run give it numbers past the bounds too
        ids = ((x + 1) / 2 * (BUCKETS - 1)).round().clamp(0, BUCKETS - 1).long()
        places = torch.arange(WORDS).expand_as(ids)
        return self.head(self.encoder(self.words(ids) + self.places(places)).mean(1))


def main(root: Path) -> None:
    schema = plc.Schema.parse(SCHEMA + "".join(TOKEN.format(name) for name in TOKENS))
    with plc.Project.init(root / "library", owner="ana", passphrase="only an example") as project:
        project.seal("names", names(), schema=schema)
        plan = plc.Plan.calibrate(epsilon=3, delta=1e-5, units=11_000, test=0.25, batch=512, epochs=12, clip=1.0)
        with project.run("letters", data="names", purpose="sorting names", plan=plan) as run:
            model = Reader()
            diagnosis = diagnose(model, (run.encoding.width,))
            model, optimizer, batches = run.private(model, torch.optim.SGD(model.parameters(), lr=1.0))
            for x, y in batches:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            run.evaluate()
            run.explain()
        bundle, owner = project.bundle("letters"), project.owner

    print(render(diagnosis).rstrip())
    assert diagnosis.sound
    assert "slow" not in [note.topic for note in diagnosis.notes], "every layer has a rule"

    proved = {item.kind: item.values for item in plc.bundle.verify(bundle, [owner]).evidence}
    accuracy = proved["evaluation"]["accuracy"]
    print(f"accuracy {accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}] on held-out names")
    print(f"epsilon {proved['privacy']['epsilon']:g} at delta {proved['privacy']['delta']:g}, {plan.steps} steps")
    explained = proved["explanation"]
    words = sorted(TOKENS, key=lambda name: -explained["shapley"][name]["value"])[:3]
    print(f"explained by {explained['method'].replace('_', ' ')}; most important places: {', '.join(words)}")
    assert explained["method"] == "layer_integrated_gradients", "a rounded number of a word has no gradient"
    assert explained["completeness_gap"] <= 0.01
    assert proved["privacy"]["epsilon"] <= 3
    assert accuracy["low"] > 0.83, "better than looking for one word"


if __name__ == "__main__":
    torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
