"""Guide 001's recommended configuration on CIFAR-10 from WebDataset shards, 50 epochs: what the guide promises, put to the test."""

from ddpm_exp import ClassLabels, Evaluation, Sampling, Shards
from ddpm_exp.spec.presets.guide_001 import Optimized


class Cifar10Shards(Optimized):
    """As "CIFAR-10 Optimized", but told the class, so that a classifier can say whether drawings are what they should be."""

    data = Shards(
        train="data/cifar10-jpeg/train-{00000..00004}.tar.gz",
        held_out="data/cifar10-jpeg/test-00000.tar.gz",
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        flip=True,
    )
    condition = ClassLabels()
    training = Optimized().training.but(duration="50 epochs", checkpoint_every="10 epochs")
    sampling = Sampling(sampler="ddim", steps=50, guidance_scale=1.5)
    evaluation = Evaluation(every="5 epochs", samples=500)
