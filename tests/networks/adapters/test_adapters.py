"""Each algorithm on one layer: the paper's update, LyCORIS' own output where that is right, gradients, dropouts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lycoris.modules import get_module, make_module
from lycoris.modules.tlora import clear_timestep_mask, compute_timestep_mask, set_timestep_mask
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.models import eight_bits
from sweeplora.networks.adapters.rankless import FullAdapter, NormAdapter
from tests.networks.attached import Layer, adapter, conv, example, linear
from tests.networks.options import options

MADE: dict[str, Any] = {
    "locon": options("locon"),
    "locon-tucker-scalar": options("locon", use_tucker=True, use_scalar=True),
    "locon-rs": options("locon", rs_lora=True),
    "locon-beside": options("locon", bypass_mode=True, use_scalar=True),
    "locon-beside-tucker": options("locon", bypass_mode=True, use_tucker=True),
    "locon-rebuilt": options("locon", bypass_mode=False, use_tucker=True),
    "dora": options("locon", dora=True),
    "dora-output": options("locon", dora=True, wd_on_output=True, use_scalar=True),
    "loha": options("loha"),
    "loha-tucker-scalar": options("loha", use_tucker=True, use_scalar=True),
    "loha-beside": options("loha", bypass_mode=True),
    "lokr": options("lokr", dim=2, alpha=1.0),
    "lokr-both-tucker": options("lokr", dim=2, alpha=1.0, factor=4, decompose_both=True, use_tucker=True),
    "lokr-beside-scalar": options("lokr", dim=2, alpha=1.0, bypass_mode=True, use_scalar=True),
    "lokr-unbalanced": options("lokr", dim=2, alpha=1.0, factor=4, unbalanced_factorization=True),
    "lokr-dora": options("lokr", dora=True),
    "dylora": options("dylora", dim=8, alpha=4.0),
    "dylora-rebuilt": options("dylora", dim=8, alpha=4.0, bypass_mode=False),
    "glora": options("glora"),
    "glora-rebuilt": options("glora", bypass_mode=False, use_scalar=True, rs_lora=True),
    "tlora": options("tlora", dim=4, alpha=2.0),
    "tlora-random": options("tlora", dim=4, alpha=2.0, use_data_init=False, sig_type="middle"),
    "full": options("full"),
    "ia3": options("ia3"),
    "ia3-input": options("ia3", train_on_input=True),
    "ia3-rebuilt": options("ia3", bypass_mode=False),
    "diag-oft": options("diag-oft", dim=4),
    "diag-oft-rescaled": options("diag-oft", dim=4, rescaled=True, bypass_mode=False, constraint=0.01),
    "boft": options("boft", dim=10),
    "boft-rescaled": options("boft", dim=10, rescaled=True, bypass_mode=False, constraint=0.02),
}
LAYERS: dict[str, Callable[[], Layer]] = {
    "linear": linear,
    "linear-no-bias": partial(linear, bias=False),
    "conv": conv,
    "conv-strided": partial(conv, stride=2),
    "conv-1x1": partial(conv, kernel=1),
}


def changed(made: Any, layer: Layer, x: Tensor) -> Tensor:
    """The output of a layer with the update put into its weight, by torch alone."""
    weight, bias = layer.weight + made.change(), layer.bias
    if isinstance(made, FullAdapter) and bias is not None:
        bias = bias + made.module.bias
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, bias, layer.stride, layer.padding)
    return F.linear(x, weight, bias)


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("kind", MADE)
def test_an_adapter_starts_as_the_base_itself(kind: str, shape: str) -> None:
    layer = LAYERS[shape]()
    x = example(layer)
    before = layer(x)
    made = adapter(MADE[kind], layer, move=0.0)
    assert torch.equal(layer(x), before)
    made.detach()


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("kind", MADE)
def test_output_and_gradients_are_those_of_the_weight_plus_its_update(kind: str, shape: str) -> None:
    layer = LAYERS[shape]()
    made = adapter(MADE[kind], layer)
    x = example(layer).requires_grad_()
    parameters = list(made.module.parameters())
    output = layer(x)
    made.detach()
    expected = changed(made, layer, x)
    assert (expected - layer(x)).abs().max() > 1e-3
    torch.testing.assert_close(output, expected, rtol=2e-5, atol=2e-5)
    # A plain sum of squares would not see a rotation.
    counts = torch.linspace(0.5, 1.5, output.numel()).view(output.shape)
    ours = torch.autograd.grad((counts * output.square()).sum(), [x, *parameters], allow_unused=True)
    theirs = torch.autograd.grad((counts * expected.square()).sum(), [x, *parameters], allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None and other is not None and other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3 * float(other.abs().max()))


@pytest.mark.parametrize("kind", MADE)
def test_strength_goes_from_the_base_to_the_whole_update(kind: str) -> None:
    layer = LAYERS["linear"]()
    x = example(layer)
    before = layer(x)
    made = adapter(MADE[kind], layer)
    outputs = []
    for strength in (0.0, 0.5, 1.0):
        made.strength = strength
        outputs.append(layer(x))
    made.detach()
    assert torch.equal(outputs[0], before)
    torch.testing.assert_close(outputs[1] - before, (outputs[2] - before) / 2, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("shape", ["linear", "linear-no-bias", "conv-strided"])
@pytest.mark.parametrize("kind", MADE)
def test_a_merged_layer_gives_the_same_output_and_is_the_same_layer_afterwards(kind: str, shape: str) -> None:
    layer = LAYERS[shape]()
    x = example(layer)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    plain = layer(x)
    made = adapter(MADE[kind], layer)
    output = layer(x)
    made.merge()
    assert made.merged_bytes == 4 * layer.weight.numel()
    torch.testing.assert_close(layer(x), output, rtol=2e-5, atol=2e-5)
    trained = [parameter.clone() for parameter in made.module.parameters()]
    for parameter in made.module.parameters():
        parameter.zero_()
    torch.testing.assert_close(layer(x), output, rtol=2e-5, atol=2e-5)  # computed once, not in every pass
    for parameter, value in zip(made.module.parameters(), trained, strict=True):
        parameter.copy_(value)
    made.strength = 0.0
    assert torch.equal(layer(x), plain)
    made.strength = 1.0
    made.unmerge()
    assert torch.equal(layer(x), output)
    made.detach()
    assert torch.equal(layer(x), plain)
    after = layer.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def rotated(blocks: Tensor) -> Tensor:
    q = (blocks - blocks.transpose(-1, -2)).double()
    one = torch.eye(blocks.shape[-1], dtype=torch.float64)
    return torch.matmul(one + q, torch.inverse(one - q)).float()


def test_the_updates_are_the_papers() -> None:
    layer = LAYERS["linear"]()
    weight = layer.weight
    file = adapter(options("locon", dim=8, alpha=2.0), layer)
    t = file.file_tensors()
    torch.testing.assert_close(file.update(), 2 / 8 * t["lora_up.weight"] @ t["lora_down.weight"])
    root = adapter(options("locon", dim=8, alpha=2.0, rs_lora=True), layer)
    t = root.file_tensors()
    torch.testing.assert_close(root.update(), 2 / 8**0.5 * t["lora_up.weight"] @ t["lora_down.weight"])
    loha = adapter(options("loha", dim=4, alpha=2.0), layer)
    m = loha.module
    torch.testing.assert_close(loha.update(), 2 / 4 * (m.hada_w1_a @ m.hada_w1_b) * (m.hada_w2_a @ m.hada_w2_b))
    lokr = adapter(options("lokr", dim=2, alpha=1.0, factor=4), layer)
    m = lokr.module
    torch.testing.assert_close(lokr.update(), 1 / 2 * torch.kron(m.lokr_w1, m.lokr_w2_a @ m.lokr_w2_b))
    whole = adapter(options("lokr", dim=100000, alpha=1.0, rs_lora=True), layer)
    torch.testing.assert_close(whole.update(), torch.kron(whole.module.lokr_w1, whole.module.lokr_w2))
    dylora = adapter(options("dylora", dim=8, alpha=2.0, block_size=4), layer)
    t = dylora.file_tensors()
    torch.testing.assert_close(dylora.update(), 2 / 8 * t["lora_up.weight"] @ t["lora_down.weight"])
    glora = adapter(options("glora", dim=4, alpha=2.0), layer)
    t = glora.file_tensors()
    expected = weight @ t["a2.weight"] @ t["a1.weight"] + t["b2.weight"] @ t["b1.weight"]
    torch.testing.assert_close(glora.update(), expected)
    a1, a2, b1, b2 = glora.module.a1.weight, glora.module.a2.weight, glora.module.b1.weight, glora.module.b2.weight
    torch.testing.assert_close(glora.update(), 2 / 4 * (weight @ a1 @ a2 + b1 @ b2))
    ia3 = adapter(options("ia3"), layer)
    torch.testing.assert_close(ia3.update(), torch.diag(ia3.module.weight) @ weight)
    ia3 = adapter(options("ia3", train_on_input=True), layer)
    torch.testing.assert_close(ia3.update(), weight @ torch.diag(ia3.module.weight))
    oft = adapter(options("diag-oft", dim=4, rescaled=True), layer)
    turn = torch.block_diag(*rotated(oft.module.oft_blocks))
    torch.testing.assert_close(turn @ turn.T, torch.eye(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(oft.update() + weight, oft.module.rescale * (turn.T @ weight), atol=1e-5, rtol=1e-4)


def test_boft_is_a_product_of_sparse_rotations() -> None:
    """Each stage is a permutation, a block diagonal rotation, and the permutation back."""
    layer = LAYERS["linear"]()
    made = adapter(options("boft", dim=10), layer)
    stages, number, side, _ = made.module.oft_blocks.shape
    assert (number * side, stages) == (40, 3)
    whole = torch.eye(40)
    for stage in range(stages):
        apart = 2**stage * side // 2
        order = [start + part * apart + k for start in range(0, 40, 2 * apart) for k in range(apart) for part in (0, 1)]
        permutation = torch.eye(40)[order]
        whole = permutation.T @ torch.block_diag(*rotated(made.module.oft_blocks[stage])) @ permutation @ whole
    made.detach()
    torch.testing.assert_close(whole @ whole.T, torch.eye(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.update() + layer.weight, whole @ layer.weight, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["diag-oft", "boft"])
def test_a_constraint_bounds_the_rotation(kind: str) -> None:
    layer = LAYERS["linear"]()
    free, bound = (adapter(options(kind, dim=10, constraint=c), layer) for c in (0.0, 0.01))
    q = free.module.oft_blocks - free.module.oft_blocks.transpose(-1, -2)
    assert q.norm() > 0.01 * 40
    free.module.oft_blocks.data *= 0.4 / q.norm()
    torch.testing.assert_close(bound.update(), free.update(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", ["linear", "linear-no-bias", "conv", "conv-strided", "conv-1x1"])
@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("locon", {}),
        ("locon", {"use_tucker": True, "use_scalar": True, "rs_lora": True}),
        ("locon", {"dora": True}),
        ("locon", {"dora": True, "wd_on_output": True}),
        ("loha", {"dim": 4, "alpha": 4.0, "use_tucker": True, "use_scalar": True}),
        ("lokr", {"dim": 2, "alpha": 1.0, "use_scalar": True}),
        ("lokr", {"dim": 2, "factor": 4, "decompose_both": True}),
        ("glora", {"use_scalar": True, "rs_lora": True}),
        ("full", {}),
        ("ia3", {}),
        ("ia3", {"train_on_input": True}),
        ("diag-oft", {"rescaled": True}),
        ("boft", {"dim": 10, "rescaled": True}),
        ("tlora", {"dim": 4}),
    ],
)
def test_outputs_are_lycoris_own_where_those_are_right(
    kind: str, changes: dict[str, Any], bypass: bool, shape: str
) -> None:
    """Not right in LyCORIS 4.1.3: LoHa's scale (1 here), the bias beside IA3 and OFT, T-LoRA's convolutions, DoRA and
    Full beside the layer, IA3 of a convolution's input."""
    layer = LAYERS[shape]()
    rotates = kind in ("ia3", "diag-oft", "boft") and layer.bias is not None
    if bypass and (rotates or kind == "full" or "dora" in changes):
        pytest.skip("LyCORIS does something else there")
    if kind == "tlora" and isinstance(layer, nn.Conv2d):
        pytest.skip("LyCORIS does something else there")
    mode = {"bypass_mode": bypass} if kind not in ("full", "tlora") and "dora" not in changes else {}
    made = adapter(options(kind, **mode, **changes), layer)
    module, x = made.module, example(layer)
    ours = layer(x)
    made.detach()
    module.bypass_mode = bypass
    if kind == "diag-oft":
        module.constraint = 0
    if kind == "full":
        module._org_weight = [layer.weight]
        module.org_bias = None if layer.bias is None else [layer.bias]
    torch.testing.assert_close(ours, module(x), rtol=1e-4, atol=2e-5)


