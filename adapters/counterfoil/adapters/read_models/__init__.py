"""Where read models are kept: their tables in each database, and how rows get into them."""
