"""``ml-platform demo``, ``run`` and ``prepare``."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ml_platform.cli.replaying import what_follows
from ml_platform.cli.shared import console, errors, platform
from ml_platform.config import SEARCH_PATH_VARIABLE, UseCase, load_use_case
from ml_platform.errors import ConfigError, PlatformError
from ml_platform.lifecycle.platform import Platform


def prepare() -> None:
    """Make the folders, bring the ledger up to date, and compile the dbt projects."""
    stores = platform()
    _prepare(stores, list(stores.use_cases.values()))


def _prepare(stores: Platform, chosen: Sequence[UseCase]) -> None:
    from ml_platform.features.dbt import compile_project
    from ml_platform.lifecycle.doctor import marker

    def broken(use_case: UseCase) -> PlatformError | None:
        try:
            compile_project(use_case.dbt_dir)
        except PlatformError as error:
            return error
        return None

    marker(stores)
    stores.ledger.heads("nothing")
    with ThreadPoolExecutor(os.cpu_count()) as side_by_side:
        found = list(side_by_side.map(broken, chosen))
    for use_case, error in zip(chosen, found, strict=True):
        if error is not None:
            # One broken project stops no other: the graph and the doctor show it.
            errors.print(f"[yellow]{use_case.name} is broken[/]: {escape(str(error))}", highlight=False)


def demo(
    use_case: Annotated[str | None, typer.Argument(help="Use case; all with a demo when left out.")] = None,
) -> None:
    """Play the first months of use cases as real runs; say what happened in each, and where to look.

    A use case that fails holds up no other; the exit status is then 1. Models that `demo.models` in
    use_case.yaml leaves out are played by `ml-platform run`.
    """
    stores = platform()
    chosen = [stores.use_case(use_case)] if use_case else list(stores.use_cases.values())
    with_demo = {u.name: u.config.demo for u in chosen if u.config.demo is not None}
    if not with_demo:
        raise ConfigError(
            "there is no demo to play",
            where=", ".join(u.name for u in chosen) or "the search paths for use cases",
            fix="write `demo` in use_case.yaml, or play what is there: `ml-platform run USE_CASE`",
        )
    _play_all(stores, {name: _models(stores.use_case(name), d.models) for name, d in with_demo.items()})


def run(
    use_case: Annotated[str, typer.Argument(help="Name of the use case, or its folder.")],
    models: Annotated[
        str | None, typer.Option(help="Only these models, separated by commas; all when left out.")
    ] = None,
) -> None:
    """All the way to a prediction in the cache and a verdict on it.

    Lands and accepts the feeds, builds features and labels, versions a dataset, trains, judges, promotes
    where the gates pass, scores, serves, monitors and diagnoses. On a replay clock it plays what `demo` in
    use_case.yaml says; on the wall clock, and after an edit, the lifecycle as of now. Where a model serves or
    waits for a person, and nothing was edited since it was trained, none is trained: a retraining is for the
    verdict and its guards. What has been done is not done again. What `use-case check --no-data` calls an
    error is told before anything is begun. The exit status is 1 where a model did not come to serve.
    """
    name = found_by_folder(use_case)
    stores = platform()
    chosen = stores.use_case(name)
    wanted = _models(chosen, [m.strip() for m in (models or "").split(",") if m.strip()])
    _require_loadable(stores, chosen)
    _play_all(stores, {chosen.name: wanted})


def _require_loadable(stores: Platform, chosen: UseCase) -> None:
    """Dagster has no job of a use case that is not loaded, and would say only that."""
    from ml_platform.lifecycle.loadable import feeds_before, require_loadable

    require_loadable(chosen, feeds_before(chosen, stores.use_cases.values()))


def _require_runnable(chosen: UseCase, models: Sequence[str]) -> None:
    """Its owner is told as of a run that fails: nobody looks at the terminal of cron."""
    from ml_platform.lifecycle.alerts import Alert, send
    from ml_platform.lifecycle.runnable import require_runnable

    try:
        require_runnable(chosen, models)
    except ConfigError as error:
        alert = Alert(f"{chosen.name} was not run", str(error), chosen.config.owner, "failure")
        told = "; ".join(send(alert))
        raise ConfigError(
            error.what, where=error.where, fix=f"{error.fix}; nothing was begun\n  told:  {told}"
        ) from error


def _models(use_case: UseCase, asked: Sequence[str]) -> list[str]:
    """The names of the asked models, or of all."""
    return [use_case.model(m).name for m in asked] or [m.name for m in use_case.config.models]


def found_by_folder(name: str) -> str:
    """The name of a use case; where it is given by its folder, that becomes one more search path."""
    folder = Path(name)
    if not (folder / "use_case.yaml").is_file():
        return name
    paths = [p for p in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if p]
    os.environ[SEARCH_PATH_VARIABLE] = os.pathsep.join([*paths, str(folder.resolve())])
    return load_use_case(folder / "use_case.yaml").name


def _play_all(stores: Platform, chosen: Mapping[str, Sequence[str]]) -> None:
    """Play use cases by name, each with the names of the models to play.

    The first one in this process, where its progress is seen; the others beside it, each in a process of its
    own, on as many cores as there are. What they say comes after it, in their order.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    started = time.perf_counter()
    with console.status("opening the platform …"):
        _prepare(stores, [stores.use_case(name) for name in chosen])
    first, *others = chosen
    with _processes(max(1, (os.cpu_count() or 1) - 1)) as pool:
        beside = {n: pool.submit(_play_beside, n, chosen[n], _styled(), console.width) for n in others}
        # What dbt and other libraries print goes to the log; the console keeps the terminal it was made with.
        console.file = sys.stdout
        try:
            done = [_played(stores, first, chosen[first])]
            for name, playing in beside.items():
                with console.status(f"{name} …"):
                    ok, said = _ended(name, playing)
                sys.stdout.write(said)
                done.append(ok)
            # Dagster costs seconds of import; only commands that run jobs pay them.
            from ml_platform.cli.summary import print_next

            print_next(stores, chosen, time.perf_counter() - started)
        finally:
            console.file = None  # type: ignore[assignment]  # again whatever stdout is
    if not all(done):
        raise typer.Exit(1)


