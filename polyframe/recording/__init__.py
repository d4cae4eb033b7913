"""What markets did, as files: recorded, imported from elsewhere, and read again."""
