"""The carried tokenizers: exact, bounded by bytes, and loaded from packages alone."""

import subprocess
import sys
from threading import Thread
from time import process_time, sleep

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.tokens.size import normalization_bytes
from services.edge.tokens.tokenizers import RESIDENT_MB_MAX, TOKENIZER_NAMES, Tokenizer, load, tokenizer


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {name: load(name) for name in TOKENIZER_NAMES}


# From other programs: tiktoken with the families' patterns, and for deepseek Hugging Face's tokenizers.
KNOWN = {
    "Hello, world! I'LL count 1234567 tokens.": (14, 13, 14, 18, 14),
    "    def f(x):\n\t\treturn  x  # 中文\n\n": (14, 13, 14, 14, 14),
    "请用五个要点总结附件中的报告。": (15, 11, 13, 9, 9),
    "བཀྲ་ཤིས་བདེ་ལེགས། 👨‍👩‍👧": (47, 34, 45, 31, 28),
    "<|im_end|><｜User｜><|endoftext|>": (18, 16, 16, 16, 16),
    "": (0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("text", KNOWN)
def test_counts_are_those_of_the_reference(tokenizers: dict[str, Tokenizer], text: str) -> None:
    assert tuple(tokenizers[name].count(text) for name in TOKENIZER_NAMES) == KNOWN[text]


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=300))
def test_no_tokenizer_makes_more_tokens_than_bytes(tokenizers: dict[str, Tokenizer], text: str) -> None:
    utf8_bytes = len(text.encode("utf-8", "surrogatepass"))
    for name, each in tokenizers.items():
        assert each.count(text) <= utf8_bytes + (normalization_bytes(text) if name == "qwen3" else 0), name


def test_normalization_makes_more_tokens_than_bytes(tokenizers: dict[str, Tokenizer]) -> None:
    """Why `normalization_bytes` is there."""
    text = "\u0fb9" * 10
    assert len(text.encode()) < tokenizers["qwen3"].count(text) <= len(text.encode()) + normalization_bytes(text)


@pytest.mark.parametrize("name", TOKENIZER_NAMES)
@pytest.mark.parametrize("text", ["\u0301\u0323", "\u20d0\u20d2", "a", " ", "ab", "ཀ", "a  b", "\u05b0\u05b1\u05ad", "😀"])
def test_time_grows_with_the_length_alone(tokenizers: dict[str, Tokenizer], name: str, text: str) -> None:
    """With time by the square of the length this would take minutes. Of the processor, since others may be busy with it."""
    start = process_time()
    tokenizers[name].count(text * (200_000 // len(text)))
    assert process_time() - start < 5


def test_words_of_llama3_that_no_merge_builds_are_tokens_only_where_they_are_a_whole_word(tokenizers: dict[str, Tokenizer]) -> None:
    """588 words of its vocabulary are of this kind; used within longer ones they would make 2 tokens of this."""
    assert tokenizers["llama3"].count(" використовують") == 5


def test_loading_leaves_the_interpreter_to_others() -> None:
    """With its lock held all the while there would be one tick or two."""
    ticks = 0
    loading = Thread(target=load, args=("o200k",))
    loading.start()
    while loading.is_alive():
        ticks += 1
        sleep(0.001)
    assert ticks > 20


@pytest.mark.parametrize("name", TOKENIZER_NAMES)
def test_a_long_text_has_the_tokens_of_its_parts(tokenizers: dict[str, Tokenizer], name: str) -> None:
    """Parts are cut between words; of letters without any, each cut may add a token."""
    words = "the quick brown fox jumps over it all "
    assert len(words) * 5_000 > 5 * 32_768
    assert tokenizers[name].count(words * 5_000) == tokenizers[name].count(words * 50) * 100 - 99
    letters = "ab" * 100_000
    assert 0 <= tokenizers[name].count(letters) - tokenizers[name].count("ab" * 10_000) * 10 <= 7


def test_half_a_surrogate_pair_is_counted(tokenizers: dict[str, Tokenizer]) -> None:
    for each in tokenizers.values():
        assert each.count("a\ud800b") == each.count("a\ufffdb")


def test_an_unknown_tokenizer_is_none() -> None:
    assert tokenizer("bert") is None


def test_tokenizers_load_once_without_a_network_and_within_their_memory() -> None:
    code = f"""
import socket
def refused(*_): raise AssertionError("a tokenizer opened a connection")
socket.socket.connect = socket.getaddrinfo = refused
import sys
from services.edge.tokens import tokenizers
assert not {{"quicktok", "kitoken", "numpy"}} & set(sys.modules)
found = [tokenizers.tokenizer(name) for name in ("qwen3", "deepseek", "o200k", "llama3")]
assert [each.name for each in found if each] == ["qwen3", "deepseek", "o200k"], found
assert found[3] is None and tokenizers.tokenizer("qwen3") is found[0]
assert tokenizers.is_loaded("qwen3") and not tokenizers.is_loaded("llama3")
assert "numpy" not in sys.modules
resident = int(open("/proc/self/statm").read().split()[1]) * 4096 / 1_000_000
assert resident < {RESIDENT_MB_MAX} + 60, resident
"""
    subprocess.run([sys.executable, "-c", code], check=True)
