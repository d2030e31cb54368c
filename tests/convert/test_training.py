"""Optimizers, schedules, losses, lengths, files and previews."""

from __future__ import annotations

import pytest

from sweeplora.convert.entries import settings
from sweeplora.errors import UserError
from tests.convert.commands import NETWORK, converted, fate, keys, of_text


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("Lion", "lion_pytorch.Lion"),
        ("prodigy", "prodigyopt.Prodigy"),
        ("AdamW8bit", "bitsandbytes.optim.AdamW8bit"),
        ("DAdaptation", "dadaptation.experimental.DAdaptAdamPreprint"),
        ("AdamWScheduleFree", "schedulefree.AdamWScheduleFree"),
        ("NAdam", "torch.optim.NAdam"),
        ("my_optim.LodeW", "my_optim.LodeW"),
    ],
)
def test_optimizers_by_their_short_names(name: str, target: str) -> None:
    made = keys(f'--optimizer_type={name} --learning_rate=0.5 --optimizer_args weight_decay=0.1 "betas=0.9,0.99"')
    assert (made["optimizer"], made["optimizer._target_"], made["optimizer.lr"]) == ("any", target, 0.5)
    assert (made["+optimizer.weight_decay"], made["+optimizer.betas"]) == (0.1, [0.9, 0.99])


def test_adamw_is_the_references_default() -> None:
    made = keys("--optimizer_args weight_decay=0.1 amsgrad=True")
    assert (made["optimizer"], made["optimizer.lr"], made["optimizer.weight_decay"]) == ("adamw", 2e-6, 0.1)
    assert made["+optimizer.amsgrad"] is True


def test_nesterov_has_a_momentum_unless_given() -> None:
    assert keys("--optimizer_type=SGDNesterov")["+optimizer.momentum"] == 0.9
    assert keys("--optimizer_type=SGDNesterov --optimizer_args momentum=0.5")["+optimizer.momentum"] == 0.5


def test_adafactor_finds_its_own_rate_unless_told_not_to() -> None:
    made = converted("--optimizer_type=Adafactor --learning_rate=1e-4 --lr_scheduler=cosine --unet_lr=1e-4")
    values = settings(made.entries)
    assert (values["optimizer"], values["scheduler"]) == ("adafactor", "adafactor")
    assert values["optimizer.relative_step"] is True
    assert "optimizer.lr" not in values
    assert fate(made, "--learning_rate") == fate(made, "--lr_scheduler") == fate(made, "--unet_lr") == {"no effect"}
    values = keys("--optimizer_type=Adafactor --optimizer_args relative_step=False --learning_rate=1e-4")
    assert (values["optimizer.relative_step"], values["optimizer.lr"]) == (False, 1e-4)
    assert values["scheduler"] == "constant"


def test_a_schedule_free_optimizer_has_none() -> None:
    made = converted("--optimizer_type=AdamWScheduleFree --lr_scheduler=cosine --lr_warmup_steps=5")
    assert settings(made.entries)["scheduler"] == "constant"
    assert fate(made, "--lr_scheduler") == fate(made, "--lr_warmup_steps") == {"no effect"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("constant_with_warmup --lr_warmup_steps=5", {"scheduler": "constant", "scheduler.warmup": 5}),
        ("cosine", {"scheduler": "cosine", "scheduler.num_cycles": 0.5}),
        ("cosine --lr_scheduler_args num_cycles=0.375", {"scheduler": "cosine", "scheduler.num_cycles": 0.375}),
        ("cosine_with_restarts --lr_scheduler_num_cycles=3", {"scheduler": "restarts", "scheduler.num_cycles": 3}),
        ("polynomial --lr_scheduler_power=2", {"scheduler": "polynomial", "scheduler.power": 2.0}),
        ("inverse_sqrt --lr_scheduler_timescale=9", {"scheduler": "inverse_sqrt", "scheduler.timescale": 9}),
        (
            "cosine_with_min_lr --lr_scheduler_min_lr_ratio=0.1 --lr_scheduler_num_cycles=2",
            {"scheduler": "cosine_min_lr", "scheduler.min_lr_rate": 0.1, "scheduler.num_cycles": 1.0},
        ),
        (
            "warmup_stable_decay --lr_decay_steps=0.2",
            {"scheduler": "warmup_stable_decay", "scheduler.decay": 0.2, "scheduler.min_lr_rate": 0.0},
        ),
        (
            "piecewise_constant --lr_scheduler_args \"step_rules='1:10,0.1:20,0.01'\"",
            {"scheduler": "piecewise", "scheduler.values": [1.0, 0.1, 0.01], "scheduler.until": [10, 20]},
        ),
    ],
)
def test_schedules_and_the_keys_they_have(flags: str, expected: dict[str, object]) -> None:
    made = keys(f"--lr_scheduler={flags}")
    assert {key: made[key] for key in expected} == expected


