"""What to do when a device fails: the backends that may take its place, by the same rule that chose it."""

from __future__ import annotations

from geoseg.models.card import ModelCard

__all__ = ["fallback_backends"]


def fallback_backends(card: ModelCard, backend: str) -> tuple[str, ...]:
    """Backends that may replace one that failed, the fastest first: those whose parity on the card is high enough.

    Torch in 32 bits on the CPU is the reference and always the last; nothing replaces it.

    Args:
        card: Card of the model.
        backend: The one that failed, as `geoseg.models.storage.BACKENDS` names it.
    """
    if backend == "torch-cpu":
        return ()
    from geoseg.models.storage import MIN_PARITY

    slower = ["openvino-f32"] if backend != "openvino-f32" else []
    if backend.startswith("torch-"):
        from geoseg.models.openvino import precisions

        slower = [f"openvino-{precision}" for precision in precisions()]
    return (*(name for name in slower if card.parity.get(name, 0) >= MIN_PARITY[name]), "torch-cpu")
