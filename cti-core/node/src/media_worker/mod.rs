//! The media workers: RTP sockets, the 20 ms clock, the recording feed.
