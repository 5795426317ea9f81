"""The mathematics: paths, predictions, noise, guidance, samplers. Tensors in, tensors out."""