def test_dyloras_whole_rank_is_lycoris_own_with_blocks_of_one() -> None:
    """With larger blocks LyCORIS divides alpha by the number of blocks, and not of ranks."""
    layer = LAYERS["linear"]()
    made = adapter(options("dylora", dim=4, alpha=2.0, block_size=1), layer)
    torch.testing.assert_close(made.update(), made.module.get_diff_weight(rank=3)[0])


def test_a_norm_is_lycoris_own() -> None:
    for norm, x in ((nn.GroupNorm(4, 8), torch.randn(2, 8, 5, 5)), (nn.LayerNorm(8), torch.randn(2, 3, 8))):
        norm.requires_grad_(False)
        before = norm(x)
        made = NormAdapter(options("locon"), "key", norm)
        assert torch.equal(norm(x), before)
        for parameter in made.module.parameters():
            parameter.data += torch.randn(parameter.shape)
        ours = norm(x)
        made.detach()
        torch.testing.assert_close(ours, made.module(x))
        assert not torch.equal(ours, before)


@pytest.mark.parametrize("shape", ["linear", "conv", "conv-1x1"])
@pytest.mark.parametrize("kind", ["locon", "dylora", "glora", "full", "diag-oft-rescaled", "boft-rescaled", "tlora"])
def test_lycoris_loads_a_file_and_makes_the_same_update(kind: str, shape: str) -> None:
    """It reads a file of DyLoRA or T-LoRA as the LoRA that it is, and GLoRA's by its later names alone."""
    layer = LAYERS[shape]()
    made = adapter(MADE[kind], layer)
    made.detach()
    named = MADE[kind].FILE.formed(made.file_tensors(), layer.weight.shape)
    tensors = {f"x.{name}": value.detach() for name, value in named.items()}
    with torch.no_grad():
        module = make_module(*get_module(tensors, "x"), "x", layer)
        torch.testing.assert_close(
            module.get_diff_weight()[0].view(layer.weight.shape), made.change(), rtol=1e-4, atol=1e-5
        )


