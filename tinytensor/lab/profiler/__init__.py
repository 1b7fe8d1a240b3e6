"""Op-level profiler with tables and flame graphs."""
