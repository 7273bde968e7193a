"""From models to bundles, and the proof that a bundle does what the model did. Nothing heavy is imported here."""
