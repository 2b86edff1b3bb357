"""A contract that changed under data that was already accepted: what changed, and what has to be recomputed.

Nothing is mixed in silence: each accepted partition keeps the digest of the contract that judged it, and each
contract that judged anything is kept in the lake beside its digest's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from ml_platform.config import UseCase
from ml_platform.contracts.model import Contract, Rule
from ml_platform.datasets.versions import versions
from ml_platform.errors import ContractError
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.feeds_read import view_readers
from ml_platform.lifecycle.kept_contracts import kept_contract
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.registry import promotions
from ml_platform.remarks import Remark
from ml_platform.storage.tables import Acceptance, Publication


@dataclass(frozen=True)
class ContractChange:
    """One earlier contract of a feed, against the one that stands in the file.

    Attributes:
        use_case: The use case whose contract it is.
        feed: The feed.
        old_version, new_version: Their own versions.
        old_digest, new_digest: Of their content.
        partitions: Accepted partitions that the old one judged, in order.
        differences: What differs, for people; None where the old text was not kept.
        breaking: Whether accepted history cannot be read under the new one: a key or a type differs.
        new_columns: Columns that the new one promises first.
        unlisted: Those of them that the feed's ``source.columns`` leaves out; None where it lists none.
        read_by: Which of ``features`` and ``labels`` are made of the feed.
        alike: Whether both judge rows alike: only words for people and promises of time differ.
        models: Models of the use case that have been trained already.
    """

    use_case: str
    feed: str
    old_version: str
    new_version: str
    old_digest: str
    new_digest: str
    partitions: tuple[str, ...]
    differences: tuple[str, ...] | None
    breaking: bool
    new_columns: tuple[str, ...]
    unlisted: tuple[str, ...] | None
    read_by: tuple[str, ...]
    alike: bool
    models: tuple[str, ...]

    @property
    def to_recompute(self) -> list[str]:
        """What has to be done again, in order."""
        span = f"{self.partitions[0]} to {self.partitions[-1]}"
        if self.alike:
            return []
        if self.breaking:
            return [
                f"a key or a type changed: declare a feed with a new name for it; {self.feed} cannot go on",
                "then land, accept, features, labels, dataset and candidate from the new feed",
            ]
        if self.new_columns:
            return [
                f"{self._delivered(span)} `ml-platform run {self.use_case}`: deliveries with it are judged "
                "by the new contract and built again; without it each one is held back. What had landed with "
                f"it already is judged again with `ml-platform quarantine replay {self.feed} --accepted`",
                f"rows of {span} that come as they stood, known_at included, gain it as on a first load, so "
                "that features of the past see it; a row that changed besides tells it from now on only",
            ]
        steps = [
            f"judge {span} again with `ml-platform quarantine replay {self.feed} --accepted`: rows that pass "
            "now come in and rows that are refused now are withdrawn, from now on"
        ]
        run = f"with `ml-platform run {self.use_case}`"
        if "labels" in self.read_by:
            rest = [f"labels, {span}", *(f"dataset version and candidate of {m}" for m in self.models)]
            steps.append(f"then {'; '.join(rest)}, {run}")
        if "features" in self.read_by:
            steps.append(
                f"features read {self.feed}: those whose cutoff is past stay as they were, and later ones, "
                f"{run}, see what the new contract lets in"
            )
        if not self.read_by:
            steps.append(f"neither features nor labels read {self.feed}, so that nothing else changes")
        return steps

    def _delivered(self, span: str) -> str:
        """What is left to do before the new columns come."""
        names = ", ".join(self.new_columns)
        if self.unlisted == ():
            return f"`source.columns` of {self.feed} names {names}; what is left is"
        listed = (
            f"name {', '.join(self.unlisted)} in `source.columns` of {self.feed}, " if self.unlisted else ""
        )
        return f"{listed}let the source deliver {names} for {span}, too, then"


def contract_changes(platform: Platform, use_case: UseCase) -> list[ContractChange]:
    """Contracts under which a use case's accepted data stand and which are no longer those of the files.

    Raises:
        ContractError: A contract is malformed.
    """
    found = []
    for feed in use_case.config.feeds:
        new = contract_of(use_case, feed.name)
        heads = platform.ledger.heads(accepted_asset(feed.name))
        by_digest: dict[str, list[str]] = {}
        for key, head in sorted(heads.items()):
            by_digest.setdefault(str(head.details.get("contract", "")), []).append(key)
        for digest, keys in by_digest.items():
            if digest and digest != new.digest:
                found.append(_change(platform, use_case, new, digest, keys))
    return found


def refuse_breaking(
    platform: Platform, use_case: UseCase, new: Contract, heads: Iterable[Publication]
) -> None:
    """Keep accepted history from being mixed with deliveries that it cannot be merged with.

    Args:
        platform: The stores.
        use_case: Whose feed.
        new: The contract that is about to judge.
        heads: The feed's accepted partitions.

    Raises:
        ContractError: One of them was judged by a contract with another key or type.
    """
    for digest in {str(h.details.get("contract", "")) for h in heads} - {new.digest, ""}:
        old = kept_contract(platform, new.name, digest)
        if old is not None and is_breaking(old, new):
            raise ContractError(
                f"the contract of {new.name} has another key or type than that under which its history was "
                f"accepted: {'; '.join(differences(old, new))}",
                where=str(use_case.contracts_dir / f"{new.name}.yaml"),
                fix="declare a feed with a new name for it, or take the change back; what was accepted stays",
            )


def contract_remarks(platform: Platform, use_case: UseCase) -> Iterator[Remark]:
    """Changed contracts, as remarks of a check."""
    for change in contract_changes(platform, use_case):
        same = change.old_version == change.new_version
        version = f"{change.old_version} → {change.new_version}"
        versions_ = f"version {change.old_version} still, raise it" if same else f"version {version}"
        told = "the older text was not kept"
        if change.differences is not None:
            told = "; ".join(change.differences) or "nothing that is judged or shown"
        yield Remark(
            "error" if change.breaking else "note" if change.alike else "warning",
            f"the contract of {change.feed} changed under {len(change.partitions)} accepted partition(s) "
            f"({versions_}): {told}",
            f"{use_case.contracts_dir / change.feed}.yaml, accepted {change.partitions[0]} to "
            f"{change.partitions[-1]}",
            "recompute: " + ("; ".join(change.to_recompute) or "nothing, rows are judged as before"),
        )


def differences(old: Contract, new: Contract) -> list[str]:
    """What differs between two contracts, for people."""
    return [*_judging(old, new), *_rest(old, new)]


def is_breaking(old: Contract, new: Contract) -> bool:
    """Whether history that the old one accepted cannot be merged with deliveries under the new one."""
    kinds = {c.name: c.logical_type for c in old.columns}
    retyped = any(kinds.get(c.name, c.logical_type) != c.logical_type for c in new.columns)
    return retyped or old.key != new.key


def _change(
    platform: Platform, use_case: UseCase, new: Contract, digest: str, keys: Sequence[str]
) -> ContractChange:
    old = kept_contract(platform, new.name, digest)
    gained = tuple(n for n in new.column_names if old is not None and n not in old.column_names)
    source = use_case.feed(new.name).source
    listed = source.columns if source is not None else {}
    return ContractChange(
        use_case=use_case.name,
        feed=new.name,
        old_version=_version_of(platform, new.name, digest),
        new_version=new.version,
        old_digest=digest,
        new_digest=new.digest,
        partitions=tuple(keys),
        differences=tuple(differences(old, new)) if old is not None else None,
        new_columns=gained,
        unlisted=tuple(n for n in gained if n not in listed) if listed else None,
        read_by=view_readers(use_case).get(new.name, ()),
        breaking=old is not None and is_breaking(old, new),
        alike=old is not None and not list(_judging(old, new)),
        models=tuple(_models(platform, use_case)),
    )


def _version_of(platform: Platform, feed: str, digest: str) -> str:
    query = select(func.max(Acceptance.contract_version)).where(
        Acceptance.feed == feed, Acceptance.contract_digest == digest
    )
    with platform.ledger.begin() as session:
        return session.scalar(query) or "unknown"


def _models(platform: Platform, use_case: UseCase) -> Iterator[str]:
    """Models that have a dataset version or a champion."""
    for model in use_case.config.models:
        target = Target(use_case, model)
        made = versions(platform.ledger, target.key)
        if made or promotions.champion(platform.ledger, target.key) is not None:
            yield target.key


def _judging(old: Contract, new: Contract) -> Iterator[str]:
    """What decides about rows."""
    yield from _columns(old, new)
    yield from _rules(old.rules, new.rules)


def _columns(old: Contract, new: Contract) -> Iterator[str]:
    before, after = {c.name: c for c in old.columns}, {c.name: c for c in new.columns}
    yield from (f"column {n} is new" for n in after if n not in before)
    yield from (f"column {n} is gone" for n in before if n not in after)
    for name in (n for n in after if n in before):
        one, other = before[name], after[name]
        if one.logical_type != other.logical_type:
            yield f"column {name}: {one.logical_type} → {other.logical_type}"
        if one.required != other.required:
            yield f"column {name} is {'required now' if other.required else 'no longer required'}"
        if one.unique != other.unique:
            yield f"column {name} is {'unique now' if other.unique else 'no longer unique'}"
        if one.enum != other.enum:
            gone, added = sorted(set(one.enum) - set(other.enum)), sorted(set(other.enum) - set(one.enum))
            yield f"column {name}: values {_listed('-', gone)}{_listed('+', added)}".rstrip()
    if old.key != new.key:
        yield f"key ({', '.join(old.key)}) → ({', '.join(new.key)})"


def _rules(old: Sequence[Rule], new: Sequence[Rule]) -> Iterator[str]:
    before, after = {r.name: r for r in old}, {r.name: r for r in new}
    yield from (f"rule {n} is new ({r.on_breach})" for n, r in after.items() if n not in before)
    yield from (f"rule {n} is gone" for n in before if n not in after)
    for name in (n for n in after if n in before):
        one, other = before[name], after[name]
        if one.on_breach != other.on_breach:
            yield f"rule {name}: {one.on_breach} → {other.on_breach}"
        if one.check != other.check:
            yield f"rule {name}: {one.requirement} → {other.requirement}"


def _rest(old: Contract, new: Contract) -> Iterator[str]:
    """Words for people, and promises of time."""
    before = {c.name: c for c in old.columns}
    for column in (c for c in new.columns if c.name in before):
        for what in ("description", "classification"):
            if getattr(before[column.name], what) != getattr(column, what):
                yield f"{what} of column {column.name} differs"
    for what in ("owner", "status", "description", "latency", "freshness"):
        if getattr(old, what) != getattr(new, what):
            yield f"{what} differs"


def _listed(sign: str, values: Sequence[object]) -> str:
    return "".join(f"{sign}{v} " for v in values)


def summary(changes: Sequence[ContractChange]) -> dict[str, int]:
    """Number of partitions under an older contract, by feed."""
    counts: Counter[str] = Counter()
    for change in changes:
        counts[change.feed] += len(change.partitions)
    return dict(counts)
