"""Whether a file looks secret, by its name or by what is in it. Better one file too few in a record than a key."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_NAMES = re.compile(
    r"""\.env | \.env\..* | .*\.env | \.netrc | _netrc | \.npmrc | \.pypirc | \.git-credentials | \.htpasswd | \.pgpass
    | .*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg|ovpn) | id_(rsa|dsa|ecdsa|ed25519).*
    | service[-_]account.*\.json | client_secret.*\.json | \.?kube_?config | \.dockercfg | \.vault[-_]?pass.*""",
    re.IGNORECASE | re.VERBOSE,
)
_FOLDERS = {".ssh", ".aws", ".gnupg", ".azure", ".kube", ".docker", ".huggingface"}
_WORDS = {"token", "tokens", "secret", "secrets", "password", "passwords", "passwd", "credential", "credentials"}
_WORDS |= {"apikey", "apikeys"}
_CODE = {".py", ".md", ".rst", ".js", ".ts", ".c", ".h", ".cpp", ".rs", ".go", ".java", ".ipynb", ".html", ".css"}

_KNOWN = [
    rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
    rb"AKIA[0-9A-Z]{16}(?![0-9A-Za-z])",
    rb"ASIA[0-9A-Z]{16}(?![0-9A-Za-z])",
    rb"hf_[A-Za-z0-9]{30,}",
    rb"gh[pousr]_[A-Za-z0-9]{30,}",
    rb"github_pat_[A-Za-z0-9_]{30,}",
    rb"glpat-[A-Za-z0-9_-]{20}",
    rb"sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}",
    rb"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    rb"AIza[0-9A-Za-z_-]{35}",
    rb"npm_[A-Za-z0-9]{36}",
    rb"pypi-[A-Za-z0-9_-]{40,}",
    rb"eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.",
    rb"://[^\s/:@'\"<>{}\[\]()]+:[^\s/:@'\"<>{}\[\]()]{3,}@",
]
# Something called so is set to a long value with three digits in it, quoted or bare; matched in lower case.
_DIGITS = rb"(?=(?:[a-z+/=.-]*[0-9]){3})"
_VALUE = _DIGITS + rb"(?:[a-z0-9+/=.-]{20,}[\"']|[a-z0-9+/]{20,}(?![\w(.]))"
_SET = rb"[\w-]{0,20}[\"']?[ ]*[:=][ ]*[\"']?" + _VALUE
_ASSIGNED = [name + _SET for name in (rb"api_?key", rb"api-key", rb"secret", rb"passw(?:or)?d", rb"token")]

# One by one: each begins with letters that the engine looks for at the speed of memory, an alternation does not.
_IN_CONTENT = [re.compile(pattern) for pattern in _KNOWN]
_IN_LOWER_CASE = [re.compile(pattern) for pattern in _ASSIGNED]

_CREDENTIALS = re.compile(r"(?P<scheme>\b[a-zA-Z][\w+.-]*://)[^\s/@'\"]+@")


def is_secret_name(path: str) -> bool:
    """Whether a relative path names a key, a credentials file or something called a token or password.

    Source code and documents may have such words in their names; their content still counts.
    """
    pure = PurePosixPath(path)
    if _FOLDERS.intersection(pure.parts) or _NAMES.fullmatch(pure.name):
        return True
    words = re.split(r"[^a-z0-9]+", pure.name.lower())
    return pure.suffix.lower() not in _CODE and not _WORDS.isdisjoint(words)


def holds_secret(content: bytes, name: str = "") -> bool:
    """Whether there is a private key, an access token of a known form or an assigned password in it."""
    if any(pattern.search(content) for pattern in _IN_CONTENT):
        return True
    lower = content.lower()
    return any(pattern.search(lower) for pattern in _IN_LOWER_CASE)


def without_credentials(text: str) -> str:
    """The text with user names and passwords taken out of every URL in it."""
    return _CREDENTIALS.sub(lambda match: match["scheme"], text)
