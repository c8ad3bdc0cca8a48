//! What more than one test binary starts beside the program.

pub mod postgres;
