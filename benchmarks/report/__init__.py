"""From recorded numbers to tables, charts and pages."""
