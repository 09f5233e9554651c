"""The environments of the registered ids: their manual pages and their keywords."""
