//! Suites around the PBFT core. So far: the benchmark of the floor, in `benches/floor.rs`.
