"""Detects files that look secret, by name or content, and removes secrets from text.

If in doubt, a file is left out of the record.
"""

from __future__ import annotations

import codecs
import hashlib
import importlib.metadata
import re
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TextIO

from sweeplora.record.provenance import secret_patterns
from sweeplora.record.provenance.secret_patterns import assigned_in_code, assigned_in_text, patterns

_NAMES = re.compile(
    r"""\.env | \.env\..* | .*\.env | \.envrc | \.?netrc | _netrc | \.npmrc | \.yarnrc.* | \.pypirc | \.git-credentials
    | \.htpasswd | \.pgpass | \.my\.cnf | \.boto | \.s3cfg | \.?rclone.*\.conf | kaggle\.json | auth\.json | hosts\.yml
    | .*\.(pem|key|p8|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg|age|ovpn|tfstate|tfvars) | id_(rsa|dsa|ecdsa|ed25519).*
    | service[-_]account.*\.json | client_secret.*\.json | \.?kube_?config | \.dockercfg | \.vault[-_]?pass.*
    | \.?(git)?cookies? | .*cookies?\.(txt|json|jar|db|sqlite3?|pkl|lwp) | \.\w*_history | \.condarc | \.wgetrc
    | .*(api|aws|gcp|gcloud|google|azure|openai|wandb|hf)[-_.\ ]?keys?[-_.].*""",
    re.IGNORECASE | re.VERBOSE,
)
_FOLDERS = {".ssh", ".aws", ".gnupg", ".azure", ".kube", ".docker", ".huggingface", ".kaggle", ".rclone", ".oci"}
_WORDS = {"token", "tokens", "secret", "secrets", "password", "passwords", "passwd", "credential", "credentials"}
_WORDS |= {"apikey", "apikeys", "cookie", "cookies"}
_CODE = {".py", ".md", ".rst", ".js", ".ts", ".c", ".h", ".cpp", ".rs", ".go", ".java", ".ipynb", ".html", ".css"}
_CODE |= {".jsx", ".tsx", ".cu", ".cuh", ".hpp", ".cs", ".kt", ".swift", ".rb", ".php", ".lua", ".pyi", ".scala"}
_WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

_GONE = b"***"
_USER = re.compile(rb"(?P<scheme>\b[a-zA-Z][\w+.-]*://)[^\s/'\"]*@")
# A database password may contain a slash.
_DATABASE_USER = re.compile(rb"(?P<scheme>\b(?:postgres|mysql|mariadb|mssql|oracle)[\w+.-]*://)[^\s/:'\"]*:[^\s'\"]*@")


def is_secret_name(path: str) -> bool:
    """Whether a relative path is a key, a credentials file or something named token or password.

    Source code and documents may have such words in their names; for them only the content counts.
    """
    pure = PurePosixPath(path)
    if _FOLDERS.intersection(pure.parts) or _NAMES.fullmatch(pure.name):
        return True
    words = re.split(r"[^a-z0-9]+", pure.name.lower())
    return pure.suffix.lower() not in _CODE and not _WORDS.isdisjoint(words)


def holds_secret(content: bytes, name: str = "") -> bool:
    """Whether a file's content has a private key, an access token, a password or a secret URL.

    `name`: the file's name; in source code only quoted values count as assigned passwords.
    """
    encoding = _WIDE.get(content[:2])
    if encoding is not None:
        content = content.decode(encoding, errors="replace").encode()
    is_code = PurePosixPath(name).suffix.lower() in _CODE
    assigned = assigned_in_code() if is_code else assigned_in_text()
    lower = content.lower()
    return any(pattern.is_in(content, lower) for pattern in (*patterns(), *assigned))


@cache
def search_version() -> int:
    """A number that changes with what `holds_secret` looks for: its source, or the library's patterns."""
    digest = hashlib.sha256(importlib.metadata.version("detect-secrets").encode())
    for file in (Path(__file__), Path(secret_patterns.__file__)):
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:4])


def without_credentials(text: str) -> str:
    """The text without user names and passwords in URLs; other secrets become `***`."""
    content = text.encode(errors="surrogatepass")
    if b"://" in content:
        for expression in (_DATABASE_USER, _USER):
            content = expression.sub(lambda match: match["scheme"], content)
    lower = content.lower()
    for pattern in (*patterns(), *assigned_in_text()):
        if pattern.is_likely(content, lower):
            content = pattern.expression.sub(_without_value, content)
    return content.decode(errors="surrogatepass")


class Redacted:
    """A text stream that removes credentials, for libraries to write to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write without credentials; returns the length of the given text."""
        self._stream.write(without_credentials(text))
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream."""
        self._stream.flush()


def _without_value(match: re.Match[bytes]) -> bytes:
    if "value" not in match.re.groupindex:
        return _GONE
    start, end = match.start("value") - match.start(), match.end("value") - match.start()
    return match[0][:start] + _GONE + match[0][end:]
