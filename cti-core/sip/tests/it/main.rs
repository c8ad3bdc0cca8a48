//! Endpoints against each other and against hand-written messages, with time moved by hand.

mod calls;
mod carriers;
mod corpus;
mod limits;
mod lossy;
mod net;
mod register;
mod restart;
mod strangers;
mod torture;
mod transports;
