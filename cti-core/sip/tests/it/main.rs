//! Endpoints against each other and against hand-written messages, with time moved by hand.

mod calls;
mod net;
