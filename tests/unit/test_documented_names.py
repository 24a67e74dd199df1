"""What the pages name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.builds import CHECKOUT
from support.windows import reads_sources

from dsadapter import records

pytestmark = reads_sources

README = CHECKOUT / "README.md"


@pytest.mark.parametrize(
    "page", [README, *sorted((CHECKOUT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_what_a_page_imports_of_the_package_exists(page: Path) -> None:
    for block in re.findall(
        r"^```python.*?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        for line in re.findall(r"^(?:from|import) dsadapter\b[^(\n]*$", block, re.MULTILINE):
            exec(compile(ast.parse(line), str(page), "exec"), {})


def test_the_readme_starts_with_what_is_served() -> None:
    top = README.read_text().split("## Try it")[0]
    for word in ("Twisted", "asyncio", "standard library", "dsadapter scan", "dsadapter migrate"):
        assert word in top
    for link in re.findall(r"\((docs/.*?)\)", top):
        assert (CHECKOUT / link).is_file()


@pytest.mark.parametrize("name", ["Attempt", "Connection", "Leak", "Refusal"])
def test_the_guide_for_plugins_has_every_field_of_a_record(name: str) -> None:
    record = getattr(records, name)
    fields = {each for each in dir(record) if each[0] != "_"} - {"connected"}
    guide = (CHECKOUT / "docs" / "plugins.md").read_text()
    [row] = re.findall(rf"^\| `\w+` \| `{name}` of .*? \| (.*) \|$", guide, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == fields
