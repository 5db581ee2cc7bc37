"""Making models: tile sets, synthetic fields, losses, augmentation, fitting and evaluation."""
