"""The images that the tables need: unpacked where they come as an archive, and decoded.

What is decoded stays in fkd's cache for the stages that read it. images.json tells how many there
are and how long it took.
"""

import argparse
import json
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks._output import new_folder
from fkd.data import datasets


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/rehearsal/images", description="Unpack and decode images."
    )
    parser.add_argument("--root", type=Path, required=True, help="a folder, or an archive of it")
    parser.add_argument("--into", type=Path, help="where an archive is unpacked")
    parser.add_argument("--output", help="a new folder for what it took")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Unpack and decode; return 0."""
    values = parse(arguments)
    folder, root = new_folder(values.output, "images"), values.root
    seconds = {}
    begin = time.perf_counter()
    if root.is_file():
        with tarfile.open(root) as archive:
            archive.extractall(values.into, filter="data")
        root = values.into
        seconds["unpacked"] = time.perf_counter() - begin
    data = datasets.load("folder", root)
    seconds["all"] = time.perf_counter() - begin
    told = {"train": data.train.examples, "test": data.test.examples, "seconds": seconds}
    (folder / "images.json").write_text(json.dumps(told, indent=1) + "\n")
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
