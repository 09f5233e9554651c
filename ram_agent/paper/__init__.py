"""The paper's tables: their rows, the controls, and the command that trains and writes them."""
