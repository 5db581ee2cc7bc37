"""SegFormer and Mask2Former of transformers, from their configurations alone: no name of a repository is ever passed.

Both look at the whole window, so that cutting a large image changes their result a little near the seams.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Mask2Former", "SegFormer"]


class SegFormer(nn.Module):
    """SegFormer (Xie et al. 2021, https://arxiv.org/abs/2105.15203); the default is its smallest, B0."""

    def __init__(
        self,
        bands: int = 3,
        classes: int = 3,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        widths: tuple[int, ...] = (32, 64, 160, 256),
        decoder: int = 256,
    ) -> None:
        """Build it with random weights.

        Args:
            bands: Number of input bands.
            classes: Number of classes.
            depths: Layers of the four stages.
            widths: Channels of the four stages.
            decoder: Channels of the decoder.

        Raises:
            ImportError: If transformers is not installed.
        """
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        self.network: Any = SegformerForSemanticSegmentation(
            SegformerConfig(
                num_channels=bands,
                num_labels=classes,
                depths=list(depths),
                hidden_sizes=list(widths),
                decoder_hidden_size=decoder,
            )
        )

    @property
    def encoder(self) -> Any:
        """What would start from published weights."""
        return self.network.segformer

    def forward(self, x: Tensor) -> Tensor:
        """(N, bands, H, W) to (N, classes, H, W)."""
        return F.interpolate(self.network(x).logits, scale_factor=4.0, mode="bilinear", align_corners=False)


class Mask2Former(nn.Module):
    """Mask2Former (Cheng et al. 2022, https://arxiv.org/abs/2112.01527) on Swin, for classes of pixels.

    Each query gives a mask and the probability of each class; a pixel's score of a class is the sum over the queries,
    as in the paper's semantic inference.
    """

    def __init__(
        self,
        bands: int = 3,
        classes: int = 3,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        queries: int = 50,
        decoder: int = 256,
    ) -> None:
        """Build it with random weights.

        Args:
            bands: Number of input bands.
            classes: Number of classes.
            width: Channels of the first stage of Swin, a multiple of 24; the default is Swin-T's.
            depths: Layers of the four stages.
            queries: Number of masks.
            decoder: Channels of the decoder, a multiple of 8.

        Raises:
            ImportError: If transformers is not installed.
            ValueError: If a width is no multiple.
        """
        super().__init__()
        if width % 24 or decoder % 32:
            raise ValueError(f"expected width a multiple of 24 and decoder of 32, found {width} and {decoder}")
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

        swin = SwinConfig(
            num_channels=bands,
            embed_dim=width,
            depths=list(depths),
            num_heads=[width * 2**stage // 32 or 1 for stage in range(4)] if width % 32 == 0 else [3, 6, 12, 24],
            out_features=[f"stage{stage}" for stage in range(1, 5)],
        )
        sizes = ("hidden_dim", "feature_size", "mask_feature_size")
        config = Mask2FormerConfig(
            backbone_config=swin,
            num_labels=classes,
            num_queries=queries,
            encoder_feedforward_dim=4 * decoder,
            dim_feedforward=8 * decoder,
            **dict.fromkeys(sizes, decoder),
        )
        self.network: Any = Mask2FormerForUniversalSegmentation(config)
        self.network.criterion = _loss_on_known_ground(config, self.network.weight_dict)

    @property
    def encoder(self) -> Any:
        """What would start from published weights."""
        return self.network.model.pixel_level_module.encoder

    def forward(self, x: Tensor) -> Tensor:
        """(N, bands, H, W) to (N, classes, H, W), logarithms of probabilities."""
        found = self.network(x)
        kinds = found.class_queries_logits.softmax(dim=-1)[..., :-1]
        masks = found.masks_queries_logits.sigmoid()
        votes = torch.einsum("nqk,nqhw->nkhw", kinds, masks)
        votes = F.interpolate(votes, scale_factor=4.0, mode="bilinear", align_corners=False)
        return (votes / votes.sum(dim=1, keepdim=True)).clamp(min=1e-6).log()

    def loss(self, images: Tensor, labels: Tensor, *_: Tensor) -> Tensor:
        """The paper's loss: queries are matched to the classes of the image, then cross-entropy, mask and Dice loss.

        Args:
            images: (N, bands, H, W) normalised.
            labels: (N, H, W) int64 class codes; pixels of 255 teach nothing about the masks.
        """
        kinds = [one.unique()[one.unique() < 255] for one in labels]
        masks = [(one[None] == kind[:, None, None]).float() for one, kind in zip(labels, kinds, strict=True)]
        self.network.criterion.known = labels < 255
        found: Tensor = self.network(images, mask_labels=masks, class_labels=kinds).loss
        return found.sum()


def _loss_on_known_ground(config: Any, weights: Any) -> nn.Module:
    """The library's loss, with the points at which masks are compared only where labels are known.

    Which query is matched to which class is still found over the whole image; that has no gradient.
    """
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    class KnownGroundLoss(Mask2FormerLoss):  # type: ignore[misc]
        known: Tensor
        """(N, H, W) bool, set before each call."""

        def loss_masks(self, masks: Tensor, targets: Any, indices: Any, count: Any) -> Any:
            self.image_of = self._get_predictions_permutation_indices(indices)[0]
            return super().loss_masks(masks, targets, indices, count)

        def sample_points_using_uncertainty(self, *settings: Any) -> Tensor:
            points: Tensor = super().sample_points_using_uncertainty(*settings)
            return points if bool(self.known.all()) else onto(points, self.known[self.image_of])

    return KnownGroundLoss(config, weights)


def onto(points: Tensor, known: Tensor) -> Tensor:
    """Points of masks, those that lie on unknown pixels moved to the centres of known ones, drawn at random.

    Args:
        points: (M, P, 2) x and y, 0 to 1.
        known: (M, H, W) bool, with a known pixel in each mask.
    """
    height, width = known.shape[1:]
    cols, rows = ((points[..., axis] * size).long().clamp(0, size - 1) for axis, size in enumerate((width, height)))
    flat = known.flatten(1)
    drawn = torch.multinomial(flat.float(), points.shape[1], replacement=True)
    spare = torch.stack([(drawn % width + 0.5) / width, (drawn // width + 0.5) / height], dim=-1)
    return torch.where(flat.gather(1, rows * width + cols)[..., None], points, spare.to(points.dtype))
