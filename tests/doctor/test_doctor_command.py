"""``dsadapter doctor``: what it takes, how it says it, and its exit status."""

from __future__ import annotations

import pytest
from support.examined import examined, run_doctor

JUNK = ["http", "99999", "0", "8080/", "53/sctp", "\uff12", "9" * 5000, "", "8080,8081", "::"]


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_port_is_refused_with_what_to_write(junk: str) -> None:
    done = run_doctor(junk)
    assert (done.returncode, done.stdout) == (2, "")
    assert "as in 8080 or 53/udp" in done.stderr or "write 8080/udp" in done.stderr
    assert len(done.stderr) < 1000


def test_a_fine_machine_is_fine() -> None:
    report = examined("8080")
    assert (report.status, report.marks()) == (0, {})
    assert report.row("port.tcp")["fact"] == (
        "'dualstack:8080' would listen: one socket serves IPv4 and IPv6"
    )
