"""What looks secret and what does not. What looks like a real key is put together here, so that this file has none."""

from __future__ import annotations

import io
from typing import TextIO, cast

import pytest

from sweeplora.record.provenance.secret import Redacted, holds_secret, is_secret_name, without_credentials


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
        "api_key.txt",
        "gcp-key.json",
        "wandb-api-secret",
        "my.password",
        "service-account-7.json",
        "credentials.json",
        "kaggle.json",
        "conf/rclone.conf",
        ".config/rclone/rclone.conf",
        "cookies.txt",
        "www.example.org_cookies.txt",
        "cookies.sqlite",
        "chrome cookies.json",
        ".bash_history",
        "server.p8",
        ".streamlit/secrets.toml",
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
        ("url = AKC", "p8abcdefghijkl"),
        ('"AP5', 'cdefghijklm"'),
        ("bot 110201543", ":AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"),
        ("export HF=hf_", "abcdefghijklmnopqrstuvwxyzABCDEF"),
        ("ghp_", "abcdefghijklmnopqrstuvwxyz0123456789"),
        ("sk-", "proj-abcdefghij1234567890"),
        ("git clone https://me:", "hunter22@host/repo.git"),
        ("API_KEY=", "0123456789abcdef0123456789"),
        ('"client_secret": "', '0123-4567-89ab-cdef-0123"'),
        ("password: ", "correcthorse1battery2staple3"),
        ("password: ", "hunter2"),
        ("  passwd: '", "correct horse battery'"),
        ('DB_PASSWORD="', 'supersecret"'),
        ("export DB_PASSWORD=", "hunter2"),
        ("POSTGRES_PASSWORD: ", "example-but-mine"),
        ('{"password": "', 'hunter2"}'),
        ("client_secret = ", "abcdefgh"),
        ("aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"),
        ("url = https://git.example.org/me/repo.git?private_", "token=abcdEFGH-ijkl"),
        ("https://host.example/file?X-Amz-", "Signature=0123456789abcdef"),
        ("https://user:p@", "ss@host.example/x"),
        ("https://host.example/x.git#tok", "en=abcd1234efgh"),
        ("postgresql://me:p/a@", "ss@host.example/db"),
        ("  db_pa", "ss: hunter22"),
        ("sshpa", "ss -p hunter22 ssh host"),
        ("ya", "29.a0AfH6SMBabcdefghij0123456789"),
        ("eyJhbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIxMjMifQ.dozjgNryP4J3jVmNHl0w5N"),
        ("postgresql://sweeplora:", "x!y#z@db.example/mlflow"),
        ("wandb login ", "0123456789abcdef0123456789abcdef01234567"),
        ("wandb login --relogin ", "0123456789abcdef0123456789abcdef01234567"),
        ('wandb.login(key="', '0123456789abcdef0123456789abcdef01234567")'),
        ("WANDB_API_KEY=", "0123456789abcdef0123456789abcdef01234567"),
        ("huggingface-cli login --token ", "abcdefghij0123456789xyz"),
        ("Authorization: Bearer ", "abc123def456"),
        ('headers = {"Authorization": "Bearer ', 'abc123def456"}'),
        ("Authorization: Basic ", "dXNlcjpwYXNzd29yZA=="),
        ("curl -u me:", "hunter2 https://host.example"),
        ("sync --password ", "hunter2"),
        ("https://hooks.slack.com/services/", "T00000000/B00000000/abcdefghijklmnop"),
        ("https://discord.com/api/webhooks/", "123456789/abcdefghijklmnopqrstuvwx"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/", "01234567-89ab-cdef-0123-456789abcdef"),
        ("https://example.webhook.office.com/webhookb2/", "01234567-89ab-cdef"),
        ("https://oapi.dingtalk.com/robot/send?access_", "token=0123456789abcdef"),
        ("https://api.telegram.org/bot", "123456789:abcdefghijklmnopqrstuvwxyz012345678"),
        ('{"username":"me","key":"', '0123456789abcdef0123456789abcdef"}'),
        ("[drive]\ntype = drive\npass = ", "obscured_by_rclone"),
        ("# Netscape HTTP ", "Cookie File"),
        ("Cookie: session", "id=0123456789abcdef"),
        ('{"domain": ".example.org", "http', 'Only": true, "value": "x"}'),
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
        "password: ${oc.env:DB_PASSWORD}",
        "DB_PASSWORD=$DB_PASSWORD",
        'password = "password"',
        "api_key: null",
        "url: https://user:password@host.example  # an example",
        "https://host.example/page?key=",
        "Authorization: Bearer $TOKEN",
        "log in with `wandb login`, then set WANDB_API_KEY",
        "tokens: 75",
        "keep_tokens_separator: '|||'",
        "class_tokens: sks",
        "bearer authentication is used",
        "what weighs_elements_and_the_mean_is_still_over_them does",
    ],
)
def test_ordinary_text_is_not_secret(text: str) -> None:
    assert not holds_secret(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        'API_KEY = "OPENAI_API_KEY"',
        "password = getpass.getpass()",
        'SECRET = "looks secret, and says so"',
        "def login(password: str, api_key: str | None = None) -> None: ...",
        "secret: bytes = hmac.new(key, text)",
    ],
)
def test_names_and_messages_in_code_are_not_secret(text: str) -> None:
    assert not holds_secret(text.encode(), "train.py")


def test_a_password_in_code_is_found() -> None:
    assert holds_secret(b"connect(host, pass" + b'word="hunter2")', "train.py")


def test_a_secret_in_another_encoding_is_found() -> None:
    assert holds_secret(f"pass{'word'}: hunter2\r\n".encode("utf-16"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hunter2@host.example:5000/x", "http://host.example:5000/x"),
        ("https://user:p@ss@host.example", "https://host.example"),
        ("postgresql+psycopg://me:p/s@s@db.example/mlflow", "postgresql+psycopg://db.example/mlflow"),
        (
            "https://git.example/me/repo.git?private_" + "token=abcdEFGH",
            "https://git.example/me/repo.git?private_token=***",
        ),
        (
            "at https://host:8080/path@2 and git@github.com:me/x",
            "at https://host:8080/path@2 and git@github.com:me/x",
        ),
        ("sync --password hunter2 --port 5", "sync --password *** --port 5"),
        ("+env.DB_PASSWORD=hunter2", "+env.DB_PASSWORD=***"),
        ("wandb login " + "0123456789abcdef" * 2 + "01234567", "wandb login ***"),
        ("tracking.uri=http://host:5000 network.dim=4", "tracking.uri=http://host:5000 network.dim=4"),
        ("a name that is not UTF-8: \udce9", "a name that is not UTF-8: \udce9"),
    ],
)
def test_text_is_shown_without_the_secrets_in_it(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_a_redacted_stream_lets_no_password_through() -> None:
    stream = io.StringIO()
    print("cannot reach http://me:hunter2@host.example", file=cast(TextIO, Redacted(stream)), flush=True)
    assert stream.getvalue() == "cannot reach http://host.example\n"
