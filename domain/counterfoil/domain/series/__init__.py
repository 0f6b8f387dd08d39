"""The number series: an unbroken sequence of one document kind of one seller."""
