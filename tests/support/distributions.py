"""Small distributions that a test writes, builds and installs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"

[project.entry-points.dsadapter]
{entry_points}

[tool.hatch.build.targets.wheel]
only-include = [{modules}]
"""


def build_plugin(
    folder: Path,
    name: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, str],
    version: str = "1.0",
) -> Path:
    """The wheel of a plugin.

    :param modules: source text by file name.
    :param entry_points: what each entry point in the group ``dsadapter`` names.
    """
    source = folder / name
    source.mkdir(parents=True)
    for file, text in modules.items():
        (source / file).write_text(text)
    (source / "pyproject.toml").write_text(
        PROJECT.format(
            name=name,
            version=version,
            entry_points="\n".join(f'{key} = "{value}"' for key, value in entry_points.items()),
            modules=", ".join(f'"{file}"' for file in modules),
        )
    )
    # As a front end has it built, without the three processes that one starts.
    (wheel,) = WheelBuilder(str(source)).build(directory=str(folder / "dist"))
    return Path(wheel)
