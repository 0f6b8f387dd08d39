"""Documents as their readers see them: a read model and its branding → HTML."""
