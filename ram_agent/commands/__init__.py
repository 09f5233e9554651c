"""One file for each command of `ram`, imported when that command is used."""