def test_cosine_does_not_read_the_number_of_cycles() -> None:
    assert fate(converted("--lr_scheduler=cosine --lr_scheduler_num_cycles=3"), "--lr_scheduler_num_cycles") == {
        "no effect"
    }


def test_any_class_can_be_the_schedule() -> None:
    made = keys("--lr_scheduler_type=CosineAnnealingLR --lr_scheduler_args T_max=100 eta_min=1e-6")
    target = "torch.optim.lr_scheduler.CosineAnnealingLR"
    assert made["scheduler.make"] == {"_target_": target, "_partial_": True, "T_max": 100, "eta_min": 1e-6}


@pytest.mark.parametrize(
    "flags",
    [
        "--lr_warmup_steps=5",
        "--lr_scheduler=adafactor",
        "--lr_scheduler=reduce_lr_on_plateau",
        "--adaptive_noise_scale=0.1",
        "--v_pred_like_loss=0.1 --v_parameterization",
        "--scale_v_pred_loss_like_noise_pred",
        "--full_bf16",
        "--fp8_base",
        "--use_8bit_adam --optimizer_type=Lion",
        "--log_with=tensorboard",
    ],
)
def test_what_the_reference_refuses_is_refused(flags: str) -> None:
    with pytest.raises(UserError):
        converted(flags)


def test_no_offset_leaves_what_belongs_to_it_without_effect() -> None:
    made = converted("--noise_offset=0 --adaptive_noise_scale=0.1")
    assert fate(made, "--adaptive_noise_scale") == fate(made, "--noise_offset") == {"no effect"}


def test_noise_and_loss() -> None:
    made = keys(
        "--noise_offset=0.05 --noise_offset_random_strength --adaptive_noise_scale=0.01 --ip_noise_gamma=0.1 "
        "--loss_type=huber --huber_schedule=exponential --huber_scale=2 --min_snr_gamma=5 --v_parameterization "
        "--scale_v_pred_loss_like_noise_pred --debiased_estimation_loss --min_timestep=100 --max_timestep=900"
    )
    assert (made["noise.offset"], made["noise.offset_random_strength"], made["noise.adaptive_scale"]) == (
        0.05,
        True,
        0.01,
    )
    assert made["noise.input_gamma"] == 0.1
    assert (made["loss.kind"], made["loss.huber_schedule"], made["loss.huber_scale"]) == ("huber", "exponential", 2.0)
    assert (made["loss.min_snr_gamma"], made["loss.debiased"], made["loss.scale_v_like_epsilon"]) == (5.0, True, True)
    assert (made["train.min_timestep"], made["train.max_timestep"]) == (100, 900)


@pytest.mark.parametrize(
    "flags",
    [
        "--multires_noise_discount=0.5",
        "--ip_noise_gamma_random_strength",
        "--noise_offset_random_strength",
        "--huber_c=0.2",
        "--dynamo_backend=inductor",
        "--base_weights_multiplier=0.5",
        "--clip_skip=2",
        "--zero_stage=1",
        "--huggingface_repo_type=model",
        "--save_last_n_epochs=2",
        "--sample_sampler=ddim",
    ],
)
def test_a_flag_that_does_nothing_there_becomes_nothing(flags: str) -> None:
    assert fate(converted(flags), flags.partition("=")[0]) == {"no effect"}


def test_length_and_precision_have_the_references_defaults() -> None:
    made = keys("")
    assert (made["train.epochs"], made["train.steps"]) == (None, 1600)
    assert (made["train.mixed_precision"], made["train.save_precision"], made["model.vae_precision"]) == (
        "no",
        "fp32",
        "fp32",
    )
    assert (made["train.save_every_epochs"], made["train.save_every_steps"]) == (0, 0)
    made = keys("--max_train_epochs=3 --mixed_precision=bf16 --full_bf16")
    assert (made["train.epochs"], made["train.steps"]) == (3, None)
    assert (made["train.network_precision"], made["train.save_precision"]) == ("bf16", "bf16")
    assert made["model.vae_precision"] == "bf16"


def test_a_share_of_the_epochs_is_saved() -> None:
    assert keys("--save_n_epoch_ratio=3 --max_train_epochs=10")["train.save_every_epochs"] == 3
    assert fate(converted("--save_n_epoch_ratio=3"), "--save_n_epoch_ratio") == {"aside"}


