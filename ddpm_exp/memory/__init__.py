"""How much memory a plan needs (`estimate`, `probe`), and the plan that fits (`plan`)."""
