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
        self.network: Any = Mask2FormerForUniversalSegmentation(
            Mask2FormerConfig(
                backbone_config=swin,
                num_labels=classes,
                num_queries=queries,
                encoder_feedforward_dim=4 * decoder,
                dim_feedforward=8 * decoder,
                **dict.fromkeys(sizes, decoder),
            )
        )

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
            labels: (N, H, W) int64 class codes; pixels of 255 belong to no mask.
        """
        kinds = [one.unique()[one.unique() < 255] for one in labels]
        masks = [(one[None] == kind[:, None, None]).float() for one, kind in zip(labels, kinds, strict=True)]
        found: Tensor = self.network(images, mask_labels=masks, class_labels=kinds).loss
        return found.sum()
