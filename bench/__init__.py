"""The host side of the serial protocol, results and reports."""
