"""The wheel, installed into an environment of its own, is whole: it runs without the folder that it was made of."""

import json
import os
import site
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.processes import ENVIRONMENT, TIMEOUT_S, up

ROOT = Path(__file__).parents[2]
# Nothing of the folder is found by a variable either.
BARE = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("PYTHON")}


def done(*command: str, folder: Path) -> str:
    ended = subprocess.run(command, cwd=folder, env=BARE, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; what it needs is that of this one, without its installation of the folder."""
    folder = tmp_path_factory.mktemp("an environment")
    done(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder), folder=ROOT)
    (wheel,) = folder.glob("tokenline-*.whl")
    done(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), folder=folder)
    python = folder / "venv" / "bin" / "python"
    install = ("-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    done(sys.executable, *install, folder=folder)
    (packages,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return folder / "venv"


def test_the_wheel_brings_all_that_is_its_own(environment: Path) -> None:
    program = str(environment / "bin" / "tokenline")
    assert done(program, "--version", folder=environment) == f"tokenline {version('tokenline')}\n"
    where = "import services, tokenline.accounting.v1.accounting_pb2 as pb; print(services.__file__, pb.__file__)"
    found = done(str(environment / "bin" / "python"), "-c", where, folder=environment).split(str(environment))
    assert len(found) == 3, found


def test_it_starts_in_folders_with_spaces_in_their_names(environment: Path, tmp_path: Path) -> None:
    home = tmp_path / "the home of somebody"
    (home / "my data").mkdir(parents=True)
    program = (str(environment / "bin" / "tokenline"),)
    # Python's own variables lead to the folder, and are set to nothing.
    elsewhere = {name: "" for name in os.environ if name.startswith("PYTHON")}
    with up(home / "my data", program=program, HOME=str(home), **elsewhere) as system:
        request = urllib.request.Request(
            f"{system.demo.base_url}/chat/completions",
            data=b'{"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": "Hello!"}]}',
            headers={"authorization": f"Bearer {system.demo.api_key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            charging_id = answer.headers["x-request-id"]
            assert json.load(answer)["usage"]["total_tokens"] > 0
        told = done(*program, "explain", charging_id, "--data-dir", str(home / "my data"), folder=home)
        assert "state: settled" in told
        # The command that starts it, as a person would copy it from the message.
        assert any('"model": "deepseek-v4-flash"' in line for line in system.greeting)
        assert system.stop() == 0
    down = subprocess.run(
        [*program, "account", "list"], cwd=home, env={**BARE, "HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert (down.returncode, f"`tokenline up --data-dir '{home}/.tokenline'`" in down.stderr) == (2, True)
