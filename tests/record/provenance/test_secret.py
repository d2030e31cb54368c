"""What looks secret and what does not. The examples are put together here, so that this file holds none."""

from __future__ import annotations

import pytest

from sweeplora.record.provenance.secret import holds_secret, is_secret_name


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "deploy/.env.local",
        "prod.env",
        ".netrc",
        "keys/server.pem",
        "id_ed25519",
        "id_rsa.old",
        ".aws/config",
        "hf_token.txt",
        "wandb-api-secret",
        "my.password",
        "service-account-7.json",
        "credentials.json",
    ],
)
def test_names_of_keys_and_tokens_are_secret(path: str) -> None:
    assert is_secret_name(path)


@pytest.mark.parametrize(
    "path",
    ["tokenizer.json", "tokenizer_config.json", "src/secret.py", "tokens.md", "environment.yaml", "keyboard.txt"],
)
def test_names_that_only_resemble_them_are_not(path: str) -> None:
    assert not is_secret_name(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-----BEGIN OPENSSH PRIV", "ATE KEY-----"),
        ("AKIA", "ABCDEFGHIJKLMNOP"),
        ("export HF=hf_", "abcdefghijklmnopqrstuvwxyzABCDEF"),
        ("ghp_", "abcdefghijklmnopqrstuvwxyz0123456789"),
        ("sk-", "proj-abcdefghij1234567890"),
        ("git clone https://me:", "hunter22@host/repo.git"),
        ("API_KEY=", "0123456789abcdef0123456789"),
        ('"client_secret": "', '0123-4567-89ab-cdef-0123"'),
        ("password: ", "correcthorse1battery2staple3"),
    ],
)
def test_keys_tokens_and_assigned_passwords_are_found(before: str, after: str) -> None:
    assert holds_secret(f"a line\n{before}{after}\nanother".encode())


@pytest.mark.parametrize(
    "text",
    [
        "token = tokenizer.convert_tokens_to_ids(word)",
        "self.token_embedding = nn.Embedding(49408, 768)",
        "secret: no",
        "see https://host:8080/path@2 and git@github.com:me/repo.git",
        "tokens_above_1hr = 'cache_creation_input_tokens_above_1hr'",
        "max_token_length = 225",
    ],
)
def test_ordinary_code_is_not_secret(text: str) -> None:
    assert not holds_secret(text.encode())
