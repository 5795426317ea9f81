"""The network and the step that throughput is measured on: DDPM's U-Net of 35.7 M parameters at 32x32 (Ho et al. 2020).

Without dropout, which the loops that it is compared with leave out too.
"""

from ddpm_exp.spec.data import CIFAR10
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.training import Training


class DdpmCifar10(Experiment):
    data: CIFAR10 = CIFAR10(flip=True)
    model: UNet = UNet(dropout=0.0)
    training: Training = Training(images_per_step=128, precision="bf16", learning_rate=2e-4, warmup="640000 images")