def test_dylora_trains_the_last_of_the_blocks_that_it_draws() -> None:
    layer = LAYERS["linear"]()
    made = adapter(options("dylora", dim=8, alpha=4.0, block_size=2), layer)
    made.module.train(True)
    x, seen = example(layer), set()
    for seed in range(40):
        torch.manual_seed(seed)
        output = layer(x)
        torch.manual_seed(seed)
        assert torch.equal(layer(x), output)
        grads = torch.autograd.grad(output.sum(), list(made.module.up_list), allow_unused=True)
        (last,) = [number for number, grad in enumerate(grads) if grad is not None]
        up = torch.cat(list(made.module.up_list)[: last + 1], 1)
        down = torch.cat(list(made.module.down_list)[: last + 1])
        expected = F.linear(x, layer.weight + 4 / (2 * (last + 1)) * up @ down, layer.bias)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
        seen.add(last)
    made.detach()
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("least", [1, 3])
@pytest.mark.parametrize("exponent", [1.0, 2.5])
def test_tloras_ranks_are_lycoris_masks_sample_by_sample(exponent: float, least: int) -> None:
    layer = LAYERS["linear"]()
    made = adapter(options("tlora", dim=8, alpha=4.0, min_rank=least, rank_exponent=exponent), layer)
    made.module.train(True)
    x, timesteps = example(layer), torch.tensor([0, 400, 999])
    made.at(timesteps, 1000)
    ours = layer(x)
    made.detach()
    for sample, timestep in enumerate(timesteps.tolist()):
        set_timestep_mask(compute_timestep_mask(timestep, 1000, 8, least, exponent))
        try:
            torch.testing.assert_close(ours[sample], made.module(x)[sample], rtol=1e-4, atol=1e-5)
        finally:
            clear_timestep_mask()


