"""The main job on the Metal device: the same answers as on the CPU, few command buffers."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import nitinol as nt

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytest.importorskip("gguf", reason="the extra 'bench' is not installed")

from tiny_llama import write_tiny_llama  # noqa: E402 (needs gguf)

pytestmark = pytest.mark.skipif(
    "metal" not in {device.kind for device in nt.devices()},
    reason="This build of nitinol, or this machine, has no Metal.",
)


def serve(tmp_path, device, *arguments, count=False):
    """Serve a few requests; return what was observed, and what the emulator counted."""
    model, result = tmp_path / "tiny.gguf", tmp_path / f"{device}.json"
    if not model.exists():
        write_tiny_llama(model)
    command = [sys.executable, ROOT / "benchmarks/sustained_inference.py", "--device", device]
    command += ["--model", model, "--context", "64", "--json", result]
    command += ["--plot", tmp_path / "plot.png", *arguments]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | ({"METAL_EMULATOR": "count"} if count else {}),
        timeout=240,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    counters = re.findall(r"(\w+)=(\d+)", run.stderr.rpartition("metal_emulator:")[2])
    return json.loads(result.read_text()), {name: int(value) for name, value in counters}


def test_answers_are_those_of_the_cpu(tmp_path):
    """Greedy answers agree token by token, with failures injected on both devices."""
    arguments = ("--requests", "6", "--tokens", "5", "--threads", "2")
    answers = {}
    for device in ("cpu", "metal"):
        observed, _ = serve(tmp_path, device, *arguments)
        reference = [r for r in observed["results"] if r["phase"] == "reference"]
        assert len(reference) >= 4
        answers[device] = {r["request"]: r["tokens"] for r in reference}
    assert answers["cpu"] == answers["metal"]


@pytest.mark.skipif(
    not any(device.hardware.startswith("Emulated") for device in nt.devices()),
    reason="Only the emulator counts.",
)
@pytest.mark.parametrize("cache", ["float32", "float16"])
def test_a_decode_step_is_one_command_buffer(tmp_path, cache):
    """Each token takes one command buffer more, and kernels compile without fast math."""
    counts = {}
    for tokens in (3, 7):
        arguments = ("--requests", "1", "--tokens", str(tokens), "--threads", "1")
        arguments += ("--cache", cache)
        observed, counts[tokens] = serve(
            tmp_path, "metal", *arguments, "--faults", "none", count=True
        )
    requests = len(observed["results"])
    extra = counts[7]["command_buffers"] - counts[3]["command_buffers"]
    assert extra == 4 * requests
    assert counts[7]["fast_math_libraries"] == 0
