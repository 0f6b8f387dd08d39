"""Engines that print: one file each, behind `PdfEngine`."""
