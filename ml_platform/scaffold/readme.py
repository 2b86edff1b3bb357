"""The README of a new use case: what was assumed, and where to change it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from ml_platform.scaffold.proposal import Proposal
from ml_platform.scaffold.sql import calendar, outcomes, past, records
from ml_platform.serving.answers import in_full


def readme(p: Proposal, folder: Path) -> str:
    """Text of ``README.md``."""
    name, windows, scheme = p.wishes.name, p.windows, p.scheme
    remarks = "\n".join(
        f"- **{r.level}**: {r.what}{f' ({r.where})' if r.where else ''}{f'. {r.fix[0].upper()}{r.fix[1:]}.' if r.fix else ''}"
        for r in p.remarks
    )
    kept = [f"| `{f.name}` | {f.use} | {f.column.source}: {f.why} |" for f in p.used]
    kept += [f"| `{n}` | numeric | {d} |" for n, _, d in calendar(p)]
    for column, rate, count in past(p):
        kept.append(
            f"| `{rate}`, `{count}` | numeric | past outcomes of {column.source}, as known at the cutoff |"
        )
    dropped = [f"| {f.column.source} | {f.why} |" for f in p.features if f.use == "dropped"]
    left_out = "" if not dropped else "\n| left out | why |\n|---|---|\n" + "\n".join(dropped) + "\n"
    known = (
        f"from the column `{p.roles.known_at.source}`"
        if p.roles.known_at
        else f"{in_full(p.label_delay or timedelta())} after the event (a rule; nothing in the file says it)"
    )
    rows_by = p.roles.row_known_at
    row_known = "the moment it happens" if rows_by is None else f"from the column `{rows_by.source}`"
    edge = "end" if rows_by is None else "begin"
    return f"""# {name}

Proposed from `{p.profile.path.name}` ({p.profile.table.num_rows:,} rows). Everything about this use case is in this folder.

```
export ML_PLATFORM_USE_CASES={folder.parent}
ml-platform use-case check {name}     # all that is wrong, with file, line and fix
ml-platform run {name}                # to a prediction in the cache and a verdict on it
ml-platform drill --all --use-case {name}     # incidents in a sandbox: would they be noticed?
```

## What was assumed

| question | answer | where to change it |
|---|---|---|
| what is predicted | `{p.roles.label.source}`, {p.label.kind}{_positive(p)} | `models` in `use_case.yaml`, `dbt/models/{name}_labels.sql` |
| whom it is about | {", ".join(f"`{c.source}`" for c in p.roles.entity)}, once per partition | `views: key`, contracts |
| when a row happens | `{p.roles.time.source}`{_format(p)} | `event_time` of the feeds |
| when a row is known | {row_known} | `known_at` of `{records(p)}` |
| when its outcome is known | {known} | `known_at` of `{outcomes(p)}` |
| partitions | {scheme.width}: {p.width_reason} | `partitions` |
| when it is scored | at the {edge} of its partition | `cutoff` |
| labels are complete | after {windows.maturity} partition(s) | `label: maturity_partitions` |
| windows | {windows.train} to train, {windows.gate} to judge | `windows` |

| feature | how | why |
|---|---|---|
{chr(10).join(kept)}
{left_out}
## What to look at

{remarks or "Nothing was remarkable."}

## What is here

| file | what it says |
|---|---|
| `use_case.yaml` | feeds, partitions, features, windows, gates; completion in an editor through `use_case.schema.json` |
| `contracts/` | what each feed promises, and what a breach does |
| `dbt/models/` | entities, features and labels in SQL; they see a feed's row from `visible_from` to `visible_to` |

**Add a feature**: select it in `dbt/models/{name}_features.sql`, name it under `features` in `use_case.yaml`. Read
feeds only through `visible_from <= cutoff and cutoff < visible_to`; `use-case check` shifts later rows to see that you do.

**Add a feed**: a few lines under `feeds` (`source: path`, `query` or `s3`, or `reader: module:function` for a Python
function that yields Arrow batches) and a contract named like it.
"""


def _positive(p: Proposal) -> str:
    return f"; positive is `{p.label.positive}`" if p.label.kind == "binary" else ""


def _format(p: Proposal) -> str:
    written = f" as `{p.wishes.time_format}`" if p.wishes.time_format else ""
    return f"{written}, in {p.wishes.timezone}"
