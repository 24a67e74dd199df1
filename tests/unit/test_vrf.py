"""Interfaces of VRFs, as sysfs describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsadapter.sockets.ifaddrs import is_in_vrf, serves_vrfs

pytestmark = pytest.mark.not_on_windows("sysfs is Linux's")


def describe(folder: Path, uevent: str) -> Path:
    folder.mkdir()
    (folder / "uevent").write_text(uevent, encoding="ascii")
    return folder


@pytest.fixture
def interfaces(tmp_path: Path) -> Path:
    vrf = describe(tmp_path / "blue", "DEVTYPE=vrf\nINTERFACE=blue\nIFINDEX=5\n")
    bridge = describe(tmp_path / "br0", "DEVTYPE=bridge\nINTERFACE=br0\nIFINDEX=6\n")
    (describe(tmp_path / "eth0", "INTERFACE=eth0\nIFINDEX=2\n") / "master").symlink_to(vrf)
    (describe(tmp_path / "eth1", "INTERFACE=eth1\nIFINDEX=3\n") / "master").symlink_to(bridge)
    describe(tmp_path / "eth2", "INTERFACE=eth2\nIFINDEX=4\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [("blue", True), ("eth0", True), ("br0", False), ("eth1", False), ("eth2", False)],
)
def test_an_interface_is_in_a_vrf_or_is_one(interfaces: Path, name: str, expected: bool) -> None:
    assert is_in_vrf(name, interfaces) is expected


def test_nothing_is_known_of_an_interface_that_is_not_there(tmp_path: Path) -> None:
    assert is_in_vrf("eth9", tmp_path) is False
    assert is_in_vrf("eth9", tmp_path / "nowhere") is False


@pytest.mark.parametrize(("text", "expected"), [("0\n", False), ("1\n", True)])
def test_datagrams_come_from_vrfs_if_the_system_lets_them(
    tmp_path: Path, text: str, expected: bool
) -> None:
    setting = tmp_path / "udp_l3mdev_accept"
    assert serves_vrfs(setting) is False
    setting.write_text(text, encoding="ascii")
    assert serves_vrfs(setting) is expected
