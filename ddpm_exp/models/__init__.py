"""Networks: `forward(x, c_noise, condition)`, nothing about diffusion."""
