"""Whether requirements.lock and requirements-train.lock still agree with pyproject.toml; run by ci/lint, offline.

Every requirement of pyproject.toml must be pinned to a version that it allows, every pin of requirements.lock must
have a hash, and the two files must not contradict each other.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pins(path: Path) -> dict[str, str]:
    """Name and version of each pin. Raises ValueError on a line that pins nothing."""
    found = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        text = line.split("#")[0].split(";")[0].strip()
        if not text or text.startswith("--"):
            continue
        if not (match := re.match(r"([A-Za-z0-9._-]+)==([^\s]+)", text)):
            raise ValueError(f"{path.name}: not a pin: {text}")
        found[canonicalize_name(match[1])] = match[2]
    return found


def problems(root: Path) -> list[str]:
    """What is wrong, a line each."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    run, train = pins(root / "requirements.lock"), pins(root / "requirements-train.lock")
    wanted = [
        ("requirements.lock", run, [*project["dependencies"], *project["optional-dependencies"]["dev"]]),
        ("requirements-train.lock", run | train, project["optional-dependencies"]["train"]),
    ]
    found = []
    for name, locked, requirements in wanted:
        for requirement in map(Requirement, requirements):
            version = locked.get(canonicalize_name(requirement.name))
            if version is None:
                found.append(f"{name}: {requirement.name} is missing")
            elif version not in requirement.specifier:
                found.append(f"{name}: {requirement.name} is {version}, pyproject.toml wants {requirement.specifier}")
    text = (root / "requirements.lock").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if re.match(r"[a-z0-9]", line) and "--hash=sha256:" not in line:
            found.append(f"requirements.lock: {line.split()[0]} has no hash")
    found += [f"{name} is pinned in both lock files" for name in sorted(run.keys() & train.keys())]
    return found


if __name__ == "__main__":
    bad = problems(Path(__file__).parent.parent)
    print("\n".join([*bad, "ci/lock writes both files again"]) if bad else "lock files agree with pyproject.toml")
    sys.exit(bool(bad))
