"""`python -m ddpm_exp.cli`: the same program as `ddpm-exp`, where scripts are not on the path."""

from ddpm_exp.cli.main import main

main()
