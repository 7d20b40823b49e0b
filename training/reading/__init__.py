"""Text as people have it: in whatever format it comes, it leaves here as documents of Unicode."""