def test_previews_have_the_references_steps_and_guidance() -> None:
    made = keys("--sample_prompts=p.txt --sample_every_n_epochs=2 --sample_every_n_steps=5 --sample_at_first")
    assert (made["sample"], made["sample.steps"], made["sample.guidance"]) == ("default", 30, 7.5)
    assert (made["sample.sampler"], made["sample.at_first"], made["sample.at_last"]) == ("ddim", True, False)
    assert made["sample.every_epochs"] == 2
    assert "sample.every_steps" not in made
    assert keys("")["sample"] == "none"


def test_a_folder_for_logs_is_tensorboards() -> None:
    made = keys("--logging_dir=logs --log_prefix=a")
    assert (made["tracking.tensorboard"], made["tracking.tensorboard_prefix"]) == ("logs", "a")


def test_an_empty_output_name_is_refused() -> None:
    with pytest.raises(UserError, match="--output_name"):
        converted("--output_name=''")


def test_stable_diffusion_1_5_skips_layers_of_clip() -> None:
    made = keys("--clip_skip=2", "train_network.py")
    assert (made["model"], made["model.clip_skip"]) == ("sd15", 2)
    assert keys("", "train_network.py")["model.clip_skip"] == 1


def test_the_first_kind_of_attention_counts() -> None:
    made = converted("--sdpa --xformers")
    assert settings(made.entries)["model.attention"] == "xformers"
    assert fate(made, "--sdpa") == {"no effect"}


def test_files_merged_first_have_a_factor_each() -> None:
    made = keys("--base_weights a.safetensors b.safetensors --base_weights_multiplier 0.5")
    assert made["model.base_weights_multiplier"] == [0.5, 1.0]


def test_an_optimizer_that_finds_its_rate_has_one_for_all_parts() -> None:
    flags = "--optimizer_type=Prodigy --unet_lr=1 --text_encoder_lr=1"
    made = converted(flags)
    assert settings(made.entries)["optimizer.lr"] == 1.0
    assert "rates.unet" not in settings(made.entries)
    assert fate(made, "--unet_lr") == {"no effect"}
    with pytest.raises(UserError, match="one rate for all parts"):
        converted("--optimizer_type=Prodigy --unet_lr=1 --text_encoder_lr=0.5")


def test_a_compiler_that_is_not_offered_is_named_and_left_out() -> None:
    assert "train.compile" not in keys("--torch_compile --dynamo_backend=onnxrt")
    assert keys("--torch_compile --dynamo_backend=aot_eager")["train.compile"] == "aot_eager"
    assert fate(converted("--torch_compile --dynamo_backend=onnxrt"), "--dynamo_backend") == {"aside"}


def test_states_become_one_kept_state_and_resume_names_that_of_the_converted_training() -> None:
    made = keys("--save_state --save_every_n_steps=50 --save_last_n_steps_state=2")
    assert (made["train.keep_state"], made["train.checkpoint_every_steps"]) == (True, 50)
    assert keys("--save_state_on_train_end")["train.keep_state"] is True
    for folder in ("cats-state", "cats-000003-state", "cats-step00000100-state/"):
        made = keys(f"--resume=/out/{folder}")
        assert made["train.resume"] == "/out/single/cats/checkpoints/state.safetensors"
    assert keys("--resume=/out/s.safetensors")["train.resume"] == "/out/s.safetensors"
    for folder in (r"'C:\out\cats-state'", r"'C:\out/cats-000003-state\'"):
        made = keys(f"--resume={folder}")
        assert made["train.resume"] == r"C:\out\single\cats\checkpoints\state.safetensors"
    assert keys(r"--resume='D:\s.safetensors'")["train.resume"] == r"D:\s.safetensors"
    assert fate(converted(r"--resume='C:\cats-state\elsewhere'"), "--resume") == {"missing"}
    resumed = converted("--resume=/out/cats-state --initial_step=5 --skip_until_initial_step")
    assert fate(resumed, "--initial_step") == fate(resumed, "--skip_until_initial_step") == {"no effect"}
    assert fate(converted("--resume=/out/elsewhere"), "--resume") == {"missing"}
    assert fate(converted("--initial_epoch=5"), "--initial_epoch") == {"missing"}


@pytest.mark.parametrize(("path", "is_local"), [("C:/base", True), (r"D:\models/base", True), ("owner/base", False)])
def test_a_windows_path_is_no_name_on_the_hub(path: str, is_local: bool) -> None:
    made = of_text(
        f"accelerate launch sdxl_train_network.py --pretrained_model_name_or_path='{path}' --train_data_dir=/d "
        f"--resolution=64 --output_name=it {NETWORK}"
    )
    (entry,) = [one for one in made.entries if one.key == "model.path"]
    assert ("on the hub" in entry.note) is not is_local
