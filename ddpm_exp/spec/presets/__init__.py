"""Published configurations that an experiment can start from: `from ddpm_exp.spec.presets.guide_001 import BestQuality`."""
