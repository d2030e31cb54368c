"""Encodes captions with one CLIP text encoder: long ones in chunks of 75 tokens, optionally with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from sweeplora.models.text import vocabulary
from sweeplora.models.text.emphasis import Piece, pieces
from sweeplora.models.text.tokens import TokenizerFiles

CHUNK = 75
"""Tokens of a caption in one pass through the encoder, which adds a start and an end."""


@dataclass(frozen=True)
class TextOptions:
    """How an encoder reads captions.

    `max_tokens`: where they are truncated, excluding start and end. `layer`: the hidden state to use, -1 is the
    last layer's, -2 the one before. `final_norm`: whether to apply the encoder's final norm to it. `weighted`:
    whether `(word:1.2)` is emphasis rather than text.
    """

    max_tokens: Literal[75, 150, 225]
    layer: int
    final_norm: bool
    weighted: bool


class Encoded(NamedTuple):
    """Hidden states [B, max_tokens + 2, D], and the projection of the end token [B, P] if the encoder has one."""

    hidden: Tensor
    pooled: Tensor | None


class Tokens(NamedTuple):
    """Token ids [B, n, 77] of n chunks per caption, and weights of the same shape."""

    ids: Tensor
    weights: Tensor


def open_tokenizer(files: TokenizerFiles) -> CLIPTokenizer:
    """A folder's tokenizer, or the packaged one with the padding that its encoder was trained with."""
    if files.folder is None:
        pairs = vocabulary.byte_pairs()
        padding = vocabulary.END if files.padding == "end" else next(iter(pairs.vocabulary))
        merges: Any = pairs.merges
        return CLIPTokenizer(pairs.vocabulary, merges, pad_token=padding, model_max_length=CHUNK + 2)
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(files.folder, local_files_only=True)
    return tokenizer


def encode(
    tokenizer: PreTrainedTokenizerBase, encoder: nn.Module, captions: Sequence[str], options: TextOptions
) -> Encoded:
    """Encode captions on the encoder's device, in float32.

    Each chunk passes through the encoder with its own start and end token. The first start, the n x 75 tokens and
    the last end are then concatenated, and the first chunk gives the pooled output, as in the reference
    (`max_token_length`). Weights multiply the hidden states without renormalisation, as in the reference
    (`weighted_captions`); the pooled embedding is not weighted. Gradients flow if the encoder is trained.
    """
    tokens = tokenize(tokenizer, captions, options.max_tokens, options.weighted)
    batch, chunks, length = tokens.ids.shape
    device = next(encoder.parameters()).device
    output = encoder(tokens.ids.view(-1, length).to(device), output_hidden_states=True)
    hidden = output.hidden_states[options.layer]
    if options.final_norm:
        hidden = _final_norm(encoder)(hidden)
    hidden = hidden.float()
    if options.weighted:
        hidden = hidden * tokens.weights.view(-1, length, 1).to(device)
    pooled = output.text_embeds[::chunks].float() if isinstance(encoder, CLIPTextModelWithProjection) else None
    return Encoded(_rejoined(hidden.view(batch, chunks, length, -1)), pooled)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, captions: Sequence[str], max_tokens: int, weighted: bool = False
) -> Tokens:
    """Split captions into the chunks that the encoder sees; tokens beyond `max_tokens` are cut.

    A chunk is start, tokens, end, padding. Chunks after the caption's end hold no tokens. The reference finds a
    caption's end by the padding id, which a real token with that id breaks (SDXL's second encoder pads with 0, also
    the id of a "!" inside a word); counting tokens avoids this.
    """
    starts = range(0, max_tokens, CHUNK)
    rows, weights = [], []
    for caption in captions:
        ids, factors = _weighted_ids(tokenizer, pieces(caption) if weighted else [Piece(caption, 1.0)])
        ids, factors = ids[:max_tokens], factors + [1.0] * (max_tokens - len(factors))
        rows.append([_framed(tokenizer, ids[start : start + CHUNK]) for start in starts])
        weights.append([[1.0, *factors[start : start + CHUNK], 1.0] for start in starts])
    return Tokens(torch.tensor(rows), torch.tensor(weights))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The text's tokens without start and end.

    The characters of the padding or end token in a text are plain text. By default a tokenizer whose padding
    is "!" reads every "!" as padding, as in diffusers' pipeline; the reference and web UIs do not.
    """
    options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    ids: list[int] = tokenizer(text, **options).input_ids
    return ids


def _weighted_ids(tokenizer: PreTrainedTokenizerBase, parts: Sequence[Piece]) -> tuple[list[int], list[float]]:
    """Every piece's tokens, and each token's weight."""
    ids: list[int] = []
    weights: list[float] = []
    for piece in parts:
        found = _ids(tokenizer, piece.text)
        ids += found
        weights += [piece.weight] * len(found)
    return ids, weights


def _framed(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    padding = [tokenizer.pad_token_id] * (CHUNK - len(ids))
    return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *padding]


def _final_norm(encoder: nn.Module) -> nn.Module:
    whole = encoder.text_model if isinstance(encoder, CLIPTextModelWithProjection) else encoder
    assert isinstance(whole, CLIPTextModel), f"{type(whole).__name__} is no CLIP text encoder"
    return whole.final_layer_norm


def _rejoined(hidden: Tensor) -> Tensor:
    """[B, n, 77, D] -> [B, n x 75 + 2, D]: the first chunk's start, the inner tokens of all chunks, the last end."""
    inside = hidden[:, :, 1:-1].flatten(1, 2)
    return torch.cat([hidden[:, 0, :1], inside, hidden[:, -1, -1:]], dim=1)
