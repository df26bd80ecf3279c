"""Large-batch methods for any training loop: ghost batch norm, distance-matched and √-scaled rates, noise.

Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741) propose them. `train` uses them and is not needed for them.
"""

from typing import TYPE_CHECKING

from ultraslow._packages import lazy_exports

if TYPE_CHECKING:
    from ultraslow.large_batch.adam_scaling import AdamSettings, scaled_adam
    from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR
    from ultraslow.large_batch.errors import GhostBatchNormError, NotMatchedError, SettingError
    from ultraslow.large_batch.ghost_batch_norm import GhostBatchNorm1d, GhostBatchNorm2d, convert_ghost_batch_norm
    from ultraslow.large_batch.ghost_noise import convert_ghost_noise, draw_ghost_noise
    from ultraslow.large_batch.lr_scaling import scaled_lr, sqrt_lr
    from ultraslow.large_batch.multiplicative_noise import matching_sigma, sample_weights
    from ultraslow.large_batch.noise_scale import NoiseScale, gradient_noise_scale
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ultraslow.large_batch.adam_scaling": ["AdamSettings", "scaled_adam"],
            "ultraslow.large_batch.distance_matched_lr": ["DistanceMatchedLR"],
            "ultraslow.large_batch.errors": ["GhostBatchNormError", "NotMatchedError", "SettingError"],
            "ultraslow.large_batch.ghost_batch_norm": [
                "GhostBatchNorm1d",
                "GhostBatchNorm2d",
                "convert_ghost_batch_norm",
            ],
            "ultraslow.large_batch.ghost_noise": ["convert_ghost_noise", "draw_ghost_noise"],
            "ultraslow.large_batch.lr_scaling": ["scaled_lr", "sqrt_lr"],
            "ultraslow.large_batch.multiplicative_noise": ["matching_sigma", "sample_weights"],
            "ultraslow.large_batch.noise_scale": ["NoiseScale", "gradient_noise_scale"],
        },
    )

__all__ = [
    "AdamSettings",
    "DistanceMatchedLR",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNormError",
    "NoiseScale",
    "NotMatchedError",
    "SettingError",
    "convert_ghost_batch_norm",
    "convert_ghost_noise",
    "draw_ghost_noise",
    "gradient_noise_scale",
    "matching_sigma",
    "sample_weights",
    "scaled_adam",
    "scaled_lr",
    "sqrt_lr",
]
