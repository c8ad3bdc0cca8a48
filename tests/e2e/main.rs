//! The whole program over real sockets with real peers: SIPp, baresip, a websocket client, Chromium.
//! One program at a time: a test takes the machine (`server::machine`) so that two do not slow each other.

mod answered;
mod bad_input;
mod bank;
mod browser;
mod callbacks;
mod calls;
mod codecs;
mod crash;
mod desk;
mod full_disk;
mod guard;
mod outage;
mod packets;
mod registered;
mod rush;
mod secure;
mod server;
mod sipp;
mod sound;
mod story;
mod trunk;
mod upgrade;
mod voicemail;
mod waiting;
mod web_phone;
mod websocket;
