"""One prediction through the typed client against a raw LMDB get of the same bytes."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb

from benchmarks.installation import installation
from benchmarks.report import Line, in_turn, middle
from ml_platform.lifecycle.caching import as_generation, committed_generation
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.scoring import predictions
from ml_platform.serving.client import PredictionClient
from ml_platform.serving.generations import Generation

READS, ROUNDS = 4000, 5


def run() -> list[Line]:
    """Medians over random keys of the generation in force; both sides in one process."""
    with installation() as (platform, target):
        row = committed_generation(platform, target.key)
        assert row is not None
        generation = as_generation(row)
        keys = random.Random(7).choices(served_keys(platform, target, generation), k=READS)
        client = PredictionClient(platform.cache)
        client.get(target.key, keys[0])
        # Copied, because a process may open an environment once only.
        raw = raw_reader(platform.home / "serving.lmdb", platform.home / "raw.lmdb", generation)
        ours, bare = in_turn(
            ROUNDS,
            lambda: microseconds(lambda key: client.get(target.key, key), keys),
            lambda: microseconds(raw, keys),
        )
        note = f"p50 of {READS} keys, median of {ROUNDS} rounds; checksum, decoding and typing are in it"
        return [Line("get by key", middle(ours), middle(bare), "µs", None, note)]


def served_keys(platform: Platform, target: Target, generation: Generation) -> list[str]:
    """All keys that a generation serves."""
    table = predictions(platform, target, [s.partition_key for s in generation.segments])
    assert table is not None
    return [str(key) for key in table["entity_key"].to_pylist()]


def raw_reader(path: Path, copy: Path, generation: Generation) -> Callable[[str], bytes]:
    """A get on a copy of the cache's own file: one transaction and one lookup."""
    copy.mkdir()
    (copy / "data.mdb").write_bytes((path / "data.mdb").read_bytes())
    environment = lmdb.open(str(copy), readonly=True, lock=False)
    segments = {s.partition_key: s.segment_id for s in generation.segments}

    def get(key: str) -> bytes:
        with environment.begin() as transaction:
            value = transaction.get(f"s/{segments[key.partition('/')[0]]}/{key}".encode())
        assert value is not None
        return bytes(value)

    return get


def microseconds(get: Callable[[str], object], keys: Sequence[str]) -> float:
    """Median latency."""
    taken = []
    for key in keys:
        start = time.perf_counter_ns()
        get(key)
        taken.append((time.perf_counter_ns() - start) / 1000)
    return middle(taken)
