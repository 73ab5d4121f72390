"""``pellucid doctor``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from pellucid.cli.common import Verbs, common, formatter, print_json
from pellucid.errors import Invalid
from pellucid.schema import Code, Encoding, Schema

_TYPES = ("float32", "float64", "int64")


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "doctor",
        help="what makes a model unsound or slow under privacy",
        formatter_class=formatter,
        description="Look at a model before any budget is reserved. Everything that would make\n"
        "private training unsound is listed with the layer and the remedy; what can be\n"
        "mended is shown as a diff. Rows are made up: no data is read. Exit 0: sound.\n"
        "2: not.",
    )
    parser.add_argument("factory", metavar="FILE.py:FACTORY", help="the function that builds the module")
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--input-shape", metavar="N,N,...", help="shape of one row, such as 3,32,32")
    rows.add_argument("--schema", metavar="S.toml", type=Path, help="rows as this schema encodes them")
    parser.add_argument("--dtype", choices=_TYPES, default="float32", help="type of a row (default: float32)")
    parser.epilog = (
        "A factory that wants width and classes is given those of the schema; with\n"
        "--input-shape, how many numbers a row has, and 2."
    )
    common(parser)
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run the verb."""
    encoding, shape = _rows(options)
    path, colon, factory = options.factory.rpartition(":")
    if not colon or not path.endswith(".py") or not factory:
        raise Invalid(f'"{options.factory}" is not of the form FILE.py:FACTORY', fix="such as model.py:build")

    import torch

    from pellucid.console import say
    from pellucid.train.doctor import examine, render

    diagnosis = examine(Path(path), factory, encoding, shape, getattr(torch, options.dtype))
    if options.json:
        print_json(diagnosis.document())
    else:
        say(render(diagnosis).rstrip("\n"))
    return diagnosis.exit


def _rows(options: argparse.Namespace) -> tuple[Encoding, tuple[int, ...]]:
    """What the factory is told, and the shape of a row."""
    if options.schema is not None:
        if options.dtype != "float32":
            raise Invalid("a schema encodes rows as float32", where="--dtype", fix="leave --dtype out")
        encoding = Encoding.of(Schema.read(options.schema))
        return encoding, (encoding.width,)
    sizes = options.input_shape.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise Invalid("a shape is whole numbers above 0, with commas", where="--input-shape", fix="such as 3,32,32")
    shape = tuple(int(size) for size in sizes)
    code = Code("row", "linear", math.prod(shape), ("row",))
    return Encoding((code,), "target", ("0", "1")), shape
