//! The gateway as its users meet it: real HTTP and websockets over loopback, real SQLite, and a task on the other end of the
//! switch's inbox.

mod bans;
mod callbacks;
mod engine;
mod fold;
mod http;
mod records;
mod reports;
mod roles;
mod server;
mod sign_in;
mod voicemails;
mod ws;
