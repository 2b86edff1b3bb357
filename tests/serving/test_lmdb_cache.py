"""LMDB: kills, growth, other processes, and files that are not what they should be."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ml_platform.errors import IntegrityError, StoreError
from ml_platform.serving import lmdb_environment
from ml_platform.serving.cache import ServingCache, open_cache

from .conftest import AS_OF, MODEL, predictions, publish_days, write_day

ONE, TWO = "2024-05-01", "2024-05-02"


def in_another_process(code: str, url: str) -> subprocess.CompletedProcess[str]:
    start = "import sys\nfrom ml_platform.serving.cache import open_cache\ncache = open_cache(sys.argv[1])\n"
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", start + code, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": root},
    )


def test_a_killed_process_leaves_nothing_of_the_segment_that_it_wrote(
    lmdb_cache: ServingCache, lmdb_url: str
) -> None:
    before = publish_days(lmdb_cache, ONE)
    lmdb_cache.close()
    killed = in_another_process(
        "import os, signal\n"
        "from ml_platform.serving.lmdb_environment import environment_of\n"
        "def write(txn):\n"
        "    txn.put(b's/half/1', b'x')\n"
        "    txn.put(b'p/parcels/late', b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "environment_of(cache.path).write(write)\n",
        lmdb_url,
    )
    assert killed.returncode == -signal.SIGKILL
    assert lmdb_cache.published(MODEL) == before
    assert lmdb_cache.count("half") == 0
    # The dead writer's lock is free again.
    assert write_day(lmdb_cache, predictions(TWO)).rows == 3


def test_another_process_publishes_and_this_one_sees_it(lmdb_cache: ServingCache, lmdb_url: str) -> None:
    publish_days(lmdb_cache, ONE)
    done = in_another_process(
        "import datetime as dt\n"
        "from ml_platform.serving.generations import Generation, Segment\n"
        f"cache.write_segment('s', [('{TWO}/1', b'theirs')])\n"
        f"segment = Segment(partition_key='{TWO}', segment_id='s', rows=1)\n"
        f"now = dt.datetime.fromisoformat('{AS_OF.isoformat()}')\n"
        f"cache.publish('{MODEL}', Generation.of('{MODEL}', 'm', [segment], now))\n",
        lmdb_url,
    )
    assert done.returncode == 0, done.stderr
    hit = lmdb_cache.get(MODEL, "1")
    assert hit is not None
    assert hit.value == b"theirs"


def test_the_map_grows_while_readers_read(lmdb_cache: ServingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_environment, "FIRST_MAP_BYTES", 1 << 20)
    publish_days(lmdb_cache, ONE)
    stop, failures = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                assert lmdb_cache.get(MODEL, f"{ONE}/K7/1") is not None
            except BaseException as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    rows = [(f"{TWO}/{n}", b"x" * 1000) for n in range(8000)]
    assert lmdb_cache.write_segment("big", rows) == 8000
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert lmdb_cache.count("big") == 8000


def test_growing_waits_for_open_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB pulls the map from under a transaction that is open while it grows."""
    monkeypatch.setattr(lmdb_environment, "FIRST_MAP_BYTES", 1 << 20)
    environment = lmdb_environment.environment_of(tmp_path)
    environment.write(lambda txn: txn.put(b"k", b"v"))
    reading, go_on, read = threading.Event(), threading.Event(), []

    def slow_read(txn: Any) -> None:
        reading.set()
        go_on.wait(20)
        read.append(txn.get(b"k"))

    reader = threading.Thread(target=environment.read, args=(slow_read, None))
    writer = threading.Thread(target=environment.write, args=(lambda txn: txn.put(b"big", b"x" * (2 << 20)),))
    reader.start()
    assert reading.wait(20)
    writer.start()
    writer.join(0.3)
    assert writer.is_alive()
    go_on.set()
    for thread in (reader, writer):
        thread.join(20)
    assert read == [b"v"]
    assert environment.read(lambda txn: len(txn.get(b"big")), 0) == 2 << 20
    environment.close()


def test_a_map_that_another_process_grew_is_adopted(
    lmdb_cache: ServingCache, lmdb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_environment, "FIRST_MAP_BYTES", 1 << 20)
    publish_days(lmdb_cache, ONE)
    grown = in_another_process(
        "cache.write_segment('big', ((str(n), b'x' * 1000) for n in range(8000)))", lmdb_url
    )
    assert grown.returncode == 0, grown.stderr
    assert lmdb_cache.count("big") == 8000


def test_a_folder_that_was_made_anew_is_opened_anew(lmdb_cache: ServingCache, lmdb_url: str) -> None:
    publish_days(lmdb_cache, ONE)
    shutil.rmtree(lmdb_url.removeprefix("lmdb://"))
    assert lmdb_cache.current(MODEL) is None
    generation = publish_days(lmdb_cache, TWO)
    assert in_another_process(f"print(cache.current('{MODEL}'))", lmdb_url).stdout.strip() == generation.id


def test_two_handles_of_one_folder_share_it(lmdb_cache: ServingCache, lmdb_url: str) -> None:
    reader = open_cache(lmdb_url, readonly=True)
    assert reader.current(MODEL) is None
    generation = publish_days(lmdb_cache, ONE)
    assert reader.published(MODEL) == generation


def test_a_reader_opens_without_writing_and_refuses_to_write(lmdb_cache: ServingCache, lmdb_url: str) -> None:
    generation = publish_days(lmdb_cache, ONE)
    lmdb_cache.close()
    reader = open_cache(lmdb_url, readonly=True)
    assert reader.published(MODEL) == generation
    with pytest.raises(StoreError, match="reading only"):
        reader.publish(MODEL, generation)
    # The same process may still write through its own handle.
    assert publish_days(lmdb_cache, TWO) == reader.published(MODEL)


def test_a_forked_child_reads_with_an_environment_of_its_own(lmdb_cache: ServingCache) -> None:
    generation = publish_days(lmdb_cache, ONE)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if lmdb_cache.current(MODEL) == generation.id else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lmdb_cache.published(MODEL) == generation


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "100 %25 späte #1?"
    cache = open_cache(f"lmdb://{folder}")
    publish_days(cache, ONE)
    cache.close()
    assert (folder / "data.mdb").exists()


def test_a_file_that_is_no_lmdb_is_an_integrity_error(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"junk" * 4096)
    with pytest.raises(IntegrityError, match="corrupt"):
        open_cache(f"lmdb://{tmp_path}").current(MODEL)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be used"):
        open_cache(f"lmdb://{tmp_path / 'file' / 'serving'}").write_segment("s", [("k", b"v")])


def test_a_full_disk_is_a_store_error_and_keeps_the_last_generation(
    lmdb_cache: ServingCache, lmdb_url: str
) -> None:
    before = publish_days(lmdb_cache, ONE)
    lmdb_cache.close()
    full = in_another_process(
        "import resource, signal\n"
        "from ml_platform.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        "    cache.write_segment('big', [(str(n), b'x' * 1000) for n in range(2000)])\n"
        "except StoreError as error:\n"
        "    print(error)\n",
        lmdb_url,
    )
    assert "its disk has room" in full.stdout, full.stderr
    assert lmdb_cache.published(MODEL) == before
    assert lmdb_cache.segment_rows("big") is None
