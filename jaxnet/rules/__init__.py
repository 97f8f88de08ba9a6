"""The rules, one file per family: derivation, then body, forward and backward in the same letters."""
