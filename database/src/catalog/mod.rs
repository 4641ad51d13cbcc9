//! Tables, columns, indexes and constraints as versioned rows of the store itself.
