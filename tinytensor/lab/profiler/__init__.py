"""Op-level profiler with tables, flame graphs, rooflines and Chrome traces."""
