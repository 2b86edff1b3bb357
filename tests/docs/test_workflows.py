"""The workflows parse, and do nothing that `make` does not do."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml_platform.config import project_root

ROOT = project_root()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"^actions/[a-z-]+@v\d+$")


def jobs(file: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert {"name", True, "permissions", "jobs"} <= set(workflow), file
    return dict(workflow["jobs"])


def steps(file: Path) -> list[dict[str, Any]]:
    return [s for job in jobs(file).values() for s in job["steps"]]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def test_there_are_workflows_for_use_cases_and_for_the_platform() -> None:
    assert {f.stem for f in WORKFLOWS} == {"use_cases", "platform"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda f: f.stem)
def test_each_step_is_a_target_of_the_makefile_or_a_known_action(file: Path) -> None:
    for step in steps(file):
        if "run" in step:
            assert step["run"].startswith("make "), step
            assert set(step["run"].split()[1:]) <= targets(), step
        else:
            assert PINNED.match(step["uses"]), step


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda f: f.stem)
def test_each_job_ends_by_itself_and_needs_jobs_that_exist(file: Path) -> None:
    found = jobs(file)
    for name, job in found.items():
        assert "timeout-minutes" in job, name
        needs = job.get("needs", [])
        assert ({needs} if isinstance(needs, str) else set(needs)) <= set(found), name


def test_only_a_merge_deploys_and_only_after_the_smoke() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "use_cases.yml")
    assert found["deploy"]["needs"] == "smoke" and found["smoke"]["needs"] == "check"
    assert "github.event_name == 'push'" in found["deploy"]["if"]


@pytest.mark.parametrize("target", ["docs", "check", "smoke", "comment", "deploy", "lint", "demo", "test"])
def test_make_knows_what_to_do(target: str) -> None:
    done = subprocess.run(
        ["make", "-n", target, "MODELS=a/b", "DRILLS=clean"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if target == "smoke":
        assert "ml-platform smoke a/b --drill clean --markdown build/smoke.md" in " ".join(
            done.stdout.split()
        )


def test_a_comment_is_written_by_gh_and_says_what_is_missing(tmp_path: Path) -> None:
    seen, tools = tmp_path / "seen", tmp_path / "bin"
    tools.mkdir()
    (tools / "gh").write_text(f'#!/bin/sh\necho "$@" > {seen}\n', encoding="utf-8")
    (tools / "gh").chmod(0o755)
    page = tmp_path / "smoke.md"

    def comment(**environment: str) -> subprocess.CompletedProcess[str]:
        bash = shutil.which("bash") or "bash"
        values = {"PATH": f"{tools}:{os.environ['PATH']}", "SMOKE_PAGE": str(page), **environment}
        return subprocess.run(
            [bash, str(ROOT / "scripts" / "comment.sh")],
            env=values,
            capture_output=True,
            text=True,
            check=False,
        )

    assert "run make smoke first" in comment(PULL_REQUEST="7").stderr
    page.write_text("## Smoke\n", encoding="utf-8")
    assert "PULL_REQUEST is not set" in comment().stderr
    assert comment(PULL_REQUEST="7").returncode == 0
    assert seen.read_text(encoding="utf-8").split()[:3] == ["pr", "comment", "7"]
