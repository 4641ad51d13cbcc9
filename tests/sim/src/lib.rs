//! Seeded simulation over the production cores.
