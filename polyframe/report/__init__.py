"""What runs came to: figures, and how to read them as text, tables and pages."""
