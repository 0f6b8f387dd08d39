"""The credit note: a numbered document that corrects a finalized invoice."""