@contextlib.contextmanager
def _processes(most: int) -> Iterator[Executor]:
    """Processes that begin afresh: threads and connections of this one must not be carried over."""
    with ProcessPoolExecutor(most, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ended(name: str, playing: Future[tuple[bool, str]]) -> tuple[bool, str]:
    try:
        return playing.result()
    except BrokenProcessPool:
        return False, f"\n{name}: its process was ended from outside; the same command goes on from there\n"


def _styled() -> bool:
    return console.is_terminal and not console.no_color


def _play_beside(name: str, models: Sequence[str], styled: bool, width: int) -> tuple[bool, str]:
    """Body of a process that plays one use case: whether it came to its end, and all that it said."""
    console.width, console.record = width, True
    with Path(os.devnull).open("w") as nowhere:
        console.file = nowhere
        ok = _played(platform(), name, models)
        return ok, console.export_text(styles=styled)


def _played(stores: Platform, name: str, models: Sequence[str]) -> bool:
    """Whether a use case was played to its end; says why where it was not."""
    from ml_platform.orchestration.demo import open_instance

    log = stores.home / "demo.log"
    try:
        _require_loadable(stores, stores.use_case(name))
        with (
            log.open("a") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
            open_instance(stores) as instance,
        ):
            _require_runnable(stores.use_case(name), models)
            return _play(stores, instance, name, models)
    except PlatformError as error:
        console.print(f"[red]{name}: {escape(str(error))}[/]", highlight=False)
        return False


def _play(stores: Platform, instance: Any, name: str, models: Sequence[str]) -> bool:
    """Whether each model came to serve."""
    from ml_platform.cli.new_use_case import show_remarks
    from ml_platform.cli.summary import print_summary
    from ml_platform.lifecycle.contract_changes import contract_remarks
    from ml_platform.lifecycle.timing_changes import timing_remarks
    from ml_platform.orchestration.demo import play

    started = time.perf_counter()
    use_case = stores.use_case(name)
    console.print(f"\n[bold]{use_case.config.title}[/]  ({name})", highlight=False)
    show_remarks([*contract_remarks(stores, use_case), *timing_remarks(stores, use_case)])
    with console.status("") as status:

        def say(act: Any, event: Any) -> None:
            if event is None:
                when = act.clock or stores.clock(use_case).now()
                console.print(
                    f"\n[bold cyan]▶ {act.title}[/]  {act.partitions[0]} to {act.partitions[1]}, "
                    f"as of {when.astimezone(use_case.scheme.zone):%Y-%m-%d %H:%M %Z}",
                    highlight=False,
                )
                if not act.trains:
                    console.print(
                        "  nothing was edited since a model was trained, so that none is trained; what the "
                        "guards say of a retraining: `ml-platform retrain "
                        f"{use_case.model_key(act.models[0])} --explain`",
                        highlight=False,
                    )
            elif event.event_type_value == "STEP_START":
                status.update(f"{_short(event.step_key, name)} …")
            elif event.event_type_value == "STEP_SUCCESS":
                took = event.event_specific_data.duration_ms / 1000
                if took >= 0.5:
                    console.print(
                        f"  [green]✓[/] {_short(event.step_key, name):44} {took:6.1f} s", highlight=False
                    )
            elif event.event_type_value == "STEP_FAILURE":
                console.print(f"  [red]✗ {_short(event.step_key, name)}[/]", highlight=False)

        played = list(play(stores, _definitions, instance, use_case, models, say))
    if all(p.before for p in played):
        console.print("[green]everything has been played already[/]: nothing was done again", highlight=False)
        following = use_case.scheme.shift(played[-1].act.partitions[1], 1)
        if use_case.config.timeline.clock == "replay":
            console.print(f"  {what_follows(use_case, models[0], following)}", highlight=False)
        else:
            due = use_case.cutoff(following).astimezone(use_case.scheme.zone)
            console.print(
                f"  {following} is due at {due:%Y-%m-%d %H:%M %Z}; what has come meanwhile, for earlier "
                f"{use_case.scheme.noun}s too, is taken in then",
                highlight=False,
            )
    return print_summary(stores, use_case, models, played, time.perf_counter() - started)


def _definitions() -> Any:
    """The code location; it and dbt cost seconds of import, which a finished demo need not pay."""
    from ml_platform.definitions import defs

    return defs


def _short(step: str, use_case: str) -> str:
    return step.removeprefix(f"{use_case}__").replace("__", " / ")
