"""The catalogue names everything there is, with source, type, owner and lineage."""

import json

from library import MODEL, Library

from ml_platform.lifecycle.catalogue import Entry, entries
from ml_platform.registry import promotions


def found(library: Library) -> dict[tuple[str, str], Entry]:
    return {(e.kind, e.name): e for e in entries(library.platform)}


def test_every_kind_of_thing_is_in_it(served: Library) -> None:
    catalogue = found(served)
    champion = promotions.champion(served.platform.ledger, MODEL)
    assert champion is not None
    assert catalogue["feed", "returns"].type == "weekly partitions"
    assert catalogue["feed", "branches"].type == "reference"
    pages = catalogue["column", "loans.pages"]
    assert (pages.type, pages.classification, pages.usage) == ("integer", "public", "branch, genre, pages")
    rate = catalogue["feature", "library_loans.branch_late_rate"]
    assert rate.lineage == "returns" and rate.source == "dbt model library_loans_features"
    assert rate.columns == ("returns.due_at", "returns.returned_at")
    assert catalogue["feature", "library_loans.pages"].columns == ("loans.pages",)
    assert catalogue["label", "library_loans.late"].columns == rate.columns
    assert catalogue["label", "library_loans.late"].lineage == "mature after 3 partitions"
    assert champion.model_digest[:12] in catalogue["model", MODEL].source
    assert catalogue["predictions", f"{MODEL}/predictions"].type.startswith("180 rows")
    assert len([e for kind, e in catalogue if kind == "dataset"]) == 1


def test_each_entry_has_an_owner_and_a_lineage_and_fits_json(served: Library) -> None:
    for entry in entries(served.platform):
        assert entry.owner and entry.lineage and entry.description, entry.name
        assert json.loads(json.dumps(entry.as_dict()))["name"] == entry.name


def test_it_is_there_before_anything_has_run(fresh: Library) -> None:
    catalogue = found(fresh)
    assert catalogue["model", MODEL].source == "no champion yet"
    assert catalogue["predictions", f"{MODEL}/predictions"].source == "none yet"
    assert not [name for kind, name in catalogue if kind == "dataset" and "library" in name]
