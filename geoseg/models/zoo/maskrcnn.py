"""Mask R-CNN of torchvision as a network like any other: what it finds is painted, and points to its centre.

A plant is found as a box with a mask. Painted, the masks are class scores, and each pixel of a mask points to the
mask's centre: plants are then grouped over the whole field as those of any network that points, and a plant on a seam
is one plant because both windows point to the same place.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geoseg.legend import NODATA
from geoseg.models.unet import EfficientNetLite0
from geoseg.models.zoo.library import adapt_bands
from geoseg.models.zoo.paint import paint

if TYPE_CHECKING:
    from torchvision.models.detection import MaskRCNN

__all__ = ["BACKBONES", "MaskRcnn", "targets"]

BACKBONES = {
    "efficientnet_lite0": (16, 32, 64, 128),
    "mobilenet_v3_large": (32, 64, 128),
    "resnet50": (16, 32, 64, 128, 256),
}
"""Sides in pixels of the boxes that are tried, by level of the feature pyramid; the last level only proposes."""
_LEAST_PX = 4
"""Plants of fewer pixels in a crop, which are cut by its edge, are not asked for."""


class MaskRcnn(nn.Module):
    """Mask R-CNN (He et al. 2017, https://arxiv.org/abs/1703.06870); class 0 is the ground."""

    def __init__(
        self,
        bands: int = 3,
        classes: int = 3,
        backbone: str = "efficientnet_lite0",
        width: int = 128,
        anchors: tuple[int, ...] | None = None,
        detections: int = 400,
        threshold: float = 0.5,
    ) -> None:
        """Build it with random weights.

        Args:
            bands: Number of input bands.
            classes: Number of classes, the ground included.
            backbone: One of `BACKBONES`; the first can start from ImageNet.
            width: Channels of the feature pyramid of the first; the others have 256.
            anchors: Side in pixels of the boxes that are tried, for each level of the pyramid; by default `BACKBONES`.
            detections: Most plants in one window.
            threshold: Least score of a plant.

        Raises:
            ImportError: If torchvision is not installed.
            ValueError: If the backbone is not known or the anchors do not fit.
        """
        super().__init__()
        from torchvision.models.detection import MaskRCNN
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.ops import MultiScaleRoIAlign

        if backbone not in BACKBONES:
            raise ValueError(f"backbone {backbone!r} is not known; expected one of {', '.join(BACKBONES)}")
        sizes = tuple((size,) for size in anchors or BACKBONES[backbone])
        if len(sizes) != len(BACKBONES[backbone]):
            raise ValueError(f"anchors are {anchors}; expected {len(BACKBONES[backbone])} sizes")
        maps = [str(level) for level in range(len(sizes) - 1)]
        network = MaskRCNN(
            _backbone(backbone, bands, width),
            num_classes=classes,
            rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
            box_roi_pool=MultiScaleRoIAlign(maps, 7, 2),
            mask_roi_pool=MultiScaleRoIAlign(maps, 14, 2),
            box_detections_per_img=detections,
            box_score_thresh=threshold,
            box_batch_size_per_image=128,
        )
        network.transform = _AsItIs()
        self.network: MaskRCNN = network
        self.classes = classes

    @property
    def encoder(self) -> nn.Module:
        """What may start from published weights."""
        body: nn.Module = self.network.backbone.body
        return body

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores and plant offsets, as `geoseg.models.unet.UNet` gives them.

        Args:
            x: (N, bands, H, W) normalised image.

        Returns:
            (N, classes, H, W) logarithms of probabilities, a plant's being its score, and (N, 2, H / 2, W / 2) offsets.
        """
        painted = [paint(found, (x.shape[-2], x.shape[-1]), self.classes) for found in self.network(x)]
        return torch.stack([scores for scores, _ in painted]), torch.stack([offsets for _, offsets in painted])

    def loss(self, images: Tensor, labels: Tensor, instances: Tensor) -> Tensor:
        """Sum of the five losses of the paper.

        Args:
            images: (N, bands, H, W) normalised; where labels are 255 they are blanked, so that nothing is learnt there.
            labels: (N, H, W) int64 class codes, 255 left out.
            instances: (N, H, W) int64 plant ids, 0 where there is none.
        """
        images = images * (labels != NODATA)[:, None]
        wanted = [targets(one, ids) for one, ids in zip(labels, instances, strict=True)]
        losses: dict[str, Tensor] = self.network(images, wanted)
        return torch.stack(list(losses.values())).sum()


def targets(labels: Tensor, instances: Tensor) -> dict[str, Tensor]:
    """The plants of one crop as torchvision wants them.

    Args:
        labels: (H, W) class codes, 255 left out.
        instances: (H, W) plant ids, 0 where there is none.

    Returns:
        boxes (n, 4) x0, y0, x1, y1; labels (n,), the class of most pixels; masks (n, H, W) uint8.
    """
    boxes, kinds, masks = [], [], []
    known = torch.where((labels != NODATA) & (labels > 0), instances, 0)
    for plant in torch.unique(known).tolist():
        mask = known == plant
        if plant == 0 or int(mask.sum()) < _LEAST_PX:
            continue
        rows, cols = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        boxes.append([int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1])
        kinds.append(int(labels[mask].mode().values))
        masks.append(mask)
    device = labels.device
    none = torch.zeros((0, *labels.shape), dtype=torch.uint8, device=device)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 4),
        "labels": torch.tensor(kinds, dtype=torch.int64, device=device),
        "masks": torch.stack(masks).to(torch.uint8) if masks else none,
    }


class _AsItIs(nn.Module):
    """Instead of torchvision's resizing and normalising, which would undo ours, and of its full-size masks."""

    def forward(self, images: Tensor, wanted: Any = None) -> tuple[Any, Any]:
        """A batch of equal images as torchvision's list of images."""
        from torchvision.models.detection.image_list import ImageList

        return ImageList(images, [(images.shape[-2], images.shape[-1])] * len(images)), wanted

    def postprocess(self, found: list[dict[str, Tensor]], *_: Any) -> list[dict[str, Tensor]]:
        """Boxes and masks as they are: masks of 28 x 28 pixels in their box."""
        return found


class _Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017) on the default network's encoder."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

        self.body = EfficientNetLite0(bands)
        self.out_channels = width
        self.pyramid = FeaturePyramidNetwork([24, 40, 112], width, LastLevelMaxPool())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Levels at strides 4, 8, 16 and 32."""
        features = self.body(x)[1:]
        found: dict[str, Tensor] = self.pyramid(OrderedDict((str(level), one) for level, one in enumerate(features)))
        return found


def _backbone(name: str, bands: int, width: int) -> nn.Module:
    from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone

    if name == "efficientnet_lite0":
        return _Pyramid(bands, width)
    settings: dict[str, Any] = {"backbone_name": name, "weights": None, "norm_layer": nn.BatchNorm2d}
    if name == "resnet50":
        return adapt_bands(resnet_fpn_backbone(**settings, trainable_layers=5), bands)
    return adapt_bands(mobilenet_backbone(**settings, fpn=True, trainable_layers=6), bands)
