"""For authors: notebook files, exercises made from solutions, and the facilitator's guide."""
