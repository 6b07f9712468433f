"""A data folder that cannot be written to, before the start and under a running system: what is said, and that nothing is lost."""

import json
import os
import resource
import shlex
import shutil
import subprocess
import urllib.error
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from services.cli.data_folder import Demo
from tests.cli.processes import ENVIRONMENT, IN_PLACE, TIMEOUT_S, run, up
from tests.cli.test_up import ask

# In a mount namespace of its own, so that nothing is left of it.
OWN_MOUNTS = ("unshare", "--mount", "--map-root-user", "sh", "-c")
# Takes from root what lets it pass all rights of files.
AS_A_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
BODY = json.dumps({"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}).encode()
SIZE_MAX = 4_096
STREAMED_TOKENS = 100


def done(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=ENVIRONMENT, check=False)


def start(folder: Path) -> list[str]:
    return [*IN_PLACE, "up", "--data-dir", str(folder), "--port", "0", "--admin-port", "0"]


def doctor(folder: Path) -> list[str]:
    return [*IN_PLACE, "doctor", "--data-dir", str(folder), "--output", "json"]


def found(told: str) -> dict[str, Any]:
    return {each["check"]: each for each in json.loads(told)["findings"]}


def streamed(demo: Demo) -> Any:
    """A call of a second, whose answer is being streamed."""
    simulate = {"output_tokens": STREAMED_TOKENS, "tokens_per_second": STREAMED_TOKENS}
    body = json.loads(BODY) | {"stream": True, "max_tokens": STREAMED_TOKENS, "simulate": simulate}
    headers = {"Authorization": f"Bearer {demo.api_key}", "Content-Type": "application/json"}
    return urlopen(Request(f"{demo.base_url}/chat/completions", json.dumps(body).encode(), headers), timeout=TIMEOUT_S)


def needs(*command: str) -> None:
    if shutil.which(command[0]) is None or done(command).returncode:
        pytest.skip(f"this machine lets nobody do: {shlex.join(command)}")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a system has used."""
    folder = tmp_path_factory.mktemp("used")
    with up(folder):
        pass
    return folder


@pytest.fixture
def folder(used: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, which is made writable again in the end."""
    copied = tmp_path / "data"
    shutil.copytree(used, copied)
    yield copied
    for each in (copied, *copied.iterdir()):
        each.chmod(0o700)


def test_a_data_folder_on_a_full_disk_is_named(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=16k tmpfs {tmp_path}"
    needs(*OWN_MOUNTS, mount)
    # The first has no room for the lock's text, the second none for what comes after it.
    for blocks_left in (0, 2):
        filling = f"head -c {(4 - blocks_left) * 4096} /dev/zero > {tmp_path}/filler"
        refused = done([*OWN_MOUNTS, f"{mount} && {filling}; {shlex.join(start(tmp_path))}"])
        assert refused.returncode == 2, refused.stderr
        assert refused.stderr.startswith(f"Error: data folder {tmp_path}"), refused.stderr
        assert "No space left on device; make room or choose another" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_disk_that_is_mounted_for_reading_alone_is_named(folder: Path) -> None:
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    needs(*OWN_MOUNTS, mount)
    refused = done([*OWN_MOUNTS, f"{mount} && {shlex.join(start(folder))}"])
    assert (refused.returncode, refused.stderr) == (
        2,
        f"Error: data folder {folder}/lock: Read-only file system; mount its disk for writing, or choose another with --data-dir\n",
    )
    looked = done([*OWN_MOUNTS, f"{mount} && {shlex.join(doctor(folder))}"])
    assert looked.returncode == 1
    assert found(looked.stdout)["folder"]["found"] == f"{folder} is on a file system that is mounted for reading alone"


@pytest.mark.parametrize(
    ("below", "rights", "complaint"),
    [
        ("", 0o500, "data folder {}: Permission denied; give it to the user who runs this, or choose another"),
        ("secrets", 0o000, "data folder {}/hash_key: Permission denied; give it to the user who runs this, or choose another"),
        ("catalog", 0o000, "data folder {}/README.txt: Permission denied; give it to the user who runs this, or choose another"),
        *((f"{name}.sqlite3", 0o400, "{}: attempt to write a readonly database") for name in ("billing", "outbox")),
    ],
)
def test_what_its_user_may_not_use_is_named_at_the_start_and_by_the_doctor(
    folder: Path, below: str, rights: int, complaint: str
) -> None:
    needs(*AS_A_USER, "true")
    closed = folder / below
    closed.chmod(rights)
    refused = done([*AS_A_USER, *start(folder)])
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert refused.stderr.startswith(f"Error: {complaint.format(closed)}"), refused.stderr
    looked = done([*AS_A_USER, *doctor(folder)])
    assert (looked.returncode, looked.stderr) == (1, "")
    told = found(looked.stdout)["folder"]
    assert told["level"] == "fail"
    # SQLite gives its other files the rights of the database.
    assert told["found"].startswith(f"this user cannot use {closed}")
    assert f"chown -R USER {folder}" in told["remedy"]


def test_a_quota_that_is_used_up_is_named_though_the_disk_has_room(folder: Path) -> None:
    # A limit of the process stands for it: both refuse a write beside free room.
    looked = done(["sh", "-c", f"ulimit -f 0; {shlex.join(doctor(folder))}"])
    assert looked.returncode == 1
    told = found(looked.stdout)["disk"]
    assert told["level"] == "fail"
    assert told["found"].startswith(f"{folder} takes no more data: File too large, though ")
    assert "make room at once" in told["remedy"]
    assert not [each.name for each in folder.iterdir() if each.name.startswith((".", "tmp"))]


def test_a_running_system_whose_disk_takes_no_more_refuses_calls_and_goes_on_once_it_does(tmp_path: Path) -> None:
    with up(tmp_path) as system:
        demo, limit = system.demo, resource.RLIMIT_FSIZE
        assert ask(f"{demo.base_url}/chat/completions", demo.api_key, BODY)["usage"]
        before = resource.prlimit(system.process.pid, limit)
        with streamed(demo) as running:
            # It has begun, and ends while neither the journal nor the outbox can be written to.
            assert running.readline().startswith(b"data: ")
            resource.prlimit(system.process.pid, limit, (SIZE_MAX, before[1]))
            assert b"for this call is not confirmed yet" in running.read()
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            ask(f"{demo.base_url}/chat/completions", demo.api_key, BODY)
        assert refused.value.headers["retry-after"]
        looked = run("doctor", "--data-dir", str(tmp_path), "--output", "json")
        told = found(looked.stdout)["owners"]
        assert (looked.exit_code, told["level"]) == (1, "fail")
        assert "a full disk, a quota" in told["remedy"]

        resource.prlimit(system.process.pid, limit, before)
        again = ask(f"{demo.base_url}/chat/completions", demo.api_key, BODY)
        while ask(f"{demo.admin_url}/v1/admin/accounts/{demo.account_id}", demo.admin_token)["sessions"]:
            # Its Release waits in the edge's memory, and comes again until it is answered.
            assert system.process.poll() is None
        audited = run("audit", "--data-dir", str(tmp_path), "--output", "json")
        assert json.loads(audited.stdout).items() >= {"breaches": [], "open_sessions": 0, "in_transit": []}.items()
        (bucket,) = ask(f"{demo.base_url}/me/balance", demo.api_key)["buckets"]
        # Two short calls were answered and a long one, so these were charged.
        short, prompt = again["usage"]["total_tokens"], again["usage"]["prompt_tokens"]
        assert bucket["consumed"] == (2 * short + prompt + STREAMED_TOKENS) * 1_000_000
        assert system.stop() == 0
    assert f"{tmp_path}/accounting.sqlite3: disk I/O error; check that the disk is writable and not full" in system.log
    assert demo.api_key not in system.log
