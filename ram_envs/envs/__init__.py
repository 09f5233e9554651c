"""The environments of the registered ids: their keywords and their manual pages."""
