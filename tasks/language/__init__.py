"""Word-level language modeling with plastic LSTMs; BP 2019."""