def test_tlora_masks_a_convolution_while_training_only() -> None:
    layer = LAYERS["conv"]()
    made = adapter(options("tlora", dim=4, alpha=4.0), layer)
    x = example(layer)
    whole = layer(x)
    made.at(torch.tensor([0, 999, 0]), 1000)
    assert torch.equal(layer(x), whole)
    made.module.train(True)
    masked = layer(x)
    made.detach()
    torch.testing.assert_close(masked[0], whole[0])
    module, shape = made.module, layer.weight.shape
    now = module.p_layer.weight[:, :1] @ (module.lambda_layer[0, :1, None] * module.q_layer.weight[:1])
    start = module.base_p[:, :1] @ (module.base_lambda[0, :1, None] * module.base_q[:1])
    expected = F.conv2d(x, layer.weight + (now - start).view(shape), layer.bias, padding=1)
    torch.testing.assert_close(masked[1], expected[1], rtol=1e-4, atol=1e-5)


def silenced(algorithm: Any, draws: int = 200, layer: Layer | None = None) -> Tensor:
    """What an adapter in training adds to its layer, drawn over and over [draws, 3, 5, 40]."""
    layer = layer or linear()
    made = adapter(algorithm, layer)
    made.module.train(True)
    x = example(layer)
    outputs = [layer(x).detach() for _ in range(draws)]
    made.detach()
    return torch.stack(outputs) - layer(x)


