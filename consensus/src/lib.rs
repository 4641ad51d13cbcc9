//! Deterministic state machines that decide: which chain (engines), which transactions (mempool).
