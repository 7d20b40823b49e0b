"""Text as people have it: in whatever form it comes, it leaves here as documents of Unicode."""
