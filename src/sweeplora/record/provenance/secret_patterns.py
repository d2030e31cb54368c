"""Patterns of keys, tokens and passwords in text: detect-secrets' patterns, assignments and URLs.

A pattern's group `value` is the secret itself; without such a group it is the whole match.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

# Slow, and each for one vendor's assignments, which our patterns cover; or not about secrets at all.
_LEFT_OUT = {"CloudantDetector", "IbmCloudIamDetector", "IbmCosHmacDetector", "SoftlayerDetector", "IPPublicDetector"}
# Our patterns handle passwords with an `@` or `!`, and match no token in the middle of a word.
_LEFT_OUT |= {"BasicAuthDetector", "GitHubTokenDetector"}
# Text that a match must contain, for patterns that are slow when nothing matches.
_NEEDLES: dict[str, tuple[bytes, ...]] = {
    "AWSKeyDetector": (b"a",),
    "MailchimpDetector": (b"-us",),
    "SlackDetector": (b"slack",),
    "StripeDetector": (b"k_live_",),
}
# What every match contains, for patterns that are slow to begin: these start with fixed text, so they are quick.
_HINTS = {
    "ArtifactoryDetector": re.compile(rb"A(?:KC|P[\dABCDEF])[a-zA-Z0-9]{8}"),
    "TelegramBotTokenDetector": re.compile(rb":[0-9A-Za-z_-]{35}"),
}


class Pattern(NamedTuple):
    """A regular expression, and lower-case needles, one of which must occur before the search is worthwhile.

    `hint`: a quick expression that occurs wherever this one does. `by_line`: matches never span lines, so only lines
    with a needle and the hint are searched.
    """

    needles: tuple[bytes, ...]
    expression: re.Pattern[bytes]
    by_line: bool = False
    hint: re.Pattern[bytes] | None = None

    def is_in(self, content: bytes, lower: bytes) -> bool:
        """Whether the pattern occurs in the content; `lower` is the content in lower case."""
        if not self.by_line:
            return self.is_likely(content, lower) and self.expression.search(content) is not None
        hint = self.hint or self.expression
        return any(
            hint.search(content, start, end) and self.expression.search(content, start, end)
            for start, end in _lines(lower, self.needles)
        )

    def is_likely(self, content: bytes, lower: bytes) -> bool:
        """Whether content is worth a search; `lower` is the same in lower case."""
        if self.needles and not any(needle in lower for needle in self.needles):
            return False
        return self.hint is None or self.hint.search(content) is not None


def _lines(content: bytes, needles: tuple[bytes, ...]) -> set[tuple[int, int]]:
    """Start and end of every line that contains a needle."""
    found = set()
    for needle in needles:
        at = content.find(needle)
        while at >= 0:
            end = content.find(b"\n", at)
            end = len(content) if end < 0 else end
            found.add((content.rfind(b"\n", 0, at) + 1, end))
            at = content.find(needle, end)
    return found


# A reference, an example or a type is not a secret value.
_NO_SECRET = rb"""(?!["']?(?:none|null|nil|true|false|yes|no|on|off|undefined|str|string|text|bytes|int|optional
    |required|password|passwd|pass|pwd|pw|secret|token|key|user|username|change[_-]?me|example|dummy|test|redacted
    |hidden|your[\w-]*|my[_-]\w*|x+|\.+|\*+|-+
    |(?-i:[A-Z0-9_]+_(?:KEY|TOKEN|SECRET|PASSWORD)|[a-z0-9_]+_(?:key|token|secret|password)))?["']?(?:[\s,;)}\]\#]|$))"""
_NO_REFERENCE = rb"""(?!["']?(?:[$%<{*&|>!\[(]|\.\./|\.?/|~|os\.|env\b|process\.|self\.|args?\.|config\.|cfg\.|@@))"""
_NAME = rb"""(?:pass(?:word|wd|phrase|code)|(?<![a-z0-9])pass|pwd|secret(?:[_-]?(?:access)?[_-]?key)?
    |(?:api|access|auth|account|service|private|license|encryption|signing|client)[_-]?key
    |(?:auth|access|refresh|bearer|api|bot|private|session|personal|hf|hub|github|gitlab|wandb|comet|discord|slack)[_-]?token)"""
_SET = rb"""["'\]]{0,2}[ \t]*(?::=|=>|==?|:)[ \t]*"""

_FLAGS = re.IGNORECASE | re.VERBOSE | re.MULTILINE


def _assigned(value: bytes, hint: bytes) -> Pattern:
    """A pattern for something named password or key, set to a value; the hint is of the assignment."""
    needles = (b"pass", b"pwd", b"secret", b"key", b"token")
    return Pattern(needles, re.compile(_NAME + _SET + value, _FLAGS), by_line=True, hint=re.compile(hint))


_QUOTED = rb"""[rbfu@]?(?P<quote>["'])""" + _NO_REFERENCE + _NO_SECRET
_SET_QUOTED = rb"""[=:>][ \t]*[rbfuRBFU@]?["']"""
_IN_QUOTES = _QUOTED + rb"""(?P<value>(?:(?!(?P=quote))[^\n\\]){4,200})(?P=quote)"""
_ONE_WORD = _QUOTED + rb"""(?P<value>(?:(?!(?P=quote))[^\s\\]){4,200})(?P=quote)"""
_BARE = _NO_REFERENCE + _NO_SECRET + rb"""(?P<value>[^\s"'`,;(){}\[\]<>]{4,200})(?=["',;})\]]*(?:\s|$))"""
# Anything named token or key, set to a long value that contains three digits.
_LONG = (
    rb"""(?:token|key)[\w-]{0,20}"""
    + _SET
    + rb"""["']?(?P<value>(?=(?:[a-z+/=.-]*[0-9]){3})
    (?:[a-z0-9+/=.-]{20,}(?=["'])|[a-z0-9+/]{20,}(?![\w(.])))"""
)

_OURS = [
    ((b"private key",), rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"),
    ((b"hf_",), rb"\bhf_[A-Za-z0-9]{30,}"),
    ((b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), rb"\bgh[pousr]_[A-Za-z0-9]{30,}"),
    ((b"github_pat",), rb"github_pat_[A-Za-z0-9_]{30,}"),
    ((b"sk-",), rb"\bsk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"),
    ((b"r8_",), rb"\br8_[A-Za-z0-9]{30,}"),
    ((b"xox",), rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ((b"aiza",), rb"AIza[0-9A-Za-z_-]{35}"),
    ((b"npm_",), rb"\bnpm_[A-Za-z0-9]{36}"),
    ((b"pypi-",), rb"pypi-[A-Za-z0-9_-]{40,}"),
    ((b"wandb_v1_",), rb"wandb_v1_[A-Za-z0-9_-]{20,}"),
    # A user and a password in a URL; the password may contain an @.
    ((b"://",), rb"""://[^\s/:@'"<>{}\[\]()$]*:(?![$%<{*])(?!(?:pass(?:word|wd)?|pwd|pw|secret|x+|\.+)@)"""
                rb"""(?P<value>[^\s/'"<>{}\[\]()]{3,})@[\w\[]"""),
    ((b"://",), rb"""://(?=[A-Za-z_-]*[0-9])(?P<value>[A-Za-z0-9_-]{20,})@[\w\[]"""),
    # A secret in a URL's query, as in ?private_token=...
    ((b"token=", b"secret=", b"passw", b"pwd=", b"signature=", b"sig=", b"key=", b"auth=", b"credential="),
     rb"""(?i)[?&#][\w.-]*(?:token|secret|passw(?:or)?d|pwd|signature|\bsig|key|auth|credential)=(?!=)"""
     rb"""(?P<value>[^&\s"'#<>{}$*]{4,})"""),
    ((b"eyj",), rb"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"),
    ((b"ya29.",), rb"\bya29\.[A-Za-z0-9_-]{20,}"),
    ((b"sshpass",), rb"""\bsshpass\s+-p[ =]?["']?(?P<value>[^\s'"$]{3,})"""),
    # A database's password may contain a slash.
    ((b"://",), rb"""(?i)\b(?:postgres|mysql|mariadb|mssql|oracle)[\w+.-]*://[^\s/:@'"]*:(?![$%<{*])"""
                rb"""(?!(?:pass(?:word|wd)?|pwd|pw|secret|x+|\.+)@)(?P<value>[^\s'"<>{}()]{3,})@[\w\[]"""),
    ((b"bearer",), rb"""(?i)\bbearer["']?[ :=]+["']?(?=\S*[0-9])(?P<value>[A-Za-z0-9._~+/=-]{8,})"""),
    ((b"authorization",), rb"""(?i)authorization["']?\s*[:=]\s*["']?(?:basic|bearer|token|apikey|bot)\s+"""
                          rb"""(?P<value>[A-Za-z0-9._~+/=:-]{8,})"""),
    # wandb login KEY, huggingface-cli login --token KEY, wandb.login(key="KEY")
    ((b"login",), rb"""(?i)\blogin\b[^\n]{0,120}?[\s=("'](?P<value>(?=[A-Za-z_.-]*[0-9])(?=[^\s"']*[a-z])"""
                  rb"""[A-Za-z0-9_.-]{20,})(?=["'\s)]|$)"""),
    ((b"--password", b"--token", b"--api-key", b"--api_key", b"--apikey", b"--secret", b"--key"),
     rb"""(?i)--[\w-]*(?:password|passwd|token|api[_-]?key|secret|access[_-]?key)[ =]["']?(?![$%<{*-])"""
     rb"""(?P<value>(?=[^\s"']*[0-9])[^\s"',)\]]{6,})"""),
    ((b"curl",), rb"""\bcurl\b[^\n]*\s(?:-u|--user)[ =]?["']?[^\s:'"$]+:(?P<value>[^\s'"$]{3,})"""),
    # Webhooks: anyone who knows the URL may post to it.
    ((b"webhook", b"/hook"), rb"""(?i)https?://(?P<value>[^\s"'<>]*(?:webhook|/hooks?/)[^\s"'<>{}$]*[A-Za-z0-9_-]{16,})"""),
    ((b"hooks.slack.com",), rb"hooks\.slack\.com/(?P<value>(?:services|workflows|triggers)/[A-Za-z0-9_/]{12,})"),
    ((b"hooks.zapier.com", b"maker.ifttt.com"), rb"(?:hooks\.zapier|maker\.ifttt)\.com/(?P<value>[\w/-]{8,})"),
    # kaggle.json
    ((b"username",), rb"""["']key["']\s*:\s*["'](?P<value>[0-9a-f]{32})["']"""),
    # Cookies: curl's and browsers' exports, and headers
    ((b"http cookie file",), rb"(?i)# (?:netscape )?http cookie file"),
    ((b"httponly",), rb"""(?i)["']?httponly["']?\s*:\s*(?:true|false)"""),
    ((b"cookie",), rb"""(?i)\b(?:set-)?cookie["']?\s*:\s*["']?[\w.-]+=(?P<value>[^\s"';{}$]{8,})"""),
]  # fmt: skip


@cache
def patterns() -> tuple[Pattern, ...]:
    """Every pattern that applies to any text."""
    ours = [Pattern(needles, re.compile(text)) for needles, text in _OURS]
    return (*ours, Pattern((b"token", b"key"), re.compile(_LONG, _FLAGS), by_line=True), *_library())


@cache
def assigned_in_text() -> tuple[Pattern, ...]:
    """Assigned passwords in configurations, scripts and notes, where a bare word counts as a value."""
    return (_assigned(_IN_QUOTES, _SET_QUOTED), _assigned(_BARE, rb"[=:]"))


@cache
def assigned_in_code() -> tuple[Pattern, ...]:
    """Assigned passwords in source code, where only quoted text is a value, and a phrase is a message."""
    return (_assigned(_ONE_WORD, _SET_QUOTED),)


def _library() -> list[Pattern]:
    """The patterns of detect-secrets that recognise a token by its form; none uses the network."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    flags = _FLAGS | re.DOTALL
    found: list[Pattern] = []
    plugin: Any
    for plugin in get_mapping_from_secret_type_to_class().values():
        if issubclass(plugin, RegexBasedDetector) and plugin.__name__ not in _LEFT_OUT:
            needles, hint = _NEEDLES.get(plugin.__name__, ()), _HINTS.get(plugin.__name__)
            for expression in plugin().denylist:
                compiled = re.compile(expression.pattern.encode(), expression.flags & flags)
                found.append(Pattern(needles, compiled, hint=hint))
    return found
