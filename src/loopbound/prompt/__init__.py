"""What a learner asks for at the prompt: check, watch, hint, progress, reset."""
