"""A YAML file whose problems are reported together, each with its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ml_platform.config import YAML_LOADER
from ml_platform.errors import ContractError

Location = tuple[str | int, ...]


class Problem(Exception):
    """Something is wrong at a place below the part of the contract at hand.

    Args:
        what: What is wrong.
        place: Keys and indexes that lead from that part to the place.
    """

    def __init__(self, what: str, *place: str | int) -> None:
        super().__init__(what)
        self.what, self.place = what, place


class ContractSource:
    """The text of a contract, and the problems found in it so far.

    Args:
        path: The file.

    Raises:
        ContractError: The file cannot be read, or is not a YAML mapping.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[tuple[int, str]] = []
        try:
            text = path.read_text(encoding="utf-8")
            self._node = yaml.compose(text, Loader=YAML_LOADER)
            data = yaml.load(text, Loader=YAML_LOADER)
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(
                f"cannot read the contract: {error}",
                where=str(path),
                fix="check path, rights and UTF-8; a contract is named like its feed",
            ) from error
        # PyYAML's constructors raise ValueError for such things as the date 2013-02-31.
        except (yaml.YAMLError, ValueError) as error:
            raise ContractError(
                f"this is not YAML: {error}", where=str(path), fix="mend the syntax"
            ) from error
        if not isinstance(data, dict):
            raise ContractError(
                "the contract is empty or no mapping",
                where=f"{path}:1",
                fix="begin with 'kind: DataContract'; see data_contracts/README.md",
            )
        self.data: dict[str, Any] = data
        self._report_repeated_keys(self._node, ())

    def problem(self, location: Location, what: str) -> None:
        """Note a problem at a place in the file, for example ``("schema", 0, "name")``."""
        name = ".".join(map(str, location)) or "file"
        self.problems.append((self.line(location), f"{name}: {what}"))

    def line(self, location: Location) -> int:
        """The line of a place, or of its nearest parent that is there."""
        node, line = self._node, 1
        for step in location:
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == step]
                if not found:
                    break
                line, node = found[-1][0].start_mark.line + 1, found[-1][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
        return line

    def report_unknown_keys(self, written: Any, understood: Any, location: Location = ()) -> None:
        """Note each key of ``written`` that did not survive parsing into ``understood``."""
        if isinstance(written, dict) and isinstance(understood, dict):
            for key, value in written.items():
                if key not in understood:
                    self.problem((*location, key), "unknown key")
                else:
                    self.report_unknown_keys(value, understood[key], (*location, key))
        elif isinstance(written, list) and isinstance(understood, list):
            for i, (one, other) in enumerate(zip(written, understood, strict=False)):
                self.report_unknown_keys(one, other, (*location, i))

    def raise_problems(self, fix: str) -> None:
        """Stop if there were problems.

        Raises:
            ContractError: Lists them all as ``file:line: place: what``.
        """
        if not self.problems:
            return
        lines: Sequence[str] = [f"{self.path}:{line}: {what}" for line, what in sorted(set(self.problems))]
        first = min(line for line, _ in self.problems)
        raise ContractError(
            f"{len(lines)} error(s) in the contract:\n    " + "\n    ".join(lines),
            where=f"{self.path}:{first}",
            fix=fix,
        )

    def _report_repeated_keys(self, node: yaml.Node | None, location: Location) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    self.problem((*location, key.value), "this key stands here twice")
                seen.add(key.value)
                self._report_repeated_keys(value, (*location, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self._report_repeated_keys(value, (*location, i))
