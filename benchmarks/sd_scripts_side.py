"""The other side of against_sd_scripts.py: sd-scripts' training loop on a small model, in its own environment.

Runs the user's checkout at the widths of the given model file: the U-Net's width constants are replaced at run time;
the text encoders and the VAE are small, since their outputs are cached anyway.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

SPEC: dict[str, Any] = json.loads(sys.argv[1])
sys.path.insert(0, SPEC["checkout"])
sys.path.insert(1, str(Path(__file__).parent))
os.chdir(SPEC["checkout"])


def stand_in_for_torchvision() -> None:
    """The three transforms that the loop uses, where torchvision has no build for this torch."""
    package, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
    for module in (package, transforms):
        module.__spec__ = ModuleSpec(module.__name__, None)
    transforms.Compose = Compose  # type: ignore[attr-defined]
    transforms.ToTensor = lambda: to_tensor  # type: ignore[attr-defined]
    transforms.Normalize = lambda mean, std: lambda x: (x - mean[0]) / std[0]  # type: ignore[attr-defined]
    package.transforms = transforms  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": package, "torchvision.transforms": transforms}


class Compose:
    """Functions one after another."""

    def __init__(self, functions: list[Any]) -> None:
        self._functions = functions

    def __call__(self, value: Any) -> Any:
        """The last function's result."""
        for function in self._functions:
            value = function(value)
        return value


def to_tensor(image: Any) -> Any:
    """An image [H, W, 3] of levels as a tensor [3, H, W] in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1).contiguous().float() / 255


if find_spec("torchvision") is None:
    stand_in_for_torchvision()

import library.sdxl_original_unet as original  # noqa: E402
import sdxl_train_network  # noqa: E402
import torch  # noqa: E402
import train_network  # noqa: E402
from diffusers import AutoencoderKL  # noqa: E402
from library import sdxl_model_util, strategy_sdxl, train_util  # noqa: E402
from pacing import Pace  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tqdm import tqdm  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizerFast  # noqa: E402

PREFIX = "model.diffusion_model."


class Paced(tqdm):  # type: ignore[type-arg]
    """The loop's progress bar, which advances once per optimizer step."""

    pace: Pace | None = None

    def update(self, n: float | None = 1) -> bool | None:
        if self.desc.startswith("steps") and Paced.pace is not None:
            Paced.pace.step()
        return super().update(n)


class Small(sdxl_train_network.SdxlNetworkTrainer):  # type: ignore[misc]
    """The trainer with a model of different widths and tokenizers from a folder."""

    def load_target_model(self, args: Any, weight_dtype: Any, accelerator: Any) -> tuple[Any, ...]:
        tensors = {key.removeprefix(PREFIX): value for key, value in load_file(SPEC["model"]).items() if PREFIX in key}
        width, depths = shrink(tensors)
        unet = original.SdxlUNet2DConditionModel()
        unet.load_state_dict({key: value.float() for key, value in tensors.items()})
        train_util.replace_unet_modules(unet, args.mem_eff_attn, args.xformers, args.sdpa)
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(Path(SPEC["folder"], "vae")))
        self.load_stable_diffusion_format, self.logit_scale, self.ckpt_info = True, None, None
        first, second = (encoder_config(name) for name in ("text_encoder", "text_encoder_2"))
        encoders = [CLIPTextModel(first), CLIPTextModelWithProjection(second)]
        assert width == unet.model_channels, depths
        return sdxl_model_util.MODEL_VERSION_SDXL_BASE_V1_0, encoders, vae, unet

    def get_tokenize_strategy(self, args: Any) -> Any:
        strategy = strategy_sdxl.SdxlTokenizeStrategy.__new__(strategy_sdxl.SdxlTokenizeStrategy)
        folders = [Path(SPEC["folder"], name) for name in ("tokenizer", "tokenizer_2")]
        strategy.tokenizer1, strategy.tokenizer2 = (CLIPTokenizerFast.from_pretrained(folder) for folder in folders)
        strategy.tokenizer2.pad_token_id = 0
        strategy.max_length = strategy.tokenizer1.model_max_length
        return strategy


def encoder_config(name: str) -> CLIPTextConfig:
    """The small text encoder's configuration, with the number of layers that the loop expects."""
    return CLIPTextConfig.from_pretrained(Path(SPEC["folder"], name), num_hidden_layers=12)


def shrink(tensors: dict[str, torch.Tensor]) -> tuple[int, list[int]]:
    """Replace the U-Net's constants with the widths and depths found in its tensors."""
    width = tensors["input_blocks.0.0.weight"].shape[0]
    context = tensors["input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    original.MODEL_CHANNELS, original.TIME_EMBED_DIM = width, 4 * width
    original.ADM_IN_CHANNELS = tensors["label_emb.0.0.weight"].shape[1]
    depths = [1 + max(int(key.split(".")[4]) for key in tensors if key.startswith(f"input_blocks.{n}.1.transformer"))
              for n in (4, 7)]  # fmt: skip
    transformer = original.Transformer2DModel
    full = transformer.__init__

    def small(self: Any, *positional: Any, **options: Any) -> None:
        level = 0 if options["num_transformer_layers"] == 2 else 1
        full(self, *positional, **options | {"cross_attention_dim": context, "num_transformer_layers": depths[level]})

    transformer.__init__ = small
    return width, depths


def main() -> None:
    parser = sdxl_train_network.setup_parser()
    args = parser.parse_args(SPEC["flags"])
    torch.set_num_threads(SPEC["threads"])
    Paced.pace = Pace(SPEC["warmup"], SPEC["segment"])
    train_network.tqdm = Paced
    Small().train(args)


if __name__ == "__main__":
    main()
