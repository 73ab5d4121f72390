"""Files that people bring: CSV and Parquet to Arrow, before the schema has been seen.

Everything in a CSV file is read as text, so that nothing is guessed and ``?`` or ``NA`` are what the schema says they
are; an empty field is a missing value. The schema gives types later, in ``values``.
"""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from pathlib import Path

from pellucid.errors import BadData
from pellucid.vault.arrow import pa

__all__ = ["read_source"]


def read_source(path: Path) -> pa.Table:
    """The table in a ``.csv`` (UTF-8, comma, header line) or ``.parquet`` file.

    Raises:
        BadData: There is no such file, the extension is another one, the file is empty, not UTF-8 or damaged, a header
            name stands twice, or a line has another number of fields than the header. No value is shown.
    """
    path = Path(path)
    if not path.is_file():
        raise BadData("there is no such file", where=str(path), fix="name a CSV or Parquet file")
    if path.suffix.lower() == ".csv":
        try:
            return _read_csv(path)
        except OSError as error:
            raise BadData(
                f"the file cannot be read: {error.strerror or 'the disk refuses'}", where=str(path)
            ) from error
    if path.suffix.lower() in (".parquet", ".pq"):
        from pellucid.vault.parquet import read_plain

        return read_plain(path)
    raise BadData("only .csv and .parquet files can be read", where=str(path), fix="convert it to one of the two")


def _read_csv(path: Path) -> pa.Table:
    from pyarrow import csv as arrow_csv

    names = _header(path)
    broken = 0

    def skip(_row: object) -> str:
        nonlocal broken
        broken += 1
        return "skip"

    failed = False
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=1 << 24),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        failed = True
    if failed:  # raised out here, so that Arrow's error, which holds the line, is not this one's context
        raise BadData(
            "the file is not UTF-8, or a field is longer than can be read", where=str(path), fix="save it as UTF-8"
        )
    if broken:
        raise BadData(
            "a line has another number of fields than the header",
            where=f"{path} line {_first_broken_line(path, len(names))}",
            fix="put fields that hold a comma or a line break in double quotes",
        )
    if table.num_rows == 0:
        raise BadData("the file has a header and no row", where=str(path))
    return table


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error):
        names = None
    if names is None:
        raise BadData("the header line is not UTF-8 text", where=str(path), fix="save the file as UTF-8")
    if not names:
        raise BadData("the file is empty", where=str(path), fix="its first line must name the columns")
    names = [name.strip() for name in names]
    if "" in names:
        raise BadData(
            "a column has no name",
            where=f"{path} column {names.index('') + 1}",
            fix="name it, or write the file without an index: frame.to_csv(path, index=False)",
        )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        # Only the place: without a header line these would be values.
        raise BadData(
            "two columns have one name",
            where=f"{path} columns {', '.join(str(i + 1) for i, name in enumerate(names) if name == twice[0])}",
            fix="rename one, or check that the file has a header line",
        )
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise BadData("the fields are not separated by commas", where=str(path), fix="save it as comma-separated")
    return names


def _first_broken_line(path: Path, fields: int) -> int:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        with contextlib.suppress(csv.Error):
            for row in reader:
                if row and len(row) != fields:
                    return reader.line_num
        return reader.line_num
