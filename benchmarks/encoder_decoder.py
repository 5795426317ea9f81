"""Guide 000's encoder-decoder on Fashion-MNIST, for measuring speed."""

from ddpm_exp import Experiment, FashionMNIST, Training
from ddpm_exp.spec.model import EncoderDecoder


class EncoderDecoderSpeed(Experiment):
    data = FashionMNIST(image_size=32)
    model = EncoderDecoder(hidden_dim=256)
    training = Training(images_per_step=128)
