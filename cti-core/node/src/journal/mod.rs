//! The journal of facts on disk.