@pytest.mark.parametrize("kind", ["locon", "full", "ia3", "diag-oft", "tlora", "dylora"])
def test_module_dropout_leaves_out_whole_layers_at_its_rate(kind: str) -> None:
    left_out = silenced(options(kind, module_dropout=0.3)).abs().amax((1, 2, 3)) < 1e-6
    assert 0.2 < float(left_out.float().mean()) < 0.4


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("loha", {}),
        ("lokr", {}),
        ("lokr", {"bypass_mode": True}),
        ("locon", {"bypass_mode": False}),
        ("full", {}),
        ("diag-oft", {}),
        ("diag-oft", {"bypass_mode": False}),
    ],
)
def test_rank_dropout_of_a_weight_silences_rows(kind: str, changes: dict[str, Any]) -> None:
    rows = (silenced(options(kind, rank_dropout=0.25, **changes)).abs() < 2e-6).all(1).all(1)
    assert 0.2 < float(rows.float().mean()) < 0.3


def test_rank_dropout_of_a_norm_silences_channels() -> None:
    norm = nn.LayerNorm(400).requires_grad_(False)
    made = NormAdapter(options("loha", rank_dropout=0.25), "key", norm)
    made.module.w_norm.data += 1.0
    x = torch.randn(1, 400)
    silent = (norm(x) - F.layer_norm(x, (400,))).abs() < 1e-6
    assert 0.15 < float(silent.float().mean()) < 0.35


def test_kept_rows_are_scaled_up_by_the_share_that_is_kept() -> None:
    """As LyCORIS has it: by what was kept, not by what was to be kept."""
    layer = linear()
    made = adapter(options("loha", rank_dropout=0.5, rank_dropout_scale=True), layer)
    whole = made.update()
    made.module.train(True)
    for _ in range(20):
        change = made.change()
        kept = change.abs().amax(1) > 0
        torch.testing.assert_close(change[kept], whole[kept] * 40 / kept.sum())


@pytest.mark.parametrize(("kind", "share"), [("locon", 0.25), ("glora", 0.0625)])
def test_rank_dropout_beside_a_layer_silences_ranks(kind: str, share: float) -> None:
    """With one rank it silences all or nothing; GLoRA has two products that are silenced one by one."""
    outputs = silenced(options(kind, dim=1, alpha=1.0, rank_dropout=0.25), draws=400)
    silent = float((outputs.abs().amax((1, 2, 3)) < 1e-6).float().mean())
    assert share / 2 < silent < share * 1.5


@pytest.mark.parametrize("kind", ["locon", "tlora"])
def test_neuron_dropout_zeroes_and_scales_up(kind: str) -> None:
    outputs = silenced(options(kind, dropout=0.5))
    assert 0.45 < float((outputs.abs() < 1e-6).float().mean()) < 0.55
    whole = silenced(options(kind), draws=1)[0]
    torch.testing.assert_close(outputs.mean(0), whole, atol=0.4 * float(whole.abs().max()), rtol=0)


def test_dropouts_are_for_training_only() -> None:
    layer = linear()
    made = adapter(options("locon", rank_dropout=0.9, dropout=0.9, module_dropout=0.9), layer)
    x = example(layer)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight + made.update(), layer.bias))


