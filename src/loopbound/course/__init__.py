"""What the course consists of, and the reader's predictions."""
