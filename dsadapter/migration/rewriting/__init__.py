"""How what was found is rewritten: plans, by framework, and what carries them out."""
