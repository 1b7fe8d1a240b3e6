"""Op-level profiler with tables, flame graphs and rooflines."""
