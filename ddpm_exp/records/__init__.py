"""The run directory, which is the truth; the W&B sink; reading runs back."""
