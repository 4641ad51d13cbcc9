//! Values as they go over the wire, in text and in binary.

pub mod binary;
