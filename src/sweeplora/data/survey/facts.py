"""A survey as plain data, for JSON and for the terminal."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median_low
from typing import Any

from sweeplora.data.captions import plain
from sweeplora.data.dataset import Picture
from sweeplora.data.notices import shown, some
from sweeplora.data.survey.look import METHOD, alike
from sweeplora.data.survey.survey import Seen, Survey
from sweeplora.models.text.emphasis import pieces
from sweeplora.models.text.tokens import TokenizerFiles, over_limit

_LIMITS = (75, 150, 225)
_WEIGHT = re.compile(r"\([^():\n]{1,40}:\d*\.?\d+\)")


def facts_of(survey: Survey, tokenizers: Sequence[TokenizerFiles], max_tokens: int, weighted: bool) -> dict[str, Any]:
    """What a survey found, as JSON holds it; sizes in pixels.

    `max_tokens`, `weighted`: the model's limit, and whether brackets in captions are emphasis.
    """
    seen = survey.seen
    captions = _captions(seen)
    damaged = [{"image": one.shown, "fault": one.fault} for one in seen if one.fault]
    return {
        "folders": [
            {
                "key": source.key,
                "path": str(source.path),
                "images": sum(one.source == source.key for one in seen),
                "regularisation": source.is_reg,
            }
            for source in survey.folders
        ],
        "images": len(seen),
        "held_out": sum(one.held_out for one in seen),
        "damaged": damaged,
        "sizes": _sizes(seen),
        "resolution": list(survey.resolution),
        "bucket_step": survey.step,
        "buckets": _buckets(seen),
        "captions": captions,
        "tokens": _tokens(seen, tokenizers, max_tokens, weighted),
        "tags": _tags(seen, weighted),
        "duplicates": _duplicates(seen),
        "notices": [*survey.notices, *([] if weighted else _weights_notice(seen))],
        "refusals": [*_refusals(damaged, captions), *survey.refusals],
    }


def _sizes(seen: Sequence[Seen]) -> list[dict[str, int]]:
    counts = Counter(one.size for one in seen if one.size is not None)
    return [
        {"width": size.width, "height": size.height, "images": count}
        for size, count in sorted(counts.items(), key=lambda item: (item[0].width * item[0].height, item[0]))
    ]


def _buckets(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """Each bucket, the fullest first: its images, those held out, and uses in an epoch of the others.

    `lost`: the share of the scaled image that the crop takes, on average. `enlarged`: images that grow.
    """
    members: dict[tuple[int, int], list[tuple[Seen, Picture]]] = defaultdict(list)
    for one in seen:
        if one.picture is not None:
            members[one.picture.bucket].append((one, one.picture))
    return [
        {
            "width": bucket[0],
            "height": bucket[1],
            "images": len(some),
            "held_out": sum(one.held_out for one, _ in some),
            "uses": sum(picture.repeats for one, picture in some if not one.held_out),
            "lost": fmean(1 - bucket[0] * bucket[1] / (p.scaled.width * p.scaled.height) for _, p in some),
            "enlarged": sum(picture.scaled.width > picture.width for _, picture in some),
        }
        for bucket, some in sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _captions(seen: Sequence[Seen]) -> dict[str, Any]:
    return {
        "missing": [one.shown for one in seen if one.no_file and one.caption is None],
        "substituted": [one.shown for one in seen if one.no_file and one.caption is not None],
        "empty": [one.shown for one in seen if one.caption == ""],
        "empty_is_refused": any(_refuses_empty(one) for one in seen),
        "unreadable": [{"image": one.shown, "fault": one.caption_fault} for one in seen if one.caption_fault],
    }


def _refuses_empty(one: Seen) -> bool:
    rules = one.picture.treatment.rules if one.picture is not None else None
    return one.caption == "" and rules is not None and not (rules.prefix or rules.suffix)


def _tokens(seen: Sequence[Seen], tokenizers: Sequence[TokenizerFiles], limit: int, weighted: bool) -> dict[str, Any]:
    """Tokens of the captions as they are trained without their random parts, start and end not counted."""
    texts = {
        one.shown: plain(one.caption, one.picture.treatment.rules)
        for one in seen
        if one.caption is not None and one.picture is not None
    }
    counted = {over.text: over.count for over in over_limit(tokenizers, texts.values(), 0, weighted)}
    counts = {name: counted.get(text, 0) for name, text in texts.items()}
    over = sorted(((name, count) for name, count in counts.items() if count > limit), key=lambda item: -item[1])
    longest = max(counts.values(), default=0)
    return {
        "limit": limit,
        "median": median_low(counts.values()) if counts else 0,
        "longest": longest,
        "over": [{"image": name, "tokens": count} for name, count in over],
        "enough": next((one for one in _LIMITS if one >= longest), None),
    }


def _weights_notice(seen: Sequence[Seen]) -> list[str]:
    """A line on captions with numbers that are meant as emphasis and are trained as letters."""
    found = {one.shown: match[0] for one in seen if one.caption and (match := _WEIGHT.search(one.caption))}
    if not found:
        return []
    have, first = "captions have" if len(found) > 1 else "caption has", shown(next(iter(found.values())))
    signs = f"a weight such as {first}, whose signs are trained as text"
    mend = "data.weighted_captions=true reads them as emphasis"
    return [f"{len(found)} {have} {signs}: {some(list(found))}; {mend}"]


def _tags(seen: Sequence[Seen], weighted: bool) -> list[dict[str, Any]]:
    """Every tag with the images that have it, the most frequent first; a tag is what stands between separators.

    Where brackets are emphasis, tags are counted without them.
    """
    counts: Counter[str] = Counter()
    for one in seen:
        if one.caption and one.picture is not None:
            separator = one.picture.treatment.rules.separator
            text = "".join(piece.text for piece in pieces(one.caption)) if weighted else one.caption
            counts.update({tag.strip() for tag in text.replace("\n", separator).split(separator)} - {""})
    return [
        {"tag": tag, "images": count} for tag, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _duplicates(seen: Sequence[Seen]) -> dict[str, Any]:
    """Groups of equal files, and of images that look alike, each with one of every group of equal files."""
    equal: dict[str, list[str]] = defaultdict(list)
    for one in seen:
        if one.sha256:
            equal[one.sha256].append(one.shown)
    firsts = {one.sha256: one for one in reversed(seen) if one.look is not None}
    different = list(reversed(firsts.values()))
    near = alike([one.look for one in different if one.look is not None])
    return {
        "exact": [names for names in equal.values() if len(names) > 1],
        "near": [[different[index].shown for index in group] for group in near],
        "method": METHOD,
    }


def _refusals(damaged: Sequence[Mapping[str, Any]], captions: Mapping[str, Any]) -> list[str]:
    """Why a training would refuse the images or their captions, one line each."""
    found = [
        (len(damaged), "cannot be trained on"),
        (len(captions["missing"]), "without a caption"),
        (len(captions["empty"]) if captions["empty_is_refused"] else 0, "with an empty caption"),
        (len(captions["unreadable"]), "with a caption that cannot be read"),
    ]
    return [f"{count} image{'' if count == 1 else 's'} {what}" for count, what in found if count]
