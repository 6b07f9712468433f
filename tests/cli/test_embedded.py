"""What services of one machine stand on."""

from stat import S_IMODE

from services.cli.embedded import socket_folder


def test_sockets_between_services_stand_where_nobody_else_may_enter() -> None:
    with socket_folder() as folder:
        assert S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()
