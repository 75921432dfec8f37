"""Word-level language modelling with plastic LSTMs; BP 2019."""
