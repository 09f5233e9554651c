"""The commands of `ram`, each imported when it is used, and what they share."""
