//! Bytes of keys that sort as their values do.