@pytest.mark.parametrize("on_output", [False, True])
@pytest.mark.parametrize("shape", ["linear", "conv"])
def test_dora_sets_the_norm_of_every_channel(shape: str, on_output: bool) -> None:
    layer = LAYERS[shape]()
    made = adapter(options("locon", dora=True, wd_on_output=on_output), layer)
    direction = layer.weight + made.update()
    axes = [axis for axis in range(direction.dim()) if axis != (0 if on_output else 1)]
    expected = direction / direction.square().sum(axes, keepdim=True).sqrt() * made.module.dora_scale
    made.detach()
    torch.testing.assert_close(made.whole(), expected, rtol=1e-5, atol=1e-5)
    assert made.file_tensors()["dora_scale"].numel() == layer.weight.shape[0 if on_output else 1]


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("autocast", [False, True])
def test_a_half_precision_base_keeps_small_updates(kind: str, autocast: bool) -> None:
    """An update far below the weight's own rounding moves the output by what it does in float32."""
    torch.manual_seed(1)
    layer = nn.Linear(64, 40, bias=False).requires_grad_(False)
    layer.weight.data = layer.weight.data.sign()
    x = torch.randn(4, 3, 64).to(torch.bfloat16)
    outputs = []
    for dtype in (torch.float32, torch.bfloat16):
        made = adapter(MADE[kind], layer.to(dtype), move=0.01)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast and dtype == torch.bfloat16):
            output = layer(x.to(dtype))
        made.detach()
        outputs.append(output.float() - F.linear(x.float(), layer.weight.float()))
    assert output.dtype == torch.bfloat16
    # bfloat16 has 8 bits, and the base's output, up to 20, is rounded to 1/8 at most, twice.
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0.05, atol=0.13)
    assert (outputs[1] - outputs[0]).abs().mean() < 0.03


@pytest.mark.parametrize("kind", MADE)
def test_parameters_in_half_precision_train(kind: str) -> None:
    layer = nn.Linear(64, 40).requires_grad_(False).to(torch.bfloat16)
    made = adapter(MADE[kind], layer, move=0.0)
    made.module.to(torch.bfloat16)
    x = torch.randn(2, 3, 64).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x)
    started = output.float() - F.linear(x, layer.weight, layer.bias).float()
    made.detach()
    # DoRA's magnitude is rounded like the rest, to one part in 256.
    assert started.abs().max() < (0.05 if "dora" in kind else 1e-6)
    torch.autograd.backward(output.float().square().sum())
    assert all(
        p.grad is not None and p.grad.dtype == torch.bfloat16 for p in made.module.parameters() if p.requires_grad
    )


@pytest.mark.parametrize("kind", ["loha", "lokr-both-tucker", "dora"])
def test_a_small_update_survives_half_precision(kind: str) -> None:
    """What an update this small adds must not drown in the rounding of the weight that it is added to."""
    whole, half = linear(64, 48), linear(64, 48).to(torch.bfloat16)
    whole.weight.data = half.weight.float()
    changes = [adapter(MADE[kind], layer, move=0.02).change() for layer in (whole, half)]
    assert bool((changes[1] - changes[0]).norm() / changes[0].norm() < 0.01)


@pytest.mark.parametrize("kind", ["locon", "dora", "lokr-both-tucker", "glora", "boft"])
def test_a_compiled_layer_is_one_graph_with_the_same_numbers(kind: str) -> None:
    layer = conv()
    made = adapter(MADE[kind], layer)
    x = example(layer)
    parameters = list(made.module.parameters())
    outputs = [torch.compile(layer, backend="aot_eager", fullgraph=True)(x), layer(x)]
    grads = [torch.autograd.grad((output**3).sum(), parameters) for output in outputs]
    made.detach()
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("kind", ["locon-beside", "dora", "lokr", "glora", "full", "ia3", "diag-oft", "boft", "tlora"])
def test_a_base_in_eight_bits_takes_adapters(kind: str) -> None:
    """They see the widened weight; Full and IA3 among them, though LyCORIS' own forwards could not."""
    whole, narrow = linear(), linear()
    eight_bits.store(nn.ModuleList([narrow]))
    whole.weight.data = narrow.weight.clone()
    x = example(whole)
    outputs = [adapter(MADE[kind], layer).forward(x) for layer in (whole, narrow)]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
