"""What the JSON API takes and gives, as typed shapes: each module holds those of some pages."""
