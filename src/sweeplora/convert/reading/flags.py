"""What sd-scripts' two parsers accept: every flag with its type and default, verified by a test."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal["switch", "whole", "number", "count", "text", "texts", "numbers"]
"""`count`: a whole number, or a share when written with a point. `texts`, `numbers`: any many words."""


class Flag(NamedTuple):
    """One flag of sd-scripts."""

    kind: Kind
    default: Any = None
    choices: tuple[str | int, ...] = ()


def _all(names: str, flag: Flag) -> dict[str, Flag]:
    return dict.fromkeys(names.split(), flag)


FLAGS: dict[str, Flag] = {
    **_all(
        """
        console_log_simple v2 v_parameterization cache_info shuffle_caption enable_wildcard color_aug flip_aug
        random_crop debug_dataset cache_latents cache_latents_to_disk skip_cache_check enable_bucket
        bucket_no_upscale alpha_mask save_state_to_huggingface resume_from_huggingface async_upload save_state
        save_state_on_train_end mem_eff_attn torch_compile xformers sdpa persistent_data_loader_workers
        gradient_checkpointing full_fp16 full_bf16 fp8_base ddp_gradient_as_bucket_view ddp_static_graph
        log_config noise_offset_random_strength ip_noise_gamma_random_strength zero_terminal_snr lowram highvram
        sample_at_first output_config masked_loss deepspeed zero3_init_flag zero3_save_16bit_model
        fp16_master_weights_and_gradients use_8bit_adam use_lion_optimizer fused_backward_pass
        scale_v_pred_loss_like_noise_pred debiased_estimation_loss weighted_captions cpu_offload_checkpointing
        no_metadata fp8_base_unet network_train_unet_only network_train_text_encoder_only dim_from_weights
        no_half_vae skip_until_initial_step cache_text_encoder_outputs cache_text_encoder_outputs_to_disk
        disable_mmap_load_safetensors
        """,
        Flag("switch", False),
    ),
    **_all(
        """
        save_every_n_epochs save_every_n_steps save_n_epoch_ratio save_last_n_epochs save_last_n_epochs_state
        save_last_n_steps save_last_n_steps_state max_train_epochs seed ddp_timeout clip_skip
        multires_noise_iterations min_timestep max_timestep sample_every_n_steps sample_every_n_epochs
        lr_scheduler_timescale network_dim initial_epoch initial_step validation_seed validate_every_n_steps
        validate_every_n_epochs max_validation_steps
        """,
        Flag("whole"),
    ),
    "keep_tokens": Flag("whole", 0),
    "vae_batch_size": Flag("whole", 1),
    "min_bucket_reso": Flag("whole", 256),
    "max_bucket_reso": Flag("whole", 1024),
    "bucket_reso_steps": Flag("whole", 64),
    "token_warmup_min": Flag("whole", 1),
    "caption_dropout_every_n_epochs": Flag("whole", 0),
    "dataset_repeats": Flag("whole", 1),
    "train_batch_size": Flag("whole", 1),
    "max_token_length": Flag("whole", None, (150, 225)),
    "max_train_steps": Flag("whole", 1600),
    "max_data_loader_n_workers": Flag("whole", 8),
    "gradient_accumulation_steps": Flag("whole", 1),
    "zero_stage": Flag("whole", 2, (0, 1, 2, 3)),
    "lr_scheduler_num_cycles": Flag("whole", 1),
    **_all(
        """
        noise_offset ip_noise_gamma adaptive_noise_scale lr_scheduler_min_lr_ratio min_snr_gamma
        v_pred_like_loss unet_lr network_dropout scale_weight_norms
        """,
        Flag("number"),
    ),
    "token_warmup_step": Flag("number", 0),
    "caption_dropout_rate": Flag("number", 0.0),
    "caption_tag_dropout_rate": Flag("number", 0.0),
    "multires_noise_discount": Flag("number", 0.3),
    "huber_c": Flag("number", 0.1),
    "huber_scale": Flag("number", 1.0),
    "prior_loss_weight": Flag("number", 1.0),
    "learning_rate": Flag("number", 2e-06),
    "max_grad_norm": Flag("number", 1.0),
    "lr_scheduler_power": Flag("number", 1),
    "network_alpha": Flag("number", 1),
    "validation_split": Flag("number", 0.0),
    "lr_warmup_steps": Flag("count", 0),
    "lr_decay_steps": Flag("count", 0),
    **_all(
        """
        console_log_file pretrained_model_name_or_path tokenizer_cache_dir metadata_title metadata_author
        metadata_description metadata_license metadata_tags metadata_usage_hint metadata_thumbnail
        metadata_merged_from metadata_trigger_phrase metadata_preprocessor metadata_is_negative_embedding
        train_data_dir caption_extention secondary_separator caption_prefix caption_suffix face_crop_aug_range
        resolution dataset_class reg_data_dir in_json output_dir output_name huggingface_repo_id
        huggingface_repo_type huggingface_path_in_repo huggingface_token huggingface_repo_visibility resume vae
        logging_dir log_prefix log_tracker_name wandb_run_name log_tracker_config wandb_api_key sample_prompts
        config_file conditioning_data_dir offload_optimizer_nvme_path offload_param_nvme_path dataset_config
        network_weights network_module training_comment
        """,
        Flag("text"),
    ),
    "console_log_level": Flag("text", None, ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    "caption_separator": Flag("text", ","),
    "caption_extension": Flag("text", ".caption"),
    "keep_tokens_separator": Flag("text", ""),
    "resize_interpolation": Flag(
        "text", None, ("lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area")
    ),
    "save_precision": Flag("text", None, ("float", "fp16", "bf16")),
    "dynamo_backend": Flag(
        "text",
        "inductor",
        (
            "eager",
            "aot_eager",
            "inductor",
            "aot_ts_nvfuser",
            "nvprims_nvfuser",
            "cudagraphs",
            "ofi",
            "fx2trt",
            "onnxrt",
            "tensort",
            "ipex",
            "tvm",
        ),
    ),
    "mixed_precision": Flag("text", "no", ("no", "fp16", "bf16")),
    "log_with": Flag("text", None, ("tensorboard", "wandb", "all")),
    "loss_type": Flag("text", "l2", ("l1", "l2", "huber", "smooth_l1")),
    "huber_schedule": Flag("text", "snr", ("constant", "exponential", "snr")),
    "sample_sampler": Flag(
        "text",
        "ddim",
        (
            "ddim",
            "pndm",
            "lms",
            "euler",
            "euler_a",
            "heun",
            "dpm_2",
            "dpm_2_a",
            "dpmsolver",
            "dpmsolver++",
            "dpmsingle",
            "k_lms",
            "k_euler",
            "k_euler_a",
            "k_dpm_2",
            "k_dpm_2_a",
        ),
    ),
    "offload_optimizer_device": Flag("text", None, ("cpu", "nvme")),
    "offload_param_device": Flag("text", None, ("cpu", "nvme")),
    "optimizer_type": Flag("text", ""),
    "lr_scheduler_type": Flag("text", ""),
    "lr_scheduler": Flag("text", "constant"),
    "save_model_as": Flag("text", "safetensors", ("ckpt", "pt", "safetensors")),
    **_all(
        """
        optimizer_args lr_scheduler_args network_args base_weights
        """,
        Flag("texts"),
    ),
    **_all(
        """
        text_encoder_lr base_weights_multiplier
        """,
        Flag("numbers"),
    ),
}
ONLY_SDXL = frozenset(
    {"cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk", "disable_mmap_load_safetensors"}
)
"""Flags that sdxl_train_network.py has and train_network.py has not."""
