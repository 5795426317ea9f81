"""Secrets are taken out of text, and ordinary text is left as it is."""

from __future__ import annotations

import pytest

from ddpm_exp.records.redaction import redact, redact_all, secret_values

ENVIRONMENT = {
    "WANDB_API_KEY": "w" * 40,
    "HF_TOKEN": "value-of-hf",
    "AWS_SECRET_ACCESS_KEY": "abc/def+ghi==",
    "PGPASSWORD": "swordfish",
    "DEPLOY_KEY": "-----BEGIN-----\nline-one-of-key\nline-two-of-key",
    "TOKENIZERS_PARALLELISM": "disabled",
    "KEYBOARD": "workstation",
    "SSH_KEY_FILE": "/home/somebody/key",
    "SHORT_TOKEN": "true",
}


@pytest.mark.parametrize(
    "text",
    [
        f"key {'w' * 40} end",
        "login with value-of-hf.",
        "abc/def+ghi==",
        "s3://bucket?x=abc%2Fdef%2Bghi%3D%3D",
        "swordfish",
        "line-two-of-key",
        "https://user:tok@host/path",
        "https://tok@host/path",
        "remote = ssh://git:tok@host:22/x",
        "https://host/x?private_token=tokentok&y=1",
        'WANDB_API_KEY = "literal-secret"',
        "api_key: str = 'literal-secret'",
        '{"hf_token": "l1teral-s3cret"}',
        '{"password": "literal-secret"}',
        "export MY_SECRET=literal-secret",
        "wandb login --api-key literal-secret",
        "curl --token=literal-secret",
        "hf_" + "a" * 34,
        "ghp_" + "a" * 36,
        "AKIA" + "A" * 16,
    ],
)
def test_secrets_do_not_survive(text: str) -> None:
    clean = redact(text, ENVIRONMENT)
    assert "[redacted]" in clean
    for secret in (
        *secret_values(ENVIRONMENT),
        "tok@",
        "tokentok",
        "literal-secret",
        "l1teral-s3cret",
        "abc%2F",
        "a" * 30,
        "A" * 16,
    ):
        assert secret not in clean


@pytest.mark.parametrize(
    "text",
    [
        "parallelism disabled on the workstation, /home/somebody/key, true",
        'key = os.environ["WANDB_API_KEY"]',
        "token = tokenizer.encode(text)",
        "def key(self, token: str) -> None: return self.keys[token]",
        "for key, value in items: print(key)",
        "git sha 3233492641eaf2b5b496185c8fcf18572ab0a3c5",
        'pad_token = "<padding>"; unknown_token = "unknown"',
        '{"key": "samples/grid", "token": "sneaker"}',
        "a per-key lookup and non-token text",
        "attention(query, key=key, value=value)",
        "https://host/path?page=2#key",
        "https://docs.python.org/3/library/stdtypes.html and me@host",
        'dropout = 0.1  # "token" dropout',
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text, ENVIRONMENT) == text


def test_source_code_keeps_its_shape() -> None:
    source = 'API_KEY = "very-secret-1"\nx = 1\n'
    assert redact(source, {}) == 'API_KEY = "[redacted]"\nx = 1\n'
    compile(redact(source, {}), "experiment", "exec")


def test_plain_data_keeps_numbers_names_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "123456")
    values = {"count": 123456, "text": ["id 123456", None, True], "nested": {"a": (1.5, "x")}}
    assert redact_all(values) == {"count": 123456, "text": ["id [redacted]", None, True], "nested": {"a": [1.5, "x"]}}
